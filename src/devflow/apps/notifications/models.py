"""Channels that people are told through, what was sent on them, and browsers that are told by push."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django_scopes import ScopedManager

from devflow.apps.accounts.models import Team, User
from devflow.apps.accounts.rights import Place
from devflow.apps.sealed import Sealed
from devflow.apps.told import ENGLISH
from devflow.core.names import uuid7


class Channel(models.Model):
    """`kind` is a key of CHANNELS, `settings` its fields in JSON (they hold secrets), `address` what may be shown
    of them; `project` None for all of the team's projects. `language` is what messages are written in. `problem` says
    why the service refused the last message for good; '' once it takes one again."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="channels")
    project = models.ForeignKey("projects.Project", models.CASCADE, null=True, blank=True, related_name="channels")
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=20)
    settings_sealed = models.BinaryField(default=bytes, blank=True)
    address = models.CharField(max_length=300, blank=True)
    events = ArrayField(models.CharField(max_length=50), default=list, blank=True)
    language = models.CharField(max_length=10, default=ENGLISH)
    is_enabled = models.BooleanField(default=True)
    problem = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    settings = Sealed()
    failing_since: datetime | None = None
    """Since when a message is tried again and again, where a selector has asked; not stored."""
    pending = 0
    """How many messages wait to be sent, where a selector has asked; not stored."""
    objects = ScopedManager(team="team")

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "name"], name="channel_name_once")]

    @property
    def place(self) -> Place:
        return Place(self.team_id, self.project_id)


class NotificationStatus(models.TextChoices):
    PENDING = "pending", "Waiting"
    SENDING = "sending", "Being sent"
    SENT = "sent", "Sent"
    FAILED = "failed", "Failed"


OPEN = (NotificationStatus.PENDING, NotificationStatus.SENDING)
HOLDS_UP_ATTEMPTS = 3
"""So many failures of one message hold up those behind it; then it steps aside, so that it cannot block the channel."""


class Notification(models.Model):
    """One message on one channel. `subject` is what it is about (a deployment's id), `message` what is told.

    `next_attempt_at` is when an open one is tried next; while one is being sent, when the worker that has it is taken
    for dead. `response_status` is the service's last answer, `error` what was wrong with it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="+")
    channel = models.ForeignKey(Channel, models.CASCADE, related_name="notifications")
    event = models.CharField(max_length=50)
    subject = models.CharField(max_length=64, blank=True)
    message = models.JSONField(default=dict)
    status = models.CharField(max_length=12, choices=NotificationStatus.choices, default=NotificationStatus.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    response_status = models.PositiveSmallIntegerField(null=True, blank=True)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = ScopedManager(team="team")

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        indexes: ClassVar = [
            models.Index(fields=["channel", "-created_at"], name="notification_channel"),
            models.Index(fields=["next_attempt_at"], condition=Q(status__in=OPEN), name="notification_open"),
        ]


class PushKey(models.Model):
    """One row: the keys by which push services know this panel (RFC 8292); made when they are first needed."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    public = models.CharField(max_length=90)
    private_sealed = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True)

    private = Sealed()


class PushDevice(models.Model):
    """A browser of a member's that is told of the team by push.

    `address` is what the browser gave, in JSON: `endpoint` (whoever has it can be told from others by it), `p256dh`,
    `auth`; `digest` recognises the endpoint. `session_key` is of the log-in that it belongs to: it is told nothing any
    more when that was ended. `problem` says why the push service refused the last message; '' once it takes one.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="push_devices")
    user = models.ForeignKey(User, models.CASCADE, related_name="push_devices")
    name = models.CharField(max_length=200)
    session_key = models.CharField(max_length=40)
    address_sealed = models.BinaryField()
    host = models.CharField(max_length=253)
    digest = models.CharField(max_length=64)
    problem = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)

    address = Sealed()
    objects = ScopedManager(team="team")

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "digest"], name="push_device_once")]
        indexes: ClassVar = [models.Index(fields=["digest"], name="push_device_digest")]


class PushMessage(models.Model):
    """What one device is to be told; gone when it is sent or given up.

    `right` on `environment` is what its person must have when it is sent; without an environment, being a member is
    enough. `document` is what the browser gets.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="+")
    device = models.ForeignKey(PushDevice, models.CASCADE, related_name="messages")
    environment = models.ForeignKey("projects.Environment", models.CASCADE, null=True, blank=True, related_name="+")
    right = models.CharField(max_length=20)
    document = models.JSONField(default=dict)
    attempts = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    objects = ScopedManager(team="team")
