"""The audit log's pages: what is recorded by using the panel, found by filters, exported; and the API's requests."""

from __future__ import annotations

import csv
import io
import json

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django_scopes import scopes_disabled

from devflow.apps.accounts.models import Role
from devflow.apps.audit import access_log, chain
from devflow.apps.audit.models import ApiRequest, Event
from devflow.apps.audit.services import audit_record
from devflow.apps.projects.variables import variables_export
from tests.web.world import PASSWORD, World

LOGIN = "/accounts/login/"


def text(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, answer.status_code
    return answer.content.decode()


def last(world: World, action: str) -> Event:
    with scopes_disabled():
        found = Event.objects.filter(team=world.team, action=action).order_by("-id").first()
    assert found is not None, action
    return found


def test_what_is_done_on_pages_is_found(world: World, owner: Client) -> None:
    headers = {"User-Agent": "Firefox/130 <script>alert(1)</script>"}
    owner.post("/servers/web-1/maintenance/", {"on": "yes"}, REMOTE_ADDR="192.0.2.44", headers=headers)
    event = last(world, "server.maintenance_set")
    assert (event.who, event.address, event.target) == ("owner@example.test", "192.0.2.44", "web-1")
    page = text(owner, "/audit/")
    assert "server.maintenance_set" in page
    detail = text(owner, reverse("audit-event", args=[event.pk]))
    assert "192.0.2.44" in detail
    assert "<script>alert" not in detail


@pytest.mark.parametrize(
    ("query", "finds"),
    [
        ("who=owner", True),
        ("who=nobody", False),
        ("action=variable", True),
        ("action=variable.set", True),
        ("action=variabl", False),
        ("project=shop&action=variable", True),
        ("since=2020-01-01&action=variable", True),
        ("since=2099-01-01", False),
        ("until=2020-01-01", False),
        ("address=203.", False),
        ("text=APP_KEY", True),
        ("text=%25", False),
    ],
)
def test_filters_stand_in_the_address(world: World, owner: Client, query: str, finds: bool) -> None:
    assert ("variable.set</a>" in text(owner, f"/audit/?{query}")) is finds


def test_bad_filters_are_said_and_kept(world: World, owner: Client) -> None:
    answer = owner.get("/audit/?since=yesterday&who=owner")
    assert answer.status_code == 422
    assert 'value="owner"' in answer.content.decode()
    for query in ("before=x", "before=' OR 1", "who=%00", "project=nowhere", "until=9999-12-31", "panel=on"):
        assert owner.get(f"/audit/?{query}").status_code in (200, 404, 422), query


def test_older_ones_follow_without_gap(world: World, owner: Client) -> None:
    for number in range(60):
        audit_record(team=world.team, who="x", action="thing.done", target=f"number-{number:03}")
    first = text(owner, "/audit/?action=thing")
    assert "number-059" in first
    assert "number-009" not in first
    older = first.partition("before=")[2].partition('"')[0]
    assert "number-009" in text(owner, f"/audit/?action=thing&before={older}")


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.VIEWER])
def test_others_are_refused_and_that_is_recorded_once(world: World, role: str) -> None:
    client = world.client(role)
    for _ in range(3):
        assert client.get("/audit/").status_code == 403
    with scopes_disabled():
        refused = Event.objects.filter(team=world.team, action="right.refused", user_id=world.people[role].pk)
        assert [(event.target, event.outcome) for event in refused] == [("GET /audit/", "refused")]


def test_the_export_is_the_chain(world: World, owner: Client) -> None:
    answer = owner.get("/audit/export/?format=jsonl")
    lines = b"".join(answer.streaming_content).decode().splitlines()  # type: ignore[attr-defined]
    verdict = chain.verify(json.loads(line) for line in lines)
    assert verdict.problems == []
    assert verdict.events == len(lines)
    assert json.loads(lines[-1])["action"] == "audit.exported"


@pytest.mark.parametrize("name", ["=1+1", "+cmd", "-2", "@SUM(A1)", "\tx", "|x", 'a"b,c\nd'])
def test_no_cell_of_a_csv_is_a_formula(world: World, owner: Client, name: str) -> None:
    audit_record(team=world.team, who="x", action="thing.done", target=name)
    answer = owner.get("/audit/export/?format=csv&action=thing")
    body = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
    (row,) = list(csv.DictReader(io.StringIO(body, newline="")))
    assert row["target"].lstrip("'") == name
    assert row["target"][0] not in "=+-@\t|"


def test_the_chain_is_verified_on_the_page(world: World, owner: Client) -> None:
    assert "The chain is whole" in owner.post("/audit/verify/", follow=True).content.decode()
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE audit_event DISABLE TRIGGER USER; UPDATE audit_event SET action = 'x' WHERE seq = 2"
        )
    assert "The chain is not whole" in owner.post("/audit/verify/", follow=True).content.decode()


def test_reading_a_secret_is_recorded_without_it(world: World) -> None:
    assert "s3cret-value" in variables_export(actor=world.actor(), environment=world.environment)
    event = last(world, "secret.read")
    assert "APP_KEY (secret)" in event.after["variables"]
    assert "s3cret-value" not in json.dumps([event.target, event.before, event.after])


def test_logging_in_and_out_and_failing_are_recorded(world: World) -> None:
    client = Client()
    client.post(LOGIN, {"login": "owner@example.test", "password": "wrong wrong wrong"})
    client.post(LOGIN, {"login": "owner@example.test", "password": PASSWORD})
    assert last(world, "login.succeeded").who == "owner@example.test"
    client.post("/accounts/logout/")
    assert last(world, "logout").who == "owner@example.test"
    with scopes_disabled():
        (failed,) = Event.objects.filter(team=None, action="login.failed")
    assert (failed.target, failed.outcome) == ("owner@example.test", "failed")


def test_a_password_that_was_typed_as_an_address_is_not_kept(world: World) -> None:
    Client().post(LOGIN, {"login": "my secret phrase", "password": "x"})
    Client().post(LOGIN, {"login": "nobody@example.test", "password": "my secret phrase"})
    with scopes_disabled():
        kept = [(event.target, event.after) for event in Event.objects.filter(action="login.failed")]
    assert "my secret phrase" not in str(kept)


def test_the_panels_log_is_for_its_administrators(world: World) -> None:
    audit_record(team=None, who="somebody", action="login.failed", target="eve@example.test")
    assert "eve@example.test" not in text(world.client(Role.OWNER), "/audit/?panel=on")
    owner = world.people[Role.OWNER]
    owner.is_superuser = True
    owner.save()
    assert "eve@example.test" in text(world.client(Role.OWNER), "/audit/?panel=on")


class TestRequests:
    def test_the_apis_requests_are_listed_as_templates(self, world: World, owner: Client) -> None:
        access_log.flush()
        owner.get("/api/v1/projects/shop", REMOTE_ADDR="192.0.2.45")
        owner.get("/api/v1/projects/nowhere")
        Client().get("/api/v1/projects")
        assert access_log.flush() == 3
        page = text(owner, "/audit/requests/")
        assert "/api/v1/projects/&lt;slug&gt;" in page
        assert "192.0.2.45" in page
        assert "nowhere" not in page
        assert ">404<" in page
        assert ">401<" not in page, "that was nobody of the team"
        assert ">404<" not in text(owner, "/audit/requests/?status=2xx")

    @pytest.mark.parametrize(
        "query", ["status=999", "status=%C2%B2%C2%B2%C2%B2", "before=x", "before=" + "9" * 40, "route=%00"]
    )
    def test_bad_filters_find_nothing_and_break_nothing(self, world: World, owner: Client, query: str) -> None:
        text(owner, f"/audit/requests/?{query}")

    def test_old_ones_are_forgotten(self, world: World, owner: Client) -> None:
        access_log.flush()
        owner.get("/api/v1/projects")
        access_log.flush()
        with scopes_disabled():
            ApiRequest.objects.update(at="2020-01-01T00:00:00Z")
            access_log.clean()
            assert not ApiRequest.objects.exists()
