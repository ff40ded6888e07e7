"""The API's access log costs a request next to nothing."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import RequestFactory

from devflow.apps.audit import access_log
from tests.api.conftest import Caller
from tests.support.shop import Shop


def noted(shop: Shop) -> Any:
    request = RequestFactory().get("/api/v1/projects/shop")
    request.resolver_match = SimpleNamespace(route="api/v1/projects/<slug>")  # type: ignore[assignment]
    request.auth = shop.actor()  # type: ignore[attr-defined]
    return request


def test_what_waits_is_bounded_and_written_at_once(shop: Shop, django_assert_num_queries: Any) -> None:
    access_log.flush()
    request = noted(shop)
    for _ in range(500):
        access_log.note(request, status=200, duration_ms=1.0, address="192.0.2.1")
    with django_assert_num_queries(1):
        assert access_log.flush() == 500
    assert access_log.flush() == 0


def test_nothing_is_noted_where_nothing_is_kept(shop: Shop, settings: Any) -> None:
    access_log.flush()
    settings.API_LOG_DAYS = 0
    access_log.note(noted(shop), status=200, duration_ms=1.0, address="")
    assert access_log.flush() == 0


@pytest.mark.alone
def test_noting_costs_less_than_a_hundredth_of_a_request(shop: Shop) -> None:
    """And so does its share of the writing, of which there is one statement for a thousand."""
    from devflow.apps.accounts.services import token_create

    _, raw = token_create(actor=shop.actor(), name="ci", scopes=["read"])
    caller, request = Caller(raw), noted(shop)
    caller.get("projects")
    access_log.flush()
    asked = min(_took(lambda: caller.get("projects"), 20) for _ in range(5))
    access_log.flush()
    noting = min(
        _took(lambda: access_log.note(request, status=200, duration_ms=1.0, address=""), 1000) for _ in range(5)
    )
    begun = time.perf_counter()
    written = access_log.flush()
    writing = (time.perf_counter() - begun) / written
    print(f"a request {asked * 1e6:.0f} µs, noting it {noting * 1e6:.1f} µs, writing it {writing * 1e6:.1f} µs")
    assert noting < asked / 100


def _took(work: Any, times: int) -> float:
    begun = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - begun) / times
