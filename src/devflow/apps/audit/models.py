"""What people and programs did, and which requests the API answered."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django_scopes import ScopedManager

from devflow.apps.accounts.models import Team
from devflow.apps.sealed import Sealed
from devflow.core.names import uuid7


class Event(models.Model):
    """One thing that was done, or tried. Rows are only added: a trigger refuses what else one may try.

    Outlives the team, the people and the objects that it tells of, so it refers to them without foreign keys; `team` is
    None for what is of the panel alone.

    Who did it (`who`, `token`, `address`, `user_agent`, with `who_salt`) and what it was done to (`target`, `before`,
    `after`, with `what_salt`) can be erased, since the chain holds only their salted digests. What stays is a stub:
    ids, the action and the time. `seq`, `previous` and `hash` are set once, when the event is sealed (sealing.py).
    `stamp` is what only the panel can write: by it a row of somebody else is known before it is sealed.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.DO_NOTHING, null=True, db_constraint=False, related_name="+")
    at = models.DateTimeField()
    action = models.CharField(max_length=60)
    outcome = models.CharField(max_length=12, default="done")
    user_id = models.UUIDField(null=True)
    token_id = models.UUIDField(null=True)
    project_id = models.UUIDField(null=True)
    target_id = models.CharField(max_length=64, blank=True)
    session = models.CharField(max_length=64, blank=True)

    who = models.CharField(max_length=300, blank=True)
    token = models.CharField(max_length=200, blank=True)
    address = models.CharField(max_length=45, blank=True)
    user_agent = models.CharField(max_length=300, blank=True)
    who_salt = models.CharField(max_length=32, blank=True)
    who_digest = models.CharField(max_length=64)

    target = models.CharField(max_length=500, blank=True)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    what_salt = models.CharField(max_length=32, blank=True)
    what_digest = models.CharField(max_length=64)

    stamp = models.CharField(max_length=64, blank=True)
    seq = models.BigIntegerField(null=True)
    previous = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64, blank=True)

    objects = ScopedManager(team="team")

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["team", "-id"], name="audit_newest"),
            models.Index(fields=["team", "user_id", "-id"], name="audit_of_user"),
            models.Index(fields=["id"], condition=Q(seq=None), name="audit_unsealed"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["team", "seq"], nulls_distinct=True, name="audit_seq_once"),
        ]


class Chain(models.Model):
    """The end of a chain of events; `id` is the team's, or all zeros for the panel's.

    `head` is "<number> <hash>" of the last sealed event. It is sealed with the master key, so that who can write only
    in the database cannot make another chain and have it taken for ours.
    """

    id = models.UUIDField(primary_key=True)
    head_sealed = models.BinaryField(default=bytes, blank=True)

    head = Sealed()


class Device(models.Model):
    """What a person logged in with: the family of the browser, and the network of the address."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    family = models.CharField(max_length=60)
    network = models.CharField(max_length=50)
    first_at = models.DateTimeField(auto_now_add=True)
    last_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["user", "family", "network"], name="device_once")]


class ApiRequest(models.Model):
    """A request that the API answered. `route` is the path as a template, so that no name or id is in it."""

    id = models.BigAutoField(primary_key=True)
    team = models.ForeignKey(Team, models.DO_NOTHING, null=True, db_constraint=False, related_name="+")
    at = models.DateTimeField(db_index=True)
    user_id = models.UUIDField(null=True)
    token_id = models.UUIDField(null=True)
    method = models.CharField(max_length=10)
    route = models.CharField(max_length=200)
    status = models.PositiveSmallIntegerField()
    duration_ms = models.FloatField()
    address = models.CharField(max_length=45, blank=True)

    objects = ScopedManager(team="team")

    class Meta:
        indexes: ClassVar = [models.Index(fields=["team", "-id"], name="api_request_newest")]
