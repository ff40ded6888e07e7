"""Reads of servers."""

from __future__ import annotations

from django_scopes import scope

from devflow.apps import replica
from devflow.apps.accounts.rights import Actor
from devflow.apps.servers.models import Server
from devflow.core.errors import NotFoundError


@replica.listed
def server_list(*, actor: Actor, after: str = "", limit: int | None = None) -> list[Server]:
    """The team's servers by name, from the one after the name `after` on, at most `limit`."""
    with scope(team=actor.team):
        return list(Server.objects.filter(name__gt=after)[:limit])


def server_get(*, actor: Actor, name: str) -> Server:
    """The team's server of that name. Raises NotFoundError."""
    with scope(team=actor.team):
        server = Server.objects.filter(name=name).first()
    if server is None:
        raise NotFoundError(f"There is no server {name!r} in this team.")
    return server
