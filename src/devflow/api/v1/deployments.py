"""Deployments. (Their `/events` is answered by the asynchronous part of the web process: `web/streams.py`.)"""

from typing import Annotated

from django.http import StreamingHttpResponse
from ninja import Query, Router

from devflow.api.auth import ApiRequest
from devflow.api.paging import Page, PageQuery, Paging, cursor
from devflow.api.schemas import DeployIn, DeploymentDetail, DeploymentOut, PlanOut, RollbackIn, StepOut
from devflow.apps.accounts.rights import Actor
from devflow.apps.deployments import selectors, services
from devflow.apps.deployments.models import Trigger
from devflow.apps.projects.models import Environment, Project
from devflow.apps.projects.selectors import environment_get, project_get
from devflow.core.errors import NotFoundError
from devflow.engine.plan import Plan

router = Router(tags=["deployments"])


@router.get("", response=Page[DeploymentOut])
def deployment_list(request: ApiRequest, paging: PageQuery, project: str = "", status: str = "") -> Page[DeploymentOut]:
    """The team's deployments, the newest first."""
    chosen = project_get(actor=request.auth, slug=project) if project else None
    return deployment_page(request.auth, paging, project=chosen, status=status)


@router.get("{deployment_id}", response=DeploymentDetail)
def deployment_show(request: ApiRequest, deployment_id: str) -> DeploymentDetail:
    deployment = selectors.deployment_get(actor=request.auth, deployment_id=deployment_id)
    return DeploymentDetail.with_steps(deployment, selectors.step_list(actor=request.auth, deployment=deployment))


@router.get("{deployment_id}/steps", response=list[StepOut])
def deployment_steps(request: ApiRequest, deployment_id: str) -> list[StepOut]:
    """In the order of the plan; the servers of a step side by side."""
    deployment = selectors.deployment_get(actor=request.auth, deployment_id=deployment_id)
    return [StepOut.of(step) for step in selectors.step_list(actor=request.auth, deployment=deployment)]


@router.get("{deployment_id}/plan", response=PlanOut)
def deployment_plan(request: ApiRequest, deployment_id: str) -> PlanOut:
    """The plan that is carried out. 404 until the deployment's turn has come."""
    deployment = selectors.deployment_get(actor=request.auth, deployment_id=deployment_id)
    if deployment.plan is None:
        raise NotFoundError("There is no plan yet: it is made when the deployment begins.")
    return PlanOut.model_validate(selectors.plan_document(Plan.from_json(deployment.plan)))


@router.get(
    "{deployment_id}/log", response={200: None}, openapi_extra={"responses": {200: {"content": {"text/plain": {}}}}}
)
def deployment_log(
    request: ApiRequest, deployment_id: str, offset: Annotated[int, Query(ge=0, le=1 << 62)] = 0
) -> StreamingHttpResponse:
    """The log so far as text, with the escape sequences of colours, from byte `offset` on."""
    deployment = selectors.deployment_get(actor=request.auth, deployment_id=deployment_id)
    log = selectors.log_read(actor=request.auth, deployment=deployment, offset=offset)
    return StreamingHttpResponse(log, content_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-store"})


@router.post("{deployment_id}/cancel", response={202: DeploymentOut})
def deployment_cancel(request: ApiRequest, deployment_id: str) -> DeploymentOut:
    """Ends a waiting deployment at once and has a running one taken back. 409 when it has ended."""
    deployment = selectors.deployment_get(actor=request.auth, deployment_id=deployment_id)
    services.deployment_cancel(actor=request.auth, deployment=deployment)
    return DeploymentOut.of(selectors.deployment_get(actor=request.auth, deployment_id=deployment_id))


@router.post("{deployment_id}/rollback", response={202: DeploymentOut})
def deployment_rollback(request: ApiRequest, deployment_id: str, payload: RollbackIn | None = None) -> DeploymentOut:
    """Queues going back to the release of this deployment; to the one before, where it is the current one.

    `to` names another deployment of the same environment instead.
    """
    deployment = selectors.deployment_get(actor=request.auth, deployment_id=deployment_id)
    to = payload.to if payload else None
    if to is None and not _serves(request.auth, deployment.environment, deployment.release):
        to = deployment_id
    return roll_back(request.auth, deployment.environment, to)


def deployment_page(
    actor: Actor,
    paging: Paging,
    *,
    project: Project | None = None,
    environment: Environment | None = None,
    status: str = "",
) -> Page[DeploymentOut]:
    """A page of deployments, read no further than needed."""
    found = selectors.deployment_list(
        actor=actor,
        project=project,
        environment=environment,
        status=status,
        before=paging.after,
        limit=paging.limit + 1,
    )
    shown = found[: paging.limit]
    following = cursor(str(shown[-1].pk)) if len(found) > len(shown) else None
    return Page[DeploymentOut](items=[DeploymentOut.of(deployment) for deployment in shown], next=following)


def deploy(actor: Actor, slug: str, name: str, asked: DeployIn) -> DeploymentOut:
    """Queues a deployment, for what asks by a token as by a person."""
    environment = environment_get(actor=actor, slug=slug, name=name)
    trigger = Trigger.MANUAL if actor.scopes is None else Trigger.API
    deployment = services.deployment_request(
        actor=actor,
        environment=environment,
        commit=asked.commit or "",
        branch=asked.branch or "",
        trigger=trigger,
        is_clean=asked.clean,
        override_reason=asked.override_reason,
    )
    return DeploymentOut.of(deployment)


def roll_back(actor: Actor, environment: Environment, to: str | None) -> DeploymentOut:
    """Queues going back to the release of the environment's deployment `to`; without it, to the one before."""
    wanted = selectors.deployment_get(actor=actor, deployment_id=to) if to else None
    if wanted and wanted.environment_id != environment.pk:
        raise NotFoundError(f"There is no deployment {to!r} of {environment}.")
    return DeploymentOut.of(services.deployment_rollback(actor=actor, environment=environment, to=wanted))


def _serves(actor: Actor, environment: Environment, release: str) -> bool:
    releases = selectors.release_list(actor=actor, environment=environment)
    return any(kept.is_current and kept.name == release for kept in releases)
