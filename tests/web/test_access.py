"""Every page: who may open it, by which method. A page that is not in the table fails the first test."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, reverse

from devflow.apps.accounts.models import Role
from devflow.apps.projects.variables import variable_history
from devflow.web import urls
from tests.web.world import World

ENVIRONMENT = ("shop", "production")
DELIVERY = "DELIVERY"
"""Stands for the id of a delivery of the shop's webhook."""
DEPLOYMENT, TOKEN = "DEPLOYMENT", "TOKEN"
CHANNEL, NOTIFICATION = "CHANNEL", "NOTIFICATION"
"""Stand for the ids of the world's channel and of a message on it."""
CHANGE, BASE_CHANGE = "CHANGE", "BASE_CHANGE"
"""Stand for the ids of the world's deployment and token, and of how its variables were set."""


@dataclass(frozen=True)
class Page:
    """`least` is the weakest role that may open it; `data` is what is posted. `is_of_team`: an outsider gets a 404."""

    name: str
    args: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("GET",)
    least: str = Role.VIEWER
    is_of_team: bool = True
    data: dict[str, str] = field(default_factory=dict)

    def address(self, world: World) -> str:
        ids = {**_ids(world), **({DELIVERY: str(world.delivery.pk)} if DELIVERY in self.args else {})}
        if CHANNEL in self.args:
            ids |= {CHANNEL: str(world.channel.pk), NOTIFICATION: str(world.notification.pk)}
        return reverse(self.name, args=[ids.get(arg, arg) for arg in self.args])

    def open(self, client: Client, world: World, method: str = "") -> int:
        method = method or self.methods[-1]
        data = {name: _ids(world).get(value, value) for name, value in self.data.items()} if method == "POST" else {}
        return client.generic(method, self.address(world), **_form(data)).status_code


POST, FORM = ("POST",), ("GET", "POST")
HOOK = {"when": "before", "what": "activate", "command": "x", "where": "all"}
DEVELOPER, ADMIN = Role.DEVELOPER, Role.ADMIN
PAGES = [
    Page("dashboard", is_of_team=False),
    Page("dashboard-board", is_of_team=False),
    Page("servers", is_of_team=False),
    Page("server-add", methods=FORM, least=ADMIN, is_of_team=False),
    Page("server", ("web-1",)),
    Page("server-state", ("web-1",)),
    Page("server-check", ("web-1",), POST, DEVELOPER),
    Page("server-forget-key", ("web-1",), POST, ADMIN),
    Page("server-maintenance", ("web-1",), POST, ADMIN, data={"on": "yes"}),
    Page("server-remove", ("web-1",), POST, ADMIN),
    Page("projects", is_of_team=False),
    Page("project-add", methods=FORM, least=ADMIN, is_of_team=False),
    Page("project", ("shop",)),
    Page("project-settings", ("shop",), FORM, ADMIN),
    Page("project-remove", ("shop",), POST, ADMIN),
    Page("project-access", ("shop",), FORM, ADMIN),
    Page("project-access-test", ("shop",), POST, ADMIN),
    Page("project-access-forget", ("shop",), POST, ADMIN),
    Page("project-access-webhook", ("shop",), POST, ADMIN),
    Page("webhook", ("shop",)),
    Page("webhook-set", ("shop",), POST, ADMIN, data={"provider": "github"}),
    Page("webhook-rotate", ("shop",), POST, ADMIN),
    Page("delivery", ("shop", DELIVERY)),
    Page("delivery-again", ("shop", DELIVERY), POST, DEVELOPER),
    Page("environment-add", ("shop",), FORM, ADMIN),
    Page("environment", ENVIRONMENT),
    Page("environment-plan", ENVIRONMENT),
    Page("plan-state", ENVIRONMENT),
    Page("plan-inspect", ENVIRONMENT, POST, DEVELOPER),
    Page("environment-variables", ENVIRONMENT),
    Page("variables-set", ENVIRONMENT, POST, ADMIN, data={"key": "A", "value": "b"}),
    Page("variables-import", ENVIRONMENT, POST, ADMIN, data={"text": "A=b"}),
    Page("variables-export", ENVIRONMENT, POST, ADMIN),
    Page("variables-unset", ENVIRONMENT, POST, ADMIN, data={"key": "APP_KEY"}),
    Page("variables-reveal", ENVIRONMENT, POST, ADMIN, data={"key": "APP_KEY"}),
    Page("variables-history", ENVIRONMENT),
    Page("variables-restore", ENVIRONMENT, POST, ADMIN, data={"change": CHANGE}),
    Page("variables-require", ENVIRONMENT, POST, ADMIN, data={"requires_variables": "on"}),
    Page("variables-compare", ENVIRONMENT),
    Page("variables-compare-state", ENVIRONMENT),
    Page("variables-compare-start", ENVIRONMENT, POST, DEVELOPER),
    Page("base-variables", ("shop",)),
    Page("base-variables-set", ("shop",), POST, ADMIN, data={"key": "A", "value": "b"}),
    Page("base-variables-import", ("shop",), POST, ADMIN, data={"text": "A=b"}),
    Page("base-variables-export", ("shop",), POST, ADMIN),
    Page("base-variables-unset", ("shop",), POST, ADMIN, data={"key": "MAIL_HOST"}),
    Page("base-variables-reveal", ("shop",), POST, ADMIN, data={"key": "MAIL_HOST"}),
    Page("base-variables-history", ("shop",)),
    Page("base-variables-restore", ("shop",), POST, ADMIN, data={"change": BASE_CHANGE}),
    Page("environment-windows", ENVIRONMENT),
    Page("windows-set", ENVIRONMENT, POST, ADMIN, data={"windows": "mon-fri 08:00-18:00", "time_zone": "UTC"}),
    Page("freeze-add", ENVIRONMENT, POST, ADMIN, data={"reason": "Fair"}),
    Page("freeze-lift", ENVIRONMENT, POST, ADMIN, data={"number": "1"}),
    Page("environment-hooks", ENVIRONMENT),
    Page("hook-add", ENVIRONMENT, POST, ADMIN, data=HOOK),
    Page("hook-remove", ENVIRONMENT, POST, ADMIN, data={"mark": "1-0"}),
    Page("environment-settings", ENVIRONMENT, FORM, ADMIN),
    Page("environment-remove", ENVIRONMENT, POST, ADMIN),
    Page("environment-deploy", ENVIRONMENT, POST, DEVELOPER),
    Page("environment-rollback", ENVIRONMENT, POST, DEVELOPER),
    Page("deployments", is_of_team=False),
    Page("deployment", (DEPLOYMENT,)),
    Page("deployment-head", (DEPLOYMENT,)),
    Page("deployment-plan", (DEPLOYMENT,)),
    Page("deployment-log", (DEPLOYMENT,)),
    Page("deployment-cancel", (DEPLOYMENT,), POST, DEVELOPER),
    Page("deployment-override", (DEPLOYMENT,), POST, ADMIN, data={"override_reason": "Fixes the checkout"}),
    Page("channels", is_of_team=False),
    Page("channel-add", ("slack",), FORM, ADMIN, is_of_team=False),
    Page("channel", (CHANNEL,)),
    Page("channel-state", (CHANNEL,)),
    Page("channel-edit", (CHANNEL,), FORM, ADMIN),
    Page("channel-test", (CHANNEL,), POST, ADMIN),
    Page("channel-switch", (CHANNEL,), POST, ADMIN, data={"on": "no"}),
    Page("channel-remove", (CHANNEL,), POST, ADMIN),
    Page("delivery-retry", (CHANNEL, NOTIFICATION), POST, ADMIN),
    Page("tokens", methods=FORM, is_of_team=False),
    Page("token-revoke", (TOKEN,), POST, ADMIN),
    Page("team", is_of_team=False),
    Page("team-switch", methods=POST, data={"team": "00000000-0000-0000-0000-000000000000"}),
]
PUBLIC = {"setup", "theme", "devflow-schema"}
WEAKER = {Role.DEVELOPER: Role.VIEWER, Role.ADMIN: Role.DEVELOPER}
OF_TEAM = [page for page in PAGES if page.is_of_team]
GUARDED = [page for page in PAGES if page.least in WEAKER and page.name != "token-revoke"]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def test_every_page_is_in_the_table() -> None:
    assert set(_names(urls.urlpatterns)) == {page.name for page in PAGES} | PUBLIC


@each_page
def test_a_member_with_the_right_is_let_in(page: Page, world: World) -> None:
    allowed = (200, 302, 422) if page.name != "team-switch" else (404,)
    for method in page.methods:
        assert page.open(world.client(page.least), world, method) in allowed, method


@each_page
def test_without_login_one_is_sent_to_log_in(page: Page, world: World) -> None:
    answer = Client().generic(page.methods[-1], page.address(world))
    assert answer.status_code == 302
    assert answer["Location"].startswith("/accounts/login/?next=")


@each_page
def test_a_part_of_a_page_sends_the_whole_page_to_log_in(page: Page, world: World) -> None:
    answer = Client().generic(page.methods[-1], page.address(world), headers={"HX-Request": "true"})
    assert answer.status_code == 401
    assert answer["HX-Redirect"] == "/accounts/login/?next=/"


@pytest.mark.parametrize("page", OF_TEAM, ids=lambda page: page.name)
def test_an_outsider_finds_nothing(page: Page, world: World) -> None:
    assert page.open(world.client("outsider"), world) == 404


@pytest.mark.parametrize("page", GUARDED, ids=lambda page: page.name)
def test_a_weaker_role_is_refused(page: Page, world: World) -> None:
    for method in page.methods:
        assert page.open(world.client(WEAKER[page.least]), world, method) == 403, method


@each_page
def test_another_method_is_refused(page: Page, world: World) -> None:
    wrong = "PUT" if "POST" in page.methods else "POST"
    assert page.open(world.client(Role.OWNER), world, wrong) == 405


@each_page
def test_a_form_without_its_token_is_refused(page: Page, world: World) -> None:
    if "POST" not in page.methods:
        return
    client = Client(enforce_csrf_checks=True)
    client.force_login(world.people[Role.OWNER])
    answer = client.post(page.address(world), page.data)
    assert answer.status_code == 403
    assert "open for too long" in answer.content.decode()


def test_an_outsider_sees_nothing_of_the_team_in_lists(world: World) -> None:
    outsider = world.client("outsider")
    for name in ("dashboard", "dashboard-board", "servers", "projects", "deployments", "channels", "tokens", "team"):
        page = outsider.get(reverse(name)).content.decode()
        for secret in ("web-1", "Shop", "adas-laptop", "203.0.113.7", "owner@example.test"):
            assert secret not in page, (name, secret)


def test_a_head_request_is_answered_like_a_get(owner: Client) -> None:
    assert owner.head("/").status_code == 200


def _names(patterns: Iterable[URLPattern | URLResolver]) -> list[str]:
    found = []
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            found.append(str(pattern.name))
        elif str(pattern.pattern) != "accounts/":
            found += _names(pattern.url_patterns)
    return found


def _ids(world: World) -> dict[str, str]:
    change, base_change = (
        variable_history(actor=world.actor(), **place)[0]
        for place in ({"environment": world.environment}, {"project": world.project})
    )
    return {
        DEPLOYMENT: str(world.deployment.pk),
        TOKEN: str(world.token.pk),
        CHANGE: str(change.pk),
        BASE_CHANGE: str(base_change.pk),
    }


def _form(data: dict[str, str]) -> dict[str, str]:
    return {"data": urlencode(data), "content_type": "application/x-www-form-urlencoded"}
