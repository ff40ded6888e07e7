"""Clusters: what is read, and what is asked for: a worker does it (cluster_jobs.py), one action after another."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone
from django_scopes import scope

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.audit.services import audit_record
from devflow.apps.queue import MANUAL, enqueue
from devflow.apps.servers.models import Cluster, ClusterAction, Server
from devflow.commands.swarm import LEAST_REPLICAS, MANAGER, MOST_REPLICAS, WORKER
from devflow.core import names
from devflow.core.errors import ConflictError, InvalidError, NotFoundError

ACTIONS_SHOWN = 10
_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


# --- what is read -----------------------------------------------------------------------------------------------------


def cluster_list(*, actor: Actor) -> list[Cluster]:
    with scope(team=actor.team):
        return list(Cluster.objects.prefetch_related("servers"))


def cluster_get(*, actor: Actor, name: str) -> Cluster:
    """The team's cluster of that name. Raises NotFoundError."""
    with scope(team=actor.team):
        cluster = Cluster.objects.prefetch_related("servers").filter(name=name).first()
    if cluster is None:
        raise NotFoundError(f"There is no cluster {name!r} in this team.")
    return cluster


def action_list(*, actor: Actor, cluster: Cluster) -> list[ClusterAction]:
    """The last actions, the newest first."""
    with scope(team=actor.team):
        return list(ClusterAction.objects.filter(cluster=cluster).select_related("server")[:ACTIONS_SHOWN])


def action_get(*, actor: Actor, cluster: Cluster, action_id: UUID) -> ClusterAction:
    """Raises NotFoundError."""
    with scope(team=actor.team):
        action = ClusterAction.objects.filter(cluster=cluster, pk=action_id).select_related("server").first()
    if action is None:
        raise NotFoundError("There is no such action of this cluster.")
    return action


def node_list(*, cluster: Cluster) -> list[dict[str, Any]]:
    """The nodes as the managers see them, each with the name of its server (`server`, '' for one that is not the
    panel's) and its running tasks; and servers that are no nodes yet, in state `joining`."""
    servers = {server.node_id: server.name for server in cluster.servers.all() if server.node_id}
    nodes = [{**node, "server": servers.get(node["id"], "")} for node in cluster.observed.get("nodes", [])]
    tasks = [task for service in cluster.observed.get("services", []) for task in service["tasks"]]
    for node in nodes:
        node["tasks"] = [
            task["name"]
            for task in tasks
            if task["node"] == node["name"] and task["is_wanted"] and task["state"] == "running"
        ]
    known = {node["server"] for node in nodes}
    waiting = [server for server in cluster.servers.all() if server.name not in known]
    return nodes + [
        {
            "id": server.node_id,
            "name": server.name,
            "server": server.name,
            "state": "joining",
            "availability": "",
            "role": server.cluster_role,
            "manager_status": "",
            "engine": "",
            "tasks": [],
        }
        for server in waiting
    ]


def server_named(*, actor: Actor, name: str) -> Server:
    """The server that somebody typed. Raises InvalidError where the team has none of that name."""
    with scope(team=actor.team):
        server = Server.objects.filter(name=name).first()
    if server is None:
        message = f"There is no server {name!r} in this team."
        raise InvalidError(message, {"server": message})
    return server


# --- what is asked for ------------------------------------------------------------------------------------------------


def cluster_form(*, actor: Actor, name: str, server: Server, address: str = "") -> ClusterAction:
    """A new cluster with this server as its first manager. `address` is how the other nodes reach it ('': Docker finds
    it). A server that manages a swarm already is taken over with it. A cluster of that name without servers, as where
    this failed before, is formed anew. Raises InvalidError, ConflictError.
    """
    actor.require(rights.MANAGE)
    name = names.slug(name)
    address = names.host(address, "address") if address.strip() else ""
    try:
        with transaction.atomic(), scope(team=actor.team):
            empty = Cluster.objects.select_for_update(of=("self",)).filter(name=name, servers__isnull=True)
            cluster = empty.first() or Cluster.objects.create(team=actor.team, name=name)
            _reserve(cluster, server, MANAGER)
            _record(actor, cluster, "cluster.added", {"server": server.name})
            return _queue(cluster, "form", server, address=address)
    except IntegrityError:
        raise ConflictError(f"There is a cluster {name!r} in this team already.") from None


def node_join(
    *, actor: Actor, cluster: Cluster, server: Server, role: str = WORKER, address: str = ""
) -> ClusterAction:
    """Makes the server a node of the cluster, a `manager` or a `worker`."""
    actor.require(rights.MANAGE)
    if role not in (MANAGER, WORKER):
        raise InvalidError("There is no such role.", {"role": "Choose manager or worker."})
    address = names.host(address, "address") if address.strip() else ""
    with transaction.atomic(), scope(team=actor.team):
        _reserve(cluster, server, role)
        _record(actor, cluster, "cluster.node_joined", {"server": server.name, "role": role})
        return _queue(cluster, "join", server, role=role, address=address)


def node_leave(*, actor: Actor, cluster: Cluster, server: Server, force: bool = False) -> ClusterAction:
    """Takes the server out of the cluster, once its tasks run elsewhere. The last node takes the swarm with it; where
    services are left then, and for a server that is gone, only with `force`."""
    return _of_node(actor, cluster, server, "leave", "cluster.node_left", force="yes" if force else "")


def node_drain(*, actor: Actor, cluster: Cluster, server: Server) -> ClusterAction:
    """Moves all tasks to other nodes, and lets no new ones in."""
    return _of_node(actor, cluster, server, "drain", "cluster.node_drained")


def node_activate(*, actor: Actor, cluster: Cluster, server: Server) -> ClusterAction:
    """Lets tasks in again."""
    return _of_node(actor, cluster, server, "activate", "cluster.node_activated")


def service_scale(*, actor: Actor, cluster: Cluster, service: str, replicas: int) -> ClusterAction:
    """Sets how many replicas of a service run; the action is done when they do. The service is one that the last look
    at the cluster found. Raises NotFoundError, InvalidError."""
    actor.require(rights.MANAGE)
    if not _SERVICE.fullmatch(service):
        raise InvalidError("This is not the name of a service.", {"service": "Give its name in the swarm: shop_web."})
    if not LEAST_REPLICAS <= replicas <= MOST_REPLICAS:
        raise InvalidError("So many replicas cannot be.", {"replicas": f"Give a number from 0 to {MOST_REPLICAS}."})
    if service not in {each["name"] for each in cluster.observed.get("services", [])}:
        raise NotFoundError(f"There was no service {service} in {cluster.name} when it was last looked at. Look again.")
    with transaction.atomic(), scope(team=actor.team):
        _record(actor, cluster, "cluster.service_scaled", {"service": service, "replicas": replicas})
        return _queue(cluster, "scale", None, service=service, replicas=replicas)


def service_scale_on_alert(
    *, actor: Actor, cluster: Cluster, service: str, step: int, least: int, most: int, pause_seconds: int
) -> ClusterAction | None:
    """Takes `step` replicas more (or, below 0, fewer), between `least` and `most`. None where that changes nothing, or
    the service was scaled less than `pause_seconds` ago: alerts repeat themselves until the new replicas help.
    Raises NotFoundError, InvalidError."""
    actor.require(rights.MANAGE)
    if step == 0 or not least <= most:
        raise InvalidError("Give a step other than 0, and bounds of which `least` is not above `most`.")
    with transaction.atomic(), scope(team=actor.team):
        Cluster.objects.select_for_update().get(pk=cluster.pk)  # of two alerts at once one scales
        scaled = ClusterAction.objects.filter(cluster=cluster, kind="scale", given__service=service)
        if scaled.filter(
            Q(ended_at=None) | Q(created_at__gt=timezone.now() - timedelta(seconds=pause_seconds))
        ).exists():
            return None
        cluster.refresh_from_db()
        found = next((each for each in cluster.observed.get("services", []) if each["name"] == service), None)
        now = found["wanted"] if found else 0
        wanted = max(least, min(most, now + step))
        if found and (wanted - now) * step <= 0:
            return None
        return service_scale(actor=actor, cluster=cluster, service=service, replicas=wanted)


def cluster_look(*, actor: Actor, cluster: Cluster) -> ClusterAction:
    """Has a worker read nodes and services anew."""
    actor.require(rights.DEPLOY)
    with transaction.atomic(), scope(team=actor.team):
        return _queue(cluster, "look", None)


def cluster_remove(*, actor: Actor, cluster: Cluster) -> None:
    """Forgets a cluster that no server is in any more. Raises ConflictError."""
    actor.require(rights.MANAGE)
    with transaction.atomic(), scope(team=actor.team):
        servers = [server.name for server in Server.objects.filter(cluster=cluster)]
        if servers:
            raise ConflictError(f"{cluster.name} still has servers: {', '.join(servers)}. Let them leave first.")
        _record(actor, cluster, "cluster.removed")
        cluster.delete()


def _of_node(actor: Actor, cluster: Cluster, server: Server, kind: str, audited: str, **given: str) -> ClusterAction:
    actor.require(rights.MANAGE)
    with transaction.atomic(), scope(team=actor.team):
        if not Server.objects.filter(pk=server.pk, cluster=cluster).exists():
            raise NotFoundError(f"{server.name} is not in the cluster {cluster.name}.")
        _record(actor, cluster, audited, {"server": server.name})
        return _queue(cluster, kind, server, **given)


def _reserve(cluster: Cluster, server: Server, role: str) -> None:
    """A server is in one cluster at most, from the moment that it is asked for."""
    free = Server.objects.filter(pk=server.pk, cluster=None)
    if not free.update(cluster=cluster, cluster_role=role, node_id=""):
        here = Server.objects.select_related("cluster").get(pk=server.pk).cluster
        raise ConflictError(f"{server.name} is in the cluster {here} already. Let it leave that first.")


def _queue(cluster: Cluster, kind: str, server: Server | None, **given: object) -> ClusterAction:
    action = ClusterAction.objects.create(
        team=cluster.team, cluster=cluster, kind=kind, server=server, given=given, created_at=timezone.now()
    )
    lock = f"cluster {cluster.pk.hex}"
    enqueue("servers.cluster_act", lock=lock, priority=MANUAL, action_id=str(action.pk))
    return action


def _record(actor: Actor, cluster: Cluster, action: str, after: dict[str, object] | None = None) -> None:
    target_id = str(cluster.pk)
    audit_record(team=actor.team, actor=actor, action=action, target=cluster.name, target_id=target_id, after=after)
