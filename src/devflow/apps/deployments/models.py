"""Deployments: what was asked, what was planned, what was observed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django_scopes import ScopedManager

from devflow.apps.accounts.models import Team, User
from devflow.apps.accounts.rights import Place
from devflow.apps.projects.models import ENVIRONMENT_BRIEF, Environment, Project
from devflow.apps.sealed import Sealed
from devflow.core.names import uuid7


class Status(models.TextChoices):
    PENDING = "pending", "Pending"
    QUEUED = "queued", "Queued"
    WAITING = "waiting", "Waiting"
    RUNNING = "running", "Running"
    VERIFYING = "verifying", "Verifying"
    SUCCESS = "success", "Success"
    FAILED = "failed", "Failed"
    ROLLED_BACK = "rolled_back", "Rolled back"
    CANCELLED = "cancelled", "Cancelled"
    SUPERSEDED = "superseded", "Superseded"


ACTIVE = (Status.RUNNING, Status.VERIFYING)
WAITING = (Status.PENDING, Status.QUEUED, Status.WAITING)
OPEN = (*WAITING, *ACTIVE)
STEERING = ("hold", "resume", "promote", "abort")
"""What a person can want of a canary."""
ENDED = (Status.SUCCESS, Status.FAILED, Status.ROLLED_BACK, Status.CANCELLED, Status.SUPERSEDED)


class Trigger(models.TextChoices):
    MANUAL = "manual", "Manual"
    WEBHOOK = "webhook", "Webhook"
    API = "api", "API"
    PROMOTION = "promotion", "Promotion"
    ROLLBACK = "rollback", "Rollback"
    SCHEDULE = "schedule", "Schedule"


class Deployment(models.Model):
    """One attempt to bring one commit (or, for a rollback, one kept release) to one environment.

    `claim` is the token of the worker that carries it: every write of a worker is conditional on it.
    `ending` is set when it was decided to take the deployment back ('failed' or 'cancelled'), so that a worker that
    takes over goes on taking back; `observed` is what the servers said so far. `last_seq`, `log_lines` and `log_bytes`
    count what is in `events`. `is_clean` installs all dependencies anew; `delivery_id` names the webhook's
    delivery that asked for it. `waiting_for` ('window', 'approval') says what a waiting deployment waits for, `due_at`
    when it is looked at again; who overrode a window says why in `override_reason`. `steering` is what a person last
    wanted of a canary (hold, resume, promote, abort). `frame_key` (hexadecimal) tells
    what our scripts print in a journal from what only looks like it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="deployments")
    project = models.ForeignKey(Project, models.CASCADE, related_name="deployments")
    environment = models.ForeignKey(Environment, models.CASCADE, related_name="deployments")
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.PENDING)
    trigger = models.CharField(max_length=10, choices=Trigger.choices)
    requested_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    priority = models.SmallIntegerField(default=0)
    branch = models.CharField(max_length=200, blank=True)
    commit = models.CharField(max_length=64, blank=True)
    commit_message = models.CharField(max_length=500, blank=True)
    author = models.CharField(max_length=300, blank=True)
    strategy = models.CharField(max_length=20)
    release = models.CharField(max_length=64)
    rollback_to = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="+")
    is_clean = models.BooleanField(default=False)
    delivery_id = models.UUIDField(null=True, blank=True)
    waiting_for = models.CharField(max_length=12, blank=True)
    due_at = models.DateTimeField(null=True, blank=True)
    override_reason = models.CharField(max_length=500, blank=True)
    server_names = models.JSONField(default=list)
    plan = models.JSONField(null=True, blank=True)
    observed = models.JSONField(default=dict, blank=True)
    frame_key_sealed = models.BinaryField(default=bytes, blank=True)
    claim = models.UUIDField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    cancelled_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    steering = models.CharField(max_length=8, blank=True)
    ending = models.CharField(max_length=12, blank=True)
    error = models.TextField(blank=True)
    last_seq = models.BigIntegerField(default=0)
    log_lines = models.BigIntegerField(default=0)
    log_bytes = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    frame_key = Sealed()
    superseded = 0
    """How many deployments before it were superseded, in a list that folds those; not stored."""
    running_steps: Sequence[Step] = ()
    """Of one that runs, in a list that asks for them; not stored."""
    objects = ScopedManager(team="team")

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        indexes: ClassVar = [
            models.Index(fields=["environment", "-created_at"], name="deployment_environment"),
            models.Index(fields=["environment", "-id"], include=["status"], name="deployment_newest"),
            models.Index(fields=["team", "-id"], name="deployment_newest_team"),
            models.Index(fields=["team", "status", "-id"], name="deployment_newest_status"),
            models.Index(fields=["team", "trigger", "-id"], name="deployment_newest_trigger"),
            models.Index(fields=["project", "-id"], name="deployment_newest_project"),
            models.Index(fields=["status"], condition=~Q(status__in=ENDED), name="deployment_open"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["environment"], condition=Q(status__in=ACTIVE), name="deployment_one_active"
            ),
            models.UniqueConstraint(
                fields=["environment"],
                condition=Q(status__in=(Status.QUEUED, Status.WAITING)),
                name="deployment_one_queued",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.environment} {self.id}"

    @property
    def place(self) -> Place:
        """That of its environment, which should be loaded."""
        return self.environment.place

    @property
    def is_ended(self) -> bool:
        return self.status in ENDED

    @property
    def is_steerable(self) -> bool:
        """A canary that runs, and was neither promoted nor cancelled."""
        is_canary = self.strategy == "canary" and self.rollback_to_id is None and self.status in ACTIVE
        return is_canary and not self.ending and self.cancel_requested_at is None

    @property
    def duration_seconds(self) -> float | None:
        return seconds_between(self.started_at, self.finished_at)


_LISTED_OF_ENVIRONMENT = (*ENVIRONMENT_BRIEF, "windows", "freezes", "time_zone")
"""The last three tell what a deployment waits for."""
UNLISTED = (
    *("plan", "observed"),
    *(
        f"environment__{each.name}"
        for each in Environment._meta.concrete_fields
        if each.name not in _LISTED_OF_ENVIRONMENT
    ),
)
"""What lists do not read of a deployment, with its environment."""


def seconds_between(begin: datetime | None, end: datetime | None) -> float | None:
    """None where one of them is not known."""
    return None if begin is None or end is None else round((end - begin).total_seconds(), 3)


class StepStatus(models.TextChoices):
    PENDING = "pending", "Pending"
    RUNNING = "running", "Running"
    SUCCESS = "success", "Success"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"
    SKIPPED = "skipped", "Skipped"


class Step(models.Model):
    """One task of the plan on one server. `position` is the task's place in the plan."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="+")
    deployment = models.ForeignKey(Deployment, models.CASCADE, related_name="steps")
    server_name = models.CharField(max_length=63)
    phase = models.CharField(max_length=20)
    name = models.CharField(max_length=200)
    position = models.PositiveIntegerField()
    command = models.TextField(blank=True)
    status = models.CharField(max_length=10, choices=StepStatus.choices, default=StepStatus.PENDING)
    started_at = models.DateTimeField(null=True, blank=True)
    duration_seconds = models.FloatField(null=True, blank=True)
    exit_code = models.IntegerField(null=True, blank=True)

    objects = ScopedManager(team="team")

    class Meta:
        ordering: ClassVar = ["position", "server_name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["deployment", "position", "server_name"], name="step_once"),
        ]


class Run(models.Model):
    """A journaled run on a server (DESIGN §4). `log_offset` is how many bytes of its journal are in `events`."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="+")
    deployment = models.ForeignKey(Deployment, models.CASCADE, related_name="runs")
    server_name = models.CharField(max_length=63)
    name = models.CharField(max_length=30)
    log_offset = models.BigIntegerField(default=0)
    exit_code = models.IntegerField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ScopedManager(team="team")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["deployment", "server_name", "name"], name="run_once"),
        ]


class Event(models.Model):
    """The ordered record of a deployment. `text` is only of `deployment.log`: whole lines, masked, ANSI kept.

    `log_offset` is where the text begins in the whole log, in bytes of UTF-8; `line` the number of its first line.
    """

    id = models.BigAutoField(primary_key=True)
    team = models.ForeignKey(Team, models.CASCADE, related_name="+")
    deployment = models.ForeignKey(Deployment, models.CASCADE, related_name="events")
    seq = models.BigIntegerField()
    kind = models.CharField(max_length=30)
    data = models.JSONField(default=dict)
    text = models.TextField(blank=True)
    log_offset = models.BigIntegerField(default=0)
    line = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ScopedManager(team="team")

    class Meta:
        ordering: ClassVar = ["seq"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["deployment", "seq"], name="event_once")]


class Release(models.Model):
    """A release that a deployment left on the environment's servers, as the servers last said."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="+")
    environment = models.ForeignKey(Environment, models.CASCADE, related_name="releases")
    deployment = models.ForeignKey(Deployment, models.CASCADE, related_name="releases")
    name = models.CharField(max_length=64)
    is_current = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    pruned_at = models.DateTimeField(null=True, blank=True)

    objects = ScopedManager(team="team")

    class Meta:
        ordering: ClassVar = ["-created_at"]
        indexes: ClassVar = [
            models.Index(fields=["environment", "-name"], condition=Q(pruned_at=None), name="release_kept"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["environment", "name"], name="release_once"),
            models.UniqueConstraint(fields=["environment"], condition=Q(is_current=True), name="release_one_current"),
        ]
