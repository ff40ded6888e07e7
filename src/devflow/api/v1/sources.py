"""Access to a project's git provider: commit statuses, deployments and tags there."""

from datetime import datetime
from typing import Self
from uuid import UUID

from ninja import Router
from pydantic import BaseModel, Field

from devflow.api.auth import ApiRequest, require_recent
from devflow.api.schemas import UNCHANGED, Input
from devflow.apps.accounts import rights
from devflow.apps.deployments.selectors import deployment_get
from devflow.apps.projects.models import Project
from devflow.apps.projects.selectors import project_get
from devflow.apps.projects.services import project_source
from devflow.apps.sources import reports
from devflow.apps.sources.models import Report
from devflow.apps.sources.reports import TAG_FIELDS
from devflow.core.errors import ConflictError, OutgoingError

router = Router(tags=["sources"])


class SourcePatch(Input):
    api_url: str = Field(
        UNCHANGED,
        description="Base of the API. Empty: the provider's own, or that of the repository's host.",
        examples=["https://gitlab.example.com/api/v4"],
    )
    access_token: str = Field(UNCHANGED, description="Kept sealed, never shown again. Empty: forgotten.")
    repository: str = Field(UNCHANGED, description="Name at the provider. Empty: as in the repository's address.")
    reports: bool = Field(UNCHANGED, description="Tell the provider of deployments.")
    tag_format: str = Field(
        UNCHANGED,
        description=f"Tag of a successful deployment, of {', '.join(TAG_FIELDS)}. Empty: none.",
        examples=["deployed-{environment}-{date}-{number}"],
    )


class SourceOut(BaseModel):
    """`provider`, `api_url` and `repository` are those in force, also where they were guessed; `hook_id` is set where
    the panel made the webhook, `hook_problem` where it could not."""

    provider: str | None
    api_url: str | None
    repository: str | None
    has_access_token: bool
    reports: bool
    tag_format: str
    hook_id: str | None
    hook_problem: str | None

    @classmethod
    def of(cls, project: Project) -> Self:
        shown = reports.source_shown(project.source, project.repository)
        source = project.source
        return cls(
            provider=shown.provider or None,
            api_url=shown.api_url or None,
            repository=shown.repository or None,
            has_access_token=bool(source and source.access_token_sealed),
            reports=source.reports if source else True,
            tag_format=source.tag_format if source else "",
            hook_id=source.hook_id or None if source else None,
            hook_problem=source.hook_problem or None if source else None,
        )


class TestedOut(BaseModel):
    """The repository's name, as the provider gave it; or why it did not."""

    ok: bool
    repository: str | None
    error: str | None


class ReportOut(BaseModel):
    """What the provider was told of a deployment: `status` is pending, sending, sent, failed or skipped (a newer state
    made it needless)."""

    id: UUID
    state: str
    description: str
    context: str
    status: str
    attempts: int
    next_attempt_at: datetime | None
    tag: str | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, report: Report) -> Self:
        is_open = report.finished_at is None
        return cls(
            id=report.pk,
            state=report.state,
            description=report.description,
            context=report.context,
            status=report.status,
            attempts=report.attempts,
            next_attempt_at=report.next_attempt_at if is_open else None,
            tag=report.tag or None,
            error=report.error or None,
            created_at=report.created_at,
            finished_at=report.finished_at,
        )


@router.get("projects/{slug}/source", response=SourceOut)
def source_show(request: ApiRequest, slug: str) -> SourceOut:
    return SourceOut.of(project_get(actor=request.auth, slug=slug))


@router.patch("projects/{slug}/source", response=SourceOut)
def source_update(request: ApiRequest, slug: str, payload: SourcePatch) -> SourceOut:
    """Changes what is sent."""
    require_recent(request)
    project = project_get(actor=request.auth, slug=slug)
    source = project_source(actor=request.auth, project=project)
    reports.source_update(actor=request.auth, source=source, **payload.given())
    return SourceOut.of(project_get(actor=request.auth, slug=slug))


@router.post("projects/{slug}/source/test", response=TestedOut)
def source_test(request: ApiRequest, slug: str) -> TestedOut:
    """Asks the provider for the repository, with the access token."""
    project = project_get(actor=request.auth, slug=slug)
    request.auth.require(rights.MANAGE, project)
    if project.source is None:
        raise ConflictError("There is no access token yet.")
    try:
        name = reports.source_test(actor=request.auth, source=project.source)
    except OutgoingError as error:
        return TestedOut(ok=False, repository=None, error=str(error))
    return TestedOut(ok=True, repository=name, error=None)


@router.post("projects/{slug}/source/webhook", response={202: SourceOut})
def source_webhook(request: ApiRequest, slug: str) -> SourceOut:
    """Has the webhook made at the provider; `hook_id` or `hook_problem` tell what came of it."""
    project = project_get(actor=request.auth, slug=slug)
    request.auth.require(rights.MANAGE, project)
    if project.source is None:
        raise ConflictError("There is no access token yet.")
    reports.hook_create(actor=request.auth, source=project.source)
    return SourceOut.of(project)


@router.get("deployments/{deployment_id}/reports", response=list[ReportOut])
def deployment_reports(request: ApiRequest, deployment_id: str) -> list[ReportOut]:
    """What the provider was told of the deployment, the oldest first."""
    deployment = deployment_get(actor=request.auth, deployment_id=deployment_id)
    told = reports.report_list(actor=request.auth, deployment_id=deployment.pk)
    return [ReportOut.of(report) for report in told]
