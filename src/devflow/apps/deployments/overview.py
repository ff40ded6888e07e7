"""Reads over many environments at once: their states, what runs in them, what was deployed of late, how long it takes.

Each is one query, or two, however many projects there are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import NamedTuple
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Func, OuterRef, QuerySet, Subquery, UUIDField
from django_scopes import scope

from devflow.apps import replica
from devflow.apps.accounts.rights import Actor
from devflow.apps.deployments.models import (
    ENDED,
    OPEN,
    UNLISTED,
    Deployment,
    Release,
    Status,
    Step,
    StepStatus,
    seconds_between,
)
from devflow.apps.projects.models import Environment, Project
from devflow.apps.sources.models import Delivery

USUAL_OF = 10
"""So many of the last successful deployments say how long it usually takes."""
FAILING = (Status.FAILED, Status.ROLLED_BACK)
DEPLOYING = (Status.PENDING, Status.QUEUED, Status.RUNNING, Status.VERIFYING)


@dataclass(frozen=True, slots=True)
class State:
    """An environment and its newest deployment's status."""

    environment_id: UUID
    project_id: UUID
    slug: str
    project: str
    name: str
    status: str

    @property
    def is_failing(self) -> bool:
        return self.status in FAILING

    @property
    def is_deploying(self) -> bool:
        return self.status in DEPLOYING

    @property
    def is_waiting(self) -> bool:
        return self.status == Status.WAITING


class Recent(NamedTuple):
    """A deployment as far as a card shows it; a page has hundreds of them."""

    pk: UUID
    status: str
    branch: str
    commit: str
    commit_message: str
    due_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def is_ended(self) -> bool:
        return self.status in ENDED

    @property
    def duration_seconds(self) -> float | None:
        return seconds_between(self.started_at, self.finished_at)


@dataclass(frozen=True, slots=True)
class Commit:
    """One that the panel was told of, by a push or by a deployment; `seen_at` is when it last was."""

    id: str
    branch: str
    message: str
    author: str
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Usual:
    """Medians in seconds of the last successful deployments: of the `whole`, and of each step, by phase and name."""

    whole: float | None
    steps: dict[tuple[str, str], float]


@replica.listed
def environment_states(*, actor: Actor) -> list[State]:
    """The team's environments that fail, deploy or wait, by project and age. Thousands that do not cost little."""
    with scope(team=actor.team):
        every = actor.narrowed(Environment.objects.all(), "project").annotate(
            last=Subquery(_newest(OuterRef("pk")).values("status")[:1])
        )
        fields = ("pk", "project_id", "project__slug", "project__name", "name", "last")
        told = every.filter(last__in=(*FAILING, *DEPLOYING, Status.WAITING))
        return [State(*row) for row in told.order_by("project__slug", "created_at").values_list(*fields)]


@replica.listed
def deployments_recent(*, actor: Actor, environments: Iterable[Environment], each: int) -> dict[UUID, list[Recent]]:
    """The newest `each` deployments of these environments, the newest first, by the environment's id: none that were
    superseded."""
    with scope(team=actor.team):
        newest = ArraySubquery(_newest(OuterRef("pk")).values("pk")[:each])
        chosen = Environment.objects.filter(pk__in=[environment.pk for environment in environments]).order_by()
        wanted = chosen.values(recent=Func(newest, function="unnest", output_field=UUIDField()))
        found = Deployment.objects.filter(pk__in=wanted).order_by("-id")
        recent: dict[UUID, list[Recent]] = defaultdict(list)
        for environment_id, *row in found.values_list("environment_id", *Recent._fields):
            recent[environment_id].append(Recent._make(row))
    return recent


def deployments_open(*, actor: Actor, limit: int = 20) -> list[Deployment]:
    """What has not ended, the newest first, each with the steps that run (`running_steps`)."""
    with scope(team=actor.team):
        every = actor.narrowed(Deployment.objects.filter(status__in=OPEN), "project")
        found = list(_loaded(every).order_by("-id")[:limit])
        running: dict[UUID, list[Step]] = defaultdict(list)
        steps = Step.objects.filter(deployment__in=found, status=StepStatus.RUNNING).defer("command")
        for step in steps if found else ():
            running[step.deployment_id].append(step)
    for deployment in found:
        deployment.running_steps = running[deployment.pk]
    return found


def releases_serving(*, actor: Actor, environments: Iterable[Environment]) -> dict[UUID, Release]:
    """The release in force of each environment that has one, with its deployment, by the environment's id."""
    ids = [environment.pk for environment in environments]
    with scope(team=actor.team):
        found = Release.objects.filter(environment__in=ids, is_current=True).select_related("deployment")
        return {release.environment_id: release for release in found.defer("deployment__plan", "deployment__observed")}


def durations_usual(*, actor: Actor, deployment: Deployment) -> Usual:
    """How long deployments of its kind (going back, or not) take in its environment, by those that came before it."""
    with scope(team=actor.team):
        good = Deployment.objects.filter(environment=deployment.environment_id, status=Status.SUCCESS)
        alike = good.filter(rollback_to__isnull=deployment.rollback_to_id is None, created_at__lt=deployment.created_at)
        times = alike.order_by("-id").values_list("pk", "started_at", "finished_at")[:USUAL_OF]
        last = list(times)
        steps = Step.objects.filter(deployment__in=[pk for pk, *_ in last], status=StepStatus.SUCCESS)
        took: dict[tuple[str, str], list[float]] = defaultdict(list)
        for phase, name, seconds in steps.values_list("phase", "name", "duration_seconds"):
            if seconds is not None:
                took[phase, name].append(seconds)
    whole = [(ended - began).total_seconds() for _, began, ended in last if began and ended]
    return Usual(median(whole) if whole else None, {step: median(seconds) for step, seconds in took.items()})


def commits_recent(*, actor: Actor, project: Project, limit: int = 20) -> list[Commit]:
    """What the panel was told of, the newest first: by pushes, and by deployments."""
    with scope(team=actor.team):
        pushed = Delivery.objects.filter(source=project.source_id).exclude(commit="")
        deployed = Deployment.objects.filter(project=project).exclude(commit="").order_by("-id")
        pushes = pushed.values_list("commit", "ref", "message", "author", "received_at")[: 3 * limit]
        fields = ("commit", "branch", "commit_message", "author", "created_at")
        told = [*_commits(pushes), *_commits(deployed.values_list(*fields)[: 3 * limit])]
    told.sort(key=lambda commit: commit.seen_at, reverse=True)
    newest: dict[str, Commit] = {}
    for commit in told:
        known = newest.get(commit.id)
        if known is None or (commit.message and not known.message):
            newest[commit.id] = commit
    return list(newest.values())[:limit]


def _newest(environment: OuterRef) -> QuerySet[Deployment]:
    """What was superseded is never the newest, though it may have been written last."""
    every = Deployment.objects.filter(environment=environment).exclude(status=Status.SUPERSEDED)
    return every.order_by("-id")


def _loaded(found: QuerySet[Deployment]) -> QuerySet[Deployment]:
    return found.select_related("project", "environment", "requested_by").defer(*UNLISTED)


def _commits(rows: Iterable[Sequence[object]]) -> list[Commit]:
    """Of lines without what git calls them by: refs/heads/."""
    return [
        Commit(str(pk), str(ref).removeprefix("refs/heads/"), str(message), str(author), at)  # type: ignore[arg-type]
        for pk, ref, message, author, at in rows
    ]
