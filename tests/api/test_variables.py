"""Variables over the API: set, listed with where they are from, exported, compared, restored."""

from __future__ import annotations

import pytest
from django_scopes import scope

from devflow.apps.projects.models import Environment
from tests.api.conftest import Caller, World
from tests.api.test_routes import assert_problem

PROJECT, PRODUCTION = "projects/shop", "projects/shop/environments/production"


def test_they_are_masked_until_they_are_exported(admin: Caller, developer: Caller) -> None:
    listed = developer.get(f"{PRODUCTION}/variables").json()["items"]
    assert [(variable["key"], variable["value"]) for variable in listed] == [("APP_KEY", "***")]
    exported = admin.get(f"{PRODUCTION}/dotenv")
    assert exported.content == b"APP_KEY=hunter2-hunter2\n"
    assert exported["Content-Type"].startswith("text/plain")
    assert exported["Cache-Control"] == "no-store"


def test_they_are_set_all_or_none(admin: Caller) -> None:
    assert_problem(admin.post(f"{PRODUCTION}/variables", {"values": {"GOOD": "1", "not good": "2"}}), 422)
    assert_problem(admin.post(f"{PRODUCTION}/variables", {"values": {"GOOD": "1", "PATH": "/bin"}}), 422)
    assert_problem(admin.post(f"{PRODUCTION}/dotenv", {"text": "GOOD=1\nnonsense\n"}), 422)
    assert [variable["key"] for variable in admin.get(f"{PRODUCTION}/variables").json()["items"]] == ["APP_KEY"]


def test_the_environments_own_is_before_the_projects(admin: Caller) -> None:
    admin.post(
        f"{PROJECT}/variables", {"values": {"APP_KEY": "base", "MAIL_HOST": "mail.example.test"}, "kind": "text"}
    )
    listed = admin.get(f"{PRODUCTION}/variables").json()["items"]
    assert [(row["key"], row["kind"], row["origin"]) for row in listed] == [
        ("APP_KEY", "secret", "overrides"),
        ("MAIL_HOST", "text", "base"),
    ]
    assert [(row["key"], row["overridden_in"]) for row in admin.get(f"{PROJECT}/variables").json()["items"]] == [
        ("APP_KEY", ["production"]),
        ("MAIL_HOST", []),
    ]
    both = b"APP_KEY=hunter2-hunter2\nMAIL_HOST=mail.example.test # devflow: text\n"
    assert admin.get(f"{PRODUCTION}/dotenv").content == both
    assert admin.get(f"{PRODUCTION}/dotenv?own=true").content == b"APP_KEY=hunter2-hunter2\n"
    assert admin.get(f"{PROJECT}/dotenv").content.startswith(b"APP_KEY=base # devflow: text\n")
    assert admin.get(f"{PRODUCTION}/plan").json()["variables"] == ["APP_KEY", "MAIL_HOST"]
    admin.delete(f"{PRODUCTION}/variables/APP_KEY")
    assert admin.get(f"{PRODUCTION}/variables").json()["items"][0]["origin"] == "base"
    assert_problem(admin.delete(f"{PRODUCTION}/variables/APP_KEY"), 404)


def test_an_export_brings_the_kinds_along(admin: Caller) -> None:
    for key, kind, value in (
        ("A", "text", "1"),
        ("B", "file", "one line"),
        ("C", "multiline", "x"),
        ("D", None, "x\ny"),
    ):
        admin.post(f"{PRODUCTION}/variables", {"values": {key: value}, "kind": kind})
    admin.post(
        "projects/shop/environments/staging/dotenv", {"text": admin.get(f"{PRODUCTION}/dotenv").content.decode()}
    )
    here, there = (
        [(row["key"], row["kind"]) for row in admin.get(f"projects/shop/environments/{name}/variables").json()["items"]]
        for name in ("production", "staging")
    )
    assert (
        here == there == [("A", "text"), ("APP_KEY", "secret"), ("B", "file"), ("C", "multiline"), ("D", "multiline")]
    )
    assert admin.get(f"{PRODUCTION}/differences?other=staging").json()["items"] == []


@pytest.mark.parametrize(
    "body",
    [{"values": {"A": "1"}, "kind": "nonsense"}, {"values": {"A": "1\n2"}, "kind": "text"}, {"values": {"A": 1}}],
)
def test_kinds_and_values_are_checked(admin: Caller, body: dict[str, object]) -> None:
    assert_problem(admin.post(f"{PRODUCTION}/variables", body), 422)


def test_differences_name_keys_and_no_values(admin: Caller) -> None:
    admin.post("projects/shop/environments/staging/variables", {"values": {"APP_KEY": "other-value", "DEBUG": "1"}})
    admin.post(f"{PROJECT}/variables", {"values": {"MAIL_HOST": "mail.example.test"}})
    answer = admin.get(f"{PRODUCTION}/differences?other=staging")
    assert answer.json()["items"] == [{"key": "APP_KEY", "state": "changed"}, {"key": "DEBUG", "state": "only there"}]
    assert "other-value" not in answer.content.decode()


@pytest.mark.parametrize("key", ["export", "diff", "dotenv"])
def test_a_variable_may_be_named_like_a_word_of_the_api(admin: Caller, key: str) -> None:
    admin.post(f"{PRODUCTION}/variables", {"values": {key: "1"}})
    assert admin.delete(f"{PRODUCTION}/variables/{key}").status_code == 204
    assert_problem(admin.delete(f"{PRODUCTION}/variables/{key}"), 404)


def test_changes_are_listed_and_taken_back(admin: Caller) -> None:
    admin.post(f"{PRODUCTION}/variables", {"values": {"APP_KEY": "wrong-wrong"}})
    admin.post(f"{PRODUCTION}/variables", {"values": {"APP_KEY": "wrong-wrong"}})  # changes nothing
    admin.delete(f"{PRODUCTION}/variables/APP_KEY")
    answer = admin.get(f"{PRODUCTION}/variable-changes")
    changes = answer.json()["items"]
    assert [change["action"] for change in changes] == ["removed", "set", "set"]
    assert {change["by"] for change in changes} == {"ada@example.test"}
    assert "hunter2" not in answer.content.decode()
    assert admin.post(f"{PRODUCTION}/variable-changes/{changes[-1]['id']}/restore").json() == {"keys": ["APP_KEY"]}
    assert admin.get(f"{PRODUCTION}/dotenv").content == b"APP_KEY=hunter2-hunter2\n"
    first = admin.get(f"{PRODUCTION}/variable-changes?limit=3").json()
    second = admin.get(f"{PRODUCTION}/variable-changes?limit=3&cursor={first['next']}").json()
    assert [change["id"] for change in first["items"] + second["items"]][1:] == [change["id"] for change in changes]
    assert second["next"] is None
    assert admin.get(f"{PRODUCTION}/variable-changes?key=OTHER").json()["items"] == []
    for change in ("nonsense", "00000000-0000-7000-8000-000000000000"):
        assert_problem(admin.post(f"{PRODUCTION}/variable-changes/{change}/restore"), 404)


def test_a_comparison_tells_names(admin: Caller, world: World) -> None:
    assert admin.get(f"{PRODUCTION}/comparison").json() == {"at": None, "servers": [], "missing": []}
    found = {"changed": ["APP_KEY"], "only here": [], "only there": ["OLD"], "by_hand": False}
    with scope(team=world.owner.team):
        Environment.objects.filter(pk=world.environment.pk).update(
            compared={"at": "2026-11-21T10:00:00+00:00", "servers": {"web1": found, "web2": {"error": "away"}}},
            detected={"required": ["APP_KEY", "DB_PASSWORD"]},
        )
    compared = admin.get(f"{PRODUCTION}/comparison").json()
    assert compared["missing"] == ["DB_PASSWORD"]
    assert [
        (server["name"], server["changed"], server["only_there"], server["error"]) for server in compared["servers"]
    ] == [
        ("web1", ["APP_KEY"], ["OLD"], None),
        ("web2", [], [], "away"),
    ]


def test_that_required_ones_must_be_set_is_a_setting(admin: Caller) -> None:
    assert admin.get(PRODUCTION).json()["requires_variables"] is False
    assert admin.patch(PRODUCTION, {"requires_variables": True}).json()["requires_variables"] is True
