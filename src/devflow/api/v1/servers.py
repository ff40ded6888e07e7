"""Servers."""

from ninja import Router

from devflow.api.auth import ApiRequest, require_recent
from devflow.api.paging import Page, PageQuery, first
from devflow.api.schemas import Maintenance, ServerIn, ServerOut, ServerPatch
from devflow.apps.servers import selectors, services

router = Router(tags=["servers"])


@router.get("", response=Page[ServerOut])
def server_list(request: ApiRequest, paging: PageQuery) -> Page[ServerOut]:
    """The team's servers by name."""
    found = selectors.server_list(actor=request.auth, after=paging.after, limit=paging.limit + 1)
    rows, following = first(found, paging, key=lambda server: server.name)
    return Page[ServerOut](items=[ServerOut.of(server) for server in rows], next=following)


@router.post("", response={201: ServerOut})
def server_add(request: ApiRequest, payload: ServerIn) -> ServerOut:
    """Adds a server and has it checked. Add `public_key` to its authorized_keys where the panel made the key."""
    require_recent(request)
    return ServerOut.of(services.server_add(actor=request.auth, **payload.model_dump()))


@router.get("{name}", response=ServerOut)
def server_show(request: ApiRequest, name: str) -> ServerOut:
    return ServerOut.of(selectors.server_get(actor=request.auth, name=name))


@router.patch("{name}", response=ServerOut)
def server_update(request: ApiRequest, name: str, payload: ServerPatch) -> ServerOut:
    """Changes where the server is reached, of what is sent, and has it checked. The host key stays pinned. 409 while a
    deployment to it runs."""
    require_recent(request)
    server = selectors.server_get(actor=request.auth, name=name)
    return ServerOut.of(services.server_update(actor=request.auth, server=server, **payload.given()))


@router.delete("{name}", response={204: None})
def server_remove(request: ApiRequest, name: str) -> None:
    """Forgets the server; nothing on it is changed. 409 while an environment deploys to it."""
    server = selectors.server_get(actor=request.auth, name=name)
    services.server_remove(actor=request.auth, server=server)


@router.post("{name}/check", response={202: ServerOut})
def server_check(request: ApiRequest, name: str) -> ServerOut:
    """Has the server checked; it is done when `checked_at` has changed."""
    server = selectors.server_get(actor=request.auth, name=name)
    services.server_check_request(actor=request.auth, server=server)
    return ServerOut.of(server)


@router.post("{name}/maintenance", response={200: ServerOut})
def server_maintenance(request: ApiRequest, name: str, payload: Maintenance) -> ServerOut:
    """In maintenance a server takes no deployments."""
    server = selectors.server_get(actor=request.auth, name=name)
    services.server_maintenance_set(actor=request.auth, server=server, on=payload.on)
    return ServerOut.of(server)


@router.delete("{name}/host-key", response={202: ServerOut})
def server_host_key_forget(request: ApiRequest, name: str) -> ServerOut:
    """Forgets the pinned host key and has the server checked, which pins the present one (after a reinstallation)."""
    require_recent(request)
    server = selectors.server_get(actor=request.auth, name=name)
    services.server_host_key_forget(actor=request.auth, server=server)
    return ServerOut.of(server)
