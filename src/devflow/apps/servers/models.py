"""Servers: where projects are deployed to."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django_scopes import ScopedManager

from devflow.apps.accounts.models import Team
from devflow.apps.accounts.rights import Place
from devflow.apps.sealed import Sealed
from devflow.core.names import uuid7

THIS_MACHINE = "this machine"
"""The address of the panel's own."""


class ServerStatus(models.TextChoices):
    UNKNOWN = "unknown", "Not checked yet"
    ONLINE = "online", "Online"
    OFFLINE = "offline", "Offline"
    MAINTENANCE = "maintenance", "Maintenance"


class CheckStep(models.TextChoices):
    """What a check tries, in this order."""

    REACH = "reach", "Reach it"
    KEY = "key", "Compare its host key"
    LOGIN = "login", "Log in"
    SHELL = "shell", "Run a command"
    INSTALL = "install", "Put the panel's runner there"


class Cluster(models.Model):
    """A Docker Swarm of servers of the panel. `observed` is what its last look read (commands/swarm.py), `problem` why
    that failed."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="clusters")
    name = models.CharField(max_length=63)
    swarm_id = models.CharField(max_length=64, blank=True)
    observed = models.JSONField(default=dict, blank=True)
    observed_at = models.DateTimeField(null=True, blank=True)
    problem = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ScopedManager(team="team")

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "name"], name="cluster_name_once")]

    def __str__(self) -> str:
        return self.name


class Server(models.Model):
    """`cluster` is the one swarm that the server is in, or is about to join, as `node_id`, which that swarm gave it.

    `facts` is what the last check read (see remote/facts); `host_key` the pinned public key, as in known_hosts.
    `check_step` is what a check is just trying, or where the last one failed ('' where it went well)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="servers")
    name = models.CharField(max_length=63)
    host = models.CharField(max_length=253, blank=True)
    port = models.PositiveIntegerField(default=22)
    user = models.CharField(max_length=32, blank=True)
    is_local = models.BooleanField(default=False)
    private_key_sealed = models.BinaryField(default=bytes, blank=True)
    public_key = models.TextField(blank=True)
    host_key = models.TextField(blank=True)
    status = models.CharField(max_length=12, choices=ServerStatus.choices, default=ServerStatus.UNKNOWN)
    status_message = models.TextField(blank=True)
    facts = models.JSONField(default=dict, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)
    check_step = models.CharField(max_length=10, choices=CheckStep.choices, blank=True)
    deployment_limit = models.PositiveSmallIntegerField(default=4)
    cluster = models.ForeignKey(Cluster, models.SET_NULL, null=True, blank=True, related_name="servers")
    cluster_role = models.CharField(max_length=8, blank=True)
    node_id = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    private_key = Sealed()
    objects = ScopedManager(team="team")

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "name"], name="server_name_once")]

    def __str__(self) -> str:
        return self.name

    @property
    def place(self) -> Place:
        return Place(self.team_id)

    @property
    def address(self) -> str:
        """`user@host:port`, or `this machine`."""
        return THIS_MACHINE if self.is_local else f"{self.user}@{self.host}:{self.port}"

    @property
    def machine(self) -> tuple[str, int]:
        """What two servers have in common that are the same machine."""
        return ("", 0) if self.is_local else (self.host.lower(), self.port)


class ClusterAction(models.Model):
    """Something that a worker does, or did, to a cluster, in the order in which it was asked for.

    `kind` is one of form, join, leave, drain, activate, scale, look; `given` what belongs to it (role, address,
    service, replicas); `message` tells what came of it.
    """

    KINDS: ClassVar = ("form", "join", "leave", "drain", "activate", "scale", "look")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="+")
    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="actions")
    server = models.ForeignKey(Server, models.SET_NULL, null=True, blank=True, related_name="+")
    kind = models.CharField(max_length=10)
    given = models.JSONField(default=dict, blank=True)
    status = models.CharField(max_length=7, default="queued")  # queued, running, done, failed
    message = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = ScopedManager(team="team")

    class Meta:
        ordering: ClassVar = ["-created_at"]
