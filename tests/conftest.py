"""The database of the tests: `DATABASE_URL`, or a PostgreSQL of its own for each test process that needs one."""

import os
from collections.abc import Iterator

import pytest
from django.conf import settings

from devflow.embedded import EmbeddedPostgres
from tests.support.database import use_database

# Nothing here has to outlive the run.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
PLACEHOLDER_PORT = "1"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server for tests. Ours lives in a folder of this run and dies with this process, however it ends."""
    if settings.DATABASES["default"]["PORT"] != PLACEHOLDER_PORT:
        yield os.environ["DATABASE_URL"]
        return
    server = EmbeddedPostgres(tmp_path_factory.mktemp("database"), FAST)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None, postgres: str) -> None:
    """Tells Django where the server is, before pytest-django makes the test database."""
    use_database(postgres)
