"""Canaries: how they do, and what a person wants of them."""

from datetime import datetime
from typing import Literal

from ninja import Router
from pydantic import BaseModel, Field

from devflow.api.auth import ApiRequest
from devflow.api.schemas import DeploymentOut, Input
from devflow.apps.deployments import selectors, services
from devflow.apps.deployments.canary import Share, Side, canary_shares

router = Router(tags=["deployments"])


class CanaryIn(Input):
    action: Literal["hold", "resume", "promote", "abort"] = Field(
        description="Stay at this share, go on, give the release everything now, or take it back."
    )


class SideOut(BaseModel):
    requests: int
    failed: int = Field(description="No answer, or 500 and above.")
    error_percent: float
    p95_ms: int = Field(description="95 % of the requests took no longer, in milliseconds.")

    @classmethod
    def of(cls, side: Side) -> "SideOut":
        return cls(requests=side.requests, failed=side.failed, error_percent=side.error_percent, p95_ms=side.p95_ms)


class ShareOut(BaseModel):
    percent: int = Field(description="Of the requests.")
    state: str = Field(description="good, few (requests), bad, held, overdue, passed, promoted or aborted.")
    seconds: int
    held_since: datetime | None = Field(description="When it was held by hand; null where it is not.")
    held_until: datetime | None = Field(description="When it is taken back unless somebody says how to go on.")
    new: SideOut
    stable: SideOut

    @classmethod
    def of(cls, share: Share) -> "ShareOut":
        return cls(
            percent=share.percent,
            state=share.state,
            seconds=share.seconds,
            held_since=share.held_since,
            held_until=share.held_until,
            new=SideOut.of(share.new),
            stable=SideOut.of(share.stable),
        )


@router.get("{deployment_id}/canary", response=list[ShareOut])
def deployment_canary(request: ApiRequest, deployment_id: str) -> list[ShareOut]:
    """The shares of the requests that the new release had so far, with its figures and those of the stable one."""
    deployment = selectors.deployment_get(actor=request.auth, deployment_id=deployment_id)
    return [ShareOut.of(share) for share in canary_shares(actor=request.auth, deployment=deployment)]


@router.post("{deployment_id}/canary", response={202: DeploymentOut})
def deployment_canary_steer(request: ApiRequest, deployment_id: str, payload: CanaryIn) -> DeploymentOut:
    """Holds a canary that runs, has it go on, promotes or aborts it. 409 where none runs."""
    deployment = selectors.deployment_get(actor=request.auth, deployment_id=deployment_id)
    services.deployment_steer(actor=request.auth, deployment=deployment, action=payload.action)
    return DeploymentOut.of(selectors.deployment_get(actor=request.auth, deployment_id=deployment_id))
