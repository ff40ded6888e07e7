"""Search and palette: what is found, by whom, how quickly."""

from __future__ import annotations

import time

import pytest
from django.test import Client
from django_scopes import scope

from devflow.apps.accounts.models import Role
from devflow.apps.deployments.models import Deployment
from devflow.apps.deployments.search import find
from devflow.apps.projects.models import Environment, Project
from devflow.apps.servers.models import Server
from tests.web.world import World

QUICK_SECONDS = 0.1
COMMIT = "c0ffee{:034x}"


def titles(client: Client, query: str) -> dict[str, list[str]]:
    answer = client.get("/search/palette/", {"q": query})
    assert answer.status_code == 200
    return {group["title"]: [hit["title"] for hit in group["hits"]] for group in answer.json()["groups"]}


def test_every_kind_is_found(world: World, owner: Client) -> None:
    with scope(team=world.team):
        Deployment.objects.update(commit="c0ffee00aa", commit_message="Show the date", branch="main")
    assert titles(owner, "SHOP")["Projects"] == ["Shop"]
    assert titles(owner, "shop prod") == {"Environments": ["Shop production"]}
    assert titles(owner, "web-1") == {"Servers": ["web-1"]}
    assert titles(owner, "203.0.113")["Servers"] == ["web-1"]
    for query in ("c0ffee", "the date", str(world.deployment.pk), str(world.deployment.pk)[:9]):
        assert titles(owner, query) == {"Deployments": ["c0ffee00 Show the date"]}, query
    assert titles(owner, "viewer@example") == {"People": ["Viewer"]}


def test_the_page_shows_the_same_without_a_script(world: World, viewer: Client) -> None:
    page = viewer.get("/search/", {"q": "shop"}).content.decode()
    assert 'href="/projects/shop/"' in page
    assert "Nothing found" in viewer.get("/search/", {"q": "nowhere-at-all"}).content.decode()
    assert viewer.get("/search/").status_code == 200


def test_nothing_of_another_team_is_found(world: World) -> None:
    outsider = world.client("outsider")
    for query in ("shop", "web-1", "production", str(world.deployment.pk), "viewer@example"):
        assert not set(titles(outsider, query)) & {"Projects", "Environments", "Servers", "Deployments", "People"}


def test_actions_are_those_that_one_may_do(world: World, owner: Client, viewer: Client) -> None:
    assert titles(owner, "add serv") == {"Pages and actions": ["Add server"]}
    assert titles(viewer, "add serv") == {}
    assert "Audit log" in titles(owner, "")["Go to"]
    assert "Audit log" not in titles(viewer, "")["Go to"]


@pytest.mark.parametrize(
    "query", ["%", "_", "\\", "' OR 1=1", "\0", "<script>", "a" * 5000, "é 🚀", "1 2 3 4 5 6 7", "\ud800"]
)
def test_nothing_typed_does_harm(owner: Client, query: str) -> None:
    answer = owner.get("/search/", {"q": query.encode("utf-8", "surrogatepass")})
    assert answer.status_code == 200
    assert b"<script>" not in answer.content.split(b"<main", 1)[1].replace(b"&lt;script&gt;", b"")
    assert "Projects" not in titles(owner, "%")


@pytest.mark.alone
def test_it_is_quick_with_two_hundred_projects(world: World) -> None:
    with scope(team=world.team):
        made = Project.objects.bulk_create(
            Project(team=world.team, slug=f"site-{n}", name=f"Site {n}", source=world.project.source)
            for n in range(200)
        )
        environments = Environment.objects.bulk_create(
            Environment(team=world.team, project=project, name=name, branch="main", root=f"/srv/{project.slug}/{name}")
            for project in made
            for name in ("production", "staging")
        )
        Server.objects.bulk_create(Server(team=world.team, name=f"node-{n}", host=f"10.0.0.{n}") for n in range(100))
        Deployment.objects.bulk_create(
            Deployment(
                team=world.team,
                project_id=environment.project_id,
                environment=environment,
                status="success",
                trigger="manual",
                strategy="atomic",
                release=f"r{n}",
                commit=COMMIT.format(number * 5 + n),
                commit_message=f"Change number {number * 5 + n}",
            )
            for number, environment in enumerate(environments)
            for n in range(5)
        )
    for query in ("site-19", "prod site-7", "change number 1711", "c0ffee", "nothing of it"):
        taken = []
        for _ in range(9):
            actor = world.actor(Role.VIEWER)
            begun = time.perf_counter()
            find(actor=actor, query=query)
            taken.append(time.perf_counter() - begun)
        assert min(taken) < QUICK_SECONDS, (query, taken)
