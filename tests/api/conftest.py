"""A team with a server, a project and a deployment, and the people who ask for them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.test import Client
from django_scopes import scope

from devflow.apps.accounts.models import Membership, Role, User
from devflow.apps.accounts.rights import Actor
from devflow.apps.accounts.selectors import actor_get
from devflow.apps.accounts.services import team_create, token_create, user_create
from devflow.apps.deployments import services as deployments
from devflow.apps.deployments.models import Deployment
from devflow.apps.projects import services as projects
from devflow.apps.projects.models import Environment
from devflow.apps.servers import services as servers
from tests.support.kept import kept

PREFIX = "/api/v1/"


@dataclass
class Caller:
    """Who asks the API: by `token`, or as nobody."""

    token: str = ""
    http: Client = field(default_factory=lambda: Client(raise_request_exception=False))

    def ask(self, method: str, path: str, body: Any = "", **headers: str) -> Any:
        """The response; `body` is sent as JSON."""
        sent = {"Authorization": f"Bearer {self.token}", **headers} if self.token else headers
        url = path if path.startswith("/") else PREFIX + path
        return self.http.generic(
            method,
            url,
            body if isinstance(body, str) else json.dumps(body),
            content_type="application/json",
            headers=sent,
        )

    def get(self, path: str, **headers: str) -> Any:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: Any = "", **headers: str) -> Any:
        return self.ask("POST", path, body, **headers)

    def patch(self, path: str, body: Any) -> Any:
        return self.ask("PATCH", path, body)

    def delete(self, path: str) -> Any:
        return self.ask("DELETE", path)


@dataclass
class World:
    """What there is in the team."""

    owner: Actor
    environment: Environment
    deployment: Deployment


@pytest.fixture
def actor(request: pytest.FixtureRequest, db: None) -> Actor:
    """The owner of the team, in person."""
    return request.getfixturevalue("world").owner if "world" in request.fixturenames else make_actor()


@pytest.fixture
def world(db: None) -> World:
    return kept_world()


def make_actor() -> Actor:
    ada = user_create(email="ada@example.test", password=None)
    team_create(name="Shopkeepers", owner=ada)
    return actor_get(user=ada)


@kept
def kept_world() -> World:
    """Server web1; project shop with the environments staging and production; a queued deployment to production."""
    actor = make_actor()
    servers.server_add(actor=actor, name="web1", host="web1.example.test", user="deploy")
    project = projects.project_add(
        actor=actor, slug="shop", repository="https://git.example.test/shop.git", recipe="static"
    )
    production, _staging = (
        projects.environment_add(actor=actor, project=project, name=name, branch="main", servers=["web1"])
        for name in ("production", "staging")
    )
    projects.variables_set(actor=actor, environment=production, values={"APP_KEY": "hunter2-hunter2"})
    deployment = deployments.deployment_request(actor=actor, environment=production)
    return World(actor, production, deployment)


@pytest.fixture
def admin(world: World) -> Caller:
    return caller(world.owner, "admin")


@pytest.fixture
def developer(world: World) -> Caller:
    return caller(member(world, "dev@example.test", Role.DEVELOPER), "deploy")


@pytest.fixture
def viewer(world: World) -> Caller:
    return caller(member(world, "vera@example.test", Role.VIEWER), "read")


@pytest.fixture
def reader(world: World) -> Caller:
    """The owner, through a token that may only read."""
    return caller(world.owner, "read")


@pytest.fixture
def outsider(world: World) -> Caller:
    """The owner of another team."""
    mallory = user_create(email="mallory@example.test", password=None)
    team_create(name="Others", owner=mallory)
    return caller(actor_get(user=mallory), "admin")


@pytest.fixture
def nobody() -> Caller:
    return Caller()


def member(world: World, email: str, role: str) -> Actor:
    """A new member of the team."""
    user: User = user_create(email=email, password=None)
    with scope(team=world.owner.team):
        Membership.objects.create(team=world.owner.team, user=user, role=role)
    return actor_get(user=user)


def caller(actor: Actor, scope_name: str) -> Caller:
    _, raw = token_create(actor=actor, name=scope_name, scopes=[scope_name])
    return Caller(raw)
