"""Where code comes from: a project's git provider, what it pushed to us, what we report back."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django_scopes import ScopedManager

from devflow.apps.accounts.models import Team
from devflow.apps.accounts.rights import Place
from devflow.apps.sealed import Sealed
from devflow.core.names import uuid7


class Source(models.Model):
    """A project's git provider (`provider`: key of PROVIDERS, '' for none).

    `hook_token` is the address's last part, `/webhooks/<provider>/<hook_token>`; `hook_secret` proves that a delivery
    is the provider's. `api_url` is the base of its API ('': the public one, or that of the repository's host),
    `access_token` opens it, `repository` is the name there, like `team/app` ('': as in the repository's address).
    `hook_id` is the provider's id of a webhook that the panel made, `hook_problem` why it could not make
    it, or what is not right with it.
    `reports`: the provider is told of deployments; `tag_format` names the tag of a successful one ('' for none).
    `refused` are the last requests to the address whose signature was wrong, as `services.refusals_keep` has them.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="sources")
    provider = models.CharField(max_length=20, blank=True)
    hook_token = models.CharField(max_length=64, unique=True)
    hook_secret_sealed = models.BinaryField(default=bytes, blank=True)
    hook_id = models.CharField(max_length=200, blank=True)
    api_url = models.CharField(max_length=500, blank=True)
    access_token_sealed = models.BinaryField(default=bytes, blank=True)
    repository = models.CharField(max_length=500, blank=True)
    hook_problem = models.TextField(blank=True)
    reports = models.BooleanField(default=True)
    tag_format = models.CharField(max_length=200, blank=True)
    refused = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    hook_secret = Sealed()
    access_token = Sealed()
    objects = ScopedManager(team="team")

    @property
    def place(self) -> Place:
        """That of its project."""
        project = getattr(self, "project", None)
        return Place(self.team_id, project.pk if project else None)


class Delivery(models.Model):
    """One request of a provider to `/webhooks/…` whose signature was right.

    `key` is the provider's id of it; `digest` is of a body that no other delivery can have ('' for others). Both are
    remembered longer than what came: `headers`, their secrets masked, and `body` (deflated) are of the last ones only.
    `ref`, `commit`, `message` (its first line) and `author` are of the first push that it tells of.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="+")
    source = models.ForeignKey(Source, models.CASCADE, related_name="deliveries")
    key = models.CharField(max_length=200)
    digest = models.CharField(max_length=64, blank=True)
    event = models.CharField(max_length=100, blank=True)
    ref = models.CharField(max_length=200, blank=True)
    commit = models.CharField(max_length=64, blank=True)
    message = models.CharField(max_length=200, blank=True)
    author = models.CharField(max_length=300, blank=True)
    headers = models.JSONField(default=dict)
    body = models.BinaryField(default=bytes)
    answer_status = models.PositiveSmallIntegerField(default=0)
    answer = models.JSONField(default=dict)
    redelivery_of = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="+")
    received_at = models.DateTimeField(auto_now_add=True)

    objects = ScopedManager(team="team")

    class Meta:
        ordering: ClassVar = ["-received_at", "-id"]
        indexes: ClassVar = [models.Index(fields=["source", "-received_at"], name="delivery_source")]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["source", "key"], name="delivery_once"),
            models.UniqueConstraint(
                fields=["source", "digest"], condition=~models.Q(digest=""), name="delivery_body_once"
            ),
        ]


class ReportStatus(models.TextChoices):
    """`skipped`: a newer state of the same commit made it needless."""

    PENDING = "pending", "Pending"
    SENDING = "sending", "Sending"
    SENT = "sent", "Sent"
    FAILED = "failed", "Failed"
    SKIPPED = "skipped", "Skipped"


OPEN_REPORTS = (ReportStatus.PENDING, ReportStatus.SENDING)


class Report(models.Model):
    """What is to be told to the provider of a deployment's state; sent by a worker, never by the deployment.

    `context` is the name under which the provider shows it; `state` one of waiting, pending, success, failure and
    cancelled.
    `attempts` fences: a worker that was taken for dead writes nothing under an older one. `provider_id` is the
    provider's id of the deployment, `tag` the tag that was made there.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="+")
    source = models.ForeignKey(Source, models.CASCADE, related_name="sent_reports")
    deployment_id = models.UUIDField()
    environment = models.CharField(max_length=63)
    context = models.CharField(max_length=200)
    branch = models.CharField(max_length=200, blank=True)
    commit = models.CharField(max_length=64)
    state = models.CharField(max_length=20)
    description = models.CharField(max_length=300, blank=True)
    url = models.CharField(max_length=1000, blank=True)
    status = models.CharField(max_length=12, choices=ReportStatus.choices, default=ReportStatus.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    provider_id = models.CharField(max_length=200, blank=True)
    tag = models.CharField(max_length=255, blank=True)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = ScopedManager(team="team")

    class Meta:
        ordering: ClassVar = ["created_at", "id"]
        indexes: ClassVar = [
            models.Index(fields=["deployment_id"], name="report_deployment"),
            models.Index(fields=["source", "context", "commit"], name="report_of_commit"),
            models.Index(fields=["next_attempt_at"], condition=models.Q(status__in=OPEN_REPORTS), name="report_open"),
        ]
