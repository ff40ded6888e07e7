"""When an environment may be deployed: its windows and freezes, and deploying outside of them."""

from datetime import datetime
from typing import Any, Self

from django.utils import timezone
from ninja import Router
from pydantic import AliasChoices, BaseModel, Field

from devflow.api.auth import ApiRequest
from devflow.api.schemas import DeploymentOut, Input
from devflow.apps.deployments import selectors, services
from devflow.apps.projects import windows
from devflow.apps.projects.models import Environment
from devflow.apps.projects.selectors import environment_get

router = Router(tags=["windows"])


class FreezeIn(Input):
    """`from` and `to`, as freezes are called in an environment's settings, are taken for `begins` and `ends`."""

    reason: str = Field(description="Shown to everybody who waits.", examples=["Christmas"])
    begins: str = Field(
        "",
        description="On the clock of the environment's zone, or with an offset. Empty: now. Also as `from`.",
        examples=[""],
        validation_alias=AliasChoices("begins", "from"),
    )
    ends: str | None = Field(
        "",
        description="Empty or null: until it is lifted. Also as `to`.",
        examples=["2027-01-04 08:00"],
        validation_alias=AliasChoices("ends", "to"),
    )


class OverrideIn(Input):
    reason: str = Field(examples=["Fixes the checkout"])


class FreezeOut(BaseModel):
    """`number` names it when it is lifted; `state` is `over`, `in force` or `to come`. `from` and `to` are the times as
    they can be sent back, `begins` and `ends` the same in words."""

    number: int
    from_: str = Field(alias="from", examples=["2026-12-20T18:00:00"])
    to: str | None
    begins: str = Field(examples=["Sun 2026-12-20 18:00 CET"])
    ends: str
    reason: str
    state: str


class WindowsOut(BaseModel):
    """`reason` says why it is closed now; `next_opening` is now while it is open, null where a freeze has no end."""

    time_zone: str
    windows: list[dict[str, Any]]
    texts: list[str] = Field(description="The windows in words.", examples=[["mon-fri 08:00-18:00"]])
    freezes: list[FreezeOut]
    is_open: bool
    reason: str | None
    next_opening: datetime | None
    next_opening_there: str | None = Field(description="In the environment's zone.")

    @classmethod
    def of(cls, environment: Environment) -> Self:
        calendar, now = windows.calendar_of(environment), timezone.now()
        closed = calendar.closed(now)
        opens = closed.opens_at if closed else now
        return cls(
            time_zone=environment.time_zone,
            windows=environment.windows,
            texts=[window.text for window in calendar.windows],
            freezes=[FreezeOut.model_validate(each) for each in windows.freeze_list(environment)],
            is_open=closed is None,
            reason=closed.reason if closed else None,
            next_opening=opens,
            next_opening_there=calendar.local(opens) if opens else None,
        )


@router.get("projects/{slug}/environments/{name}/windows", response=WindowsOut, by_alias=True)
def windows_show(request: ApiRequest, slug: str, name: str) -> WindowsOut:
    """Whether it is open now, and when it opens next. (They are set by PATCH of the environment.)"""
    return WindowsOut.of(environment_get(actor=request.auth, slug=slug, name=name))


@router.post("projects/{slug}/environments/{name}/freezes", response={201: WindowsOut}, by_alias=True)
def freeze_add(request: ApiRequest, slug: str, name: str, payload: FreezeIn) -> WindowsOut:
    environment = environment_get(actor=request.auth, slug=slug, name=name)
    given = payload.given()
    windows.environment_freeze(actor=request.auth, environment=environment, **given | {"ends": given.get("ends") or ""})
    return WindowsOut.of(environment)


@router.delete("projects/{slug}/environments/{name}/freezes", response=WindowsOut, by_alias=True)
def freeze_lift(request: ApiRequest, slug: str, name: str, number: int | None = None) -> WindowsOut:
    """Lifts the freeze with this number; without one, all that are in force."""
    environment = environment_get(actor=request.auth, slug=slug, name=name)
    windows.environment_unfreeze(actor=request.auth, environment=environment, number=number)
    return WindowsOut.of(environment)


@router.post("deployments/{deployment_id}/override", response={202: DeploymentOut})
def deployment_override(request: ApiRequest, deployment_id: str, payload: OverrideIn) -> DeploymentOut:
    """Has a deployment that waits for a window begin now. Needs the right to approve; 409 when it does not wait."""
    deployment = selectors.deployment_get(actor=request.auth, deployment_id=deployment_id)
    services.deployment_override(actor=request.auth, deployment=deployment, reason=payload.reason)
    return DeploymentOut.of(selectors.deployment_get(actor=request.auth, deployment_id=deployment_id))
