"""Containers of a server, with the images, volumes and networks that they use; what they take of the disks."""

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from django.http import HttpResponse
from ninja import Query, Router
from pydantic import BaseModel, Field

from devflow.api.auth import ApiRequest
from devflow.api.paging import Page, PageQuery, cut
from devflow.api.schemas import Input
from devflow.apps.accounts.rights import Actor
from devflow.apps.containers import budgets, cleaning, selectors, services
from devflow.apps.containers.models import Action, Follow, Snapshot
from devflow.apps.containers.owners import Owner
from devflow.apps.containers.selectors import ContainerRow, ThingRow
from devflow.apps.projects.selectors import project_get
from devflow.apps.servers.models import Server
from devflow.apps.servers.selectors import server_get
from devflow.commands.docker import Candidate

router = Router(tags=["containers"])


class OwnerOut(BaseModel):
    """The environment that something belongs to; without one it is not ours."""

    project: str | None
    environment: str | None
    words: str = Field(examples=["shop production"])

    @classmethod
    def of(cls, owner: Owner) -> Self:
        environment = owner.environment
        return cls(
            project=environment.project.slug if environment else None,
            environment=environment.name if environment else None,
            words=owner.words,
        )


class DockerOut(BaseModel):
    """What the last look at a server's Docker came to. Reading this has it looked at again, every few seconds at most:
    it is done when `taken_at` has changed."""

    version: str
    problem: str | None = Field(description="What was in the way; null where nothing was.")
    advice: str | None
    taken_at: datetime | None = Field(description="When it was looked at last, whatever came of it.")
    seen_at: datetime | None = Field(description="When it was seen last: what the lists tell is as of then.")
    containers: int
    build_cache_bytes: int | None

    @classmethod
    def of(cls, snapshot: Snapshot) -> Self:
        problem = selectors.problem_of(snapshot)
        told = " ".join(filter(None, (problem.what, problem.detail))) if problem else None
        return cls(
            version=snapshot.content.get("version", ""),
            problem=told,
            advice=problem.advice if problem else None,
            taken_at=snapshot.taken_at,
            seen_at=snapshot.seen_at,
            containers=len(snapshot.content.get("containers", [])),
            build_cache_bytes=snapshot.disk.get("build_cache"),
        )


class ContainerOut(BaseModel):
    """A container as it was seen last. `role`: `live`, `standby` or `old` where it is an environment's."""

    id: str
    name: str
    image: str
    state: str
    health: str | None
    restarts: int
    exit_code: int
    cpu_percent: float | None
    memory_bytes: int | None
    memory_limit_bytes: int | None
    ports: list[str]
    created_at: datetime | None
    started_at: datetime | None
    owner: OwnerOut
    role: str | None
    colour: str | None
    deployment: str | None
    compose_service: str | None

    @classmethod
    def of(cls, row: ContainerRow) -> Self:
        return cls(**cls.values(row))

    @staticmethod
    def values(row: ContainerRow) -> dict[str, Any]:
        found = row.found
        return {
            **{name: found[name] for name in ("id", "name", "state", "restarts", "exit_code", "ports")},
            "image": row.image,
            "health": found["health"] or None,
            "cpu_percent": found["cpu_percent"],
            "memory_bytes": found["memory_bytes"],
            "memory_limit_bytes": found["memory_limit"] or None,
            "created_at": row.created_at,
            "started_at": row.started_at,
            "owner": OwnerOut.of(row.owner),
            "role": row.role or None,
            "colour": row.colour or None,
            "deployment": row.deployment_id or None,
            "compose_service": row.labels.get("com.docker.compose.service"),
        }


class VariableOfContainer(BaseModel):
    name: str
    value: str = Field(description="Masked where it is called like a secret or holds one, and for who may see none.")


class MountOut(BaseModel):
    kind: str
    source: str
    target: str
    is_read_only: bool


class ContainerDetail(ContainerOut):
    """A container with how it was started."""

    image_id: str
    command: list[str]
    user: str
    environment: list[VariableOfContainer]
    mounts: list[MountOut]
    networks: list[str]
    labels: dict[str, str] = Field(description="Those of DevFlow, Compose and the image; others are not shown.")
    restart_policy: str
    cpu_limit: float | None
    log_driver: str
    is_out_of_memory: bool
    error: str | None

    @classmethod
    def seen_by(cls, actor: Actor, row: ContainerRow) -> Self:
        found = row.found
        return cls(
            **cls.values(row),
            **{name: found[name] for name in ("image_id", "command", "user", "networks", "restart_policy")},
            environment=[VariableOfContainer(name=name, value=value) for name, value in row.environment_for(actor)],
            mounts=[MountOut(**mount) for mount in found["mounts"]],
            labels=dict(row.labels),
            cpu_limit=found["cpu_limit"] or None,
            log_driver=found["log_driver"],
            is_out_of_memory=found["is_out_of_memory"],
            error=found["error"] or None,
        )


class StopIn(Input):
    confirm: bool = Field(False, description="Also where the container serves a site now.")


class ActionOut(BaseModel):
    """What was asked for, and what came of it: it is over when `finished_at` is set. `result` is of a clean-up."""

    id: UUID
    kind: str
    container: str | None
    state: str = Field(description="queued, running, done or failed.", examples=["done"])
    message: str
    result: list[dict[str, str]]
    requested_by: str | None
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, action: Action) -> Self:
        return cls(
            id=action.pk,
            kind=action.kind,
            container=action.container_name or None,
            state=action.state,
            message=action.message,
            result=action.result,
            requested_by=action.requested_by.handle if action.requested_by else None,
            created_at=action.created_at,
            finished_at=action.finished_at,
        )


class LogsIn(Input):
    tail: int = Field(200, ge=0, le=services.LONGEST_TAIL, description="So many of the last lines come first.")


class FollowOut(BaseModel):
    """A log that is followed, as long as somebody is connected to `events`."""

    id: UUID
    container: str
    events: str = Field(description="Server-sent events: `container.log` with `text`, `container.log_ended`.")
    ended_at: datetime | None
    end_reason: str | None

    @classmethod
    def of(cls, follow: Follow) -> Self:
        return cls(
            id=follow.pk,
            container=follow.container_name,
            events=f"/api/v1/container-logs/{follow.pk}/events",
            ended_at=follow.ended_at,
            end_reason=follow.end_reason or None,
        )


class ThingOut(BaseModel):
    """`used_by` are names of containers, also of those that do not run."""

    owner: OwnerOut
    used_by: list[str]
    created_at: datetime | None


class ImageOut(ThingOut):
    id: str
    tags: list[str]
    size_bytes: int

    @classmethod
    def of(cls, row: ThingRow) -> Self:
        return cls(**_thing(row), id=row.found["id"], tags=row.found["tags"], size_bytes=row.size or 0)


class VolumeOut(ThingOut):
    name: str
    driver: str
    size_bytes: int | None

    @classmethod
    def of(cls, row: ThingRow) -> Self:
        return cls(**_thing(row), name=row.found["name"], driver=row.found["driver"], size_bytes=row.size)


class NetworkOut(ThingOut):
    id: str
    name: str
    driver: str
    subnets: list[str]

    @classmethod
    def of(cls, row: ThingRow) -> Self:
        return cls(**_thing(row), **{name: row.found[name] for name in ("id", "name", "driver", "subnets")})


class CandidateOut(BaseModel):
    kind: str
    id: str
    names: list[str]
    size_bytes: int | None
    why: str

    @classmethod
    def of(cls, candidate: Candidate) -> Self:
        return cls(
            kind=candidate.kind,
            id=candidate.id,
            names=list(candidate.names),
            size_bytes=candidate.size,
            why=candidate.why,
        )


class PruneQuery(BaseModel):
    volumes: bool = Field(False, description="Also volumes of ours that no container and no Compose project names.")


class PruneOut(BaseModel):
    """What a clean-up would remove. `token` asks for exactly this, within an hour."""

    items: list[CandidateOut]
    held: list[str] = Field(description="What is left out for now, and why.")
    size_bytes: int
    seen_at: datetime | None
    token: str


class PruneIn(Input):
    token: str = Field(max_length=200_000, description="Of the preview.")


class ServerUseOut(BaseModel):
    server: str
    images_bytes: int
    containers_bytes: int
    volumes_bytes: int
    folders_bytes: int
    at: datetime | None = Field(description="When it was read; null where it never was.")


class DiskOut(BaseModel):
    """What a project takes of the servers' disks; layers that its images share are counted once."""

    servers: list[ServerUseOut]
    total_bytes: int
    budget_megabytes: int = Field(description="0: none.")
    is_over: bool

    @classmethod
    def of(cls, use: budgets.DiskUse) -> Self:
        return cls(
            servers=[
                ServerUseOut(
                    server=each.server,
                    images_bytes=each.images,
                    containers_bytes=each.containers,
                    volumes_bytes=each.volumes,
                    folders_bytes=each.folders,
                    at=each.at,
                )
                for each in use.servers
            ],
            total_bytes=use.total,
            budget_megabytes=use.budget_megabytes,
            is_over=use.is_over,
        )


class BudgetIn(Input):
    budget_megabytes: int = Field(ge=0, le=budgets.LARGEST_MEGABYTES, description="0: no budget.", examples=[20_000])


# --- a server's -------------------------------------------------------------------------------------------------------


@router.get("servers/{name}/docker", response=DockerOut)
def docker_show(request: ApiRequest, name: str) -> DockerOut:
    """What the last look at the server's Docker came to; has it looked at again."""
    return DockerOut.of(_looked(request, name)[1])


@router.get("servers/{name}/containers", response=Page[ContainerOut])
def container_list(request: ApiRequest, name: str, paging: PageQuery) -> Page[ContainerOut]:
    """The server's containers by name, as they were seen last; has them looked at again."""
    server, _ = _looked(request, name)
    rows = selectors.container_list(actor=request.auth, server=server)
    shown, following = cut(rows, paging, key=lambda row: row.name)
    return Page[ContainerOut](items=[ContainerOut.of(row) for row in shown], next=following)


@router.get("servers/{name}/containers/{container}", response=ContainerDetail)
def container_show(request: ApiRequest, name: str, container: str) -> ContainerDetail:
    """A container by its name or id, with how it was started; secrets are masked."""
    return ContainerDetail.seen_by(request.auth, _row(request, name, container))


@router.post("servers/{name}/containers/{container}/restart", response={202: ActionOut})
def container_restart(request: ApiRequest, name: str, container: str) -> ActionOut:
    """Has the container restarted."""
    row = _row(request, name, container)
    return ActionOut.of(services.container_act(actor=request.auth, row=row, kind="restart"))


@router.post("servers/{name}/containers/{container}/stop", response={202: ActionOut})
def container_stop(request: ApiRequest, name: str, container: str, payload: StopIn) -> ActionOut:
    """Has the container stopped. 409 where it serves a site now, and that is not confirmed."""
    row = _row(request, name, container)
    action = services.container_act(actor=request.auth, row=row, kind="stop", is_confirmed=payload.confirm)
    return ActionOut.of(action)


@router.post("servers/{name}/containers/{container}/start", response={202: ActionOut})
def container_start(request: ApiRequest, name: str, container: str) -> ActionOut:
    """Has the container started."""
    row = _row(request, name, container)
    return ActionOut.of(services.container_act(actor=request.auth, row=row, kind="start"))


@router.get("servers/{name}/container-actions/{action_id}", response=ActionOut)
def container_action_show(request: ApiRequest, name: str, action_id: str) -> ActionOut:
    """What came of an action, or of a clean-up."""
    server = server_get(actor=request.auth, name=name)
    return ActionOut.of(selectors.action_get(actor=request.auth, server=server, action_id=action_id))


@router.post("servers/{name}/containers/{container}/logs", response={201: FollowOut})
def logs_follow(request: ApiRequest, name: str, container: str, payload: LogsIn) -> FollowOut:
    """Begins to follow the container's log. Connect to `events` within 15 seconds; it ends when nobody is connected."""
    row = _row(request, name, container)
    return FollowOut.of(services.follow_start(actor=request.auth, row=row, tail=payload.tail))


@router.get(
    "container-logs/{follow_id}",
    response={200: None},
    openapi_extra={"responses": {200: {"content": {"text/plain": {}}}}},
)
def logs_text(request: ApiRequest, follow_id: str) -> HttpResponse:
    """The lines of a followed log so far, as text."""
    follow = selectors.follow_get(actor=request.auth, follow_id=follow_id)
    text = selectors.log_text(actor=request.auth, follow=follow)
    return HttpResponse(text, content_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-store"})


@router.get("servers/{name}/images", response=Page[ImageOut])
def image_list(request: ApiRequest, name: str, paging: PageQuery) -> Page[ImageOut]:
    """The server's images, with who owns and uses them."""
    server, _ = _looked(request, name)
    rows = selectors.image_list(actor=request.auth, server=server)
    shown, following = cut(rows, paging, key=lambda row: str(row.found["id"]))
    return Page[ImageOut](items=[ImageOut.of(row) for row in shown], next=following)


@router.get("servers/{name}/volumes", response=Page[VolumeOut])
def volume_list(request: ApiRequest, name: str, paging: PageQuery) -> Page[VolumeOut]:
    """The server's volumes, with who owns and uses them."""
    server, _ = _looked(request, name)
    rows = selectors.volume_list(actor=request.auth, server=server)
    shown, following = cut(rows, paging, key=lambda row: str(row.found["name"]))
    return Page[VolumeOut](items=[VolumeOut.of(row) for row in shown], next=following)


@router.get("servers/{name}/networks", response=Page[NetworkOut])
def network_list(request: ApiRequest, name: str, paging: PageQuery) -> Page[NetworkOut]:
    """The server's networks, with who owns and uses them."""
    server, _ = _looked(request, name)
    rows = selectors.network_list(actor=request.auth, server=server)
    shown, following = cut(rows, paging, key=lambda row: str(row.found["id"]))
    return Page[NetworkOut](items=[NetworkOut.of(row) for row in shown], next=following)


@router.get("servers/{name}/prune", response=PruneOut)
def prune_preview(request: ApiRequest, name: str, query: Query[PruneQuery]) -> PruneOut:
    """What a clean-up of the server would remove: what is our own, and needed neither now nor to roll back."""
    server, snapshot = _looked(request, name)
    preview = cleaning.prune_preview(actor=request.auth, server=server, with_volumes=query.volumes)
    return PruneOut(
        items=[CandidateOut.of(each) for each in preview.candidates],
        held=list(preview.held),
        size_bytes=preview.size,
        seen_at=snapshot.seen_at,
        token=preview.token,
    )


@router.post("servers/{name}/prune", response={202: ActionOut})
def prune_start(request: ApiRequest, name: str, payload: PruneIn) -> ActionOut:
    """Removes what the preview with this token showed, each only if it still may go when its turn comes."""
    server = server_get(actor=request.auth, name=name)
    return ActionOut.of(services.prune_start(actor=request.auth, server=server, token=payload.token))


# --- a project's ------------------------------------------------------------------------------------------------------


@router.get("projects/{slug}/disk", response=DiskOut)
def disk_show(request: ApiRequest, slug: str) -> DiskOut:
    """What the project takes of the servers' disks, and its budget."""
    project = project_get(actor=request.auth, slug=slug)
    return DiskOut.of(budgets.disk_use(actor=request.auth, project=project))


@router.put("projects/{slug}/disk", response=DiskOut)
def budget_set(request: ApiRequest, slug: str, payload: BudgetIn) -> DiskOut:
    """Sets how much the project is to take at most. More is warned about, never prevented."""
    project = project_get(actor=request.auth, slug=slug)
    budgets.budget_set(actor=request.auth, project=project, megabytes=payload.budget_megabytes)
    return DiskOut.of(budgets.disk_use(actor=request.auth, project=project))


# --- shared -----------------------------------------------------------------------------------------------------------


def _looked(request: ApiRequest, name: str) -> tuple[Server, Snapshot]:
    """The server and what was seen there last; has it looked at again."""
    server = server_get(actor=request.auth, name=name)
    services.look_request(actor=request.auth, server=server)
    return server, selectors.snapshot_get(actor=request.auth, server=server)


def _row(request: ApiRequest, name: str, container: str) -> ContainerRow:
    server = server_get(actor=request.auth, name=name)
    return selectors.container_get(actor=request.auth, server=server, container=container)


def _thing(row: ThingRow) -> dict[str, Any]:
    return {"owner": OwnerOut.of(row.owner), "used_by": list(row.used_by), "created_at": row.created_at}
