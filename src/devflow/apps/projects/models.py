"""Projects, their environments and the environments' variables."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django_scopes import ScopedManager

from devflow.apps.accounts.models import Team
from devflow.apps.sealed import Sealed
from devflow.apps.servers.models import Server
from devflow.core.names import uuid7


class Project(models.Model):
    """`recipe` is '' where it is detected from the files of the commit."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="projects")
    name = models.CharField(max_length=200)
    slug = models.CharField(max_length=63)
    repository = models.CharField(max_length=1000)
    recipe = models.CharField(max_length=30, blank=True)
    deploy_key_sealed = models.BinaryField(default=bytes, blank=True)
    deploy_key_public = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    deploy_key = Sealed()
    objects = ScopedManager(team="team")

    class Meta:
        ordering: ClassVar = ["slug"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "slug"], name="project_slug_once")]

    def __str__(self) -> str:
        return self.name


class Environment(models.Model):
    """Where and how a project is deployed.

    `task_commands` maps a recipe's task name to the command that replaces its own ('' switches the task off);
    `phase_commands` maps a phase to a list of the team's own commands, run after the recipe's tasks of that phase;
    `detected` is what the last look at the repository found: {"recipe": …, "commit": …}.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="environments")
    project = models.ForeignKey(Project, models.CASCADE, related_name="environments")
    name = models.CharField(max_length=63)
    branch = models.CharField(max_length=200)
    root = models.CharField(max_length=500)
    strategy = models.CharField(max_length=20, default="atomic")
    keep = models.PositiveSmallIntegerField(default=5)
    auto_deploy = models.BooleanField(default=False)
    health_url = models.CharField(max_length=1000, blank=True)
    health_status = models.PositiveSmallIntegerField(default=200)
    health_text = models.CharField(max_length=500, blank=True)
    health_timeout_seconds = models.PositiveSmallIntegerField(default=10)
    health_retries = models.PositiveSmallIntegerField(default=5)
    shared_files = ArrayField(models.CharField(max_length=300), default=list, blank=True)
    shared_folders = ArrayField(models.CharField(max_length=300), default=list, blank=True)
    task_commands = models.JSONField(default=dict, blank=True)
    phase_commands = models.JSONField(default=dict, blank=True)
    detected = models.JSONField(default=dict, blank=True)
    servers = models.ManyToManyField(Server, related_name="environments")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ScopedManager(team="team")

    class Meta:
        ordering: ClassVar = ["created_at"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["project", "name"], name="environment_name_once")]

    def __str__(self) -> str:
        return f"{self.project.slug} {self.name}"


class Variable(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="variables")
    environment = models.ForeignKey(Environment, models.CASCADE, related_name="variables")
    key = models.CharField(max_length=255)
    value_sealed = models.BinaryField(default=bytes, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    value = Sealed()
    objects = ScopedManager(team="team")

    class Meta:
        ordering: ClassVar = ["key"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["environment", "key"], name="variable_key_once")]
