"""`Idempotency-Key`: a request that is sent twice."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from django_scopes import scope

from devflow.apps.accounts.models import IdempotencyKey, Team
from tests.api.conftest import Caller, World
from tests.api.test_routes import assert_problem

PRODUCTION = "projects/shop/environments/production"


def test_a_key_makes_a_request_take_effect_once(admin: Caller) -> None:
    first, second = (admin.post(f"{PRODUCTION}/deployments", {}, **{"Idempotency-Key": "k-1"}) for _ in range(2))
    assert first.status_code == second.status_code == 202
    assert first.content == second.content
    assert admin.post(f"{PRODUCTION}/deployments", {}, **{"Idempotency-Key": "k-2"}).json()["id"] != first.json()["id"]


def test_a_token_is_answered_again_and_not_kept_in_clear(admin: Caller) -> None:
    body = {"name": "ci", "scopes": ["read"]}
    first, second = (admin.post("tokens", body, **{"Idempotency-Key": "k"}).json() for _ in range(2))
    assert first == second
    with scope(team=actor_team()):
        [kept] = IdempotencyKey.objects.all()
    assert first["token"].encode() not in bytes(kept.answer_sealed)
    assert first["token"] in kept.answer


def actor_team() -> Any:
    return Team.objects.get(name="Shopkeepers")


@pytest.mark.parametrize("path", [f"{PRODUCTION}/deployments", "projects/shop/environments/staging/deployments"])
def test_a_key_is_for_one_request_only(admin: Caller, path: str) -> None:
    admin.post(f"{PRODUCTION}/deployments", {}, **{"Idempotency-Key": "k"})
    document = assert_problem(admin.post(path, {"commit": "a" * 40}, **{"Idempotency-Key": "k"}), 422)
    assert document["errors"][0]["field"] == "Idempotency-Key"


@pytest.mark.parametrize("key", ["", " ", "ü", "x" * 201])
def test_a_key_is_checked(admin: Caller, key: str) -> None:
    assert_problem(admin.post(f"{PRODUCTION}/deployments", {}, **{"Idempotency-Key": key}), 422)


def test_another_token_has_keys_of_its_own(admin: Caller, reader: Caller) -> None:
    admin.post("tokens", {"name": "ci", "scopes": ["read"]}, **{"Idempotency-Key": "k"})
    assert_problem(reader.post("tokens", {"name": "ci", "scopes": ["read"]}, **{"Idempotency-Key": "k"}), 403)


def test_a_refused_request_may_be_sent_again_with_its_key(admin: Caller) -> None:
    admin.post("servers/web1/maintenance", {"on": True})
    assert_problem(admin.post(f"{PRODUCTION}/deployments", {}, **{"Idempotency-Key": "k"}), 409)
    admin.post("servers/web1/maintenance", {"on": False})
    assert admin.post(f"{PRODUCTION}/deployments", {}, **{"Idempotency-Key": "k"}).status_code == 202


def test_a_key_is_forgotten_after_a_day(admin: Caller) -> None:
    first = admin.post(f"{PRODUCTION}/deployments", {}, **{"Idempotency-Key": "k"}).json()
    with scope(team=actor_team()):
        IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=25))
    assert admin.post(f"{PRODUCTION}/deployments", {}, **{"Idempotency-Key": "k"}).json()["id"] != first["id"]


@pytest.mark.django_db(transaction=True)
def test_two_at_once_take_effect_once(world: World, admin: Caller) -> None:
    answers: list[Any] = []
    start = threading.Barrier(4)

    def deploy() -> None:
        try:
            start.wait(10)
            answers.append(Caller(admin.token).post(f"{PRODUCTION}/deployments", {}, **{"Idempotency-Key": "k"}).json())
        finally:
            connection.close()

    threads = [threading.Thread(target=deploy) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len({answer["id"] for answer in answers}) == 1
    assert len(answers) == 4
    assert len(admin.get(f"{PRODUCTION}/deployments").json()["items"]) == 2  # with the world's own
