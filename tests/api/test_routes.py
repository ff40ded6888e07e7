"""What holds for every operation: who may call it, by which method, and how a refusal looks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pytest
from django_scopes import scope

from devflow.api.urls import api
from devflow.apps.accounts.services import token_create
from devflow.apps.deployments.models import Deployment, Release, Status
from devflow.apps.deployments.planning import plan_deploy
from devflow.apps.deployments.pushes import deliveries_take
from devflow.apps.deployments.services import deployment_cancel, deployment_request
from devflow.apps.notifications.services import channel_add, channel_test
from devflow.apps.projects import services as projects
from devflow.apps.projects.variables import variable_history, variables_set
from devflow.apps.projects.windows import environment_freeze
from devflow.apps.servers import services as servers
from devflow.apps.sources.reports import source_update
from devflow.apps.sources.selectors import delivery_list
from devflow.apps.sources.services import Request, webhook_set
from tests.api.conftest import PREFIX, Caller, World
from tests.api.routes import DEPLOY, MANAGE, READ, ROUTES, Route
from tests.support.payloads import sent

each_route = pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
each_write = pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.right != READ], ids=lambda route: route.name
)


@pytest.fixture
def address(world: World) -> dict[str, str]:
    """What the routes' addresses name beside the world: a token, a planned and two released deployments."""
    actor = world.owner
    token, _ = token_create(actor=actor, name="to revoke", scopes=["read"])
    servers.server_add(actor=actor, name="spare", host="spare.example.test")
    projects.project_add(actor=actor, slug="empty", repository="/srv/git/empty.git")
    older, newer = (release(world, is_current=is_current) for is_current in (False, True))
    deployment = deployment_request(actor=actor, environment=world.environment)
    frozen = projects.environment_add(
        actor=actor, project=world.environment.project, name="frozen", branch="main", servers=["web1"]
    )
    environment_freeze(actor=actor, environment=frozen, reason="Fair")
    waiting = deployment_request(actor=actor, environment=frozen)
    project = world.environment.project
    variables_set(actor=actor, project=project, values={"MAIL_HOST": "mail.example.test"})
    change, base_change = (
        variable_history(actor=actor, **place)[0]
        for place in ({"environment": world.environment}, {"project": project})
    )
    return {
        "change": str(change.pk),
        "base_change": str(base_change.pk),
        "delivery": delivery(world),
        "waiting": str(waiting.pk),
        **channel_and_message(world),
        "token": str(token.pk),
        "deployment": str(deployment.pk),
        "planned": str(older.pk),
        "released": str(newer.pk),
    }


def channel_and_message(world: World) -> dict[str, str]:
    """A channel, and a message that waits on it."""
    settings = {"url": "https://hooks.slack.com/services/secret-part"}
    channel, _ = channel_add(actor=world.owner, kind="slack", name="#deployments", settings=settings)
    message = channel_test(actor=world.owner, channel=channel)
    return {"channel": str(channel.pk), "message": str(message.pk)}


def delivery(world: World) -> str:
    """What the shop's webhook was sent."""
    source = projects.project_source(actor=world.owner, project=world.environment.project)
    secret = webhook_set(actor=world.owner, source=source, provider="gitlab")
    nowhere = "http://127.0.0.1:1/api/v4"
    source_update(
        actor=world.owner, source=source, api_url=nowhere, access_token="glpat-0123456789", repository="acme/shop"
    )
    body, headers = sent("gitlab", {}, secret, event="Push Hook")
    deliveries_take(provider="gitlab", token=source.hook_token, requests=[Request(headers, body)])
    return str(delivery_list(actor=world.owner, source=source)[0].pk)


def release(world: World, *, is_current: bool) -> Deployment:
    """A deployment that left a release."""
    deployment = deployment_request(actor=world.owner, environment=world.environment)
    deployment_cancel(actor=world.owner, deployment=deployment)
    with scope(team=world.owner.team):
        deployment.status, deployment.release = Status.SUCCESS, f"20260101-00000{int(is_current)}-abcdef"
        deployment.plan = plan_deploy(
            environment=world.environment, recipe="static", release=deployment.release, commit=""
        ).to_json()
        deployment.save()
        Release.objects.create(
            team=world.owner.team,
            environment=world.environment,
            deployment=deployment,
            name=deployment.release,
            is_current=is_current,
        )
    return deployment


def ask(caller: Caller, route: Route, address: Mapping[str, str], method: str = "") -> Any:
    return caller.ask(method or route.method, route.path.format_map(address), route.body)


def assert_problem(response: Any, status: int) -> dict[str, Any]:
    """The response is a problem of that status; returns its document."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    document = response.json()
    assert document.keys() == {"type", "title", "status", "detail", "errors", "id"}
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert len(document["id"]) == 12
    return dict(document)


def test_the_table_holds_every_operation() -> None:
    described = {
        (method.upper(), path.removeprefix(PREFIX))
        for path, methods in api.get_openapi_schema()["paths"].items()
        for method in methods
        if not path.endswith("/events")
    }
    assert {(route.method, route.template or route.path) for route in ROUTES} == described


@each_route
def test_works(admin: Caller, address: dict[str, str], route: Route) -> None:
    response = ask(admin, route, address)
    assert response.status_code == route.status, response.content


@each_route
def test_nobody_is_asked_to_log_in(nobody: Caller, route: Route, db: None) -> None:
    path: Mapping[str, str] = defaultdict(lambda: "0")
    response = ask(nobody, route, path)
    assert "API token" in assert_problem(response, 401)["detail"]
    assert response["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("token", ["dfp_wrong", "", "Ünbekannt".encode().decode("latin-1")])
def test_a_wrong_token_is_refused(nobody: Caller, token: str, db: None) -> None:
    assert_problem(nobody.get("whoami", Authorization=f"Bearer {token}"), 401)
    assert_problem(nobody.get("whoami", Authorization=f"Basic {token}"), 401)


@pytest.mark.parametrize("route", [route for route in ROUTES if route.is_own], ids=lambda route: route.name)
def test_an_outsider_finds_nothing(outsider: Caller, address: dict[str, str], route: Route) -> None:
    assert_problem(ask(outsider, route, address), 404)


@pytest.mark.parametrize("list_name", ["servers", "projects", "deployments", "channels"])
def test_an_outsider_sees_empty_lists(outsider: Caller, list_name: str) -> None:
    assert outsider.get(list_name).json() == {"items": [], "next": None}


@each_write
def test_a_viewer_may_not_change_anything(viewer: Caller, address: dict[str, str], route: Route) -> None:
    assert_problem(ask(viewer, route, address), 403)


@each_write
def test_a_token_does_what_its_scopes_say(reader: Caller, address: dict[str, str], route: Route) -> None:
    assert "scopes" in assert_problem(ask(reader, route, address), 403)["detail"]


@each_write
def test_a_developer_deploys_and_does_not_manage(developer: Caller, address: dict[str, str], route: Route) -> None:
    response = ask(developer, route, address)
    if route.right == DEPLOY:
        assert response.status_code == route.status, response.content
    else:
        assert route.right == MANAGE
        assert_problem(response, 403)


@each_route
def test_another_method_is_not_allowed(nobody: Caller, route: Route) -> None:
    path: Mapping[str, str] = defaultdict(lambda: "0")
    assert ask(nobody, route, path, "HEAD").status_code == 405
    others = {each.method for each in ROUTES if (each.template or each.path) == (route.template or route.path)}
    for method in {"PUT", "OPTIONS", "TRACE"} - others:
        response = ask(nobody, route, path, method)
        assert_problem(response, 405)
        assert route.method in response["Allow"]


@pytest.mark.parametrize(
    "path", ["nothing", "servers/", "servers/web1/x", "deployments/1/2/3", "servers/%00", "projects/a%2Fb"]
)
def test_an_unknown_address_is_a_problem(admin: Caller, path: str) -> None:
    assert_problem(admin.get(path), 404)


@pytest.mark.parametrize("deployment", ["1", "nonsense", "00000000-0000-7000-8000-000000000000", "%27%3B--"])
def test_an_id_that_is_none_is_not_found(admin: Caller, deployment: str) -> None:
    assert_problem(admin.get(f"deployments/{deployment}"), 404)
    assert_problem(admin.delete(f"tokens/{deployment}"), 404)
