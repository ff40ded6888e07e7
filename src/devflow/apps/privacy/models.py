"""Archives: all data of a person, a project or a team, in a file that is kept for some days."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django_scopes import ScopedManager

from devflow.apps.accounts.models import Team, User
from devflow.core.names import uuid7


class Archive(models.Model):
    """One export. `kind` is user, project or team, `subject_id` the id of what it is about; who asked for it (`user`)
    fetches it; of one's own data it is of no team. `finished_at` is None while it is made; then there is a file, or an
    `error`."""

    KINDS: ClassVar = ("user", "project", "team")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, null=True, blank=True, related_name="+")
    user = models.ForeignKey(User, models.CASCADE, related_name="+")
    kind = models.CharField(max_length=10)
    subject_id = models.UUIDField()
    subject = models.CharField(max_length=320)
    size = models.BigIntegerField(null=True, blank=True)
    error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField()

    objects = ScopedManager(team="team")
