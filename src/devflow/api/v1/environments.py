"""Environments of a project: settings, plan, releases, deployments."""

import time
from typing import Final

from ninja import Router

from devflow.api.auth import ApiRequest
from devflow.api.paging import Page, PageQuery, cut
from devflow.api.schemas import (
    DeployIn,
    DeploymentOut,
    EnvironmentIn,
    EnvironmentOut,
    EnvironmentPatch,
    PlanOut,
    PromoteIn,
    ReleaseOut,
    RollbackIn,
)
from devflow.api.v1.deployments import deploy, deployment_page, roll_back
from devflow.apps.accounts.rights import Actor
from devflow.apps.deployments.planning import recipe_of
from devflow.apps.deployments.selectors import plan_document, plan_preview, release_list
from devflow.apps.deployments.services import deployment_promote, inspection_request
from devflow.apps.projects import selectors, services
from devflow.apps.projects.models import Environment
from devflow.apps.projects.selectors import environment_get
from devflow.core import names
from devflow.core.errors import ConflictError

INSPECTION_SECONDS: Final = 20.0
INSPECTION_POLL_SECONDS: Final = 0.25

router = Router(tags=["environments"])


@router.get("{slug}/environments", response=Page[EnvironmentOut])
def environment_list(request: ApiRequest, slug: str, paging: PageQuery) -> Page[EnvironmentOut]:
    """The project's environments, the first ones first."""
    project = selectors.project_get(actor=request.auth, slug=slug)
    rows, following = cut(project.environments.all(), paging, key=lambda environment: str(environment.pk))
    return Page[EnvironmentOut](items=[EnvironmentOut.of(environment) for environment in rows], next=following)


@router.post("{slug}/environments", response={201: EnvironmentOut})
def environment_add(request: ApiRequest, slug: str, payload: EnvironmentIn) -> EnvironmentOut:
    project = selectors.project_get(actor=request.auth, slug=slug)
    services.environment_add(actor=request.auth, project=project, **payload.given())
    return EnvironmentOut.of(environment_get(actor=request.auth, slug=slug, name=payload.name))


@router.get("{slug}/environments/{name}", response=EnvironmentOut)
def environment_show(request: ApiRequest, slug: str, name: str) -> EnvironmentOut:
    return EnvironmentOut.of(environment_get(actor=request.auth, slug=slug, name=name))


@router.patch("{slug}/environments/{name}", response=EnvironmentOut)
def environment_update(request: ApiRequest, slug: str, name: str, payload: EnvironmentPatch) -> EnvironmentOut:
    """Changes what is sent; it takes effect with the next deployment."""
    environment = environment_get(actor=request.auth, slug=slug, name=name)
    services.environment_update(actor=request.auth, environment=environment, **payload.given())
    return EnvironmentOut.of(environment_get(actor=request.auth, slug=slug, name=name))


@router.delete("{slug}/environments/{name}", response={204: None})
def environment_remove(request: ApiRequest, slug: str, name: str) -> None:
    """Forgets the environment and its deployments; what runs on the servers goes on running, and is served. 409 while
    it is deployed."""
    environment = environment_get(actor=request.auth, slug=slug, name=name)
    services.environment_remove(actor=request.auth, environment=environment)


@router.get("{slug}/environments/{name}/plan", response=PlanOut)
def environment_plan(request: ApiRequest, slug: str, name: str, commit: str = "") -> PlanOut:
    """What a deployment would do now, without doing it.

    The repository is looked into first where the framework is not known yet, the project's devflow.yml is in force, or
    it is a Compose file that is deployed.
    """
    if commit:
        names.commit(commit)
    environment = environment_get(actor=request.auth, slug=slug, name=name)
    if recipe_of(environment) in ("", "compose") or environment.project.reads_file:
        environment = _inspected(request.auth, environment)
    plan = plan_preview(actor=request.auth, environment=environment, commit=commit)
    return PlanOut.model_validate(plan_document(plan))


@router.get("{slug}/environments/{name}/releases", response=Page[ReleaseOut])
def environment_releases(request: ApiRequest, slug: str, name: str, paging: PageQuery) -> Page[ReleaseOut]:
    """The releases that the servers keep, the newest first."""
    environment = environment_get(actor=request.auth, slug=slug, name=name)
    releases = release_list(actor=request.auth, environment=environment)
    rows, following = cut(releases, paging, key=lambda release: release.name, is_descending=True)
    return Page[ReleaseOut](items=[ReleaseOut.of(release) for release in rows], next=following)


@router.get("{slug}/environments/{name}/deployments", response=Page[DeploymentOut])
def environment_deployments(
    request: ApiRequest, slug: str, name: str, paging: PageQuery, status: str = ""
) -> Page[DeploymentOut]:
    """The newest first."""
    environment = environment_get(actor=request.auth, slug=slug, name=name)
    return deployment_page(request.auth, paging, environment=environment, status=status)


@router.post("{slug}/environments/{name}/deployments", response={202: DeploymentOut})
def environment_deploy(request: ApiRequest, slug: str, name: str, payload: DeployIn) -> DeploymentOut:
    """Queues a deployment; one that is still queued is superseded by it."""
    return deploy(request.auth, slug, name, payload)


@router.post("{slug}/environments/{name}/promote", response={202: DeploymentOut})
def environment_promote(request: ApiRequest, slug: str, name: str, payload: PromoteIn) -> DeploymentOut:
    """Queues a deployment, to this environment, of the commit that serves in another one of the project. 409 where
    nothing serves there, or the same commit serves here."""
    target = environment_get(actor=request.auth, slug=slug, name=name)
    source = environment_get(actor=request.auth, slug=slug, name=payload.source)
    deployment = deployment_promote(
        actor=request.auth, source=source, target=target, override_reason=payload.override_reason
    )
    return DeploymentOut.of(deployment)


@router.post("{slug}/environments/{name}/rollback", response={202: DeploymentOut})
def environment_rollback(request: ApiRequest, slug: str, name: str, payload: RollbackIn) -> DeploymentOut:
    """Queues going back to the release of the deployment `to`; without it, to the one before the current release."""
    environment = environment_get(actor=request.auth, slug=slug, name=name)
    return roll_back(request.auth, environment, payload.to)


def _inspected(actor: Actor, environment: Environment) -> Environment:
    """The environment after a worker has looked into its repository. Raises ConflictError with what went wrong."""
    before = environment.detected
    inspection_request(actor=actor, environment=environment)
    deadline = time.monotonic() + INSPECTION_SECONDS
    while time.monotonic() < deadline:
        time.sleep(INSPECTION_POLL_SECONDS)
        seen = environment_get(actor=actor, slug=environment.project.slug, name=environment.name)
        if seen.detected != before:
            if error := seen.detected.get("error"):
                raise ConflictError(f"The repository could not be looked at: {error}")
            return seen
    raise ConflictError(
        f"No worker looked into the repository within {INSPECTION_SECONDS:.0f} s. "
        "Check that one runs (`devflow doctor`), or choose a recipe."
    )
