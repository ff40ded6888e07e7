"""How often the API may be asked, and what it says about it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from django.conf import LazySettings
from django.test import Client

from devflow.apps.accounts import limits
from devflow.apps.accounts.selectors import token_list
from tests.api.conftest import Caller, World

LIMIT = 3
ADDRESS = {"REMOTE_ADDR": "203.0.113.9"}


@pytest.fixture(autouse=True)
def _few(settings: LazySettings) -> Iterator[None]:
    settings.API_LIMIT = settings.API_LIMIT_NOBODY = LIMIT
    limits.forget_all()
    yield
    limits.forget_all()


def test_every_answer_says_what_is_left(viewer: Caller) -> None:
    answers = [viewer.get("whoami") for _ in range(LIMIT)]
    assert [answer["X-RateLimit-Limit"] for answer in answers] == [str(LIMIT)] * LIMIT
    assert [answer["X-RateLimit-Remaining"] for answer in answers] == ["2", "1", "0"]
    assert 0 <= int(answers[0]["X-RateLimit-Reset"]) - time.time() <= 61


def test_too_many_are_refused_with_the_time_to_wait(viewer: Caller) -> None:
    for _ in range(LIMIT):
        viewer.get("whoami")
    refused = viewer.get("whoami")
    assert refused.status_code == 429
    assert refused["Content-Type"] == "application/problem+json"
    assert 1 <= int(refused["Retry-After"]) <= 60
    assert refused["X-RateLimit-Remaining"] == "0"


def test_a_refused_request_has_no_effect(admin: Caller, world: World) -> None:
    for _ in range(LIMIT):
        admin.get("whoami")
    assert admin.post("tokens", {"name": "x", "scopes": ["read"]}).status_code == 429
    assert [token.name for token in token_list(actor=world.owner)] == ["admin"]


def test_each_token_has_its_own_count(viewer: Caller, admin: Caller) -> None:
    for _ in range(LIMIT + 1):
        viewer.get("whoami")
    assert viewer.get("whoami").status_code == 429
    assert admin.get("whoami").status_code == 200


def test_refusals_of_other_kinds_count_too(viewer: Caller) -> None:
    for _ in range(LIMIT):
        assert viewer.post("projects", {}).status_code in (403, 422)
    assert viewer.get("whoami").status_code == 429


def test_who_sends_no_token_is_counted_by_address(world: World) -> None:
    nobody = Client(raise_request_exception=False)
    answers = [nobody.get("/api/v1/whoami", **ADDRESS) for _ in range(LIMIT + 1)]  # type: ignore[arg-type]
    assert [answer.status_code for answer in answers] == [401] * LIMIT + [429]
    assert "Retry-After" in answers[-1]
    assert nobody.get("/api/v1/whoami", REMOTE_ADDR="203.0.113.10").status_code == 401


def test_who_tries_tokens_is_counted_by_address_and_valid_ones_go_on_to_work(viewer: Caller) -> None:
    guesser = Client(raise_request_exception=False)
    guesses = [
        guesser.get("/api/v1/whoami", headers={"Authorization": f"Bearer dfp_{'x' * 43}"}, **ADDRESS)  # type: ignore[arg-type]
        for _ in range(LIMIT + 1)
    ]
    assert [answer.status_code for answer in guesses] == [401] * LIMIT + [429]
    valid = {"Authorization": f"Bearer {viewer.token}"}
    assert guesser.get("/api/v1/whoami", headers=valid, **ADDRESS).status_code == 200  # type: ignore[arg-type]


def test_pages_are_not_counted_here(world: World) -> None:
    browser = Client()
    for _ in range(LIMIT + 2):
        assert browser.get("/accounts/login/", **ADDRESS).status_code == 200  # type: ignore[arg-type]
    assert "X-RateLimit-Limit" not in browser.get("/accounts/login/", **ADDRESS)  # type: ignore[arg-type]


def test_a_limit_of_0_is_none(settings: LazySettings, viewer: Caller) -> None:
    settings.API_LIMIT = settings.API_LIMIT_NOBODY = 0
    answers = [viewer.get("whoami") for _ in range(LIMIT + 3)]
    assert {answer.status_code for answer in answers} == {200}
    assert "X-RateLimit-Limit" not in answers[0]
