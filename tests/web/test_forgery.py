"""Requests that another site makes a browser send: no view takes one, whichever it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from devflow.apps.accounts.models import Role
from tests.web.test_every_answer import addresses
from tests.web.world import World

API = "/api/v1/"
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")


def views(patterns: Iterable[URLPattern | URLResolver], before: str = "/") -> Iterator[tuple[str, object]]:
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from views(pattern.url_patterns, route)
        else:
            yield route, pattern.callback


def test_only_the_api_checks_by_itself() -> None:
    """All other views are checked by Django's middleware. (Webhooks are not Django's: their signature is checked.)"""
    exempt = [route for route, view in views(get_resolver().url_patterns) if getattr(view, "csrf_exempt", False)]
    assert exempt
    assert [route for route in exempt if not route.startswith(API)] == []


@pytest.mark.parametrize("address", sorted({each for each in addresses(get_resolver().url_patterns) if API in each}))
def test_the_api_takes_no_session_without_its_token(address: str, world: World) -> None:
    browser = Client(enforce_csrf_checks=True, raise_request_exception=False)
    browser.cookies = world.client(Role.OWNER).cookies
    for method in UNSAFE:
        status = browser.generic(method, address, "{}", content_type="application/json").status_code
        assert status in (403, 404, 405), (method, status)
    assert browser.post(f"{API}tokens", "{}", content_type="application/json").status_code == 403
