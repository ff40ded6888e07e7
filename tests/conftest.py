"""The database of the tests: `DATABASE_URL`, or a PostgreSQL of its own for each test process that needs one."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from django.template import Template
from django.test import TransactionTestCase
from django.test.utils import instrumented_test_render
from pytest_django.plugin import DjangoDbBlocker

from devflow.embedded import EmbeddedPostgres
from tests.support.database import use_database
from tests.support.kept import delete_rows, may_still_triggers, tables_with_rows
from tests.support.sessions import sign_cookies_of_test_clients
from tests.support.template import begin_migrated

# Nothing here has to outlive the run.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "lock_timeout": "100s"}
PLACEHOLDER_PORT = "1"
LONGEST = (
    "attack/test_crawl.py",
    "web/test_access.py",
    "api/test_routes.py",
    "apps/test_processes.py",
    "attack/test_api_schema.py",
    "cli/test_deploy.py",
    "cli/test_objects.py",
    "cli/test_variables.py",
    "apps/test_streams.py",
    "cli/test_command.py",
    "browser/test_pages.py",
    "browser/test_policy.py",
)
"""Files that take a minute and more. They begin first, so that none is under way alone when all others are done."""
RENDER = Template._render
"""As for visitors: in tests Django keeps a copy of each context of each template, a third of the time of a page."""

sign_cookies_of_test_clients()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    if time.time() > float(os.environ.get("DEVFLOW_TEST_UNTIL") or "inf"):
        pytest.skip("The time of this run was over before its turn came (DEVFLOW_TEST_UNTIL)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A process takes the next file in the order of `items`; the integration tests have their own."""
    place = {Path(__file__).parent / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server for tests. Ours lives in a folder of this run and dies with this process, however it ends."""
    if settings.DATABASES["default"]["PORT"] != PLACEHOLDER_PORT:
        yield os.environ["DATABASE_URL"]
        return
    folder = tmp_path_factory.mktemp("database")
    begin_migrated(folder)
    settings.DATABASES["default"]["TEST"]["TEMPLATE"] = "devflow"  # its one database
    server = EmbeddedPostgres(folder, FAST)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None, postgres: str) -> None:
    """Tells Django where the server is, before pytest-django makes the test database."""
    use_database(postgres)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """Tests that commit empty all tables afterwards: that of the audit log must let them. (Its own tests do not.)"""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE IF EXISTS audit_event DISABLE TRIGGER audit_event_no_truncate")
        if may_still_triggers():
            filled = tables_with_rows()
            TransactionTestCase._fixture_teardown = lambda case: delete_rows(but=filled)  # type: ignore[method-assign]


@pytest.fixture(scope="session", autouse=True)
def _pages_are_made_as_for_visitors(django_test_environment: None) -> None:
    Template._render = RENDER  # type: ignore[method-assign]


@pytest.fixture
def contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that look at the `context` of an answer."""
    monkeypatch.setattr(Template, "_render", instrumented_test_render)


@pytest.fixture(autouse=True)
def _nothing_is_counted_yet() -> None:
    """How often things were done is counted in the database, which each test begins anew, and in this process."""
    from devflow.apps.accounts import limits

    limits.forget_all()


@pytest.fixture(autouse=True)
def _no_jobs_are_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests that commit leave the queue empty: its tables are not Django's, and are not flushed with the others."""
    marker = request.node.get_closest_marker("django_db")
    commits = "transactional_db" in request.fixturenames or bool(marker and marker.kwargs.get("transaction"))
    blocker: DjangoDbBlocker | None = request.getfixturevalue("django_db_blocker") if commits else None
    yield
    if blocker is not None:
        with blocker.unblock(), connection.cursor() as cursor:
            cursor.execute("TRUNCATE procrastinate_jobs CASCADE")
