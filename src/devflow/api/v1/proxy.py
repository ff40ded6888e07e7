"""The proxy of an environment: nginx's site files on its servers."""

from datetime import datetime

from ninja import Router
from pydantic import BaseModel, Field

from devflow.api.auth import ApiRequest
from devflow.api.schemas import Input
from devflow.apps.deployments import proxy
from devflow.apps.deployments.accepted import accepted_of, is_accepted
from devflow.apps.deployments.planning import site_text_of
from devflow.apps.projects.models import Environment
from devflow.apps.projects.selectors import environment_get

router = Router(tags=["environments"])


class AdoptIn(Input):
    server: str = Field(description="Name of the server whose file is taken over.", examples=["web-1"])
    path: str = Field(
        "",
        max_length=1000,
        description="A file there that is none of the panel's (`foreign`); without it, the one edited by hand.",
        examples=["/etc/nginx/sites-enabled/shop"],
    )


class ForeignFile(BaseModel):
    """Another file of nginx that serves one of the environment's domains. `template` is what adopting makes of it, and
    `notes` say what is changed in it; `problem` why it cannot be adopted."""

    path: str
    text: str
    is_accepted: bool = Field(description="Adopted: the next deployment takes its place.")
    template: str
    notes: list[str]
    problem: str


class SiteFile(BaseModel):
    """`state` is absent, ours or edited; `text` what is in the file."""

    server: str
    state: str | None = None
    is_accepted: bool = Field(False, description="Edited by hand, and replaced by the next deployment.")
    text: str = ""
    upstream: str = Field("", description="What says where the traffic goes, where that was edited by hand.")
    foreign: list[ForeignFile] = Field(default_factory=list)
    error: str | None = None


class ProxyOut(BaseModel):
    """`at` is null before the first look, and older than the request while a worker is at it."""

    at: datetime | None
    text: str = Field(description="The site file as a deployment would write it; '' without a proxy.")
    servers: list[SiteFile]


@router.get("projects/{slug}/environments/{name}/proxy", response=ProxyOut)
def proxy_show(request: ApiRequest, slug: str, name: str) -> ProxyOut:
    """The site file that a deployment would write, and what the last look found on the servers."""
    return _shown(environment_get(actor=request.auth, slug=slug, name=name))


@router.post("projects/{slug}/environments/{name}/proxy/look", response={202: ProxyOut})
def proxy_look(request: ApiRequest, slug: str, name: str) -> ProxyOut:
    """Has a worker read the site files on the servers."""
    environment = environment_get(actor=request.auth, slug=slug, name=name)
    proxy.proxy_look_request(actor=request.auth, environment=environment)
    return _shown(environment)


@router.post("projects/{slug}/environments/{name}/proxy/adopt", response=ProxyOut)
def proxy_adopt(request: ApiRequest, slug: str, name: str, payload: AdoptIn) -> ProxyOut:
    """Makes the file that was edited by hand on `server`, or with `path` one that is none of the panel's, the
    environment's own site file. 409 where the last look found none, or it cannot be."""
    environment = environment_get(actor=request.auth, slug=slug, name=name)
    adopted = proxy.proxy_adopt(actor=request.auth, environment=environment, server=payload.server, path=payload.path)
    return _shown(adopted)


@router.post("projects/{slug}/environments/{name}/proxy/replace", response=ProxyOut)
def proxy_replace(request: ApiRequest, slug: str, name: str) -> ProxyOut:
    """Lets the next deployment replace what was edited by hand. 409 where nothing was."""
    environment = environment_get(actor=request.auth, slug=slug, name=name)
    return _shown(proxy.proxy_replace(actor=request.auth, environment=environment))


def _shown(environment: Environment) -> ProxyOut:
    state = environment.proxy_state
    accepted = accepted_of(environment)
    servers = [
        SiteFile(
            server=name,
            state=found.get("state"),
            is_accepted=is_accepted(accepted, name, found),
            text=found.get("text", ""),
            upstream=found.get("upstream", ""),
            foreign=[ForeignFile(**each) for each in proxy.foreign_list(environment, name)],
            error=found.get("error"),
        )
        for name, found in state.get("servers", {}).items()
    ]
    return ProxyOut(at=state.get("at"), text=site_text_of(environment), servers=servers)
