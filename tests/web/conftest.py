"""The world of the tests of the pages, and browsers of its people."""

from __future__ import annotations

import pytest
from django.test import Client

from devflow.apps.accounts.models import Role
from tests.support.kept import kept
from tests.web.world import World, make_world

kept_world = kept(make_world)


@pytest.fixture
def world(db: None) -> World:
    return kept_world()


@pytest.fixture
def owner(world: World) -> Client:
    return world.client(Role.OWNER)


@pytest.fixture
def viewer(world: World) -> Client:
    return world.client(Role.VIEWER)
