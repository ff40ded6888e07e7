"""Writes of deployments: asked for, cancelled, rolled back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, TextField
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast
from django.utils import timezone
from django_scopes import scope, scopes_disabled
from procrastinate.contrib.django.models import ProcrastinateJob

from devflow.apps.accounts import rights
from devflow.apps.accounts.models import User
from devflow.apps.accounts.rights import Actor
from devflow.apps.audit.services import audit_record
from devflow.apps.deployments import announce, events
from devflow.apps.deployments.events import NewEvent
from devflow.apps.deployments.models import ACTIVE, ENDED, STEERING, WAITING, Deployment, Release, Status, Trigger
from devflow.apps.deployments.planning import release_name
from devflow.apps.projects.models import Environment, Project
from devflow.apps.projects.windows import calendar_of, closed_now
from devflow.apps.queue import MANUAL, WEBHOOK, enqueue
from devflow.apps.servers.models import ServerStatus
from devflow.core import names
from devflow.core.errors import ConflictError, InvalidError, NotFoundError
from devflow.core.windows import Closed

WINDOW = "window"
"""What `waiting_for` says of a deployment that waits for its environment's window."""
WITH_BRANCH = (Trigger.MANUAL, Trigger.API)
"""These say themselves of which branch they are; that of a pushed tag is the tag, and what follows has its commit."""
_BY_HAND = (Trigger.MANUAL, Trigger.API, Trigger.ROLLBACK, Trigger.PROMOTION)


def deployment_request(
    *,
    actor: Actor,
    environment: Environment,
    commit: str = "",
    branch: str = "",
    trigger: str = Trigger.MANUAL,
    is_clean: bool = False,
    override_reason: str | None = None,
) -> Deployment:
    """Queues a deployment of `commit`, or of the head of `branch` ('' for the environment's); an older one that is
    still queued is superseded.

    One that `is_clean` reuses nothing that was made for earlier releases.

    Outside the environment's windows it waits for the next one; who may approve deploys now with an `override_reason`.
    Raises ForbiddenError, InvalidError, ConflictError (a server in maintenance, no server).
    """
    actor.require(rights.DEPLOY, environment)
    if override_reason is not None:
        override_reason = names.single_line(override_reason, "override_reason", 500)
        actor.require(rights.APPROVE, environment)
    if commit:
        names.commit(commit)
    if branch:
        names.branch(branch)
    if commit and branch:
        raise InvalidError("Name a commit or a branch, not both.", {"branch": "A commit is named already."})
    deployment = _new(environment, trigger=trigger, user=actor.user, commit=commit)
    deployment.branch = branch or deployment.branch
    deployment.release, deployment.override_reason = release_name(deployment.pk), override_reason or ""
    deployment.is_clean = is_clean
    with transaction.atomic():
        queued = _queue(deployment)
        told = {"commit": commit or f"the head of {deployment.branch}", "is_clean": is_clean}
        _record(actor, queued, "deployment.requested", {**told, "override_reason": override_reason})
    return queued


def deployment_promote(
    *, actor: Actor, source: Environment, target: Environment, override_reason: str | None = None
) -> Deployment:
    """Queues a deployment, to `target`, of the commit that serves in `source`, another environment of the same project.

    Outside the target's windows it waits, as in `deployment_request`. Raises ForbiddenError, InvalidError,
    ConflictError (nothing serves in `source`, or `target` serves the same commit; a server in maintenance, no server).
    """
    actor.require(rights.DEPLOY, target)
    if override_reason is not None:
        override_reason = names.single_line(override_reason, "override_reason", 500)
        actor.require(rights.APPROVE, target)
    if source.project_id != target.project_id or source.pk == target.pk:
        message = f"Choose two environments of {target.project.slug}, one to take the commit from and another."
        raise InvalidError(message, {"source": message})
    with scope(team=target.team):
        serving = Release.objects.filter(environment__in=(source, target), is_current=True).select_related("deployment")
        commits = {release.environment_id: release.deployment for release in serving}
    promoted = commits.get(source.pk)
    if promoted is None or not promoted.commit:
        raise ConflictError(f"{source} serves no commit yet. Deploy there first.")
    there = commits.get(target.pk)
    if there and there.commit == promoted.commit:
        raise ConflictError(f"{target} serves {promoted.commit[:8]} already, the commit of {source.name}.")
    deployment = _new(target, trigger=Trigger.PROMOTION, user=actor.user, commit=promoted.commit)
    deployment.release, deployment.override_reason = release_name(deployment.pk), override_reason or ""
    deployment.branch, deployment.commit_message, deployment.author = (
        promoted.branch,
        promoted.commit_message,
        promoted.author,
    )
    with transaction.atomic():
        queued = _queue(deployment)
        told: dict[str, object] = {"commit": promoted.commit, "from": source.name, "deployment": str(promoted.pk)}
        _record(actor, queued, "deployment.promoted", {**told, "override_reason": override_reason})
    return queued


def deployment_rollback(*, actor: Actor, environment: Environment, to: Deployment | None = None) -> Deployment:
    """Queues going back to the kept release of `to`, or to the one that served before the current.

    Raises ForbiddenError, ConflictError (nothing to go back to, or not kept any more).
    """
    actor.require(rights.DEPLOY, environment)
    with scope(team=environment.team):
        kept = {
            release.name: release
            for release in Release.objects.filter(environment=environment, pruned_at=None).select_related("deployment")
        }
        current = next((release for release in kept.values() if release.is_current), None)
        names_wanted = [to.release] if to else _served_before(environment, current.name if current else "")
    wanted = next((kept[name] for name in names_wanted if name in kept), None)
    if wanted is None and to is not None:
        raise ConflictError("The release of this deployment is not kept any more. Deploy its commit instead.")
    if wanted is None:
        raise ConflictError(f"{environment} has no earlier release to go back to.{_others(kept)}")
    if wanted.is_current:
        raise ConflictError("This release is the current one already.")
    source = wanted.deployment
    deployment = _new(environment, trigger=Trigger.ROLLBACK, user=actor.user, commit=source.commit)
    deployment.release, deployment.rollback_to = wanted.name, source
    deployment.branch, deployment.commit_message, deployment.author = (
        source.branch,
        source.commit_message,
        source.author,
    )
    with transaction.atomic():
        queued = _queue(deployment)
        _record(actor, queued, "deployment.rollback_requested", {"to": wanted.name, "commit": source.commit})
    return queued


def _served_before(environment: Environment, current: str) -> list[str]:
    """Names of the releases that served before `current`, the last one first. What was gone back from is none of them:
    nobody wants it back without asking for it by name."""
    ended = Deployment.objects.filter(environment=environment, status=Status.SUCCESS).order_by("finished_at", "pk")
    served: list[str] = []
    for release, rollback_to in ended.values_list("release", "rollback_to"):
        if rollback_to and release in served:
            served = served[: served.index(release)]
        served.append(release)
    if current in served:
        served = served[: served.index(current)]
    return served[::-1]


def _others(kept: dict[str, Release]) -> str:
    """What can be gone to only when it is named."""
    newest = max((release for release in kept.values() if not release.is_current), key=lambda r: r.name, default=None)
    if newest is None:
        return ""
    return (
        f" {newest.name}, which was gone back from, is still kept: to serve it again, name its deployment"
        f" (--to {newest.deployment.pk})."
    )


@dataclass(frozen=True, slots=True)
class Pushed:
    """A commit that was pushed to `ref`, a branch or tag, as the delivery of a webhook tells it."""

    commit: str
    ref: str
    message: str
    author: str
    delivery_id: UUID


def deployments_push(*, environment: Environment, pushed: Sequence[Pushed]) -> list[Deployment]:
    """Queues a deployment of the last of these pushes; those before it are recorded as superseded by it at once.

    Asks nobody's rights: the signatures were right. What was queued before is superseded, whoever asked for it (SPEC
    DEP-13). Raises ConflictError (a server in maintenance, no server), NotFoundError (the environment was removed).
    """
    # ids in order, so that the last is the newest also among those of one millisecond
    ids = sorted(names.uuid7() for _ in pushed)
    made = [_new(environment, trigger=Trigger.WEBHOOK, user=None, commit=each.commit) for each in pushed]
    for deployment, each, new_id in zip(made, pushed, ids, strict=True):
        deployment.pk, deployment.release = new_id, release_name(new_id)
        deployment.branch, deployment.author, deployment.delivery_id = each.ref, each.author, each.delivery_id
        deployment.commit_message = next(iter(each.message.splitlines()), "")[:500]
    *older, newest = made
    for deployment in older:
        deployment.status, deployment.finished_at = Status.SUPERSEDED, timezone.now()
        deployment.error = _superseded_by(newest)
    with transaction.atomic(), scope(team=environment.team):
        _queue(newest, older)
        told: dict[str, object] = {"commit": newest.commit, "ref": newest.branch, "delivery": str(newest.delivery_id)}
        _record(None, newest, "deployment.requested", told)
    return made


def deployment_cancel(*, actor: Actor, deployment: Deployment) -> Deployment:
    """Ends a waiting deployment at once, and has a running one taken back. Raises ForbiddenError, ConflictError."""
    actor.require(rights.DEPLOY, deployment)
    with transaction.atomic(), scope(team=actor.team):
        row = Deployment.objects.select_for_update().get(pk=deployment.pk)
        if row.status in ENDED:
            raise ConflictError(f"This deployment has ended already: {Status(row.status).label.lower()}.")
        row.cancel_requested_at, row.cancelled_by = timezone.now(), actor.user
        row.save(update_fields=["cancel_requested_at", "cancelled_by"])
        _record(actor, row, "deployment.cancelled")
        if row.status in WAITING:
            _end_waiting(row, Status.CANCELLED, f"Cancelled by {actor.user}.", timezone.now())
        else:
            events.announce_cancel(row.pk)
    return row


def deployment_steer(*, actor: Actor, deployment: Deployment, action: str) -> Deployment:
    """Holds a canary at its share, has it go on, gives it everything at once, or takes it back.

    Raises ForbiddenError, InvalidError, ConflictError (no canary that runs).
    """
    actor.require(rights.DEPLOY, deployment)
    if action not in STEERING:
        raise InvalidError(f"There is no action {action[:40]!r}.", {"action": f"Choose one of: {', '.join(STEERING)}."})
    with transaction.atomic(), scope(team=actor.team):
        row = Deployment.objects.select_for_update(no_key=True).get(pk=deployment.pk)
        if not row.is_steerable:
            raise ConflictError("This deployment is no canary that runs: there is nothing to hold or promote.")
        if row.steering in ("promote", "abort"):
            raise ConflictError(f"It was told to {row.steering} already.")
        row.steering = action
        row.save(update_fields=["steering"])
        _append(row, [_said(f"{actor.user} wants the canary to {action}")])
        _record(actor, row, "deployment.steered", {"action": action})
        if action == "hold":
            announce.deployment_changed(
                deployment_id=row.pk, team_id=row.team_id, event=announce.WAITING, by=actor.user.pk
            )
    return row


def steering_of(deployment_id: UUID) -> str:
    """What a person last wanted of the canary, '' for nothing. For the worker that carries it."""
    with scopes_disabled():
        return Deployment.objects.values_list("steering", flat=True).get(pk=deployment_id)


def deployment_override(*, actor: Actor, deployment: Deployment, reason: str) -> Deployment:
    """Has a deployment that waits for a window begin now; who and why is kept with it.

    Raises ForbiddenError, InvalidError, ConflictError (it does not wait for a window).
    """
    actor.require(rights.APPROVE, deployment)
    reason = names.single_line(reason, "override_reason", 500)
    with transaction.atomic(), scope(team=actor.team):
        row = Deployment.objects.select_for_update(no_key=True).get(pk=deployment.pk)
        if row.status != Status.WAITING or row.waiting_for != WINDOW:
            raise ConflictError("This deployment does not wait for a window.")
        row.override_reason = reason
        row.save(update_fields=["override_reason"])
        _record(actor, row, "deployment.approved", {"override_reason": reason})
        _release(row, f"{actor.user} has it begin outside the windows: {reason}")
    return row


def _record(actor: Actor | None, deployment: Deployment, action: str, after: dict[str, object] | None = None) -> None:
    """Tells the audit log; without an actor it was a push."""
    audit_record(
        team=deployment.team,
        actor=actor,
        who="" if actor else "webhook",
        action=action,
        target=str(deployment.environment),
        target_id=str(deployment.pk),
        project_id=deployment.project_id,
        after=after,
    )


def deployment_hold(deployment: Deployment) -> bool:
    """Has a queued deployment wait where its environment was closed since it was asked for; True when it waits now.

    In a transaction; `deployment` is loaded with its environment. Going back and overridden ones are never held.
    """
    closed = _closed(deployment)
    if closed is None:
        return False
    held = Deployment.objects.select_for_update(no_key=True).filter(pk=deployment.pk, status=Status.QUEUED)
    for row in held:
        _wait(row, closed)
        row.save(update_fields=["status", "waiting_for", "due_at"])
        _tell_waiting(row, closed)
        announce.deployment_changed(deployment_id=row.pk, team_id=row.team_id, event=announce.WAITING)
    return True


def inspection_request(*, actor: Actor, environment: Environment) -> None:
    """Has a worker look into the repository; the answer comes in `environment.detected` (recipe, commit, error, at)."""
    actor.require(rights.READ, environment)
    enqueue("deployments.inspect", priority=MANUAL, environment_id=str(environment.pk))


def deployments_adopt(*, limit: int = 20) -> None:
    """Queues a job for deployments that none carries: they waited for their turn or a window, or their job was lost."""
    jobs = ProcrastinateJob.objects.filter(task_name="deployments.advance", status__in=["todo", "doing"])
    carrying = jobs.annotate(deployment=KeyTextTransform("deployment_id", "args"))
    carried = Exists(carrying.filter(deployment=Cast(OuterRef("pk"), TextField())))
    _release_due()
    with scopes_disabled():
        for deployment in _due().filter(~carried).order_by("-priority", "created_at")[:limit]:
            _enqueue(deployment)


def deployment_is_due(deployment_id: str) -> bool:
    """Whether it is under way, or queued where no other is: of a burst of pushes most were superseded meanwhile."""
    with scopes_disabled():
        return _due().filter(pk=deployment_id).exists()


def _due() -> QuerySet[Deployment]:
    others = Deployment.objects.filter(environment=OuterRef("environment"), status__in=ACTIVE)
    return Deployment.objects.filter(Q(status__in=ACTIVE) | Q(~Exists(others), status=Status.QUEUED))


def _new(environment: Environment, *, trigger: str, user: User | None, commit: str) -> Deployment:
    with scope(team=environment.team):
        servers = list(environment.servers.all())
    if not servers:
        raise ConflictError(f"{environment} has no server. Give it one first.")
    resting = [server.name for server in servers if server.status == ServerStatus.MAINTENANCE]
    if resting:
        raise ConflictError(f"In maintenance: {', '.join(resting)}. Switch maintenance off first.")
    return Deployment(
        team=environment.team,
        project=environment.project,
        environment=environment,
        status=Status.QUEUED,
        trigger=trigger,
        requested_by=user,
        priority=MANUAL if trigger in _BY_HAND else WEBHOOK,
        branch=environment.branch,
        commit=commit,
        strategy=environment.strategy,
        server_names=[server.name for server in servers],
    )


def _queue(deployment: Deployment, superseded: Sequence[Deployment] = ()) -> Deployment:
    """Stores it, and with it those that it superseded before they were stored."""
    environment = deployment.environment
    closed = _closed(deployment)
    if closed is not None:
        _wait(deployment, closed)
    with transaction.atomic(savepoint=False), scope(team=deployment.team):
        # The environment's row is the turnstile: two requests at once supersede in order. Without its key: a worker's
        # commit looks whether the environment is still there, while we wait for the row of its deployment.
        active = Exists(Deployment.objects.filter(environment=OuterRef("pk"), status__in=ACTIVE))
        locked = Environment.objects.select_for_update(no_key=True).filter(pk=environment.pk)
        is_busy = locked.values_list(active, flat=True).first()
        if is_busy is None:
            raise NotFoundError("This environment was removed.")
        waiting = Deployment.objects.filter(environment=environment, status__in=(Status.QUEUED, Status.WAITING))
        for older in waiting.only("team", "status").select_for_update(no_key=True):
            _end_waiting(older, Status.SUPERSEDED, _superseded_by(deployment), timezone.now(), environment.project)
        Deployment.objects.bulk_create([deployment, *superseded])
        if closed is not None:
            _tell_waiting(deployment, closed)
        else:
            _tell_override(deployment)
            if is_busy:  # it is taken up when the other has ended (deployments_adopt); unless that is while we commit
                transaction.on_commit(lambda: _enqueue_where_due(deployment), robust=True)
            else:
                _enqueue(deployment)
        event = announce.WAITING if closed else None
        announce.deployment_changed(
            deployment_id=deployment.pk, team_id=deployment.team_id, event=event, project=environment.project
        )
    return deployment


def _superseded_by(newer: Deployment) -> str:
    by = f" (a push of {newer.commit[:8]} to {newer.branch})" if newer.trigger == Trigger.WEBHOOK else ""
    return f"Superseded by {newer.pk}{by}."


def _closed(deployment: Deployment) -> Closed | None:
    """Why it has to wait for a window; None where it need not."""
    if deployment.rollback_to_id is not None or deployment.override_reason:
        return None
    return closed_now(deployment.environment)


def _wait(deployment: Deployment, closed: Closed) -> None:
    deployment.status, deployment.waiting_for, deployment.due_at = Status.WAITING, WINDOW, closed.opens_at


def _release_due() -> None:
    """Queues what waited for a window that is open now; windows may have been changed meanwhile, so each is asked."""
    with scopes_disabled():
        waiting = Deployment.objects.filter(status=Status.WAITING, waiting_for=WINDOW)
        for pk in waiting.values_list("pk", flat=True):
            with transaction.atomic():
                locked = waiting.select_for_update(of=("self",), skip_locked=True, no_key=True)
                row = locked.select_related("environment").filter(pk=pk).first()
                if row is None:
                    continue
                closed = _closed(row)
                if closed is None:
                    _release(row, "Its window is open.")
                elif closed.opens_at != row.due_at:
                    row.due_at = closed.opens_at
                    row.save(update_fields=["due_at"])
                    _tell_waiting(row, closed)


def _release(deployment: Deployment, text: str) -> None:
    deployment.status, deployment.waiting_for, deployment.due_at = Status.QUEUED, "", None
    deployment.save(update_fields=["status", "waiting_for", "due_at"])
    queued = NewEvent("deployment.status", {"status": Status.QUEUED.value})
    _append(deployment, [_said(text), queued])
    _enqueue(deployment)


def _tell_waiting(deployment: Deployment, closed: Closed) -> None:
    opens = closed.opens_at
    begins = f"It begins on {calendar_of(deployment.environment).local(opens)}" if opens else ""
    said = f"{closed.reason}. {begins or 'It waits until that is lifted'}."
    waits = {"status": Status.WAITING.value, "waiting_for": WINDOW, "due_at": opens.isoformat() if opens else None}
    _append(deployment, [_said(said), NewEvent("deployment.status", waits)])


def _tell_override(deployment: Deployment) -> None:
    if deployment.override_reason:
        text = f"{deployment.requested_by} has it begin without waiting for a window: {deployment.override_reason}"
        _append(deployment, [_said(text)])


def _append(deployment: Deployment, new: list[NewEvent]) -> None:
    events.append(team_id=deployment.team_id, deployment_id=deployment.pk, events=new)


def _said(text: str) -> NewEvent:
    """A line of the log that is the panel's own word."""
    return NewEvent("deployment.log", {"server": "panel", "step": None}, f"{text}\n", 1)


def _enqueue_where_due(deployment: Deployment) -> None:
    if deployment_is_due(str(deployment.pk)):
        _enqueue(deployment)


def _enqueue(deployment: Deployment) -> None:
    """Not under a lock of the environment: the index of the rows says whose turn it is, and a job that waits for a lock
    is found by the workers only at their next look."""
    enqueue(
        "deployments.advance",
        lock=f"deployment:{deployment.pk}",
        priority=deployment.priority,
        deployment_id=str(deployment.pk),
    )


def _end_waiting(
    deployment: Deployment, status: Status, reason: str, now: datetime, project: Project | None = None
) -> None:
    """`project`, where it is at hand, spares announcing a statement."""
    deployment.status, deployment.error, deployment.finished_at = status, reason, now
    deployment.save(update_fields=["status", "error", "finished_at"])
    ended = NewEvent("deployment.completed", {"status": status.value, "error": reason})
    events.append(team_id=deployment.team_id, deployment_id=deployment.pk, events=[ended])
    event = announce.ended_event(status)
    announce.deployment_changed(deployment_id=deployment.pk, team_id=deployment.team_id, event=event, project=project)
