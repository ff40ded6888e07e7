"""Every address under `/api/v1/`."""

from django.urls import path, re_path

import devflow
from devflow.api import errors
from devflow.api.auth import SessionAuth, TokenAuth
from devflow.api.bodies import BoundedParser
from devflow.api.idempotency import once
from devflow.api.openapi import PanelAPI
from devflow.api.v1 import (
    access,
    audit,
    canary,
    channels,
    clusters,
    containers,
    deployments,
    environments,
    networks,
    people,
    projects,
    proxy,
    servers,
    sources,
    tokens,
    variables,
    webhooks,
    windows,
)

api = PanelAPI(
    title="DevFlow Pro",
    version=devflow.__version__,
    description="Everything that the panel's pages can do.",
    urls_namespace="api",
    auth=[TokenAuth(), SessionAuth()],
    parser=BoundedParser(),
)
errors.register(api)
api.add_decorator(once)
api.add_router("", people.router)
api.add_router("tokens", tokens.router)
api.add_router("", networks.router)
api.add_router("servers", servers.router)
api.add_router("clusters", clusters.router)
api.add_router("projects", projects.router)
api.add_router("projects", environments.router)
api.add_router("projects", variables.router)
api.add_router("projects", webhooks.router)
api.add_router("deployments", deployments.router)
api.add_router("deployments", canary.router)
api.add_router("", channels.router)
api.add_router("", sources.router)
api.add_router("", windows.router)
api.add_router("", proxy.router)
api.add_router("", access.router)
api.add_router("", audit.router)
api.add_router("", containers.router)

_patterns, _, _namespace = api.urls
for _pattern in _patterns:
    assert _pattern.callback
    _pattern.callback = errors.guarded(_pattern.callback)

urlpatterns = [path("", (_patterns, "ninja", _namespace)), re_path("", errors.not_found)]
