"""Clusters: Docker Swarms of the team's servers."""

from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from ninja import Query, Router, Schema, Status
from pydantic import BaseModel, Field

from devflow.api.auth import ApiRequest
from devflow.api.paging import Page, PageQuery, cut
from devflow.api.schemas import Input
from devflow.apps.servers import clusters
from devflow.apps.servers.models import Cluster, ClusterAction
from devflow.apps.servers.selectors import server_get
from devflow.commands.swarm import LEAST_REPLICAS, MOST_REPLICAS

router = Router(tags=["clusters"])


class ClusterIn(Input):
    name: str = Field(examples=["shops"])
    server: str = Field(description="Name of the server that becomes the first manager.", examples=["web-1"])
    address: str = Field("", description="How the other nodes reach it. Empty: Docker finds it.")


class NodeIn(Input):
    server: str = Field(examples=["web-1"])
    role: Literal["manager", "worker"] = "worker"
    address: str = Field("", description="How the other nodes reach it. Empty: Docker finds it.")


class ScaleIn(Input):
    replicas: int = Field(examples=[2])


class AlertIn(BaseModel):
    """What monitoring sends when an alert fires; all else in it is left unread (Prometheus' Alertmanager and Grafana
    name the state so)."""

    status: str = Field("firing", max_length=100, examples=["firing", "resolved"])


class AlertQuery(Schema):
    """How much to scale, and how far."""

    step: int = Field(1, ge=-100, le=100, description="So many replicas more, or fewer when below 0.")
    least: int = Field(1, ge=LEAST_REPLICAS, le=MOST_REPLICAS)
    most: int = Field(10, ge=LEAST_REPLICAS, le=MOST_REPLICAS)
    pause: int = Field(60, ge=0, le=86_400, description="For so many seconds it is not scaled again.")


class AlertIgnored(BaseModel):
    ignored: str = Field(description="Why nothing was done.")


class ClusterOut(BaseModel):
    """`nodes` and `services` are as the managers told at `observed_at`; `problem` is why the last look failed."""

    id: UUID
    name: str
    swarm_id: str
    servers: list[str]
    nodes: list[dict[str, Any]]
    services: list[dict[str, Any]]
    problem: str
    observed_at: datetime | None

    @classmethod
    def of(cls, cluster: Cluster) -> Self:
        return cls(
            id=cluster.pk,
            name=cluster.name,
            swarm_id=cluster.swarm_id,
            servers=[server.name for server in cluster.servers.all()],
            nodes=clusters.node_list(cluster=cluster),
            services=cluster.observed.get("services", []),
            problem=cluster.problem,
            observed_at=cluster.observed_at,
        )


class ClusterActionOut(BaseModel):
    """What a worker does or did; `status` is queued, running, done or failed, and `message` says what came of it."""

    id: UUID
    cluster: str
    kind: str
    server: str
    status: str
    message: str
    created_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, action: ClusterAction) -> Self:
        return cls(
            id=action.pk,
            cluster=action.cluster.name,
            kind=action.kind,
            server=action.server.name if action.server else "",
            status=action.status,
            message=action.message,
            created_at=action.created_at,
            ended_at=action.ended_at,
        )


@router.get("", response=Page[ClusterOut])
def cluster_list(request: ApiRequest, paging: PageQuery) -> Page[ClusterOut]:
    """The team's clusters by name."""
    rows, following = cut(clusters.cluster_list(actor=request.auth), paging, key=lambda cluster: cluster.name)
    return Page[ClusterOut](items=[ClusterOut.of(cluster) for cluster in rows], next=following)


@router.post("", response={202: ClusterActionOut})
def cluster_form(request: ApiRequest, payload: ClusterIn) -> ClusterActionOut:
    """Forms a cluster, with one server as its first manager; its swarm is taken over where it manages one already."""
    server = clusters.server_named(actor=request.auth, name=payload.server)
    action = clusters.cluster_form(actor=request.auth, name=payload.name, server=server, address=payload.address)
    return ClusterActionOut.of(action)


@router.get("{cluster}", response=ClusterOut)
def cluster_show(request: ApiRequest, cluster: str) -> ClusterOut:
    return ClusterOut.of(clusters.cluster_get(actor=request.auth, name=cluster))


@router.delete("{cluster}", response={204: None})
def cluster_remove(request: ApiRequest, cluster: str) -> None:
    """Forgets a cluster without servers. 409 while it has some."""
    clusters.cluster_remove(actor=request.auth, cluster=clusters.cluster_get(actor=request.auth, name=cluster))


@router.post("{cluster}/look", response={202: ClusterActionOut})
def cluster_look(request: ApiRequest, cluster: str) -> ClusterActionOut:
    """Has nodes and services read anew."""
    found = clusters.cluster_get(actor=request.auth, name=cluster)
    return ClusterActionOut.of(clusters.cluster_look(actor=request.auth, cluster=found))


@router.post("{cluster}/nodes", response={202: ClusterActionOut})
def node_join(request: ApiRequest, cluster: str, payload: NodeIn) -> ClusterActionOut:
    """Makes a server a node."""
    found = clusters.cluster_get(actor=request.auth, name=cluster)
    server = clusters.server_named(actor=request.auth, name=payload.server)
    action = clusters.node_join(
        actor=request.auth, cluster=found, server=server, role=payload.role, address=payload.address
    )
    return ClusterActionOut.of(action)


@router.delete("{cluster}/nodes/{server}", response={202: ClusterActionOut})
def node_leave(request: ApiRequest, cluster: str, server: str, force: bool = False) -> ClusterActionOut:
    """Takes a server out of the cluster when its tasks have moved. With `force` also one that cannot be reached, and
    the last one although services run."""
    found = clusters.cluster_get(actor=request.auth, name=cluster)
    node = server_get(actor=request.auth, name=server)
    return ClusterActionOut.of(clusters.node_leave(actor=request.auth, cluster=found, server=node, force=force))


@router.post("{cluster}/nodes/{server}/drain", response={202: ClusterActionOut})
def node_drain(request: ApiRequest, cluster: str, server: str) -> ClusterActionOut:
    """Moves a node's tasks to the others and lets no new ones in."""
    found = clusters.cluster_get(actor=request.auth, name=cluster)
    node = server_get(actor=request.auth, name=server)
    return ClusterActionOut.of(clusters.node_drain(actor=request.auth, cluster=found, server=node))


@router.post("{cluster}/nodes/{server}/activate", response={202: ClusterActionOut})
def node_activate(request: ApiRequest, cluster: str, server: str) -> ClusterActionOut:
    """Lets tasks in again."""
    found = clusters.cluster_get(actor=request.auth, name=cluster)
    node = server_get(actor=request.auth, name=server)
    return ClusterActionOut.of(clusters.node_activate(actor=request.auth, cluster=found, server=node))


@router.post("{cluster}/services/{service}/scale", response={202: ClusterActionOut})
def service_scale(request: ApiRequest, cluster: str, service: str, payload: ScaleIn) -> ClusterActionOut:
    """Sets the number of replicas; the action is done when so many run."""
    found = clusters.cluster_get(actor=request.auth, name=cluster)
    action = clusters.service_scale(actor=request.auth, cluster=found, service=service, replicas=payload.replicas)
    return ClusterActionOut.of(action)


@router.post("{cluster}/services/{service}/alert", response={202: ClusterActionOut, 200: AlertIgnored})
def service_scale_on_alert(
    request: ApiRequest, cluster: str, service: str, payload: AlertIn, how: Query[AlertQuery]
) -> Any:
    """The action of an alert: scales up or down by a step, within bounds. Alertmanager and Grafana can call
    it as they are, with a token in their Authorization header. 200 where nothing was done: the alert is resolved, a
    bound is reached, or the service was just scaled."""
    found = clusters.cluster_get(actor=request.auth, name=cluster)
    if payload.status != "firing":
        return Status(200, AlertIgnored(ignored=f"The alert is {payload.status}, not firing."))
    action = clusters.service_scale_on_alert(
        actor=request.auth,
        cluster=found,
        service=service,
        step=how.step,
        least=how.least,
        most=how.most,
        pause_seconds=how.pause,
    )
    if action is None:
        return Status(200, AlertIgnored(ignored="A bound is reached, or it was scaled a moment ago."))
    return Status(202, ClusterActionOut.of(action))


@router.get("{cluster}/actions/{action_id}", response=ClusterActionOut)
def cluster_action_show(request: ApiRequest, cluster: str, action_id: UUID) -> ClusterActionOut:
    """How an action stands."""
    found = clusters.cluster_get(actor=request.auth, name=cluster)
    return ClusterActionOut.of(clusters.action_get(actor=request.auth, cluster=found, action_id=action_id))
