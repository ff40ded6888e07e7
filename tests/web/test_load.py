"""How many queries a page takes does not depend on how much it shows. The pages are taken from the addresses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import transaction
from pytest_django.plugin import DjangoDbBlocker

from devflow.apps.accounts.models import Role
from tests.support.crowd import counted, forget_looks, grow, missing
from tests.support.undone import undone
from tests.web.walk import Page, ask, filling, pages
from tests.web.world import World, make_world

pytestmark = pytest.mark.django_db  # so that there is a database

FEW, MANY = 2, 10
FOR_EACH = {
    "account": (4, "whether each of one's own sessions still holds is asked by allauth"),
    "account-archive": (1, "an entry in the audit log of each of one's teams"),
    "environment-containers": (6, "a look at each machine is asked for"),
    "environment-containers-state": (6, "a look at each machine is asked for"),
}
"""Pages that write something for each thing: so many statements at most, and what for."""
READERS = (Role.OWNER, Role.DEVELOPER)
PAGES = [page for page in pages() if page.is_ours and "GET" in (page.methods or ())]
Found = dict[tuple[str, str], list[str]]


@pytest.fixture(scope="module")
def statements(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[tuple[Found, Found]]:
    """What each page sent to the database with few and with many of everything, by page and role."""
    with django_db_blocker.unblock(), transaction.atomic():
        world = make_world()
        assert filling(world)
        grow(world, range(1, FEW))
        few = look(world)
        grow(world, range(FEW, MANY + 1))
        assert missing(world, MANY) == set(), "tests/support/crowd.py makes too few of them"
        yield few, look(world)
        transaction.set_rollback(True)


def look(world: World) -> Found:
    """One page is opened before: that somebody was here is noted then."""
    forget_looks()
    found: Found = {}
    there = filling(world)
    clients = {role: world.client(role) for role in READERS}
    for role, client in clients.items():
        ask(client, "GET", "/")
        for page in PAGES:
            with undone(), counted() as queries:
                ask(client, "GET", page.address(there))
            found[page.name, role] = queries
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_as_many_queries_for_many_as_for_few(page: Page, statements: tuple[Found, Found]) -> None:
    few, many = statements
    for role in READERS:
        before, after = few[page.name, role], many[page.name, role]
        more = [query for query in after if after.count(query) > 1 or query not in before]
        allowed, _why = FOR_EACH.get(page.name, (0, ""))
        assert len(after) - len(before) <= allowed * (MANY + 1 - FEW), "\n".join(
            [f"{role}: {len(before)} queries became {len(after)}", *more]
        )
