"""What a worker does to clusters: each action once, and again from where it was when a worker died over it.

Every action looks first and does what is missing, so that it can be repeated; nothing is held while a server is asked.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError, close_old_connections, transaction
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from devflow.apps.servers.models import Cluster, ClusterAction, Server
from devflow.apps.servers.reach import ServerReach
from devflow.commands import swarm
from devflow.commands.swarm import MANAGER, WORKER
from devflow.core.errors import ConnectError, RemoteError

log = logging.getLogger(__name__)

COMMAND_SECONDS = 60
SETTLE_SECONDS = 120
"""How long tasks are waited for that move, or come up."""
STEADY_LOOKS = 3
POLL_SECONDS = 1.0
FAULT = "Something went wrong in the panel itself; the worker's log says what."
_AWAY = (OperationalError, InterfaceError)
"""The database is: nothing can be told, and the action goes on when it is back."""
_KEPT = timedelta(days=30)
_LOOK_AGAIN = timedelta(seconds=20)


@dataclass(slots=True)
class _Work:
    """An action with what it needs: the cluster's servers, and the way to them."""

    action: ClusterAction
    cluster: Cluster
    servers: list[Server]
    reach: ServerReach

    @property
    def server(self) -> Server:
        if self.action.server is None:
            raise RemoteError("The server was removed from the panel meanwhile.")
        return self.action.server

    def given(self, name: str) -> str:
        return str(self.action.given.get(name, ""))

    async def on(self, server: Server, body: str, **values: str) -> str:
        """What the script printed. Raises RemoteError with what Docker says, ConnectError."""
        connection = await self.reach.get(server.pk.hex)
        text = swarm.script(body, **values)
        done = await connection.run("sh -s", text.encode(), timeout_seconds=COMMAND_SECONDS)
        if done.exit_code != 0:
            said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.exit_code}")[-1000:]
            raise RemoteError(f"{server.name}: {said}", server=server.name)
        return done.stdout

    async def on_manager(self, body: str, *, but: Server | None = None, **values: str) -> tuple[Server, str]:
        """Asks the first manager that can be reached, and tells which it was. Raises RemoteError."""
        managers = [each for each in self.servers if each.cluster_role == MANAGER and each.node_id and each != but]
        errors = []
        for server in managers:
            try:
                return server, await self.on(server, body, **values)
            except ConnectError as error:
                errors.append(str(error))
        raise RemoteError("\n".join(errors) or "The cluster has no other manager that could be asked.")

    async def look(self, *, but: Server | None = None) -> dict[str, Any]:
        try:
            return swarm.parse_look((await self.on_manager(swarm.LOOK, but=but))[1])
        except ValueError as error:
            raise RemoteError(f"What the manager tells of the swarm is not understood: {error}.") from error


async def act(*, action_id: str, reach: ServerReach) -> None:
    """Does one action, then looks at the cluster. It always ends, also where there is a fault of ours: who waits for it
    is told."""
    work = await sync_to_async(_claim)(action_id, reach)
    if work is None:
        return
    try:
        status, message = "done", await _ACTS[work.action.kind](work)
    except RemoteError as error:
        status, message = "failed", str(error)
    except _AWAY:
        raise
    except Exception:
        log.exception("the action %s of a cluster failed", action_id)
        status, message = "failed", FAULT
    try:
        await _observe(work.cluster.pk.hex, reach)
    finally:  # what is shown of the cluster is older then, and the action has ended all the same
        await sync_to_async(_end)(work.action, status, message)


async def observe_all(*, reach: ServerReach) -> None:
    """Looks at the clusters that were not looked at for a while, so that a node that went down is shown."""
    due = await sync_to_async(_due)()
    await asyncio.gather(*(_observe(cluster_id, reach) for cluster_id in due))


async def _form(work: _Work) -> str:
    try:
        return await _begin_swarm(work)
    except RemoteError as error:
        name = work.cluster.name
        raise RemoteError(
            f"{error} The cluster {name} has no server: form it again when that is mended, by the same name and with "
            f"this server or another, or remove it: devflow clusters remove {name}",
            server=work.server.name,
        ) from error


async def _begin_swarm(work: _Work) -> str:
    async with _reserved(work):
        told = swarm.parse_swarm(await work.on(work.server, swarm.FORM, address=work.given("address")))
        others = await sync_to_async(_clusters_of)(work.cluster, told["swarm"])
        if others:
            raise RemoteError(f"{work.server.name} manages the swarm of the cluster {others} already.")
    await sync_to_async(_store_node)(work.server, told["node"], MANAGER, work.cluster, told["swarm"])
    return f"{work.server.name} is the first manager; others join it at {told['manager'] or told['address']}."


async def _join(work: _Work) -> str:
    role = work.given("role") or WORKER
    async with _reserved(work):
        try:
            manager, printed = await work.on_manager(swarm.TOKEN, role=role)
            token, address = printed.split("\n", 1)[0], swarm.parse_swarm(printed)["manager"]
            values = {"token": token, "manager": address, "address": work.given("address")}
            told = swarm.parse_swarm(await work.on(work.server, swarm.JOIN, **values))
            known = {node["id"] for node in (await work.look())["nodes"]}
        finally:
            await _forget_token(work, role)
        if told["node"] not in known:
            raise RemoteError(
                f"{work.server.name} is in another swarm. Take it out of that on the server: docker swarm leave"
            )
    await sync_to_async(_store_node)(work.server, told["node"], role)
    return f"{work.server.name} has joined as {role}, through {manager.name}."


@asynccontextmanager
async def _reserved(work: _Work) -> AsyncIterator[None]:
    """The server, which was reserved for the cluster, is free again where this fails."""
    server = work.server
    try:
        yield
    except _AWAY:
        raise
    except Exception:
        await sync_to_async(_release)(server)
        raise


async def _forget_token(work: _Work, role: str) -> None:
    try:
        await work.on_manager(swarm.ROTATE, role=role)
    except RemoteError:
        return  # nothing was joined through a manager that cannot be asked


async def _drain(work: _Work) -> str:
    await work.on_manager(swarm.DRAIN, node=work.server.node_id)
    left = await _tasks_left(work, work.server)
    if left:
        raise RemoteError(
            f"{work.server.name} takes no new tasks, but {left} still run there after {SETTLE_SECONDS} s."
        )
    pending = _pending(await work.look())
    return f"{work.server.name} is drained: no task runs there." + (
        f" Waiting for a place: {pending}" if pending else ""
    )


async def _activate(work: _Work) -> str:
    await work.on_manager(swarm.ACTIVATE, node=work.server.node_id)
    seen = await _seen(work, lambda node: bool(node) and (node["state"], node["availability"]) == ("ready", "active"))
    if seen:
        raise RemoteError(f"{work.server.name} takes no tasks: the managers see it as {seen} after {SETTLE_SECONDS} s.")
    return f"{work.server.name} takes tasks again. Those that run elsewhere stay there until they are replaced."


async def _leave(work: _Work) -> str:
    server, force = work.server, work.given("force")
    if server not in work.servers:
        return f"{server.name} has left the cluster."  # a worker died when all was done
    if len(work.servers) == 1:
        return await _dissolve(work)
    told = ""
    if server.node_id:
        await work.on_manager(swarm.DRAIN, but=server, node=server.node_id, force=force)
        await work.on_manager(swarm.DEMOTE, but=server, node=server.node_id)
    try:
        if server.node_id and not force:
            await _tasks_left(work, server)
        _refuse_member(server, await work.on(server, swarm.LEAVE, force=force))
    except ConnectError as error:
        if not force:
            raise RemoteError(f"{error} To take it out of the cluster without it: leave with force.") from error
        told = f" It could not be reached: when it is back, run there: docker swarm leave --force. ({error})"
    if server.node_id:
        await work.on_manager(swarm.REMOVE_NODE, but=server, node=server.node_id, force=force)
        seen = await _seen(work, lambda node: not node, but=server)
        if seen:
            raise RemoteError(f"{server.name} is still a node for the managers, {seen}, after {SETTLE_SECONDS} s.")
    await sync_to_async(_release)(server)
    return f"{server.name} has left the cluster.{told}"


async def _dissolve(work: _Work) -> str:
    """The last server of the cluster: the swarm ends with it."""
    server, force = work.server, work.given("force")
    services = [each["name"] for each in (await work.look())["services"]] if server.node_id and not force else []
    if services:
        raise RemoteError(
            f"{server.name} is the last node, and these services run: {', '.join(services)}. "
            "Leaving with force removes them."
        )
    try:
        _refuse_member(server, await work.on(server, swarm.LEAVE, force="yes"))
    except ConnectError:
        if not force:
            raise
    await sync_to_async(_release)(server)
    return f"{server.name} was the last node: the swarm is dissolved."


async def _scale(work: _Work) -> str:
    name, replicas = work.given("service"), int(work.given("replicas"))
    await work.on_manager(swarm.SCALE, service=name, replicas=str(replicas))
    service = await _settled(work, name, replicas)
    errors = swarm.errors_of(service)
    if not swarm.is_converged(service):
        why = f": {errors[0]}" if errors else "."
        raise RemoteError(f"{name}: {service['running']} of {replicas} run after {SETTLE_SECONDS} s{why}")
    nodes = sorted({task["node"] for task in service["tasks"] if task["is_wanted"]})
    return f"{name}: {replicas} of {replicas} run" + (f", on {', '.join(nodes)}." if nodes else ".")


async def _look(work: _Work) -> str:
    await work.look()
    return ""


_ACTS: dict[str, Callable[[_Work], Awaitable[str]]] = {
    "form": _form,
    "join": _join,
    "leave": _leave,
    "drain": _drain,
    "activate": _activate,
    "scale": _scale,
    "look": _look,
}


async def _settled(work: _Work, name: str, replicas: int) -> dict[str, Any]:
    """The service when it has been converged at that number for some looks, or when the time is up."""
    deadline, steady = time.monotonic() + SETTLE_SECONDS, 0
    while True:
        services: list[dict[str, Any]] = (await work.look())["services"]
        service = next((each for each in services if each["name"] == name), None)
        if service is None:
            raise RemoteError(f"The service {name} was removed meanwhile.")
        steady = steady + 1 if service["wanted"] == replicas and swarm.is_converged(service) else 0
        if steady >= STEADY_LOOKS or time.monotonic() > deadline:
            return service
        await asyncio.sleep(POLL_SECONDS)


def _refuse_member(server: Server, told: str) -> None:
    """Whatever the command said: the server is in no swarm. Raises RemoteError."""
    state = swarm.parse_swarm(told)["state"]
    if state != "inactive":
        raise RemoteError(f"{server.name} has not left: Docker says of its swarm there: {state or 'nothing'}.")


async def _seen(work: _Work, is_wanted: Callable[[dict[str, Any]], bool], *, but: Server | None = None) -> str:
    """How the managers see the server's node ({} for one that they do not know), '' as soon as that is as wanted; it is
    waited for until the time is up."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        nodes = (await work.look(but=but))["nodes"]
        node: dict[str, Any] = next((each for each in nodes if each["id"] == work.server.node_id), {})
        if is_wanted(node):
            return ""
        if time.monotonic() > deadline:
            return f"{node['state']} and {node['availability']}" if node else "gone"
        await asyncio.sleep(POLL_SECONDS)


async def _tasks_left(work: _Work, server: Server) -> int:
    """How many tasks still run on a server that is being drained, when none do or the time is up."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        observed = await work.look()
        here = next((node["name"] for node in observed["nodes"] if node["id"] == server.node_id), "")
        tasks = [task for service in observed["services"] for task in service["tasks"]]
        left: int = sum(task["node"] == here and task["state"] == "running" for task in tasks)
        if not left or time.monotonic() > deadline:
            return left
        await asyncio.sleep(POLL_SECONDS)


def _pending(observed: dict[str, Any]) -> str:
    tasks = [task for service in observed["services"] for task in service["tasks"]]
    waiting = [task for task in tasks if task["is_wanted"] and task["state"] == "pending"]
    return ", ".join(f"{task['name']} ({task['error']})" if task["error"] else task["name"] for task in waiting)


async def _observe(cluster_id: str, reach: ServerReach) -> None:
    """Keeps what the cluster looks like now."""
    work = await sync_to_async(_load)(cluster_id, reach)
    if work is None:
        return
    observed: dict[str, Any] | None = None
    problem = ""
    try:
        observed = await work.look() if work.servers else {}
    except RemoteError as error:
        problem = str(error)
    await sync_to_async(_store)(work.cluster, observed, problem)


# --- the database -----------------------------------------------------------------------------------------------------


def _due() -> list[str]:
    close_old_connections()
    before = timezone.now() - _LOOK_AGAIN
    with scopes_disabled():
        rows = Cluster.objects.filter(observed_at__lt=before, servers__isnull=False).distinct()
        return [pk.hex for pk in rows.values_list("pk", flat=True)]


def _claim(action_id: str, reach: ServerReach) -> _Work | None:
    with scopes_disabled():
        rows = ClusterAction.objects.filter(pk=action_id, status__in=("queued", "running"))
        if not rows.update(status="running"):
            return None
        action = rows.select_related("server", "cluster__team").get()
    return _work(action, action.cluster, reach)


def _load(cluster_id: str, reach: ServerReach) -> _Work | None:
    with scopes_disabled():
        cluster = Cluster.objects.select_related("team").filter(pk=cluster_id).first()
    return _work(ClusterAction(kind="look"), cluster, reach) if cluster else None


def _work(action: ClusterAction, cluster: Cluster, reach: ServerReach) -> _Work:
    with scope(team=cluster.team):
        servers = list(cluster.servers.all())
    reach.remember(servers)
    return _Work(action, cluster, servers, reach)


def _end(action: ClusterAction, status: str, message: str) -> None:
    now = timezone.now()
    with transaction.atomic(), scope(team=action.team):
        ClusterAction.objects.filter(pk=action.pk).update(status=status, message=message, ended_at=now)
        ClusterAction.objects.filter(cluster=action.cluster_id, ended_at__lt=now - _KEPT).delete()


def _store(cluster: Cluster, observed: dict[str, Any] | None, problem: str) -> None:
    with scope(team=cluster.team):
        rows = Cluster.objects.filter(pk=cluster.pk)
        rows.update(problem=problem, observed_at=timezone.now())
        if observed is None:
            return
        rows.update(observed=observed)
        for node in observed.get("nodes", ()):
            Server.objects.filter(cluster=cluster, node_id=node["id"]).update(cluster_role=node["role"])


def _store_node(server: Server, node: str, role: str, cluster: Cluster | None = None, swarm_id: str = "") -> None:
    with scopes_disabled():
        Server.objects.filter(pk=server.pk).update(node_id=node, cluster_role=role)
        if cluster:
            Cluster.objects.filter(pk=cluster.pk).update(swarm_id=swarm_id)


def _release(server: Server) -> None:
    with scopes_disabled():
        Server.objects.filter(pk=server.pk).update(cluster=None, node_id="", cluster_role="")


def _clusters_of(cluster: Cluster, swarm_id: str) -> str:
    """The names of the team's other clusters that are the same swarm."""
    with scope(team=cluster.team):
        others = Cluster.objects.filter(swarm_id=swarm_id, servers__isnull=False).exclude(pk=cluster.pk).distinct()
        return ", ".join(other.name for other in others)
