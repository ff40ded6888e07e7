"""`REDIS_URL`: sessions and cache in a real Redis, and what is left of them when it is away."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.test import Client
from pytest_django import DjangoAssertNumQueries
from pytest_django.fixtures import Settings as DjangoSettings

from devflow.apps.accounts.session_store import CACHED_SECONDS, SessionStore
from devflow.apps.readiness import aids
from devflow.apps.redis_cache import PatientRedisCache, redis_problem
from devflow.settings.cache import ANSWER_SECONDS, cache_settings
from tests.support.redis import RedisServer
from tests.web.world import World


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def redis(server: RedisServer, settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch) -> RedisServer:
    server.client.flushall()
    settings.CACHES, settings.HAS_REDIS = cache_settings(server.url), True
    monkeypatch.setattr(PatientRedisCache, "_again_at", 0.0)
    return server


def test_a_session_is_read_from_redis(
    redis: RedisServer, world: World, owner: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    assert owner.get("/projects/").status_code == 200
    key = Session.objects.get().session_key
    with django_assert_num_queries(0):
        assert SessionStore(key).load()["_auth_user_id"]
    assert aids() == {"redis": "ok"}


def test_what_lies_in_redis_is_sealed_and_soon_gone(redis: RedisServer, world: World, owner: Client) -> None:
    owner.get("/projects/")
    (name,) = redis.client.keys("devflow:sessions:*")
    assert 0 < redis.client.ttl(name) <= CACHED_SECONDS
    user = str(SessionStore(Session.objects.get().session_key).load()["_auth_user_id"])
    held = b"".join(redis.client.get(each) for each in redis.client.keys("*"))
    assert held
    assert user.encode() not in held
    assert b"_auth_user" not in held


def test_a_session_that_is_ended_or_changed_is_not_read_from_redis(
    redis: RedisServer, world: World, owner: Client
) -> None:
    owner.get("/projects/")
    session = SessionStore(Session.objects.get().session_key)
    session["colour"] = "red"
    session.save()
    assert SessionStore(session.session_key).load()["colour"] == "red"
    session.delete()
    assert SessionStore(session.session_key).load() == {}
    assert owner.get("/projects/").status_code == 302


def test_what_somebody_put_into_redis_opens_nothing(redis: RedisServer, world: World, owner: Client) -> None:
    owner.get("/projects/")
    (name,) = redis.client.keys("devflow:sessions:*")
    for forged in (b'{"_auth_user_id": "1"}', b"cos\nsystem\n(S'true'\ntR.", b'"AAAA"', b"7"):
        redis.client.set(name, forged)
        assert owner.get("/projects/").status_code == 200  # read from the database, where it is as it was
    of_another = name.replace(Session.objects.get().session_key.encode(), b"0" * 32)
    owner.get("/projects/")
    redis.client.copy(name, of_another)
    assert SessionStore("0" * 32).load() == {}


def test_nobody_is_logged_out_while_redis_is_away(redis: RedisServer, world: World, owner: Client) -> None:
    owner.get("/projects/")
    redis.stop()
    try:
        assert owner.get("/projects/").status_code == 200
        assert (cache.get("x", "nothing"), cache.add("x", 1), cache.delete("x")) == ("nothing", True, False)
        assert "not reachable" in aids()["redis"]
        assert "/" not in aids()["redis"]  # no address, and no password of it
    finally:
        redis.start()
    assert redis_problem() is None


def test_a_redis_that_hangs_is_waited_for_once(redis: RedisServer, world: World, owner: Client) -> None:
    owner.get("/projects/")
    redis.freeze()
    try:
        begun = time.monotonic()
        assert cache.get("x") is None
        first = time.monotonic() - begun
        assert all(cache.get("x") is None for _ in range(100))
        assert first >= ANSWER_SECONDS
        assert time.monotonic() - begun - first < ANSWER_SECONDS
        assert owner.get("/projects/").status_code == 200
    finally:
        redis.thaw()


def test_the_cache_holds_json_only(redis: RedisServer) -> None:
    cache.set("x", {"a": [1, "b", None]})
    assert cache.get("x") == {"a": [1, "b", None]}
    redis.client.set("devflow:default:1:y", b"\x80\x05]\x94.")
    assert cache.get("y") is None


def test_without_redis_sessions_are_in_the_database_alone(world: World, owner: Client) -> None:
    owner.get("/projects/")
    assert SessionStore(Session.objects.get().session_key).load()
    assert aids() == {}
