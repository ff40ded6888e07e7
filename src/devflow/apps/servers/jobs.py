"""Background entry points of servers."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from devflow.apps.notifications.messages import Message
from devflow.apps.notifications.services import notify
from devflow.apps.servers.models import CheckStep, Server, ServerStatus
from devflow.apps.servers.reach import ServerReach
from devflow.core.errors import ConnectError, HostKeyError, RemoteError
from devflow.remote import facts, run


async def check(*, server_id: str, reach: ServerReach) -> None:
    """Connects, pins the host key at first contact, reads the facts and installs devflow-run."""
    server = await sync_to_async(_load)(server_id)
    if server is None:
        return
    reach.remember([server])
    step = await _trying(server, CheckStep.REACH)
    try:
        connection = await reach.get(server.pk.hex)
        step = await _trying(server, CheckStep.SHELL)
        read = await facts.read(connection, server.name)
        step = await _trying(server, CheckStep.INSTALL)
        await run.install(connection, server.name)
    except RemoteError as error:
        failed = _refused(error) if step == CheckStep.REACH else step
        await sync_to_async(_store)(server, ServerStatus.OFFLINE, str(error), server.facts, server.host_key, failed)
        return
    await sync_to_async(_store)(server, ServerStatus.ONLINE, "", read, server.host_key or connection.host_key)


async def _trying(server: Server, step: CheckStep) -> CheckStep:
    """Has the server's page say how far the check is."""

    def store() -> None:
        with scope(team=server.team):
            Server.objects.filter(pk=server.pk).update(check_step=step)

    await sync_to_async(store)()
    return step


def _refused(error: RemoteError) -> CheckStep:
    """Where the way to a server ended."""
    if isinstance(error, HostKeyError):
        return CheckStep.KEY
    is_refused = isinstance(error, ConnectError) and not error.transient
    return CheckStep.LOGIN if is_refused else CheckStep.REACH


def _load(server_id: str) -> Server | None:
    with scopes_disabled():
        return Server.objects.select_related("team").filter(pk=server_id).first()


def _store(
    server: Server, status: str, message: str, read: dict[str, Any], host_key: str, failed: CheckStep | str = ""
) -> None:
    with transaction.atomic(), scope(team=server.team):
        rows = Server.objects.filter(pk=server.pk)
        before = rows.select_for_update().first()
        if before is None:
            return
        told = {"status_message": message, "check_step": failed, "checked_at": timezone.now()}
        rows.update(**told, facts=read, host_key=host_key)
        if before.status == ServerStatus.MAINTENANCE:
            return
        rows.update(status=status)
        if status == ServerStatus.OFFLINE and before.status != status and before.checked_at is not None:
            _tell(before, "server.offline", f"Server {server.name} is offline", message)
        elif status == ServerStatus.ONLINE and before.status == ServerStatus.OFFLINE:
            _tell(before, "server.online", f"Server {server.name} is online again")


def _tell(server: Server, event: str, title: str, error: str = "") -> None:
    """A server's first check is told to nobody: who added it looks at its page."""
    told = Message(
        title=title,
        tone="bad" if error else "good",
        url=f"{settings.PUBLIC_URL}/servers/{server.name}/",
        occurred_at=timezone.now().isoformat(),
        team=server.team.name,
        server=server.name,
        status=ServerStatus.OFFLINE if error else ServerStatus.ONLINE,
        error=error,
    )
    notify(team=server.team, project_id=None, event=event, subject=str(server.pk), message=told)
