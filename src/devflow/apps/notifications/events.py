"""What teams may be told of. A capability adds its events here, a line each, and calls `services.notify`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class EventKind:
    """`is_default`: a new channel is told of it. `is_team_wide`: it belongs to no project."""

    title: str
    is_default: bool = True
    is_team_wide: bool = False


EVENTS: Final[dict[str, EventKind]] = {
    "deployment.started": EventKind("A deployment started", is_default=False),
    "deployment.succeeded": EventKind("A deployment succeeded"),
    "deployment.failed": EventKind("A deployment failed"),
    "deployment.rolled_back": EventKind("A deployment was rolled back"),
    "deployment.cancelled": EventKind("A deployment was cancelled", is_default=False),
    "deployment.waiting": EventKind("A deployment waits"),
    "server.offline": EventKind("A server went offline", is_team_wide=True),
    "server.online": EventKind("A server is online again", is_team_wide=True),
    "security.new_device": EventKind("Somebody logged in with a new device", is_team_wide=True),
    "security.repeated_failures": EventKind("Logging in fails again and again", is_team_wide=True),
    "security.role_raised": EventKind("Somebody became admin or owner", is_team_wide=True),
    "security.token_made": EventKind("Somebody made an API token", is_team_wide=True),
}
TEST_EVENT: Final = "test"
"""Sent by *send test* only; nobody subscribes to it."""


def default_events() -> list[str]:
    """What a new channel is told of, unless it says otherwise."""
    return [name for name, kind in EVENTS.items() if kind.is_default]
