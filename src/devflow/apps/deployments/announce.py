"""Tells those outside how a deployment fares: the team's channels, and the git provider where the project reports."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.utils import timezone
from django_scopes import scope

from devflow.apps.accounts import rights
from devflow.apps.accounts.models import Team
from devflow.apps.deployments.models import ACTIVE, Deployment, Status, Step, StepStatus
from devflow.apps.notifications import push, selectors, services
from devflow.apps.notifications.messages import Message, Tone
from devflow.apps.projects.models import Project
from devflow.apps.projects.windows import calendar_of, closed_now
from devflow.apps.sources.reports import report

STARTED, WAITING = "deployment.started", "deployment.waiting"
_ENDED = {
    Status.SUCCESS: "deployment.succeeded",
    Status.FAILED: "deployment.failed",
    Status.ROLLED_BACK: "deployment.rolled_back",
    Status.CANCELLED: "deployment.cancelled",
}
_TITLES: dict[str, tuple[str, Tone]] = {
    STARTED: ("Deployment of {project} to {environment} started", "neutral"),
    WAITING: ("Deployment of {project} to {environment} waits", "warning"),
    "deployment.succeeded": ("{project} was deployed to {environment}", "good"),
    "deployment.failed": ("Deployment of {project} to {environment} failed", "bad"),
    "deployment.rolled_back": ("Deployment of {project} to {environment} was rolled back", "bad"),
    "deployment.cancelled": ("Deployment of {project} to {environment} was cancelled", "neutral"),
}
_PUSHED = ("deployment.failed", "deployment.rolled_back", WAITING)
"""What people are told on their devices too: it failed, or waits for somebody."""
_WAITS_FOR_DECISION = (
    "Its canary is on hold: resume, promote or abort it. Nothing else can be deployed there meanwhile."
)


def ended_event(status: str) -> str | None:
    """The event of a deployment that ended so; None for one that was superseded: its successor will be told of."""
    return _ENDED.get(Status(status))


def deployment_changed(
    *, deployment_id: UUID, team_id: UUID, event: str | None, by: UUID | None = None, project: Project | None = None
) -> None:
    """Queues what is to be told, in the caller's transaction, after the deployment's row was written; `by` is the
    person who has it wait, and knows; `project`, where its source is loaded, spares a statement.

    Sends nothing itself, so it costs a deployment a few statements, whatever the services outside do.
    """
    with scope(team=Team(pk=team_id)):
        found = Deployment.objects.filter(pk=deployment_id)
        if project is not None and event not in _PUSHED:
            project_id: UUID | None = project.pk
            access_token = project.source.access_token_sealed if project.source else None
            has_devices = False
        else:
            columns = ("project_id", "project__source__access_token_sealed", "has_devices")
            known = found.annotate(has_devices=push.has_devices(team_id=team_id)).values_list(*columns).first()
            project_id, access_token, has_devices = known or (None, None, False)
        is_wanted = event is not None and selectors.is_wanted(team_id=team_id, project_id=project_id, event=event)
        is_pushed = has_devices and event in _PUSHED
        if (
            not access_token and not is_wanted and not is_pushed
        ):  # nobody to tell: it shall cost a push or a deployment next to nothing
            return
        whole = found.select_related("team", "project__source", "environment", "requested_by")
        deployment = whole.defer("plan", "observed").get()
        _report(deployment)
        if event is None or not (is_wanted or is_pushed):
            return
        message = _message(deployment, event)
        if is_wanted:
            services.notify(
                team=deployment.team,
                project_id=deployment.project_id,
                event=event,
                subject=str(deployment.pk),
                message=message,
            )
        if is_pushed:
            _push(deployment, message, event, by)


def _push(deployment: Deployment, message: Message, event: str, by: UUID | None) -> None:
    """Who is told that it waits is who may end that. Errors and the commands of hooks are left out: they may hold
    secrets, and are for who is logged in."""
    right = rights.READ
    if event == WAITING:
        right = rights.DEPLOY if deployment.status in ACTIVE else rights.APPROVE
    step = message.failed_step.partition(":")[0]  # of a hook its place: its command follows
    failed = f"Failed: {step} on {message.failed_server}" if step else ""
    push.push(
        team=deployment.team,
        environment_id=deployment.environment_id,
        right=right,
        title=message.title,
        text=message.text or failed,
        url=deployment_path(deployment.pk),
        subject=str(deployment.pk),
        but=by,
    )


def _report(deployment: Deployment) -> None:
    """Has the git provider told, where the project has access to it."""
    source = deployment.project.source
    if source is None:
        return
    state, description = _reported(deployment)
    report(
        source=source,
        deployment_id=deployment.pk,
        environment=deployment.environment.name,
        commit=deployment.commit,
        state=state,
        description=description,
        url=deployment_url(deployment.pk),
        branch=deployment.branch,
    )


def _reported(deployment: Deployment) -> tuple[str, str]:
    """The state of the commit, and a line about it."""
    where = deployment.environment.name
    seconds = deployment.duration_seconds
    took = f" in {seconds:.0f} s" if seconds is not None else ""
    reason = deployment.error.partition("\n")[0]
    return {
        Status.SUCCESS: ("success", f"Deployed to {where}{took}"),
        Status.FAILED: ("failure", f"Not deployed to {where}: {reason}"),
        Status.ROLLED_BACK: ("failure", f"Rolled back in {where}: {reason}"),
        Status.CANCELLED: ("cancelled", reason or "Cancelled"),
        Status.SUPERSEDED: ("cancelled", "Superseded by a newer deployment"),
        Status.WAITING: ("waiting", f"Waits to be deployed to {where}"),
        Status.QUEUED: ("waiting", f"Queued for {where}"),
    }.get(Status(deployment.status), ("pending", f"Deploying to {where}"))


def deployment_url(deployment_id: UUID) -> str:
    """The full address of a deployment's page."""
    return f"{settings.PUBLIC_URL}{deployment_path(deployment_id)}"


def deployment_path(deployment_id: UUID) -> str:
    return f"/deployments/{deployment_id}/"  # not by reverse(): the worker knows no pages


def _message(deployment: Deployment, event: str) -> Message:
    project, environment = deployment.project.name, deployment.environment.name
    title, tone = _TITLES[event]
    if event == "deployment.succeeded" and deployment.rollback_to_id:
        title = "{project} went back to an earlier release in {environment}"
    has_failed = event in ("deployment.failed", "deployment.rolled_back")
    failed = Step.objects.filter(deployment=deployment, status=StepStatus.FAILED).first() if has_failed else None
    return Message(
        title=title.format(project=project, environment=environment),
        tone=tone,
        text=_waits(deployment) if event == WAITING else "",
        url=deployment_url(deployment.pk),
        occurred_at=(deployment.finished_at or timezone.now()).isoformat(),
        team=deployment.team.name,
        project=project,
        environment=environment,
        status=deployment.status,
        deployment=str(deployment.pk),
        trigger=deployment.trigger,
        branch=deployment.branch,
        commit=deployment.commit,
        commit_message=deployment.commit_message,
        author=deployment.author,
        requested_by=str(deployment.requested_by or ""),
        duration_seconds=deployment.duration_seconds,
        failed_step=failed.name if failed else "",
        failed_server=failed.server_name if failed else "",
        error=deployment.error if has_failed or event == "deployment.cancelled" else "",
    )


def _waits(deployment: Deployment) -> str:
    if deployment.status in ACTIVE:
        return _WAITS_FOR_DECISION
    if deployment.waiting_for != "window":
        return f"It waits for: {deployment.waiting_for}." if deployment.waiting_for else ""
    closed = closed_now(deployment.environment)
    reason = f"{closed.reason}. " if closed else ""
    if deployment.due_at is None:
        return f"{reason}It waits until that is lifted."
    return f"{reason}It begins on {calendar_of(deployment.environment).local(deployment.due_at)}."
