"""Projects, their environments and the environments' variables."""

from __future__ import annotations

import hashlib
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django_scopes import ScopedManager

from devflow.apps.accounts.models import Membership, Team, User
from devflow.apps.accounts.rights import GRANT_LABELS, Place
from devflow.apps.sealed import Sealed
from devflow.apps.servers.models import Server
from devflow.apps.sources.models import Source
from devflow.core.names import uuid7


class Project(models.Model):
    """`recipe` is '' where it is detected from the files of the commit. `reads_file`: `devflow.yml` of the commit is in
    force, before the settings of the panel."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="projects")
    name = models.CharField(max_length=200)
    slug = models.CharField(max_length=63)
    repository = models.CharField(max_length=1000)
    recipe = models.CharField(max_length=30, blank=True)
    deploy_key_sealed = models.BinaryField(default=bytes, blank=True)
    deploy_key_public = models.TextField(blank=True)
    source = models.OneToOneField(Source, models.SET_NULL, null=True, blank=True, related_name="project")
    reads_file = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    deploy_key = Sealed()
    objects = ScopedManager(team="team")

    class Meta:
        ordering: ClassVar = ["slug"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "slug"], name="project_slug_once")]

    def __str__(self) -> str:
        return self.name

    @property
    def place(self) -> Place:
        return Place(self.team_id, self.pk)

    @property
    def mirror(self) -> str:
        """What its mirror is called on servers, `<slug>-<12 hexadecimal digits>`: no other project's has that name."""
        return f"{self.slug}-{hashlib.sha256(f'{self.pk} {self.repository}'.encode()).hexdigest()[:12]}"


class Environment(models.Model):
    """Where and how a project is deployed.

    `task_commands` maps a recipe's task name to the command that replaces its own ('' switches the task off);
    `phase_commands` maps a phase to a list of the team's own commands, run after the recipe's tasks of that phase;
    `hooks` are commands before or after a phase or a step, `recipe_options` values of the recipe's own options;
    `watch_paths` are patterns of which a push must touch one, `tag_pattern` says which tags deploy ('' for none);
    `strategy_options` are values of the strategy's own options; `proxy` ('', nginx) serves `domains` on the servers,
    from a site file that is generated, or made of `proxy_template` where an own one was adopted; `proxy_state` is
    what the last look at these files found (apps/deployments/proxy.py); `port` is the first of two local ports that are
    its own on its servers; `upload_mb` is how large a request may be;
    `windows` say when it may be deployed (none: always), `freezes` when not, in `time_zone`;
    `detected` is what the last look at the repository found: {"recipe": …, "commit": …, "file": the text of
    devflow.yml, "file_error": what is wrong with it, …}; with `requires_variables` a
    deployment fails at once where a variable that `.env.example` requires is not set; `compared` is what the last
    comparison of the variables with the servers found (apps/deployments/variables.py). Where it `is_protected`, only
    grants and the roles above them carry rights (apps/accounts/rights.py).
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="environments")
    project = models.ForeignKey(Project, models.CASCADE, related_name="environments")
    name = models.CharField(max_length=63)
    branch = models.CharField(max_length=200)
    root = models.CharField(max_length=500)
    strategy = models.CharField(max_length=20, default="atomic")
    strategy_options = models.JSONField(default=dict, blank=True)
    proxy = models.CharField(max_length=20, blank=True)
    proxy_template = models.TextField(blank=True)
    proxy_state = models.JSONField(default=dict, blank=True)
    upload_mb = models.PositiveIntegerField(default=64)
    domains = ArrayField(models.CharField(max_length=253), default=list, blank=True)
    port = models.PositiveIntegerField(null=True, blank=True)
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
    hooks = models.JSONField(default=list, blank=True)
    recipe_options = models.JSONField(default=dict, blank=True)
    watch_paths = ArrayField(models.CharField(max_length=300), default=list, blank=True)
    tag_pattern = models.CharField(max_length=200, blank=True)
    windows = models.JSONField(default=list, blank=True)
    freezes = models.JSONField(default=list, blank=True)
    time_zone = models.CharField(max_length=64, default="UTC")
    detected = models.JSONField(default=dict, blank=True)
    requires_variables = models.BooleanField(default=False)
    compared = models.JSONField(default=dict, blank=True)
    is_protected = models.BooleanField(default=False)
    servers = models.ManyToManyField(Server, related_name="environments")
    balancer = models.ForeignKey(Server, models.SET_NULL, null=True, blank=True, related_name="balanced_environments")
    builder = models.ForeignKey(Server, models.SET_NULL, null=True, blank=True, related_name="built_environments")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ScopedManager(team="team")

    class Meta:
        ordering: ClassVar = ["created_at"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["project", "name"], name="environment_name_once")]

    def __str__(self) -> str:
        return f"{self.project.slug} {self.name}"

    @property
    def place(self) -> Place:
        return Place(self.team_id, self.project_id, self.pk, self.is_protected)

    @property
    def machines(self) -> list[Server]:
        """All servers that a deployment reaches: who serves, the balancer, the builder. Within the team's scope."""
        return list(dict.fromkeys(filter(None, (*self.servers.all(), self.balancer, self.builder))))


ENVIRONMENT_BRIEF = ("id", "team", "project", "name", "branch", "is_protected")
"""What lists show of an environment, and what rights ask for; forty fields more are its settings."""


class Grant(models.Model):
    """A right (`action`, one of rights.GRANTABLE) that a member has beside their role: for an environment, or for the
    whole project where `environment` is None. It goes with the membership."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="+")
    membership = models.ForeignKey(Membership, models.CASCADE, related_name="grants")
    project = models.ForeignKey(Project, models.CASCADE, related_name="grants")
    environment = models.ForeignKey(Environment, models.CASCADE, null=True, blank=True, related_name="grants")
    action = models.CharField(max_length=20)
    granted_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    granted_at = models.DateTimeField(auto_now_add=True)

    objects = ScopedManager(team="team")

    class Meta:
        ordering: ClassVar = ["granted_at", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["membership", "project", "environment", "action"], name="grant_once", nulls_distinct=False
            )
        ]

    @property
    def place(self) -> Place:
        return Place(self.team_id, self.project_id, self.environment_id)

    @property
    def label(self) -> str:
        return GRANT_LABELS[self.action]


class Variable(models.Model):
    """A variable of an environment, or of all of a project's where `environment` is None; the environment's own wins.

    `kind` is one of KINDS: text and secret on one line, multiline, file (the variable is a path to it).
    """

    KINDS: ClassVar = ("text", "secret", "multiline", "file")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="variables")
    project = models.ForeignKey(Project, models.CASCADE, related_name="variables")
    environment = models.ForeignKey(Environment, models.CASCADE, null=True, blank=True, related_name="variables")
    key = models.CharField(max_length=255)
    kind = models.CharField(max_length=10, default="secret")
    value_sealed = models.BinaryField(default=bytes, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    value = Sealed()
    objects = ScopedManager(team="team")

    class Meta:
        ordering: ClassVar = ["key"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["project", "environment", "key"], name="variable_key_once", nulls_distinct=False
            )
        ]


class VariableChange(models.Model):
    """The history of variables: who set or removed (`is_removal`) one, when, and to what."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, models.CASCADE, related_name="+")
    project = models.ForeignKey(Project, models.CASCADE, related_name="variable_changes")
    environment = models.ForeignKey(Environment, models.CASCADE, null=True, blank=True, related_name="variable_changes")
    key = models.CharField(max_length=255)
    kind = models.CharField(max_length=10, default="secret")
    value_sealed = models.BinaryField(default=bytes, blank=True)
    is_removal = models.BooleanField(default=False)
    changed_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    changed_at = models.DateTimeField(auto_now_add=True)

    value = Sealed()
    objects = ScopedManager(team="team")

    class Meta:
        ordering: ClassVar = ["-changed_at", "-id"]
        indexes: ClassVar = [models.Index(fields=["project", "environment", "key"], name="variable_history")]
