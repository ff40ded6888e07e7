"""Writes of servers."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django_scopes import scope

from devflow.apps.accounts import rights
from devflow.apps.accounts.models import Team
from devflow.apps.accounts.rights import Actor
from devflow.apps.audit.services import audit_record, change_record
from devflow.apps.queue import enqueue
from devflow.apps.servers.models import Server, ServerStatus
from devflow.core import keys, names
from devflow.core.errors import ConflictError, ForbiddenError, InvalidError

_UNDER_WAY = ("running", "verifying")


def server_add(
    *,
    actor: Actor,
    name: str,
    host: str = "",
    port: int = 22,
    user: str = "root",
    private_key: str = "",
    host_key: str = "",
    is_local: bool = False,
) -> Server:
    """A new server, checked in the background at once.

    `private_key` is an OpenSSH private key without a passphrase; when it is empty the panel makes one (ed25519), whose
    public half is in `public_key`. `host_key` pins the server's key (`ssh-ed25519 AAAA…`); empty pins the first seen.
    Raises ForbiddenError, InvalidError, ConflictError.
    """
    actor.require(rights.MANAGE)
    if is_local:
        _require_this_machine(actor)
    server = Server(team=actor.team, name=names.slug(name), is_local=is_local)
    if not is_local:
        server.host, server.port, server.user = names.host(host), _port(port), names.user(user)
        server.host_key = keys.public_key(host_key, "host_key") if host_key.strip() else ""
        server.private_key = private = private_key.strip() + "\n" if private_key.strip() else keys.generate()
        server.public_key = keys.public_of(private, comment=f"devflow-{server.name}")
    try:
        with transaction.atomic(), scope(team=actor.team):
            server.save(force_insert=True)
            enqueue("servers.check", server_id=str(server.pk))
            _record(actor, server, "server.added", {"address": server.address, "host_key": bool(server.host_key)})
    except IntegrityError:
        raise ConflictError(f"There is a server {server.name!r} in this team already.") from None
    return server


def server_update(
    *, actor: Actor, server: Server, host: str | None = None, port: int | None = None, user: str | None = None
) -> Server:
    """Changes where the server is reached, of what is given, and has it checked there.

    Its private key stays, and so does the pinned host key: another machine at the new address is refused. Raises
    ForbiddenError, InvalidError, ConflictError while a deployment to it runs.
    """
    actor.require(rights.MANAGE, server)
    if server.is_local:
        raise ConflictError(f"{server.name} is the panel's own machine: it is reached without an address.")
    with transaction.atomic(), scope(team=actor.team):
        row = Server.objects.select_for_update().get(pk=server.pk)  # as who begins a deployment does
        uses = (row.environments, row.balanced_environments, row.built_environments)
        if any(each.filter(deployments__status__in=_UNDER_WAY).exists() for each in uses):
            raise ConflictError(f"A deployment to {server.name} is under way. Cancel it or wait for its end.")
        before = _place(server)
        server.host = server.host if host is None else names.host(host)
        server.port = server.port if port is None else _port(port)
        server.user = server.user if user is None else names.user(user)
        server.save(update_fields=["host", "port", "user"])
        change_record(
            actor=actor,
            action="server.changed",
            target=server.name,
            target_id=str(server.pk),
            before=before,
            after=_place(server),
        )
        enqueue("servers.check", server_id=str(server.pk))
    return server


def server_check_request(*, actor: Actor, server: Server) -> None:
    """Has a worker check the server now; the result is in `status`, `status_message`, `facts`, `checked_at`."""
    actor.require(rights.DEPLOY, server)
    enqueue("servers.check", server_id=str(server.pk))


def server_host_key_forget(*, actor: Actor, server: Server) -> None:
    """Forgets the pinned host key, so that the next contact pins the server's present one (after a reinstallation)."""
    actor.require(rights.MANAGE, server)
    with transaction.atomic(), scope(team=actor.team):
        server.host_key = ""
        server.save(update_fields=["host_key"])
        _record(actor, server, "server.host_key_forgotten")
    server_check_request(actor=actor, server=server)


def server_maintenance_set(*, actor: Actor, server: Server, on: bool) -> None:
    """In maintenance a server takes no deployments; switching it off has it checked again."""
    actor.require(rights.MANAGE, server)
    with transaction.atomic(), scope(team=actor.team):
        server.status = ServerStatus.MAINTENANCE if on else ServerStatus.UNKNOWN
        server.save(update_fields=["status"])
        _record(actor, server, "server.maintenance_set", {"maintenance": on})
    if not on:
        enqueue("servers.check", server_id=str(server.pk))


def server_remove(*, actor: Actor, server: Server) -> None:
    """Forgets the server; nothing on it is changed. Raises ConflictError while an environment deploys to it,
    or it is in a cluster."""
    actor.require(rights.MANAGE, server)
    with transaction.atomic(), scope(team=actor.team):
        users = [str(environment) for environment in server.environments.select_related("project")]
        if users:
            raise ConflictError(
                f"{server.name} is used by: {', '.join(users)}. Remove these or give them another server first."
            )
        if cluster := Server.objects.select_related("cluster").get(pk=server.pk).cluster:
            raise ConflictError(f"{server.name} is in the cluster {cluster}. Let it leave that first.")
        _record(actor, server, "server.removed", {"address": server.address})
        server.delete()


def this_machine_allow(*, team: Team, allowed: bool) -> None:
    """Whether the team may have the panel's own machine as a server; for the panel's administrator.

    Raises ConflictError where it is to be taken away and such a server is there.
    """
    with transaction.atomic(), scope(team=team):
        local = Server.objects.filter(is_local=True).values_list("name", flat=True)
        if not allowed and local:
            raise ConflictError(f"{team.name} has this machine as {', '.join(local)}. Remove that server first.")
        team.may_use_this_machine = allowed
        team.save(update_fields=["may_use_this_machine"])
        audit_record(
            team=team,
            who="administrator",
            action="team.this_machine_allowed",
            target=team.name,
            target_id=str(team.pk),
            after={"allowed": allowed},
        )


def may_use_this_machine(actor: Actor) -> bool:
    """Whether the panel's own machine can be a server of the actor's team: its administrator may always, in person."""
    return actor.team.may_use_this_machine or (actor.user.is_superuser and actor.scopes is None)


def _place(server: Server) -> dict[str, object]:
    return {"host": server.host, "port": server.port, "user": server.user}


def _require_this_machine(actor: Actor) -> None:
    """A team that deploys to the panel's own machine can read all that the panel keeps, of other teams too."""
    if not may_use_this_machine(actor):
        raise ForbiddenError(
            f"{actor.team.name} may not use the panel's own machine: who deploys there can read what other teams keep. "
            f"The panel's administrator can allow it there: devflow admin allow-local --team {actor.team.slug}"
        )


def _record(actor: Actor, server: Server, action: str, after: dict[str, object] | None = None) -> None:
    audit_record(team=actor.team, actor=actor, action=action, target=server.name, target_id=str(server.pk), after=after)


def _port(value: int) -> int:
    if not 1 <= value <= 65535:
        raise InvalidError("The port is not valid.", {"port": "Give a port from 1 to 65535; SSH's own is 22."})
    return value
