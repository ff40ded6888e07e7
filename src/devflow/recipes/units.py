"""What runs an application as a service: restarted once the new release is the current one, and again on the way back."""

from __future__ import annotations

from devflow.commands import units
from devflow.engine.task import Option, Phase, Task
from devflow.recipes.common import REPEATED

_NAME = r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,99}(:[A-Za-z0-9_.*-]{0,100})?"

UNIT_OPTIONS = (
    Option(
        name="unit",
        title="Units",
        help="Names of the systemd units or Supervisor programs that run this application, with spaces between them: "
        "shop shop-worker. They are set up on the server already. Empty: nothing is restarted.",
        pattern=rf"({_NAME}( {_NAME}){{0,9}})?",
        check=units.CHECK,
    ),
    Option(
        name="unit_manager",
        title="Units are run by",
        help="auto looks for a systemd unit of the user, then of the system, then for a Supervisor program.",
        default="auto",
        choices=("auto", "systemd", "supervisor"),
    ),
    Option(
        name="unit_action",
        title="Units take up a release by",
        help="restart is right for most; reload only for what then starts anew from the link current.",
        default="restart",
        choices=("restart", "reload"),
    ),
)

RESTART_UNITS = Task(
    name="restart units",
    phase=Phase.RELOAD,
    command=units.RESTART,
    condition='[ -n "${option_unit:-}" ]',
    undo=REPEATED,
    summary="restart (or reload) the units of the setting Units, and see that they stay up",
)
"""Fails where a unit is not known or does not stay up, so that the release before serves again, by the same units."""
