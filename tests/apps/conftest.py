"""A shop on the database."""

from __future__ import annotations

import pytest

from tests.support.kept import kept
from tests.support.shop import Shop, open_shop

kept_shop = kept(open_shop)


@pytest.fixture
def shop(db: None) -> Shop:
    return kept_shop()


@pytest.fixture
def open_for_many(transactional_db: None) -> Shop:
    """The same, committed, for tests with several connections."""
    return kept_shop()
