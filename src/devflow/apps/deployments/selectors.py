"""Reads of deployments, their steps, events, logs and releases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from typing import Any
from uuid import UUID

from django.db.models import Q, TextChoices
from django_scopes import scope, scopes_disabled

from devflow.apps import replica
from devflow.apps.accounts.rights import Actor, Place
from devflow.apps.containers.budgets import disk_warnings
from devflow.apps.deployments.models import ENDED, UNLISTED, Deployment, Event, Release, Status, Step, Trigger
from devflow.apps.deployments.planning import plan_deploy, recipe_of
from devflow.apps.deployments.settings import file_of, plan_settings
from devflow.apps.deployments.variables import missing_warnings
from devflow.apps.projects.models import Environment, Project
from devflow.apps.projects.windows import calendar_of, closed_now
from devflow.core.errors import ConflictError, InvalidError, NotFoundError
from devflow.engine.plan import Plan

_FOLDED_AT_MOST = 20_000


@replica.listed
def deployment_list(
    *,
    actor: Actor,
    project: Project | None = None,
    environment: Environment | None = None,
    status: str = "",
    trigger: str = "",
    commit: str = "",
    by: str = "",
    before: str = "",
    limit: int = 50,
    is_folded: bool = False,
) -> list[Deployment]:
    """The newest first, with project, environment and requester loaded; `before` is the id of the last one seen.

    `commit` is how its id begins, `by` a part of the name or address of who asked for it, or of the commit's author.
    With `is_folded` those that were superseded are counted (`superseded`) with the next newer one of their environment
    instead of being listed, unless their status is asked for. Raises InvalidError (there is no such status, trigger).
    """
    with scope(team=actor.team):
        every = Deployment.objects.select_related("project", "environment", "requested_by").defer(*UNLISTED)
        found = actor.narrowed(every, "project")
        if project:
            found = found.filter(project=project)
        if environment:
            found = found.filter(environment=environment)
        if status:
            found = found.filter(status=_choice("status", status, Status))
        if trigger:
            found = found.filter(trigger=_choice("trigger", trigger, Trigger))
        if commit:
            found = found.filter(commit__startswith=commit.lower())
        if by:
            person = Q(requested_by__email__icontains=by) | Q(requested_by__name__icontains=by)
            found = found.filter(person | Q(author__icontains=by))
        if _uuid(before):
            found = found.filter(pk__lt=before)
        if not is_folded or status:
            return list(found.order_by("-id")[:limit])
        listed = list(found.exclude(status=Status.SUPERSEDED).order_by("-id")[:limit])
        superseded = found.filter(status=Status.SUPERSEDED)
        if len(listed) == limit:
            superseded = superseded.filter(pk__gt=listed[-1].pk)
        _fold(listed, superseded.order_by("-id").values_list("environment_id", "pk")[:_FOLDED_AT_MOST])
        return listed


def _choice(name: str, value: str, choices: type[TextChoices]) -> str:
    if value not in choices.values:
        message = f"There is no {name} {value[:60]!r}; there are {', '.join(choices.values)}."
        raise InvalidError(message, {name: message})
    return value


def _fold(listed: list[Deployment], superseded: Iterable[tuple[UUID, UUID]]) -> None:
    """Counts each superseded deployment with the next newer one of its environment that is listed."""
    of: dict[UUID, list[Deployment]] = {}
    for deployment in listed:
        of.setdefault(deployment.environment_id, []).append(deployment)
    for environment_id, pk in superseded:
        newer = [each for each in of.get(environment_id, ()) if each.pk > pk]
        if newer:
            newer[-1].superseded += 1


def deployment_newest(*, actor: Actor, environment: Environment) -> Deployment | None:
    """The newest deployment of the environment, with project, environment and requester loaded."""
    with scope(team=actor.team):
        found = Deployment.objects.select_related("project", "environment", "requested_by").defer(*UNLISTED)
        return actor.narrowed(found, "project").filter(environment=environment).order_by("-id").first()


def deployment_statuses(*, actor: Actor, deployment_ids: Iterable[str]) -> dict[str, str]:
    """The statuses of these deployments that are there still, by their ids."""
    with scope(team=actor.team):
        found = Deployment.objects.filter(pk__in=[each for each in deployment_ids if _uuid(each)])
        return {str(pk): status for pk, status in found.values_list("pk", "status")}


def deployment_get(*, actor: Actor, deployment_id: str) -> Deployment:
    """Raises NotFoundError."""
    with scope(team=actor.team):
        found = None
        if _uuid(deployment_id):
            related = ("project", "environment", "requested_by", "rollback_to")
            every = Deployment.objects.select_related(*related).filter(pk=deployment_id)
            found = actor.narrowed(every, "project").first()
    if found is None:
        raise NotFoundError(f"There is no deployment {deployment_id!r} in this team.")
    return found


def place_get(*, actor: Actor, deployment_id: UUID) -> Place:
    """Where the deployment is: for asking rights before it is loaded. Raises NotFoundError."""
    with scope(team=actor.team):
        only = ("team", "environment__team", "environment__project", "environment__is_protected")
        every = Deployment.objects.select_related("environment").only(*only).filter(pk=deployment_id)
        found = actor.narrowed(every, "project").first()
    if found is None:
        raise NotFoundError(f"There is no deployment {deployment_id!r} in this team.")
    return found.place


def step_list(*, actor: Actor, deployment: Deployment) -> list[Step]:
    """In the order of the plan; servers within."""
    with scope(team=actor.team):
        return list(Step.objects.filter(deployment=deployment))


def event_list(*, deployment_id: UUID | str, after_seq: int, limit: int = 500) -> list[Event]:
    """Events after `after_seq` in order. The caller has checked that the reader may see the deployment."""
    with scopes_disabled():
        return list(Event.objects.filter(deployment_id=deployment_id, seq__gt=after_seq).order_by("seq")[:limit])


def cancels_among(*, deployment_ids: list[str]) -> list[str]:
    """Those of these deployments that somebody cancelled."""
    with scopes_disabled():
        cancelled = Deployment.objects.filter(pk__in=deployment_ids).exclude(cancel_requested_at=None)
        return [str(pk) for pk in cancelled.values_list("pk", flat=True)]


def log_read(*, actor: Actor, deployment: Deployment, offset: int = 0) -> Iterator[bytes]:
    """The log as text in UTF-8 from byte `offset`, chunk by chunk."""
    with scope(team=actor.team):
        logs = Event.objects.filter(deployment=deployment, kind="deployment.log").order_by("seq")
        first = logs.filter(log_offset__lte=offset).values_list("seq", flat=True).last() or 0
        seq = first - 1
    while True:
        with scope(team=actor.team):
            page = list(logs.filter(seq__gt=seq).values_list("seq", "log_offset", "text")[:200])
        if not page:
            return
        yield b"".join(text.encode()[max(0, offset - start) :] for _, start, text in page)
        seq = page[-1][0]


def release_list(*, actor: Actor, environment: Environment) -> list[Release]:
    """The releases that the environment's servers keep, the newest first, with their deployments."""
    with scope(team=actor.team):
        kept = Release.objects.filter(environment=environment, pruned_at=None)
        return list(kept.select_related("deployment__requested_by").order_by("-name"))


def plan_preview(*, actor: Actor, environment: Environment, commit: str = "") -> Plan:
    """What a deployment would do now, with the devflow.yml that the last look found where the project has it read.

    Raises ConflictError while that or the recipe is not known, InvalidError where the file is not valid.
    """
    recipe, detected = recipe_of(environment), environment.detected
    if not recipe:
        raise ConflictError("The framework is not known yet: it is detected when the repository is first looked at.")
    if environment.project.reads_file and "file" not in detected:
        raise ConflictError("devflow.yml is not known yet: it is read when the repository is first looked at.")
    file = file_of(environment, detected)
    with scope(team=actor.team):
        plan = plan_deploy(environment=environment, recipe=recipe, release="<release>", commit=commit, file=file)
        warnings = (*missing_warnings(environment), *disk_warnings(environment.project))
        plan = replace(plan, warnings=(*plan.warnings, *warnings))
    if file and commit and commit != detected["commit"]:
        warning = f"devflow.yml is that of commit {detected['commit'][:10]}; a deployment reads it at its own commit."
        plan = replace(plan, warnings=(*plan.warnings, warning))
    return plan


def deployment_document(deployment: Deployment, steps: Iterable[Step] | None = None) -> dict[str, Any]:
    """A deployment as the API, the CLI and the streams show it (INTERFACE, "A deployment")."""
    document: dict[str, Any] = {
        "id": str(deployment.pk),
        "project": deployment.project.slug,
        "environment": deployment.environment.name,
        "status": deployment.status,
        "commit": deployment.commit or None,
        "branch": deployment.branch,
        "message": deployment.commit_message,
        "author": deployment.author or None,
        "trigger": deployment.trigger,
        "requested_by": deployment.requested_by.handle if deployment.requested_by else None,
        "created_at": _time(deployment.created_at),
        "started_at": _time(deployment.started_at),
        "finished_at": _time(deployment.finished_at),
        "duration_seconds": deployment.duration_seconds,
        "strategy": deployment.strategy,
        "release": deployment.release,
        "servers": deployment.server_names,
        "error": deployment.error or None,
        "waiting_for": deployment.waiting_for or None,
        "waiting_reason": waiting_reason(deployment) or None,
        "due_at": _time(deployment.due_at),
        "due_there": calendar_of(deployment.environment).local(deployment.due_at) if deployment.due_at else None,
        "override_reason": deployment.override_reason or None,
        "is_clean": deployment.is_clean,
        "log_lines": deployment.log_lines,
        "log_bytes": deployment.log_bytes,
        "last_seq": deployment.last_seq,
        "is_ended": deployment.status in ENDED,
    }
    if steps is not None:
        document["steps"] = [step_document(step) for step in steps]
    return document


def waiting_reason(deployment: Deployment) -> str:
    """What a deployment waits for, in words; '' where it does not wait."""
    if deployment.status != Status.WAITING or deployment.waiting_for != "window":
        return ""
    closed = closed_now(deployment.environment)
    return closed.reason if closed else "Its window has just opened"


def step_document(step: Step) -> dict[str, Any]:
    return {
        "id": str(step.pk),
        "name": step.name,
        "server": step.server_name,
        "phase": step.phase,
        "status": step.status,
        "started_at": _time(step.started_at),
        "duration_seconds": step.duration_seconds,
        "exit_code": step.exit_code,
    }


def plan_document(plan: Plan) -> dict[str, Any]:
    """A plan for people and programs: steps with their commands, servers, and how each is undone."""
    site = plan.site
    return {
        "strategy": plan.strategy,
        "recipe": plan.recipe,
        "release": plan.release,
        "commit": plan.commit or None,
        "branch": site.branch,
        "repository": site.repository,
        "root": site.root,
        "keep": site.keep,
        "servers": [target.name for target in site.targets],
        "variables": list(site.variable_keys),
        "shared_files": list(site.shared_files),
        "shared_folders": list(site.shared_folders),
        "settings": plan_settings(plan),
        "warnings": list(plan.warnings),
        "is_clean": plan.is_clean,
        "services": [asdict(service) for service in plan.services],
        "steps": [
            {
                "name": step.task.name,
                "phase": step.task.phase.value,
                "servers": list(step.servers),
                "command": step.task.command.strip(),
                "condition": step.task.condition or None,
                "reused_while": step.task.reuse.told if step.task.reuse else None,
                "undo": step.task.undo,
                "is_builtin": step.task.is_builtin,
                "summary": step.task.summary,
            }
            for step in plan.steps
        ],
    }


def _time(value: Any) -> str | None:
    return value.isoformat() if value else None


def _uuid(value: str) -> bool:
    try:
        UUID(str(value))
    except ValueError:
        return False
    return True
