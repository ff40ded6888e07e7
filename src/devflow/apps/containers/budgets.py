"""How much of the servers' disks a project takes, and how much it is to take at most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django_scopes import scope

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.audit.services import change_record
from devflow.apps.containers.models import Budget, Snapshot
from devflow.apps.containers.owners import identity_of
from devflow.apps.projects.models import Environment, Project
from devflow.apps.servers.models import Server
from devflow.commands import docker
from devflow.core.errors import InvalidError

LARGEST_MEGABYTES = 1_000_000_000
MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServerUse:
    """What a project takes on one server, in bytes; `at` is when that was read, None where it never was."""

    server: str
    images: int
    containers: int
    volumes: int
    folders: int
    at: datetime | None

    @property
    def total(self) -> int:
        return self.images + self.containers + self.volumes + self.folders


@dataclass(frozen=True, slots=True)
class DiskUse:
    """A project's use and budget (0: none)."""

    servers: tuple[ServerUse, ...]
    budget_megabytes: int

    @property
    def total(self) -> int:
        return sum(server.total for server in self.servers)

    @property
    def is_over(self) -> bool:
        return 0 < self.budget_megabytes * MEGABYTE < self.total

    @property
    def warning(self) -> str:
        """What a plan says where the project takes more than it is to; '' where it does not."""
        if not self.is_over:
            return ""
        taken = -(-self.total // MEGABYTE)
        return (
            f"The project takes about {taken:,} MB of disk, more than its budget of {self.budget_megabytes:,} MB. "
            "See its page Disk, and clean up on the servers' pages."
        )


def disk_use(*, actor: Actor, project: Project) -> DiskUse:
    """As of the last look at each server. Image layers that releases share are counted once, and images that containers
    of the project use as its own."""
    actor.require(rights.READ, project)
    with scope(team=actor.team):
        return _use(project)


def disk_warnings(project: Project) -> tuple[str, ...]:
    """For a plan, at most one. Within the team's scope."""
    if not Budget.objects.filter(project=project, megabytes__gt=0).exists():
        return ()
    warning = _use(project).warning
    return (warning,) if warning else ()


def budget_set(*, actor: Actor, project: Project, megabytes: int) -> Budget:
    """How much the project is to take in all, in MB; 0: no budget. Raises ForbiddenError, InvalidError."""
    actor.require(rights.MANAGE, project)
    if not 0 <= megabytes <= LARGEST_MEGABYTES:
        message = f"Give megabytes from 0 (no budget) to {LARGEST_MEGABYTES:,}."
        raise InvalidError(message, {"megabytes": message})
    with transaction.atomic(), scope(team=actor.team):
        budget, _ = Budget.objects.get_or_create(team=actor.team, project=project)
        before, budget.megabytes = budget.megabytes, megabytes
        budget.save(update_fields=["megabytes"])
        change_record(
            actor=actor,
            action="project.disk_budget_set",
            target=project.slug,
            target_id=str(project.pk),
            project_id=project.pk,
            before={"megabytes": before},
            after={"megabytes": megabytes},
        )
    return budget


def _use(project: Project) -> DiskUse:
    budget = Budget.objects.filter(project=project).first()
    environments = list(project.environments.prefetch_related("servers").select_related("balancer", "builder"))
    machines: dict[Server, list[Environment]] = {}
    for environment in environments:
        for server in environment.machines:
            machines.setdefault(server, []).append(environment)
    snapshots = {each.server_id: each for each in Snapshot.objects.filter(server__in=machines)}
    uses = [
        _server_use(server, snapshots.get(server.pk), {docker.identity(one.pk) for one in environments})
        for server in sorted(machines, key=lambda server: server.name)
    ]
    return DiskUse(tuple(uses), budget.megabytes if budget else 0)


def _server_use(server: Server, snapshot: Snapshot | None, environments: set[str]) -> ServerUse:
    if snapshot is None or not snapshot.disk:
        return ServerUse(server.name, 0, 0, 0, 0, None)
    disk, content = snapshot.disk, snapshot.content
    containers = _of(content.get("containers", []), environments)
    used = {each["image_id"] for each in containers}
    images = [each for each in content.get("images", []) if each["id"] in used or identity_of(each) in environments]
    mounted = {mount["source"] for each in containers for mount in each["mounts"] if mount["kind"] == "volume"} | {
        each["name"] for each in _of(content.get("volumes", []), environments)
    }
    return ServerUse(
        server=server.name,
        images=_layers(images, disk["images"]),
        containers=sum(disk["containers"].get(each["id"]) or 0 for each in containers),
        volumes=sum(disk["volumes"].get(name) or 0 for name in mounted),
        folders=sum(disk["folders"].get(environment, 0) for environment in environments),
        at=snapshot.disk_at,
    )


def _layers(images: Iterable[Mapping[str, Any]], sizes: Mapping[str, Any]) -> int:
    """What is each one's own, and once what those share that begin with the same layer: others share nothing."""
    total, shared_by = 0, dict[str, int]()
    for image in images:
        own, shared = sizes.get(image["id"], [0, 0])
        total += own
        lowest = image.get("lowest_layer", "")
        shared_by[lowest] = max(shared_by.get(lowest, 0), shared)
    return total + sum(shared_by.values())


def _of(rows: Iterable[Mapping[str, Any]], environments: set[str]) -> list[Mapping[str, Any]]:
    return [each for each in rows if identity_of(each) in environments]
