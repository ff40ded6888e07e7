"""What holds for every operation: who may call it, by which method, and how a refusal looks.

The operations are taken from the API's description. A new one is refused to viewers and developers unless it is named
below.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from itertools import product
from typing import Any

import pytest
from django.db import transaction
from django.test import Client, override_settings
from django_scopes import scope
from pytest_django.plugin import DjangoDbBlocker

from devflow.apps.accounts.models import Role
from devflow.apps.accounts.services import token_create
from devflow.apps.containers.cleaning import prune_preview
from devflow.apps.deployments.models import Deployment, Release, Status
from devflow.apps.deployments.planning import plan_deploy
from devflow.apps.deployments.services import deployment_cancel, deployment_request
from devflow.apps.projects import services as projects
from devflow.apps.projects.models import Environment
from devflow.apps.projects.windows import environment_freeze
from devflow.apps.servers import services as servers
from devflow.apps.servers.clusters import cluster_form
from devflow.apps.servers.models import Server
from devflow.apps.servers.selectors import server_get
from devflow.apps.sources.reports import source_update
from tests.api.conftest import Caller
from tests.api.conftest import World as ApiWorld
from tests.api.routes import BODIES, METHODS, Route, filling, routes
from tests.support.containers import seen
from tests.support.foreign import MARK
from tests.support.integrity import crossings
from tests.support.undone import told, undone
from tests.web.world import World, make_world

ROUTES = list(routes())
NOBODY, OUTSIDER, READER = "nobody", "outsider", "a token that may read"
ROLES = (NOBODY, OUTSIDER, READER, Role.VIEWER, Role.DEVELOPER, Role.ADMIN, Role.OWNER)
WALKED_AT_LEAST = 3900
"""Operations and their other methods x roles."""
PROPERTIES_AT_LEAST = 190
"""Properties of bodies and queries, each of which is sent references to what is another team's."""

FOR_EVERY_MEMBER = {
    "POST tokens": "one's own tokens",
    "DELETE tokens/{token_id}": "one's own tokens",
    "POST teams": "asks for the panel's administrators itself",
}
"""Operations that change something and are not asked for a role, and why. A token needs its scopes for them too."""
FOR_DEVELOPERS = {
    "POST clusters/{cluster}/look",
    "POST servers/{name}/check",
    "POST servers/{name}/containers/{container}/logs",
    "POST servers/{name}/containers/{container}/restart",
    "POST servers/{name}/containers/{container}/start",
    "POST servers/{name}/containers/{container}/stop",
    "POST projects/{slug}/deploy",
    "POST projects/{slug}/environments/{name}/deployments",
    "POST projects/{slug}/environments/{name}/promote",
    "POST projects/{slug}/environments/{name}/rollback",
    "POST projects/{slug}/environments/{name}/comparison",
    "POST projects/{slug}/environments/{name}/proxy/look",
    "POST projects/{slug}/deliveries/{delivery_id}/redeliver",
    "POST deployments/{deployment_id}/canary",
    "POST deployments/{deployment_id}/cancel",
    "POST deployments/{deployment_id}/rollback",
}
"""Operations that change something and that a developer may call."""
FOR_ADMINS = {
    "GET projects/{slug}/environments/{name}/dotenv",
    "GET projects/{slug}/dotenv",
    "GET invitations",
    "GET servers/{name}/prune",
    "GET audit",
    "GET audit/export",
    "GET audit/verify",
    "GET audit/requests",
    "GET audit/{event_id}",
}
"""Operations that show what only admins and owners may see."""
FOR_OWNERS = {"PATCH team"}

each_route = pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)


@pytest.fixture(scope="module")
def walked(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[World]:
    """One world for all these tests, with one of everything; each request of them is taken back."""
    with django_db_blocker.unblock(), override_settings(API_LIMIT=0), transaction.atomic():
        world = make_world()
        assert world.foreign
        assert filling(world)
        yield world
        transaction.set_rollback(True)


@pytest.fixture(scope="module")
def special(walked: World) -> dict[str, dict[str, str]]:
    """What some operations need to succeed, in the place of what `filling` has: by the operation's name."""
    actor, project = walked.actor(), walked.project
    for name in ("spare", "spare-2", "spare-3"):
        servers.server_add(actor=actor, name=name, host="spare.example.test")
    node = server_get(actor=actor, name="spare-3")
    cluster_form(actor=actor, name="left", server=node)
    with scope(team=walked.team):
        Server.objects.filter(pk=node.pk).update(cluster=None)
    projects.project_add(actor=actor, slug="empty", repository="/srv/git/empty.git")
    api_world = ApiWorld(actor, walked.environment, walked.deployment)
    deployment_cancel(actor=actor, deployment=walked.deployment)
    older, _ = (release(api_world, is_current=is_current) for is_current in (False, True))
    queued = deployment_request(actor=actor, environment=walked.environment)
    for name in ("staging", "frozen"):
        made = projects.environment_add(actor=actor, project=project, name=name, branch="main", servers=["web-1"])
    environment_freeze(actor=actor, environment=made, reason="Fair")
    canary = deployment_request(actor=actor, environment=made)
    edited = {"servers": {"web-1": {"state": "edited", "sum": "ab", "text": "server { }\n"}}}
    with scope(team=walked.team):
        Environment.objects.filter(pk=made.pk).update(proxy="nginx", proxy_state=edited)
        Deployment.objects.filter(pk=canary.pk).update(strategy="canary", status=Status.RUNNING)
    waiting = deployment_request(actor=actor, environment=made)
    source = projects.project_source(actor=actor, project=project)
    source_update(
        actor=actor,
        source=source,
        api_url="http://127.0.0.1:1/api/v4",
        access_token="glpat-0123456789",
        repository="acme/shop",
    )
    return {
        "DELETE servers/{name}": {"servers/{name}": "spare"},
        "PATCH servers/{name}": {"servers/{name}": "spare"},
        "POST servers/{name}/prune": {"servers/{name}": _with_leftovers(walked)},
        "DELETE clusters/{cluster}": {"clusters/{cluster}": "left"},
        "DELETE projects/{slug}": {"projects/{slug}": "empty"},
        "DELETE projects/{slug}/environments/{name}": {"environments/{name}": "staging"},
        "DELETE projects/{slug}/environments/{name}/freezes": {"environments/{name}": "frozen"},
        "POST projects/{slug}/environments/{name}/promote": {"environments/{name}": "staging"},
        "POST projects/{slug}/environments/{name}/proxy/adopt": {"environments/{name}": "frozen"},
        "POST projects/{slug}/environments/{name}/proxy/replace": {"environments/{name}": "frozen"},
        "POST deployments/{deployment_id}/override": {"deployments/{deployment_id}": str(waiting.pk)},
        "POST deployments/{deployment_id}/canary": {"deployments/{deployment_id}": str(canary.pk)},
        "POST deployments/{deployment_id}/cancel": {"deployments/{deployment_id}": str(queued.pk)},
        "POST deployments/{deployment_id}/rollback": {"deployments/{deployment_id}": str(older.pk)},
        "GET deployments/{deployment_id}/plan": {"deployments/{deployment_id}": str(older.pk)},
        "POST projects/{slug}/variable-changes/{change}/restore": {
            "variable-changes/{change}": str(walked.base_change.pk)
        },
        "DELETE projects/{slug}/variables/{key}": {"variables/{key}": "MAIL_HOST"},
    }


class Callers:
    """Each role in person, and the owner by a token that may read; what one request does, the next does not see."""

    def __init__(self, world: World) -> None:
        self._cookies = {role: world.client(role).cookies for role in ROLES if role not in (NOBODY, READER)}
        _, self._token = token_create(actor=world.actor(), name="reader", scopes=["read"])
        self._handler = Client().handler

    def __getitem__(self, role: str) -> Caller:
        client = Client(raise_request_exception=False)
        client.handler = self._handler  # making one takes longer than most requests
        client.cookies = copy(self._cookies.get(role, client.cookies))
        return Caller(self._token if role == READER else "", client)


@pytest.fixture(scope="module")
def callers(walked: World) -> Callers:
    return Callers(walked)


@pytest.fixture
def places(walked: World, special: dict[str, dict[str, str]], route: Route) -> dict[str, str]:
    return {**filling(walked), **special.get(route.name, {})}


def expected(route: Route, role: str) -> set[int] | None:
    """The answers that are right; None where it has to succeed."""
    if role == NOBODY:
        return {401}
    if role == OUTSIDER:
        return {404} if route.places else {*range(200, 300), 403, 409, 422}
    if role == READER:
        return {403} if route.is_write or route.name in FOR_ADMINS else None
    if route.name in FOR_EVERY_MEMBER:
        return {*range(200, 300), 403, 404}
    if role in (Role.VIEWER, Role.DEVELOPER):
        may = role == Role.DEVELOPER and route.name in FOR_DEVELOPERS
        return {403} if (route.is_write and not may) or route.name in FOR_ADMINS else None
    if route.name in FOR_OWNERS and role != Role.OWNER:
        return {403}
    return None


@each_route
def test_as_everybody(route: Route, callers: Callers, places: dict[str, str]) -> None:
    wrong = []
    for role in ROLES:
        with undone():
            answer = callers[role].ask(route.method, route.asked(places), route.body())
        right = expected(route, role)
        if answer.status_code not in (right or range(200, 300)):
            wrong.append((role, answer.status_code, right or "success", answer.content[:300]))
        if answer.status_code >= 400:
            assert_problem(answer, answer.status_code)
    assert not wrong


@each_route
def test_another_method_is_not_allowed(route: Route, callers: Callers, places: dict[str, str]) -> None:
    there = {each.method for each in ROUTES if each.path == route.path}
    for method, role in product(set(METHODS) - there, ROLES):
        with undone():
            answer = callers[role].ask(method, route.address(places))
        assert answer.status_code == 405, (method, role)
        assert there <= {name.strip() for name in answer["Allow"].split(",")}


def test_the_walk_is_as_long_as_it_was() -> None:
    """The figure that docs/security.md tells."""
    paths = {route.path for route in ROUTES}
    number = len(paths) * len(ROLES) * len(METHODS)
    print(f"operations: {len(ROUTES)}, {len(paths)} paths x {len(ROLES)} roles x {len(METHODS)} methods = {number}")
    assert number >= WALKED_AT_LEAST


def test_what_is_not_asked_for_a_role_is_there_and_is_said_why() -> None:
    names = {route.name for route in ROUTES}
    assert names >= {*FOR_EVERY_MEMBER, *FOR_DEVELOPERS, *FOR_ADMINS, *FOR_OWNERS}
    assert all(FOR_EVERY_MEMBER.values())


@pytest.mark.parametrize("route", [route for route in ROUTES if len(route.places) > 1], ids=lambda route: route.name)
def test_of_several_names_each_must_be_ones_own(
    route: Route, walked: World, callers: Callers, places: dict[str, str]
) -> None:
    """One's own project with another team's environment or delivery, and the other way round."""
    ids, names = walked.foreign.ids, walked.foreign.names
    theirs = {
        "projects/{slug}": names["project"],
        "environments/{name}": names["environment"],
        "channels/{channel}": ids["channel"],
        "deliveries/{delivery_id}": ids["delivery"],
        "deliveries/{delivery}": ids["notification"],
        "variable-changes/{change}": ids["change"],
        "access/{grant_id}": ids["grant"],
        "variables/{key}": "NOT_THERE",
        "servers/{name}": names["server"],
        "containers/{container}": names["container"],
        "container-actions/{action_id}": ids["container action"],
        "clusters/{cluster}": names["cluster"],
        "nodes/{server}": names["server"],
        "services/{service}": "not_there",
        "actions/{action_id}": ids["action"],
    }
    for _, place in route.places:
        assert place in theirs, f"Add {place} to `theirs`."
        with undone():
            answer = callers[Role.OWNER].ask(route.method, route.asked({**places, place: theirs[place]}), route.body())
        assert_problem(answer, 404)


@pytest.mark.timeout(600)  # the largest body has fifty properties, each of which is sent fifty times
@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.properties or route.queries], ids=lambda route: route.name
)
def test_a_body_takes_nothing_of_another_team_and_does_not_tell_that_it_is_there(
    route: Route, walked: World, callers: Callers, places: dict[str, str]
) -> None:
    """Each property and query is sent with the id or name of another team's thing, and with one that nothing has:
    nobody can tell the answers apart, and no row refers to the other team."""
    for name in [*route.properties, *route.queries]:

        def send(reference: str, name: str = name) -> tuple[int, str]:
            with undone():
                answer = callers[Role.OWNER].ask(route.method, *_with(route, places, name, reference))
                if answer.status_code < 300 and route.is_write:
                    assert crossings() == [], (name, reference)
                return told(answer, reference)

        for reference, answer, of_twin in walked.foreign.tries(send):
            assert answer[0] < 500, (name, reference)
            assert answer == of_twin, (name, reference)


def test_as_many_properties_were_tried_as_ever(walked: World) -> None:
    """The figure that docs/security.md tells."""
    number = sum(len(route.properties) + len(route.queries) for route in ROUTES)
    print(f"properties and queries, each with references to another team: {number}")
    assert number >= PROPERTIES_AT_LEAST


@each_route
def test_nothing_of_another_team_is_answered(route: Route, callers: Callers, places: dict[str, str]) -> None:
    if route.method == "GET":
        assert MARK.encode() not in callers[Role.OWNER].get(route.asked(places)).getvalue()


@pytest.mark.parametrize("list_name", ["servers", "projects", "deployments", "channels"])
def test_an_outsider_sees_empty_lists(outsider: Caller, list_name: str) -> None:
    assert outsider.get(list_name).json() == {"items": [], "next": None}


@pytest.mark.parametrize("token", ["dfp_wrong", "", "Ünbekannt".encode().decode("latin-1")])
def test_a_wrong_token_is_refused(nobody: Caller, token: str, db: None) -> None:
    assert_problem(nobody.get("whoami", Authorization=f"Bearer {token}"), 401)
    assert_problem(nobody.get("whoami", Authorization=f"Basic {token}"), 401)


def test_nobody_is_asked_to_log_in(nobody: Caller, db: None) -> None:
    response = nobody.get("whoami")
    assert "API token" in assert_problem(response, 401)["detail"]
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_a_token_is_told_which_scopes_it_has(reader: Caller) -> None:
    assert "scopes" in assert_problem(reader.post("servers", {"name": "x", "host": "x.example.test"}), 403)["detail"]


@pytest.mark.parametrize(
    "path", ["nothing", "servers/", "servers/web1/x", "deployments/1/2/3", "servers/%00", "projects/a%2Fb"]
)
def test_an_unknown_address_is_a_problem(admin: Caller, path: str) -> None:
    assert_problem(admin.get(path), 404)


@pytest.mark.parametrize("deployment", ["1", "nonsense", "00000000-0000-7000-8000-000000000000", "%27%3B--"])
def test_an_id_that_is_none_is_not_found(admin: Caller, deployment: str) -> None:
    assert_problem(admin.get(f"deployments/{deployment}"), 404)
    assert_problem(admin.delete(f"tokens/{deployment}"), 404)


def _with(route: Route, places: dict[str, str], name: str, value: str) -> tuple[str, Any]:
    """The address and the body with `value` in the place of one property or query."""
    if name not in route.properties:
        return f"{route.address(places)}?{name}={value}", route.body()
    about = route.properties[name]
    kinds = {each.get("type") for each in (about, *about.get("anyOf", []))}
    put: Any = [value] if "array" in kinds else {"REFERENCE": value} if "object" in kinds else value
    return route.address(places), {**(route.body() or {}), name: put}


def _with_leftovers(world: World) -> str:
    """The name of a server with something to clean up, which the body of that operation names."""
    actor = world.actor()
    server = servers.server_add(actor=actor, name="boxes", host="boxes.example.test")
    environment = projects.environment_add(
        actor=actor, project=world.project, name="boxes", branch="main", servers=["boxes"]
    )
    done = deployment_request(actor=actor, environment=environment)
    deployment_cancel(actor=actor, deployment=done)
    seen(server, environment, d2=str(done.pk))
    BODIES["POST servers/{name}/prune"] = {"token": prune_preview(actor=actor, server=server).token}
    return server.name


def release(world: ApiWorld, *, is_current: bool) -> Deployment:
    """A deployment that left a release."""
    deployment = deployment_request(actor=world.owner, environment=world.environment)
    deployment_cancel(actor=world.owner, deployment=deployment)
    with scope(team=world.owner.team):
        deployment.status, deployment.release = Status.SUCCESS, f"20260101-00000{int(is_current)}-abcdef"
        deployment.commit = f"{int(is_current)}123456789abcdef0123456789abcdef01234567"
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
