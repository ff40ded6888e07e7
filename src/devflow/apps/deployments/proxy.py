"""The site files of an environment on its servers: read, and taken over or replaced where they were edited by hand."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import TYPE_CHECKING, Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import transaction
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.audit.services import change_record
from devflow.apps.projects.models import Environment
from devflow.apps.projects.services import environment_update
from devflow.apps.queue import MANUAL, enqueue
from devflow.apps.servers.models import Server
from devflow.commands import nginx
from devflow.core.errors import ConflictError, DevflowError, RemoteError
from devflow.core.shell import quote

if TYPE_CHECKING:  # pages need this module too, and no SSH
    from devflow.apps.servers.reach import ServerReach

TIMEOUT_SECONDS = 30
EDITED = "edited"


def proxy_look_request(*, actor: Actor, environment: Environment) -> None:
    """Has a worker read the site files of the environment; the answer comes in `environment.proxy_state`."""
    actor.require(rights.DEPLOY, environment)
    enqueue("deployments.look_at_proxy", priority=MANUAL, environment_id=str(environment.pk))


def proxy_adopt(*, actor: Actor, environment: Environment, server: str) -> Environment:
    """Takes over what was edited by hand on `server`: it becomes the environment's own site file, which the next
    deployment writes. Raises ForbiddenError, ConflictError."""
    found = _edited(environment).get(server)
    if found is None:
        raise ConflictError(
            f"No site file that was edited by hand is known on {server[:60]!r}. Read the servers again."
        )
    template = nginx.template_of(found["text"], environment.pk.hex)
    environment_update(actor=actor, environment=environment, proxy_template=template)
    return proxy_replace(actor=actor, environment=environment)


def proxy_replace(*, actor: Actor, environment: Environment) -> Environment:
    """Lets the next deployment replace the site files as they are now, edited by hand. Raises ForbiddenError,
    ConflictError where none is known."""
    actor.require(rights.MANAGE, environment)
    sums = sorted({found["sum"] for found in _edited(environment).values()})
    if not sums:
        raise ConflictError("No site file that was edited by hand is known. Read the servers again.")
    before = environment.proxy_state
    environment.proxy_state = {**before, "accepted": sums}
    with transaction.atomic(), scope(team=actor.team):
        environment.save(update_fields=["proxy_state"])
        change_record(
            actor=actor,
            action="environment.changed",
            target=str(environment),
            target_id=str(environment.pk),
            project_id=environment.project_id,
            before={"replaces_site_files": before.get("accepted", [])},
            after={"replaces_site_files": sums},
        )
    return environment


def _edited(environment: Environment) -> dict[str, dict[str, Any]]:
    servers: dict[str, dict[str, Any]] = environment.proxy_state.get("servers", {})
    return {name: found for name, found in servers.items() if found.get("state") == EDITED}


async def look(*, environment_id: str, reach: ServerReach) -> None:
    """Reads each server's site file and keeps in `environment.proxy_state`: {"at": …, "servers": {name: {"state": …,
    "sum": SHA-256, "text": …}}}, or the server's "error"; the state is absent, ours or edited."""
    loaded = await sync_to_async(_load)(environment_id)
    if loaded is None:
        return
    environment, servers = loaded
    reach.remember(servers)
    results = await asyncio.gather(*(_look_at(reach, server, environment) for server in servers))
    found = dict(zip((server.name for server in servers), results, strict=True))
    await sync_to_async(_keep)(environment, found)


def _load(environment_id: str) -> tuple[Environment, list[Server]] | None:
    with scopes_disabled():
        environment = Environment.objects.select_related("project", "team").filter(pk=UUID(environment_id)).first()
    if environment is None:
        return None
    with scope(team=environment.team):
        return environment, list(environment.servers.all())


async def _look_at(reach: ServerReach, server: Server, environment: Environment) -> dict[str, Any]:
    try:
        connection = await reach.get(server.pk.hex)
        place = f"{quote(environment.root)} {environment.pk.hex}"
        done = await connection.run(f"sh -s {place}", nginx.READ.encode(), TIMEOUT_SECONDS)
        if done.exit_code != 0:
            raise RemoteError(f"{server.name}: the site file of nginx cannot be read.", server=server.name)
        return read(done.stdout)
    except DevflowError as error:
        return {"error": str(error)}


def read(output: str) -> dict[str, Any]:
    """What READ printed. Raises RemoteError."""
    told, _, encoded = output.partition("text\n")
    found = dict(line.split(" ", 1) for line in told.splitlines() if " " in line)
    if problem := found.get("problem"):
        return {"error": problem}
    try:
        text = base64.b64decode(encoded).decode(errors="replace")
        return {"state": found["state"], "sum": found.get("sum", ""), "text": text}
    except (binascii.Error, KeyError):
        raise RemoteError("The server's answer is not as expected.", server="") from None


def _keep(environment: Environment, found: dict[str, Any]) -> None:
    with scope(team=environment.team), transaction.atomic():
        row = Environment.objects.select_for_update().filter(pk=environment.pk).first()
        if row is None:
            return
        row.proxy_state = {
            "at": timezone.now().isoformat(),
            "servers": found,
            "accepted": row.proxy_state.get("accepted", []),
        }
        row.save(update_fields=["proxy_state"])
