"""Projects."""

from ninja import Router

from devflow.api.auth import ApiRequest
from devflow.api.paging import Page, PageQuery, first
from devflow.api.schemas import DeploymentOut, ProjectDeployIn, ProjectIn, ProjectOut, ProjectPatch
from devflow.api.v1.deployments import deploy
from devflow.apps.projects import selectors, services

router = Router(tags=["projects"])


@router.get("", response=Page[ProjectOut])
def project_list(request: ApiRequest, paging: PageQuery) -> Page[ProjectOut]:
    """The team's projects by slug, with their environments."""
    found = selectors.project_list(actor=request.auth, after=paging.after, limit=paging.limit + 1)
    rows, following = first(found, paging, key=lambda project: project.slug)
    return Page[ProjectOut](items=[ProjectOut.of(project) for project in rows], next=following)


@router.post("", response={201: ProjectOut})
def project_add(request: ApiRequest, payload: ProjectIn) -> ProjectOut:
    """Adds a project. Add `deploy_key_public` to the repository where there is one."""
    project = services.project_add(actor=request.auth, **payload.model_dump())
    return ProjectOut.of(selectors.project_get(actor=request.auth, slug=project.slug))


@router.get("{slug}", response=ProjectOut)
def project_show(request: ApiRequest, slug: str) -> ProjectOut:
    return ProjectOut.of(selectors.project_get(actor=request.auth, slug=slug))


@router.patch("{slug}", response=ProjectOut)
def project_update(request: ApiRequest, slug: str, payload: ProjectPatch) -> ProjectOut:
    """Changes what is sent."""
    project = selectors.project_get(actor=request.auth, slug=slug)
    return ProjectOut.of(services.project_update(actor=request.auth, project=project, **payload.given()))


@router.delete("{slug}", response={204: None})
def project_remove(request: ApiRequest, slug: str) -> None:
    """Forgets the project with all its environments; what runs on the servers goes on running, and is served. 409 while
    one is deployed."""
    services.project_remove(actor=request.auth, project=selectors.project_get(actor=request.auth, slug=slug))


@router.post("{slug}/deploy", response={202: DeploymentOut})
def project_deploy(request: ApiRequest, slug: str, payload: ProjectDeployIn) -> DeploymentOut:
    """Queues a deployment; the same as a POST on the environment's deployments."""
    return deploy(request.auth, slug, payload.environment, payload)
