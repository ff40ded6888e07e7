"""How many queries an operation takes does not depend on how much it answers. Operations are taken from the API's
description."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import transaction
from django.test import Client, override_settings
from pytest_django.plugin import DjangoDbBlocker

from devflow.apps.accounts.models import Role
from devflow.apps.accounts.services import token_create
from tests.api.conftest import Caller
from tests.api.routes import Route, filling, routes
from tests.support.crowd import counted, forget_looks, grow, missing
from tests.support.undone import undone
from tests.web.world import World, make_world

pytestmark = pytest.mark.django_db  # so that there is a database

FEW, MANY = 2, 10
ROUTES = [route for route in routes() if not route.is_write]
Found = dict[tuple[str, str], list[str]]


@pytest.fixture(scope="module")
def statements(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[tuple[Found, Found]]:
    """What each operation sent to the database with few and with many of everything, by its name and who asked."""
    with django_db_blocker.unblock(), override_settings(API_LIMIT=0), transaction.atomic():
        world = make_world()
        assert filling(world)
        grow(world, range(1, FEW))
        _, token = token_create(actor=world.actor(), name="reader", scopes=["read"])
        few = look(world, token)
        grow(world, range(FEW, MANY + 1))
        assert missing(world, MANY) == set(), "tests/support/crowd.py makes too few of them"
        yield few, look(world, token)
        transaction.set_rollback(True)


def look(world: World, token: str) -> Found:
    """One is asked before: that somebody was here is noted then."""
    forget_looks()
    found: Found = {}
    there = filling(world)
    callers = {
        "developer": Caller("", world.client(Role.DEVELOPER)),
        "token": Caller(token, Client()),
    }
    for name, caller in callers.items():
        caller.get("whoami")
        for route in ROUTES:
            with undone(), counted() as queries:
                caller.get(route.asked(there)).getvalue()
            found[route.name, name] = queries
    return found


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_as_many_queries_for_many_as_for_few(route: Route, statements: tuple[Found, Found]) -> None:
    few, many = statements
    for who in ("developer", "token"):
        before, after = few[route.name, who], many[route.name, who]
        more = [query for query in after if after.count(query) > 1 or query not in before]
        assert len(after) == len(before), "\n".join([f"{who}: {len(before)} queries became {len(after)}", *more])
