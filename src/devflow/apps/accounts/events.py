"""How services of accounts have things recorded: the audit log lies above them, and registers itself here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID

from devflow.apps.accounts.models import Team, User
from devflow.apps.accounts.rights import Actor

_recorders: Final[list[Callable[..., Any]]] = []


def register(recorder: Callable[..., Any]) -> None:
    """From now on `recorder` is told of all that is recorded; it has the signature of `record`."""
    if recorder not in _recorders:
        _recorders.append(recorder)


def record(
    *,
    team: Team | None,
    action: str,
    actor: Actor | None = None,
    user: User | None = None,
    who: str = "",
    target: str = "",
    target_id: str = "",
    project_id: UUID | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    outcome: str = "done",
) -> None:
    """Records an event in the caller's transaction: see `audit.services.audit_record`."""
    for recorder in _recorders:
        recorder(
            team=team,
            action=action,
            actor=actor,
            user=user,
            who=who,
            target=target,
            target_id=target_id,
            project_id=project_id,
            before=before,
            after=after,
            outcome=outcome,
        )
