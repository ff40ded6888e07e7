"""A team with people of each role, two servers and a project, and a second team that must see nothing of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from django.db import connections
from django_scopes import scope

from devflow.apps.accounts import services as accounts
from devflow.apps.accounts.models import Membership, Role, Team, User
from devflow.apps.accounts.rights import Actor
from devflow.apps.accounts.selectors import actor_get
from devflow.apps.deployments.models import Deployment
from devflow.apps.projects import services as projects
from devflow.apps.projects.models import Environment, Project
from devflow.apps.servers import services as servers
from devflow.apps.servers.models import Server

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shop:
    team: Team
    people: dict[str, User]
    project: Project
    environment: Environment

    def actor(self, role: str = Role.OWNER, *, scopes: tuple[str, ...] | None = None) -> Actor:
        """The person with that role, in person or by a token with these scopes; `stranger` owns the other team."""
        actor = actor_get(user=self.people[role])
        return Actor(user=actor.user, team=actor.team, role=actor.role, scopes=scopes)

    def add_environment(self, name: str, *, on: tuple[str, ...] = ("web1",)) -> Environment:
        return projects.environment_add(
            actor=self.actor(), project=self.project, name=name, branch="main", servers=on, root=f"/srv/{name}"
        )

    def deployment(self, deployment: Deployment) -> Deployment:
        """The deployment as the database has it now."""
        with scope(team=self.team):
            return Deployment.objects.select_related("environment").get(pk=deployment.pk)

    def server(self, name: str) -> Server:
        with scope(team=self.team):
            return Server.objects.get(name=name)


def open_shop() -> Shop:
    people = {role: _person(role) for role in (*Role.values, "stranger")}
    team = accounts.team_create(name="Shopkeepers", owner=people[Role.OWNER])
    with scope(team=team):
        for role in (Role.ADMIN, Role.DEVELOPER, Role.VIEWER):
            Membership.objects.create(team=team, user=people[role], role=role)
    accounts.team_create(name="Strangers", owner=people["stranger"])
    owner = actor_get(user=people[Role.OWNER])
    for name in ("web1", "web2"):
        servers.server_add(actor=owner, name=name, host=f"{name}.example.test", user="deploy")
    project = projects.project_add(
        actor=owner, slug="shop", repository="https://git.example.test/shop.git", recipe="static"
    )
    environment = projects.environment_add(
        actor=owner, project=project, name="production", branch="main", servers=["web1"], root="/srv/shop"
    )
    return Shop(team=team, people=people, project=project, environment=environment)


def _person(role: str) -> User:
    return accounts.user_create(email=f"{role}@example.test", password=None)


def at_once(number: int, work: Callable[[int], T]) -> list[T | Exception]:
    """What `work(0)` … `work(number - 1)` give or raise, called at the same moment, each on its own connection."""
    results: list[T | Exception] = [RuntimeError("never ran")] * number
    barrier = threading.Barrier(number)

    def call(index: int) -> None:
        with _own_connection():
            barrier.wait(timeout=10)
            try:
                results[index] = work(index)
            except Exception as error:
                results[index] = error

    threads = [threading.Thread(target=call, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    return results


@contextmanager
def _own_connection() -> Iterator[None]:
    try:
        yield
    finally:
        connections.close_all()
