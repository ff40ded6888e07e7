"""Background entry points of servers."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from devflow.apps.servers.models import Server, ServerStatus
from devflow.apps.servers.reach import ServerReach
from devflow.core.errors import RemoteError
from devflow.remote import facts, run


async def check(*, server_id: str, reach: ServerReach) -> None:
    """Connects, pins the host key at first contact, reads the facts and installs devflow-run."""
    server = await sync_to_async(_load)(server_id)
    if server is None:
        return
    reach.remember([server])
    try:
        connection = await reach.get(server.pk.hex)
        read = await facts.read(connection, server.name)
        await run.install(connection, server.name)
    except RemoteError as error:
        await sync_to_async(_store)(server, ServerStatus.OFFLINE, str(error), server.facts, server.host_key)
        return
    await sync_to_async(_store)(server, ServerStatus.ONLINE, "", read, server.host_key or connection.host_key)


def _load(server_id: str) -> Server | None:
    with scopes_disabled():
        return Server.objects.select_related("team").filter(pk=server_id).first()


def _store(server: Server, status: str, message: str, read: dict[str, Any], host_key: str) -> None:
    with scope(team=server.team):
        rows = Server.objects.filter(pk=server.pk)
        rows.update(status_message=message, facts=read, host_key=host_key, checked_at=timezone.now())
        rows.exclude(status=ServerStatus.MAINTENANCE).update(status=status)
