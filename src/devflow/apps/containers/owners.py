"""Whose a container, image, volume or network is, as its labels say, and what part it plays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Q
from django_scopes import scope

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.projects.models import Environment
from devflow.apps.servers.models import Server
from devflow.commands import docker

LIVE, STANDBY, OLD = "live", "standby", "old"
NOT_OURS = "not ours"


@dataclass(frozen=True, slots=True)
class Owner:
    """An environment of the team, or (None) somebody else; `words` name it. `user` is the environment that alone uses
    what is not its own, `compose_project` somebody else's."""

    environment: Environment | None = None
    words: str = NOT_OURS
    user: Environment | None = None
    compose_project: str = ""

    @property
    def is_ours(self) -> bool:
        return self.environment is not None

    @property
    def project_id(self) -> UUID | None:
        return self.environment.project_id if self.environment else None

    def may(self, actor: Actor, action: str = rights.DEPLOY) -> bool:
        """Whether the actor may do the action there; what is not ours needs the right to manage the team's servers."""
        return actor.can(action, self.environment) if self.environment else actor.can(rights.MANAGE)

    def require(self, actor: Actor, action: str = rights.DEPLOY) -> None:
        """Raises ForbiddenError."""
        if self.environment:
            actor.require(action, self.environment)
        else:
            actor.require(rights.MANAGE)

    def is_seen_by(self, actor: Actor) -> bool:
        """A token for single projects sees these only."""
        return actor.projects is None or (self.environment is not None and actor.sees(self.project_id))


class Owners:
    """Environments of a team, by what deployments call them on servers."""

    def __init__(self, environments: Iterable[Environment]) -> None:
        self._by_identity = {docker.identity(environment.pk): environment for environment in environments}

    def of(self, found: Mapping[str, Any]) -> Owner:
        """Of a container, image, volume or network as it was seen."""
        labels = found["labels"]
        environment = self._by_identity.get(identity_of(found))
        if environment:
            return Owner(environment, str(environment))
        project = labels.get(docker.COMPOSE_PROJECT, "")
        words = f"{NOT_OURS}: Compose project {project}" if project else NOT_OURS
        return Owner(words=words, compose_project=project)


def identity_of(found: Mapping[str, Any]) -> str:
    """What deployments call the environment that a container, image, volume or network is of; '' where of none."""
    return docker.environment_of(found["labels"], found.get("tags", ()))


def owners_load(*, team: Any, found: Iterable[Mapping[str, Any]]) -> Owners:
    """Of what was `found`, whoever looks: what an actor does not see is left out afterwards."""
    named = {identity for each in found if (identity := identity_of(each))}
    with scope(team=team):
        return Owners(Environment.objects.select_related("project").filter(pk__in=named))


def environments_on(server: Server) -> list[Environment]:
    """Those that a server serves, balances or builds. Within the team's scope."""
    where = Q(servers=server) | Q(balancer=server) | Q(builder=server)
    return list(Environment.objects.select_related("project").filter(where).distinct())


def role_of(found: Mapping[str, Any], roles: Mapping[str, Mapping[str, list[str]]]) -> str:
    """LIVE, STANDBY or OLD for a container of an environment; '' where that is not known."""
    labels = found["labels"]
    colour, release = labels.get(docker.COLOUR, ""), labels.get(docker.RELEASE, "")
    known = roles.get(identity_of(found), {})
    for role in (LIVE, STANDBY):
        is_colour = colour and known.get(role, [""])[0] == colour
        if is_colour and (not release or known[role][1] in ("", release)):
            return role
    if colour and LIVE in known:
        return OLD
    return LIVE if found["state"] in ("running", "restarting", "paused") else ""
