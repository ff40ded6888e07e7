"""Bad input: refused with the field and a message, or carried through literally; never a failure of the panel."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.api.conftest import Caller
from tests.api.test_routes import assert_problem

NASTY = {
    "a command": "; rm -rf ~",
    "a substitution": "$(id)",
    "backquotes": "`id`",
    "quotes": 'it\'s "quoted"',
    "newlines": "two\nlines",
    "unicode": "ünïcode ☃ \u202e",
    "long": "x" * 300,
    "an option": "--upload-pack=id",
    "a way up": "../../etc/passwd",
    "nothing": "",
    "NUL": "a\x00b",
}
nasty = pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
PRODUCTION = "projects/shop/environments/production"


@nasty
@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("servers", {"name": ..., "host": "web9.example.test"}, "name"),
        ("servers", {"name": "web9", "host": ...}, "host"),
        ("servers", {"name": "web9", "host": "web9.example.test", "user": ...}, "user"),
        ("projects", {"slug": ..., "repository": "/srv/git/blog.git"}, "slug"),
        ("projects", {"slug": "blog", "repository": ...}, "repository"),
        ("projects/shop/environments", {"name": ..., "branch": "main", "servers": ["web1"]}, "name"),
        ("projects/shop/environments", {"name": "next", "branch": "main", "servers": [...]}, "servers"),
        (f"{PRODUCTION}/deployments", {"commit": ...}, "commit"),
    ],
)
def test_nasty_names_are_refused(admin: Caller, path: str, body: dict[str, Any], field: str, text: str) -> None:
    response = admin.post(path, put(body, text))
    if field == "commit" and not text:
        assert response.status_code == 202  # the branch's newest
        return
    document = assert_problem(response, 422)
    assert [error["field"] for error in document["errors"]] == [field]


def put(body: Any, text: str) -> Any:
    """The body with `text` in place of the dots."""
    if body is ...:
        return text
    if isinstance(body, dict):
        return {key: put(value, text) for key, value in body.items()}
    return [put(value, text) for value in body] if isinstance(body, list) else body


@nasty
def test_nasty_values_of_variables_come_back_as_they_were(admin: Caller, text: str) -> None:
    response = admin.post(f"{PRODUCTION}/variables", {"values": {"NASTY": text}})
    if "\x00" in text:
        assert assert_problem(response, 422)["errors"][0]["field"] == "NASTY"
        return
    assert response.status_code == 201
    exported = admin.get(f"{PRODUCTION}/dotenv").content.decode()
    again = admin.post("projects/shop/environments/staging/dotenv", {"text": exported})
    assert "NASTY" in again.json()["keys"]
    assert admin.get(f"{PRODUCTION}/differences?other=staging").json()["items"] == []


@nasty
def test_nasty_addresses_lead_nowhere(admin: Caller, text: str) -> None:
    name = quote(text, safe="")
    for path in (
        f"servers/{name}",
        f"projects/{name}",
        f"projects/shop/environments/{name}",
        f"deployments/{name}/log",
    ):
        assert_problem(admin.get(path), 404)
    for path in (f"{PRODUCTION}/differences?other={name}", f"deployments?project={name or 'none'}"):
        assert admin.get(path).status_code in (404, 422)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("branch", "--force"),
        ("branch", None),
        ("root", "/"),
        ("root", "/srv/../etc"),
        ("strategy", "hope"),
        ("keep", 1),
        ("keep", 10**30),
        ("keep", "many"),
        ("health_url", "javascript:alert(1)"),
        ("health_status", 1000),
        ("health_retries", -1),
        ("shared_files", ["/etc/passwd"]),
        ("shared_folders", ["../other"]),
        ("shared_folders", "storage"),
        ("task_commands", {"composer install": 1}),
        ("phase_commands", {"undo": ["id"]}),
        ("phase_commands", {"prepare": "id"}),
        ("servers", []),
        ("unknown", 1),
        ("name", "renamed"),
    ],
)
def test_settings_are_checked_one_by_one(admin: Caller, field: str, value: Any) -> None:
    before = admin.get(PRODUCTION).json()
    document = assert_problem(admin.patch(PRODUCTION, {field: value}), 422)
    assert document["errors"][0]["field"].split(".")[0] == field
    assert admin.get(PRODUCTION).json() == before


@pytest.mark.parametrize("text", ["", "{", "[]", '"text"', "null"])
def test_a_body_that_is_no_object_is_refused(admin: Caller, text: str) -> None:
    assert_problem(admin.ask("POST", "servers", text), 400 if text == "{" else 422)


def test_half_a_character_is_refused(admin: Caller) -> None:
    assert_problem(admin.ask("POST", f"{PRODUCTION}/variables", '{"values": {"A": "\\ud800"}}'), 422)


def test_a_body_that_is_too_large_is_refused_unread(admin: Caller) -> None:
    assert_problem(admin.post(f"{PRODUCTION}/dotenv", {"text": "x" * 3_000_000}), 413)


def test_a_name_that_is_taken_is_a_conflict(admin: Caller) -> None:
    assert_problem(admin.post("servers", {"name": "web1", "host": "other.example.test"}), 409)
    assert_problem(admin.post("projects", {"slug": "shop", "repository": "/srv/git/x.git"}), 409)
    body = {"name": "production", "branch": "main", "servers": ["web1"]}
    assert_problem(admin.post("projects/shop/environments", body), 409)


def test_what_is_in_use_is_not_removed(admin: Caller) -> None:
    assert "shop production" in assert_problem(admin.delete("servers/web1"), 409)["detail"]
    assert_problem(admin.delete(PRODUCTION), 409)
    assert_problem(admin.delete("projects/shop"), 409)


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "cursor=%F0", "cursor=a", "cursor=ünknown"])
def test_paging_is_checked(admin: Caller, query: str) -> None:
    assert_problem(admin.get(f"servers?{query}"), 422)


@pytest.mark.parametrize("offset", ["-1", "x", str(10**30)])
def test_the_offset_of_a_log_is_checked(admin: Caller, offset: str, world: Any) -> None:
    assert_problem(admin.get(f"deployments/{world.deployment.pk}/log?offset={offset}"), 422)


def test_a_key_with_a_passphrase_is_refused_by_its_field(admin: Caller) -> None:
    body = {"name": "web9", "host": "web9.example.test", "private_key": "not a key"}
    document = assert_problem(admin.post("servers", body), 422)
    assert document["errors"][0]["field"] == "private_key"
    assert "not a key" not in str(document)
