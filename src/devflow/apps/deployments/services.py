"""Writes of deployments: asked for, cancelled, rolled back."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, TextField
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast
from django.utils import timezone
from django_scopes import scope, scopes_disabled
from procrastinate.contrib.django.models import ProcrastinateJob

from devflow.apps.accounts import rights
from devflow.apps.accounts.models import User
from devflow.apps.accounts.rights import Actor
from devflow.apps.deployments import events
from devflow.apps.deployments.events import NewEvent
from devflow.apps.deployments.models import ACTIVE, ENDED, WAITING, Deployment, Release, Status, Trigger
from devflow.apps.deployments.planning import release_name
from devflow.apps.projects.models import Environment
from devflow.apps.queue import MANUAL, WEBHOOK, enqueue
from devflow.apps.servers.models import ServerStatus
from devflow.core import names
from devflow.core.errors import ConflictError, NotFoundError

_BY_HAND = (Trigger.MANUAL, Trigger.API, Trigger.ROLLBACK)


def deployment_request(
    *, actor: Actor, environment: Environment, commit: str = "", trigger: str = Trigger.MANUAL
) -> Deployment:
    """Queues a deployment of `commit` ('' for the branch's head); an older one that is still queued is superseded.

    Raises ForbiddenError, InvalidError, ConflictError (a server in maintenance, no server).
    """
    actor.require(rights.DEPLOY)
    if commit:
        names.commit(commit)
    deployment = _new(environment, trigger=trigger, user=actor.user, commit=commit)
    deployment.release = release_name(deployment.pk)
    return _queue(deployment)


def deployment_rollback(*, actor: Actor, environment: Environment, to: Deployment | None = None) -> Deployment:
    """Queues going back to the kept release of `to`, or to the one before the current.

    Raises ForbiddenError, ConflictError (nothing to go back to, or not kept any more).
    """
    actor.require(rights.DEPLOY)
    with scope(team=environment.team):
        kept = (
            Release.objects.filter(environment=environment, pruned_at=None)
            .select_related("deployment")
            .order_by("-name")
        )
        current = kept.filter(is_current=True).first()
        older = kept.filter(is_current=False)
        if to is not None:
            wanted = kept.filter(name=to.release).first()
        else:
            wanted = (older.filter(name__lt=current.name) if current else older).first()
    if wanted is None and to is not None:
        raise ConflictError("The release of this deployment is not kept any more. Deploy its commit instead.")
    if wanted is None:
        raise ConflictError(f"{environment} has no earlier release to go back to.")
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
    return _queue(deployment)


def deployment_cancel(*, actor: Actor, deployment: Deployment) -> Deployment:
    """Ends a waiting deployment at once, and has a running one taken back. Raises ForbiddenError, ConflictError."""
    actor.require(rights.DEPLOY)
    with transaction.atomic(), scope(team=actor.team):
        row = Deployment.objects.select_for_update().get(pk=deployment.pk)
        if row.status in ENDED:
            raise ConflictError(f"This deployment has ended already: {Status(row.status).label.lower()}.")
        row.cancel_requested_at, row.cancelled_by = timezone.now(), actor.user
        row.save(update_fields=["cancel_requested_at", "cancelled_by"])
        if row.status in WAITING:
            _end_waiting(row, Status.CANCELLED, f"Cancelled by {actor.user}.", timezone.now())
        else:
            events.announce_cancel(row.pk)
    return row


def inspection_request(*, actor: Actor, environment: Environment) -> None:
    """Has a worker look into the repository; the answer comes in `environment.detected` (recipe, commit, error, at)."""
    actor.require(rights.READ)
    enqueue("deployments.inspect", priority=MANUAL, environment_id=str(environment.pk))


def deployments_adopt(*, limit: int = 20) -> None:
    """Queues a job for deployments that none carries: they waited for their turn, or their job was lost."""
    jobs = ProcrastinateJob.objects.filter(task_name="deployments.advance", status__in=["todo", "doing"])
    carrying = jobs.annotate(deployment=KeyTextTransform("deployment_id", "args"))
    carried = Exists(carrying.filter(deployment=Cast(OuterRef("pk"), TextField())))
    with scopes_disabled():
        others = Deployment.objects.filter(environment=OuterRef("environment"), status__in=ACTIVE)
        open_ones = Deployment.objects.filter(Q(status__in=ACTIVE) | Q(~Exists(others), status=Status.QUEUED))
        for deployment in open_ones.filter(~carried).order_by("-priority", "created_at")[:limit]:
            _enqueue(deployment)


def _new(environment: Environment, *, trigger: str, user: User, commit: str) -> Deployment:
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


def _queue(deployment: Deployment) -> Deployment:
    environment = deployment.environment
    with transaction.atomic(), scope(team=deployment.team):
        # the environment's row is the turnstile: two requests at once supersede in order
        if not Environment.objects.select_for_update().filter(pk=environment.pk).exists():
            raise NotFoundError("This environment was removed.")
        for older in Deployment.objects.select_for_update().filter(environment=environment, status=Status.QUEUED):
            _end_waiting(older, Status.SUPERSEDED, f"Superseded by {deployment.pk}.", timezone.now())
        deployment.save(force_insert=True)
        _enqueue(deployment)
    return deployment


def _enqueue(deployment: Deployment) -> None:
    """Not under a lock of the environment: the index of the rows says whose turn it is, and a job that waits for a lock
    is found by the workers only at their next look."""
    enqueue(
        "deployments.advance",
        lock=f"deployment:{deployment.pk}",
        priority=deployment.priority,
        deployment_id=str(deployment.pk),
    )


def _end_waiting(deployment: Deployment, status: Status, reason: str, now: datetime) -> None:
    deployment.status, deployment.error, deployment.finished_at = status, reason, now
    deployment.save(update_fields=["status", "error", "finished_at"])
    ended = NewEvent("deployment.completed", {"status": status.value, "error": reason})
    events.append(team_id=deployment.team_id, deployment_id=deployment.pk, events=[ended])
