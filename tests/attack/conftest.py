"""A team with one of everything, those who ask, and the application as the server calls it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.test import Client

from devflow.api.v1 import environments
from devflow.apps.accounts.models import Role
from devflow.apps.accounts.selectors import actor_get
from devflow.apps.accounts.services import token_create
from devflow.apps.projects.services import project_source
from devflow.apps.sources.reports import source_update
from tests.support.kept import kept
from tests.web.world import World, make_world

LONG = bool(os.environ.get("DEVFLOW_ATTACK_LONG"))
"""Set, the attacks try many times as much; and other inputs at each run."""
NOWHERE = "http://127.0.0.1:1/api/v4"
"""The git provider of the world: a port where nobody listens."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Attacks are many requests each, and take longer than other tests."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.timeout(7200 if LONG else 900))


@dataclass(frozen=True)
class Caller:
    """Who asks the API: a role through a token with a scope, or nobody."""

    name: str
    role: str = ""
    scope: str = ""
    headers: dict[str, str] = field(default_factory=dict)


CALLERS = (
    Caller("nobody"),
    Caller("viewer", Role.VIEWER, "read"),
    Caller("developer", Role.DEVELOPER, "deploy"),
    Caller("admin", Role.ADMIN, "admin"),
    Caller("owner, to read", Role.OWNER, "read"),
    Caller("owner, to deploy", Role.OWNER, "deploy"),
    Caller("owner, for all", Role.OWNER, "admin"),
    Caller("outsider", "outsider", "admin"),
)


@pytest.fixture
def world(db: None, monkeypatch: pytest.MonkeyPatch) -> World:
    """The pages' world, with a provider, a delivery, a channel and a message on it."""
    monkeypatch.setattr(environments, "INSPECTION_SECONDS", 0.01)  # no worker runs that it could wait for
    return attacked_world()


@kept
def attacked_world() -> World:
    world = make_world()
    source = project_source(actor=world.actor(), project=world.project)
    assert world.delivery
    assert world.notification
    source_update(
        actor=world.actor(), source=source, api_url=NOWHERE, access_token="ghp_0123456789", repository="acme/shop"
    )
    return world


@pytest.fixture
def headers(world: World) -> Callable[[Caller], dict[str, str]]:
    """The headers that tell who asks."""

    def of(caller: Caller) -> dict[str, str]:
        if not caller.role:
            return {}
        actor = world.actor(caller.role) if caller.role != "outsider" else _outsider(world)
        _, raw = token_create(actor=actor, name=caller.name, scopes=[caller.scope])
        return {"Authorization": f"Bearer {raw}"}

    return of


def _outsider(world: World) -> Any:
    return actor_get(user=world.people["outsider"])


@pytest.fixture
def application(db: None) -> Iterator[Any]:
    """The panel's WSGI application, within the test's transaction."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)  # as Django's own test client does it
    yield get_wsgi_application()
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.fixture
def owner(world: World) -> Client:
    client = world.client(Role.OWNER)
    client.raise_request_exception = False
    return client
