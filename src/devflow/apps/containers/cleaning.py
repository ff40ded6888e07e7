"""What a clean-up of a server would remove, from what was seen last. The server's script looks again at each."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core import signing
from django.db.models import Q
from django.db.models.functions import Left
from django_scopes import scope

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.containers.models import Snapshot
from devflow.apps.containers.owners import LIVE, STANDBY, environments_on, identity_of, role_of
from devflow.apps.containers.selectors import snapshot_get
from devflow.apps.deployments.models import OPEN, Deployment, Release
from devflow.apps.projects.models import Environment
from devflow.apps.servers.models import Server
from devflow.commands import docker
from devflow.commands.docker import Candidate
from devflow.core.errors import InvalidError

_SALT = "containers.prune"
VALID_SECONDS = 3600
_MARK_LENGTH = 16
"""So much of a digest of an id is enough in a token: what was shown is found again by it among what still may go."""
_SHORT_COMMIT = 7
_COMMIT_IN_TAG = 12
"""Tags of images begin with so much of the commit."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What would go, in what order, and the token by which exactly this is asked for. `held` says in words what is left
    out for now."""

    candidates: tuple[Candidate, ...]
    held: tuple[str, ...]
    token: str
    with_volumes: bool

    @property
    def size(self) -> int:
        return sum(candidate.size or 0 for candidate in self.candidates)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is needed to go back to one of an environment's releases: `images` are ids that servers name. `deployments`
    are those that something on the server names, by their ids (`docker.identity`), their releases and the beginnings of
    their commits."""

    releases: frozenset[str]
    deployment_ids: frozenset[str]
    commits: frozenset[str]
    images: frozenset[str]
    deployments: Mapping[str, Deployment]

    def holds(self, found: Mapping[str, Any]) -> bool:
        labels, names = found["labels"], [*found.get("tags", ()), *found.get("digests", ())]
        deployment = self._deployment(found)
        return (
            found["id"] in self.images
            or labels.get(docker.RELEASE, "") in self.releases
            or docker.identity(labels.get(docker.DEPLOYMENT, "")) in self.deployment_ids
            or labels.get(docker.COMMIT, "") in self.commits
            or bool(deployment and deployment.commit in self.commits)
            or any(docker.named_in(name)[1] in self.releases for name in names)
            or any(commit[:_SHORT_COMMIT] in name for commit in self.commits for name in names)
        )

    def release_of(self, found: Mapping[str, Any]) -> str:
        deployment = self._deployment(found)
        return str(found["labels"].get(docker.RELEASE, "")) or (deployment.release if deployment else "")

    def knows(self, found: Mapping[str, Any]) -> bool:
        return self._deployment(found) is not None

    def _deployment(self, found: Mapping[str, Any]) -> Deployment | None:
        return next((self.deployments[word] for word in _words(found) if word in self.deployments), None)


def prune_preview(*, actor: Actor, server: Server, with_volumes: bool = False) -> Preview:
    """What a clean-up of the server would remove now: of environments that the actor may change, nothing else's.

    Raises ForbiddenError.
    """
    snapshot = snapshot_get(actor=actor, server=server)
    environments = _managed(actor, server)
    with scope(team=actor.team):
        busy = _busy(environments)
        free = [environment for environment in environments if environment.pk not in busy]
        kept = _kept(free, snapshot.content)
        found = [
            candidate
            for environment in free
            for candidate in _of(environment, snapshot, kept[environment.pk], with_volumes=with_volumes)
        ]
    held = tuple(f"{one}: a deployment is under way" for one in environments if one.pk in busy)
    token = signing.dumps(
        {"server": server.pk.hex, "volumes": with_volumes, "ids": [_mark(each) for each in found]},
        salt=_SALT,
        compress=True,
    )
    return Preview(tuple(found), held, token, with_volumes)


def chosen_again(*, actor: Actor, server: Server, token: str) -> list[Candidate]:
    """Of what a preview showed, what may still go. Raises InvalidError where the token is not of a preview of this
    server, or too old; ForbiddenError."""
    _managed(actor, server)
    message = "This preview is not valid any more. Look at it again, then clean up."
    try:
        given = signing.loads(token, salt=_SALT, max_age=VALID_SECONDS)
    except signing.BadSignature:
        raise InvalidError(message, {"token": message}) from None
    if given["server"] != server.pk.hex:
        raise InvalidError(message, {"token": message})
    now = prune_preview(actor=actor, server=server, with_volumes=given["volumes"])
    shown = set(given["ids"])
    return [candidate for candidate in now.candidates if _mark(candidate) in shown]


def _managed(actor: Actor, server: Server) -> list[Environment]:
    """The environments on this server that the actor may change. Raises ForbiddenError where there can be none."""
    with scope(team=actor.team):
        environments = [one for one in environments_on(server) if actor.can(rights.MANAGE, one)]
    if not environments:
        actor.require(rights.MANAGE)
    return environments


def _of(environment: Environment, snapshot: Snapshot, kept: _Kept, *, with_volumes: bool) -> list[Candidate]:
    content = snapshot.content
    mine = {part: _mine(content.get(part, []), environment) for part in ("containers", "images", "volumes")}
    roles = content.get("roles", {})
    known = roles.get(docker.identity(environment.pk), {})
    containers = [each for each in mine["containers"] if _is_left_over(each, roles, kept)]
    going = {each["id"] for each in containers}
    using = [each for each in content.get("containers", []) if each["id"] not in going]
    found = [_container(each, environment, snapshot, kept) for each in containers]
    used = {each["image_id"] for each in using}
    found += [
        _image(each, environment, snapshot, kept)
        for each in mine["images"]
        if each["id"] not in used and _is_unneeded(each, kept)
    ]
    if with_volumes:
        named = {mount["source"] for each in content.get("containers", []) for mount in each["mounts"]}
        named |= set(known.get("volumes", ()))
        found += [
            _volume(each, environment, snapshot)
            for each in mine["volumes"]
            if each["name"] not in named and not each["labels"].get(docker.COMPOSE_PROJECT)
        ]
    return found


def _is_left_over(found: Mapping[str, Any], roles: Mapping[str, Any], kept: _Kept) -> bool:
    """A container of a colour that does not run, is neither live nor on standby, and is of no release that is kept.
    One without a colour was started by hand from our image, or is one beside the colours of a Compose project."""
    return (
        found["state"] in ("exited", "created", "dead")
        and bool(found["labels"].get(docker.COLOUR))
        and role_of(found, roles) not in (LIVE, STANDBY)
        and kept.knows(found)
        and not kept.holds(found)
    )


def _is_unneeded(found: Mapping[str, Any], kept: _Kept) -> bool:
    """An image of no release that is kept: of a deployment that is known, or a layer that a build left without name.
    One that has a name of somebody else, too (as what a Compose project pulled has) is theirs."""
    is_nameless = not found["tags"] and not found["digests"]
    is_known = kept.knows(found) or is_nameless
    return is_known and all(docker.named_in(name)[1] for name in found["tags"]) and not kept.holds(found)


def _container(found: Mapping[str, Any], environment: Environment, snapshot: Snapshot, kept: _Kept) -> Candidate:
    return Candidate(
        kind="container",
        id=found["id"],
        environment=docker.identity(environment.pk),
        names=(found["name"],),
        release=kept.release_of(found),
        colour=found["labels"].get(docker.COLOUR, ""),
        size=snapshot.disk.get("containers", {}).get(found["id"]),
        why=f"{found['state']}, of {environment}",
    )


def _image(found: Mapping[str, Any], environment: Environment, snapshot: Snapshot, kept: _Kept) -> Candidate:
    own, _ = snapshot.disk.get("images", {}).get(found["id"], [found["size"], 0])
    return Candidate(
        kind="image",
        id=found["id"],
        environment=docker.identity(environment.pk),
        names=tuple(found["tags"]),
        release=kept.release_of(found),
        size=own,
        why=f"of no release that is kept, of {environment}" if found["tags"] else f"left by a build of {environment}",
    )


def _volume(found: Mapping[str, Any], environment: Environment, snapshot: Snapshot) -> Candidate:
    return Candidate(
        kind="volume",
        id=found["name"],
        environment=docker.identity(environment.pk),
        names=(found["name"],),
        size=snapshot.disk.get("volumes", {}).get(found["name"]),
        why=f"used by no container, of {environment}",
    )


def _mine(rows: Iterable[Mapping[str, Any]], environment: Environment) -> list[Mapping[str, Any]]:
    """Those that name the environment themselves: what is only thought to be its own is never removed."""
    return [each for each in rows if identity_of(each) == docker.identity(environment.pk)]


def _words(found: Mapping[str, Any]) -> list[str]:
    """By which a container or an image may name its deployment: its id, its release, the beginning of its commit."""
    labels = found["labels"]
    tags = [docker.named_in(name)[1] for name in found.get("tags", ())]
    named = (docker.identity(labels.get(docker.DEPLOYMENT, "")), labels.get(docker.RELEASE, ""))
    return [word for word in (*named, *tags, *(tag[:_COMMIT_IN_TAG] for tag in tags)) if word]


def _kept(environments: list[Environment], content: Mapping[str, Any]) -> dict[UUID, _Kept]:
    """Of each of them, by its id; the `roles` of what was seen have the ids of images that kept releases name.
    Within the team's scope."""
    roles = content.get("roles", {})
    words = {word for part in ("containers", "images") for each in content.get(part, []) for word in _words(each)}
    releases, deployments = defaultdict(list), defaultdict(list)
    of_them = Release.objects.filter(environment__in=environments, pruned_at=None)
    for release in of_them.select_related("deployment").defer("deployment__plan", "deployment__observed"):
        releases[release.environment_id].append(release)
    # the newest last: of two that have a commit or a release, it is the one that counts
    names_it = Q(pk__in=filter(docker.identity, words)) | Q(release__in=words) | Q(commit_begins__in=words)
    every = Deployment.objects.alias(commit_begins=Left("commit", _COMMIT_IN_TAG)).filter(names_it)
    every = every.filter(environment__in=environments).order_by("id")
    for deployment in every.only("id", "release", "commit", "environment_id"):
        deployments[deployment.environment_id].append(deployment)
    return {
        environment.pk: _kept_of(
            releases[environment.pk],
            deployments[environment.pk],
            roles.get(docker.identity(environment.pk), {}).get("images", ()),
        )
        for environment in environments
    }


def _kept_of(releases: Sequence[Release], deployments: Sequence[Deployment], images: Iterable[str]) -> _Kept:
    commits = {release.deployment.commit for release in releases if release.deployment.commit}
    return _Kept(
        releases=frozenset(release.name for release in releases),
        deployment_ids=frozenset(docker.identity(release.deployment_id) for release in releases),
        commits=frozenset(commits),
        images=frozenset(images),
        deployments={one.commit[:_COMMIT_IN_TAG]: one for one in deployments if one.commit}
        | {one.release: one for one in deployments if one.release}
        | {docker.identity(one.pk): one for one in deployments},
    )


def _busy(environments: list[Environment]) -> set[UUID]:
    """Environments with a deployment that has not ended. Within the team's scope."""
    open_ones = Deployment.objects.filter(environment__in=environments, status__in=OPEN)
    return set(open_ones.exclude(status="waiting").values_list("environment_id", flat=True))


def _mark(candidate: Candidate) -> str:
    return hashlib.sha256(f"{candidate.kind} {candidate.id}".encode()).hexdigest()[:_MARK_LENGTH]
