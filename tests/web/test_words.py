"""Pages in another language: all of a page is translatable, and the choice is kept."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import LazySettings
from django.db import transaction
from pytest_django.plugin import DjangoDbBlocker

from devflow.apps.accounts.models import Role
from tests.support.pseudo import marked, unmarked, words_of_data
from tests.support.undone import undone
from tests.web.walk import Page, ask, filling, pages
from tests.web.world import World, make_world

NOT_YET = {}
"""Pages with texts that are not translatable yet: none may join them."""
NOT_OURS = {
    "devflow",
    "pro",
    "utc",
    "api",
    "git",
    "url",
    "ssh",
    "english",
    "deutsch",
    "ms",
    "min",
    "mb",
    "gb",
    "kb",
    "id",
}
"""Words that are the same in every language."""

PAGES = [page for page in pages() if page.methods is None or "GET" in page.methods]


@pytest.fixture(scope="module")
def walked(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[World]:
    """One world for all pages."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield make_world()
        transaction.set_rollback(True)


@pytest.fixture(scope="module")
def words(walked: World) -> set[str]:
    filling(walked)  # makes what is only made when it is asked for
    return words_of_data() | NOT_OURS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_all_of_a_page_is_translatable(page: Page, walked: World, words: set[str], settings: LazySettings) -> None:
    settings.STYLEGUIDE = True
    client = walked.client(Role.OWNER)
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "de"
    with marked(), undone():
        answer = ask(client, "GET", page.address(filling(walked)))
    if not answer.get("Content-Type", "").startswith("text/html"):
        return
    left = unmarked(answer.content.decode(), words)
    assert bool(left) == (page.name in NOT_YET), left
