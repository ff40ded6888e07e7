"""Lists: pages by cursor, and the number of queries."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devflow.apps.projects import services as projects
from devflow.apps.servers import services as servers
from tests.api.conftest import Caller, World

PRODUCTION = "projects/shop/environments/production"


def walk(caller: Caller, path: str, limit: int) -> list[dict[str, Any]]:
    """All items of a list, read page by page."""
    found, cursor = [], ""
    while cursor is not None:
        page = caller.get(f"{path}?limit={limit}&cursor={cursor}").json()
        assert len(page["items"]) <= limit
        found += page["items"]
        cursor = page["next"]
    return found


@pytest.mark.parametrize(
    "path", ["servers", "projects", "deployments", f"{PRODUCTION}/variables", f"{PRODUCTION}/deployments", "tokens"]
)
def test_pages_hold_every_item_once(admin: Caller, world: World, path: str) -> None:
    for number in range(6):
        servers.server_add(actor=world.owner, name=f"more{number}", is_local=True)
        projects.project_add(actor=world.owner, slug=f"more-{number}", repository="/srv/git/x.git")
        projects.variables_set(actor=world.owner, environment=world.environment, values={f"MORE_{number}": "1"})
        admin.post("tokens", {"name": f"more {number}", "scopes": ["read"]})
        admin.post(f"{PRODUCTION}/deployments", {})
    whole = admin.get(f"{path}?limit=200").json()
    assert (len(whole["items"]), whole["next"]) == (7, None)
    for limit in (1, 2, 3, 7, 50):
        assert walk(admin, path, limit) == whole["items"]


def test_lists_take_as_many_queries_for_many_as_for_one(admin: Caller, world: World, settings: LazySettings) -> None:
    settings.API_LIMIT = 0  # counting asks the database now and then
    lists = (
        "servers",
        "projects",
        "deployments",
        "tokens",
        "members",
        f"{PRODUCTION}/variables",
        "projects/shop/environments",
    )
    admin.get("whoami")  # notes when the token was used, once a minute
    before = [queries(admin, path) for path in lists]
    for number in range(5):
        server = servers.server_add(actor=world.owner, name=f"more{number}", is_local=True)
        project = projects.project_add(actor=world.owner, slug=f"more-{number}", repository="/srv/git/x.git")
        for one in (project, world.environment.project):
            projects.environment_add(
                actor=world.owner, project=one, name=f"more{number}", branch="main", servers=[server.name, "web1"]
            )
        projects.variables_set(actor=world.owner, environment=world.environment, values={f"MORE_{number}": "1"})
        admin.post("tokens", {"name": f"more {number}", "scopes": ["read"]})
        admin.post(f"{PRODUCTION}/deployments", {})
    assert [queries(admin, path) for path in lists] == before


def queries(caller: Caller, path: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert caller.get(path).status_code == 200
    return len(captured)
