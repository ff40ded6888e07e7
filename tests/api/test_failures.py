"""What the API says when something in the panel breaks; and its own description."""

from __future__ import annotations

import contextlib
from html.parser import HTMLParser
from typing import Any

import pytest
from django.db import OperationalError
from ninja.errors import Throttled

from tests.api.conftest import Caller
from tests.api.test_routes import assert_problem


def test_a_failure_of_the_panel_is_a_problem_whose_id_is_in_the_log(
    admin: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("devflow.apps.servers.selectors.server_list", lambda **_: 1 / 0)
    document = assert_problem(admin.get("servers"), 500)
    assert "division" not in document["detail"]
    assert document["id"] in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_database_that_is_away_is_told(admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(**_: Any) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr("devflow.apps.servers.selectors.server_list", away)
    response = admin.get("servers")
    assert_problem(response, 503)
    assert int(response["Retry-After"]) > 0


def test_too_many_requests_are_told_when_to_come_again(admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def throttled(**_: Any) -> None:
        raise Throttled(wait=3)

    monkeypatch.setattr("devflow.apps.servers.selectors.server_list", throttled)
    response = admin.get("servers")
    assert_problem(response, 429)
    assert response["Retry-After"] == "3"


def test_the_description_is_served_without_login(nobody: Caller, db: None) -> None:
    document = nobody.get("openapi.json").json()
    assert document["openapi"].startswith("3.")
    described = [operation for methods in document["paths"].values() for operation in methods.values()]
    assert all("application/problem+json" in operation["responses"]["default"]["content"] for operation in described)
    assert len({operation["operationId"] for operation in described}) == len(described)
    assert all(reference in document["components"]["schemas"] for reference in references(document))


def references(document: Any) -> set[str]:
    """The names of all schemas that are referred to."""
    if isinstance(document, dict):
        own = {document["$ref"].rpartition("/")[2]} if "$ref" in document else set()
        return own.union(*map(references, document.values()))
    return set().union(*map(references, document)) if isinstance(document, list) else set()


def test_the_documentation_page_loads_from_the_panel_only(nobody: Caller, db: None) -> None:
    page = nobody.get("docs")
    loaded: list[str] = []

    class Sources(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            loaded.extend(value or "" for name, value in attributes if name in ("src", "href"))

    Sources().feed(page.content.decode())
    assert any(source.endswith(".js") for source in loaded)
    assert all(source.startswith("/static/ninja/") for source in loaded)
    for source in loaded:
        with contextlib.closing(nobody.get(source)) as response:
            assert response.status_code == 200
