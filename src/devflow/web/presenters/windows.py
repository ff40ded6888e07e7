"""Whether an environment may be deployed now, in words."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils import timezone

from devflow.apps.deployments.models import Deployment, Status
from devflow.apps.deployments.selectors import waiting_reason
from devflow.apps.projects.models import Environment
from devflow.apps.projects.windows import calendar_of
from devflow.apps.told import told


@dataclass(frozen=True, slots=True)
class WindowState:
    """`opens` is the next opening in the environment's zone, '' where there is none; `is_limited`: there are rules."""

    is_open: bool
    reason: str
    opens: str
    windows: list[str]
    time_zone: str
    is_limited: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """What a deployment waits for; `begins` is '' where it does not begin by itself."""

    reason: str
    begins: str


def window_state(environment: Environment) -> WindowState:
    calendar = calendar_of(environment)
    closed = calendar.closed(timezone.now())
    return WindowState(
        is_open=closed is None,
        reason=told(closed.reason) if closed else "",
        opens=calendar.local(closed.opens_at) if closed and closed.opens_at else "",
        windows=[window.text for window in calendar.windows],
        time_zone=environment.time_zone,
        is_limited=bool(calendar.windows or calendar.freezes),
    )


def wait_of(deployment: Deployment) -> Wait | None:
    """None where it does not wait for a window."""
    if deployment.status != Status.WAITING or not (reason := waiting_reason(deployment)):
        return None
    due = deployment.due_at
    return Wait(told(reason), calendar_of(deployment.environment).local(due) if due else "")
