"""What runs in containers on servers: what was seen there last, what people had done to it, logs that are followed."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django_scopes import ScopedManager

from devflow.apps.accounts.models import Team, User
from devflow.apps.projects.models import Environment, Project
from devflow.apps.servers.models import Server
from devflow.core.names import uuid7


class Snapshot(models.Model):
    """What a server's Docker had when it was looked at last (`content`, see commands/docker.py; secrets are masked).

    `problem` says why nothing could be read ('' where it could): missing, denied, stopped, unreachable. `taken_at` is
    when that was tried last, `seen_at` when it went well. `disk` is what takes how much, which is read less often.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="+")
    server = models.OneToOneField(Server, models.CASCADE, related_name="snapshot")
    content = models.JSONField(default=dict, blank=True)
    problem = models.CharField(max_length=20, blank=True)
    problem_detail = models.TextField(blank=True)
    asked_at = models.DateTimeField(null=True, blank=True)
    taken_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField(null=True, blank=True)
    disk = models.JSONField(default=dict, blank=True)
    disk_at = models.DateTimeField(null=True, blank=True)

    objects = ScopedManager(team="team")


class ActionState(models.TextChoices):
    QUEUED = "queued", "Waiting"
    RUNNING = "running", "Under way"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"


class Action(models.Model):
    """What somebody had done to a container (`kind`: restart, stop, start), or a clean-up (prune), and what came of it.

    `given` and `result` are of a clean-up: the candidates, and what became of each.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="+")
    server = models.ForeignKey(Server, models.CASCADE, related_name="+")
    environment = models.ForeignKey(Environment, models.SET_NULL, null=True, blank=True, related_name="+")
    requested_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    kind = models.CharField(max_length=10)
    container_id = models.CharField(max_length=64, blank=True)
    container_name = models.CharField(max_length=300, blank=True)
    state = models.CharField(max_length=10, choices=ActionState.choices, default=ActionState.QUEUED)
    message = models.TextField(blank=True)
    given = models.JSONField(default=list, blank=True)
    result = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = ScopedManager(team="team")

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [models.Index(fields=["server", "-created_at"], name="container_action_newest")]

    @property
    def is_ended(self) -> bool:
        return self.state in (ActionState.DONE, ActionState.FAILED)


class Follow(models.Model):
    """A container's log being followed. It ends when nobody has looked (`seen_at`) for a while."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="+")
    server = models.ForeignKey(Server, models.CASCADE, related_name="+")
    environment = models.ForeignKey(Environment, models.CASCADE, null=True, blank=True, related_name="+")
    container_id = models.CharField(max_length=64)
    container_name = models.CharField(max_length=300)
    tail = models.PositiveIntegerField(default=200)
    created_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    end_reason = models.TextField(blank=True)
    last_seq = models.BigIntegerField(default=0)
    last_line = models.BigIntegerField(default=0)

    objects = ScopedManager(team="team")

    class Meta:
        ordering: ClassVar = ["-id"]

    @property
    def is_ended(self) -> bool:
        return self.ended_at is not None


class LogPart(models.Model):
    """Whole lines of a followed log, masked; or its end."""

    id = models.BigAutoField(primary_key=True)
    team = models.ForeignKey(Team, models.CASCADE, related_name="+")
    follow = models.ForeignKey(Follow, models.CASCADE, related_name="parts")
    seq = models.BigIntegerField()
    kind = models.CharField(max_length=30)
    data = models.JSONField(default=dict)
    text = models.TextField(blank=True)
    line = models.BigIntegerField(default=0)

    objects = ScopedManager(team="team")

    class Meta:
        ordering: ClassVar = ["seq"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["follow", "seq"], name="log_part_once")]


class Budget(models.Model):
    """How much of the servers' disks a project is to take at most, in all."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="+")
    project = models.OneToOneField(Project, models.CASCADE, related_name="disk_budget")
    megabytes = models.PositiveIntegerField(default=0)

    objects = ScopedManager(team="team")
