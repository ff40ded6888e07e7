"""Reads of what runs in containers on servers. All of it is from the last look; nothing here waits for a server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django_scopes import scope, scopes_disabled

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.containers.models import Action, Follow, LogPart, Snapshot
from devflow.apps.containers.owners import LIVE, Owner, Owners, owners_load, role_of
from devflow.apps.projects.models import Environment
from devflow.apps.servers.models import Server
from devflow.commands import docker
from devflow.core.errors import NotFoundError
from devflow.core.shell import MASK

SHOWN_ACTIONS = 10
PROBLEMS = {
    "missing": "Docker is not installed on {server}.",
    "denied": "{user} on {server} may not use Docker.",
    "stopped": "Docker does not run on {server}.",
    "unreachable": "{server} cannot be reached.",
}
ADVICE = {
    "missing": "Install it there, then look again: apt-get install docker.io",
    "denied": "As root there: usermod -aG docker {user} (or allow sudo -n docker), then look again.",
    "stopped": "As root there: systemctl start docker, and see why it ended: journalctl -u docker -n 50",
    "unreachable": "What is shown is what was seen last.",
}


@dataclass(frozen=True, slots=True)
class ContainerRow:
    """A container as it was seen last. `role`: live, standby, old, or '' where it is not known."""

    server: Server
    found: Mapping[str, Any]
    owner: Owner
    role: str
    image_tags: tuple[str, ...] = ()

    @property
    def image(self) -> str:
        """What it was made from, by a name where it was made by the id alone."""
        image = str(self.found["image"])
        return self.image_tags[0] if image.startswith("sha256:") and self.image_tags else image

    @property
    def id(self) -> str:
        return str(self.found["id"])

    @property
    def name(self) -> str:
        return str(self.found["name"])

    @property
    def labels(self) -> Mapping[str, str]:
        labels: Mapping[str, str] = self.found["labels"]
        return labels

    @property
    def status(self) -> str:
        """Its health where it runs and has one, else its state."""
        is_checked = self.found["state"] == "running" and self.found["health"] not in ("", "none")
        return str(self.found["health"] if is_checked else self.found["state"])

    @property
    def is_running(self) -> bool:
        return self.found["state"] in ("running", "restarting", "paused")

    @property
    def is_live(self) -> bool:
        """Whether people are served by it, as far as is known."""
        return self.owner.is_ours and self.role == LIVE and self.is_running

    @property
    def colour(self) -> str:
        return self.labels.get(docker.COLOUR, "")

    @property
    def deployment_id(self) -> str:
        """'' where the label is no id."""
        try:
            return str(UUID(self.labels.get(docker.DEPLOYMENT, "")))
        except ValueError:
            return ""

    @property
    def created_at(self) -> datetime | None:
        return moment(self.found["created_at"])

    @property
    def started_at(self) -> datetime | None:
        return moment(self.found["started_at"])

    def environment_for(self, actor: Actor) -> list[tuple[str, str]]:
        """The variables that it was started with; all values are masked for who may not see secrets. What is called
        like a secret, or holds one, is masked for everybody."""
        may_see = actor.can(rights.SEE_SECRETS, self.owner.environment)
        return [(name, value if may_see or not value else MASK) for name, value in self.found["env"]]


@dataclass(frozen=True, slots=True)
class ThingRow:
    """An image, a volume or a network. `used_by` are names of containers; `size` in bytes, None where not known."""

    found: Mapping[str, Any]
    owner: Owner
    used_by: tuple[str, ...]
    size: int | None = None

    @property
    def created_at(self) -> datetime | None:
        return moment(self.found["created_at"])


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is nothing (new) to see, and what to do."""

    kind: str
    what: str
    advice: str
    detail: str


# --- the last look ----------------------------------------------------------------------------------------------------


def snapshot_get(*, actor: Actor, server: Server) -> Snapshot:
    """What was seen last; an empty one where the server was never looked at."""
    actor.require(rights.READ, server)
    with scope(team=actor.team):
        return Snapshot.objects.filter(server=server).first() or Snapshot(team=actor.team, server=server)


def problem_of(snapshot: Snapshot) -> Problem | None:
    """What was in the way of the last look; None where nothing was."""
    if not snapshot.problem:
        return None
    server = snapshot.server
    names = {"server": server.name, "user": server.user or "The panel's user"}
    what, advice = PROBLEMS[snapshot.problem].format(**names), ADVICE[snapshot.problem].format(**names)
    detail = snapshot.problem_detail if snapshot.problem in ("stopped", "unreachable") else ""
    return Problem(snapshot.problem, what, advice, detail)


def container_list(*, actor: Actor, server: Server) -> list[ContainerRow]:
    """The server's containers by name; for a token of single projects, those of these."""
    return _containers(actor, [snapshot_get(actor=actor, server=server)])


def environment_container_list(
    *, actor: Actor, environment: Environment
) -> tuple[list[ContainerRow], list[Snapshot], list[Server]]:
    """The environment's containers on all of its machines, what was seen there last, and those machines."""
    actor.require(rights.READ, environment)
    with scope(team=actor.team):
        machines = environment.machines
        seen = {each.server_id: each for each in Snapshot.objects.filter(server__in=machines)}
    snapshots = [seen.get(server.pk) or Snapshot(team=actor.team, server=server) for server in machines]
    for snapshot, server in zip(snapshots, machines, strict=True):
        snapshot.server = server
    rows = [row for row in _containers(actor, snapshots) if row.owner.environment == environment]
    return rows, snapshots, machines


def container_get(*, actor: Actor, server: Server, container: str) -> ContainerRow:
    """By its name, its id, or the beginning of it. Raises NotFoundError."""
    rows = container_list(actor=actor, server=server)
    named = [row for row in rows if container in (row.name, row.id)]
    begun = [row for row in rows if len(container) >= 6 and row.id.startswith(container)]
    if len(found := named or begun) != 1:
        raise NotFoundError(f"There is no container {container[:80]!r} on {server.name}, as far as was seen last.")
    return found[0]


def image_list(*, actor: Actor, server: Server) -> list[ThingRow]:
    """The largest first."""
    snapshot = snapshot_get(actor=actor, server=server)
    rows = _things(actor, snapshot, "images", lambda found, container: found["id"] == container["image_id"])
    return sorted(rows, key=lambda row: -(row.size or 0))


def volume_list(*, actor: Actor, server: Server) -> list[ThingRow]:
    snapshot = snapshot_get(actor=actor, server=server)
    rows = _things(
        actor,
        snapshot,
        "volumes",
        lambda found, container: any(
            mount["kind"] == "volume" and mount["source"] == found["name"] for mount in container["mounts"]
        ),
    )
    return sorted(rows, key=lambda row: str(row.found["name"]))


def network_list(*, actor: Actor, server: Server) -> list[ThingRow]:
    snapshot = snapshot_get(actor=actor, server=server)
    rows = _things(actor, snapshot, "networks", lambda found, container: found["name"] in container["networks"])
    return sorted(rows, key=lambda row: str(row.found["name"]))


# --- what was asked for -----------------------------------------------------------------------------------------------


def action_get(*, actor: Actor, server: Server, action_id: str) -> Action:
    """Raises NotFoundError."""
    with scope(team=actor.team):
        found = Action.objects.select_related("requested_by", "environment__project").filter(server=server)
        action = found.filter(pk=action_id).first() if _is_uuid(action_id) else None
    if action is None or not _sees(actor, action.environment):
        raise NotFoundError(f"There is no action {action_id!r} on {server.name}.")
    return action


def action_list(*, actor: Actor, server: Server, container_id: str = "", kind: str = "") -> list[Action]:
    """The newest first; of one container, or of one kind."""
    with scope(team=actor.team):
        found = Action.objects.select_related("requested_by", "environment__project").filter(server=server)
        found = found.filter(container_id=container_id) if container_id else found
        found = found.filter(kind=kind) if kind else found
        return [action for action in found[:SHOWN_ACTIONS] if _sees(actor, action.environment)]


def follow_get(*, actor: Actor, follow_id: str, server: Server | None = None) -> Follow:
    """A log that is or was followed: masked as those of deployments are, and for whoever sees these; of what is not
    ours, for who may follow it. Raises NotFoundError, ForbiddenError."""
    with scope(team=actor.team):
        every = Follow.objects.select_related("server", "environment__project", "team")
        every = every.filter(server=server) if server else every
        found = every.filter(pk=follow_id).first() if _is_uuid(follow_id) else None
    if found is None or not _sees(actor, found.environment):
        raise NotFoundError(f"There is no log {follow_id!r} in this team.")
    Owner(found.environment).require(actor, rights.READ)
    return found


def log_part_list(*, follow_id: UUID | str, after_seq: int, limit: int = 500) -> list[LogPart]:
    """Parts after `after_seq` in order. The caller has checked that the reader may see them."""
    with scopes_disabled():
        return list(LogPart.objects.filter(follow_id=follow_id, seq__gt=after_seq).order_by("seq")[:limit])


def log_text(*, actor: Actor, follow: Follow) -> str:
    """All lines that are kept of it."""
    with scope(team=actor.team):
        return "".join(LogPart.objects.filter(follow=follow).order_by("seq").values_list("text", flat=True))


# --- shared -----------------------------------------------------------------------------------------------------------


def moment(text: str) -> datetime | None:
    """A time as docker tells it (nanoseconds, any time zone); None where it is none."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def _containers(actor: Actor, snapshots: Iterable[Snapshot]) -> list[ContainerRow]:
    seen = [(snapshot, found) for snapshot in snapshots for found in snapshot.content.get("containers", [])]
    owners = owners_load(team=actor.team, found=[found for _, found in seen])
    rows = [_container(snapshot, found, owners.of(found)) for snapshot, found in seen]
    return [row for row in rows if row.owner.is_seen_by(actor)]


def _container(snapshot: Snapshot, found: Mapping[str, Any], owner: Owner) -> ContainerRow:
    role = role_of(found, snapshot.content.get("roles", {})) if owner.is_ours else ""
    tags = [image["tags"] for image in snapshot.content.get("images", []) if image["id"] == found["image_id"]]
    return ContainerRow(snapshot.server, found, owner, role, tuple(tags[0] if tags else ()))


def _things(actor: Actor, snapshot: Snapshot, part: str, is_used: Any) -> list[ThingRow]:
    containers, things = snapshot.content.get("containers", []), snapshot.content.get(part, [])
    owners = owners_load(team=actor.team, found=[*containers, *things])
    rows = [
        ThingRow(
            found,
            owners.of(found),
            tuple(each["name"] for each in containers if is_used(found, each)),
            _size(found, part, snapshot.disk),
        )
        for found in things
    ]
    return [_with_user(row, containers, owners) for row in rows if row.owner.is_seen_by(actor)]


def _with_user(row: ThingRow, containers: Iterable[Mapping[str, Any]], owners: Owners) -> ThingRow:
    """What has no owner of its own, and is used by containers of one environment alone, is told to be that one's."""
    if row.owner.is_ours or not row.used_by:
        return row
    users = {owners.of(each).environment for each in containers if each["name"] in row.used_by}
    (user, *others) = users
    if user is None or others:
        return row
    return ThingRow(row.found, Owner(words=f"used by {user}", user=user), row.used_by, row.size)


def _size(found: Mapping[str, Any], part: str, disk: Mapping[str, Any]) -> int | None:
    if part == "images":
        return int(found["size"])
    if part == "volumes":
        size: int | None = disk.get("volumes", {}).get(found["name"])
        return size
    return None


def _sees(actor: Actor, environment: Environment | None) -> bool:
    return Owner(environment).is_seen_by(actor)


def _is_uuid(value: str) -> bool:
    try:
        UUID(str(value))
    except ValueError:
        return False
    return True
