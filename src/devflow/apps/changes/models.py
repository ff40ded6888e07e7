"""What changed of late: told to open pages, which then ask for what they show."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django_scopes import ScopedManager

from devflow.apps.accounts.models import Team


class Change(models.Model):
    """A row of a team was added, changed or removed. Rows are written by triggers only (migration 0001): whoever
    changes something, in whatever way, has it told.

    `topics` are what a page may look at: `deployment`, `deployment:<id>`, `project:<id>`, `server` …; `transaction` is
    the number of the transaction that changed it (why: docs/decisions/0009).
    """

    team = models.ForeignKey(Team, models.DO_NOTHING, related_name="+", db_constraint=False)
    topics = ArrayField(models.CharField(max_length=60))
    transaction = models.BigIntegerField()
    at = models.DateTimeField()

    objects = ScopedManager(team="team")

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["team", "transaction"], name="change_team"),
            models.Index(fields=["at"], name="change_at"),
        ]
