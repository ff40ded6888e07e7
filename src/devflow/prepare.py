"""What comes before worker and web can start: master key, database up to date, and the address of the set-up page.

`devflow up` does it by itself, `devflow admin migrate` where web and worker run apart.
"""

import os
import sys
import time
from typing import Any, Final

import django
import psycopg
from django.db import OperationalError

from devflow.core.crypto import make_key_file
from devflow.core.errors import DevflowError
from devflow.embedded import running_url
from devflow.settings.database import connection_settings
from devflow.settings.env import Config, load_config
from devflow.settings.sentry import start_sentry

# Panels that start together on one database migrate it one after the other.
_MIGRATION_LOCK: Final = 0x64657666


def main() -> int:
    """Entry point of the process; returns its exit code."""
    try:
        config = load_config()
        start_sentry(config, "prepare")
        if config.master_key is None and config.key_command is None:
            _refuse_without_key(config)
            make_key_file(config.key_file)
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "devflow.settings.base")
        django.setup()
        told = _migrate(config)
        _check_key()
        _print_setup_address(config)
        if "--tell" in sys.argv:
            sys.stdout.write(f"{told}\n")
    except (DevflowError, psycopg.OperationalError, OperationalError) as error:
        sys.stderr.write(f"devflow: {error}\n")
        return 1
    return 0


def _refuse_without_key(config: Config) -> None:
    """Never makes a second key for a database that has secrets: they could not be read any more."""
    if config.key_file.exists():
        return
    with _connect(config) as connection:
        table = connection.execute("SELECT to_regclass('accounts_panelkey')").fetchone()
        if table and table[0] and connection.execute("SELECT 1 FROM accounts_panelkey").fetchone():
            raise DevflowError(
                f"The master key {config.key_file} is gone, and the database holds secrets that only it opens. "
                "Put the file back from your backup, or set DEVFLOW_KEY_FILE."
            )


def _check_key() -> None:
    from devflow.apps.accounts.keys import master_key_check  # models need Django to be set up

    master_key_check()


def _connect(config: Config) -> psycopg.Connection[tuple[Any, ...]]:
    url = config.database_url or running_url(config.data_dir) or ""
    connection_settings(url)  # says what is wrong with it
    return psycopg.connect(url, autocommit=True, connect_timeout=10)


def _migrate(config: Config) -> str:
    """Returns what was done, in words."""
    from devflow.apps.migrating import database_migrate  # models need Django to be set up

    with _connect(config) as connection:
        # who waits within a statement would hold up the making of an index beside running work
        while connection.execute("SELECT pg_try_advisory_lock(%s)", [_MIGRATION_LOCK]).fetchone() != (True,):
            time.sleep(0.2)
        applied = database_migrate()
    return f"Applied: {', '.join(applied)}." if applied else "The database is up to date."


def _print_setup_address(config: Config) -> None:
    """While there is no user, every start prints a new one-time address."""
    from devflow.apps.accounts.services import setup_token_create  # models need Django to be set up

    token = setup_token_create()
    if token is not None:
        sys.stdout.write(f"Set up: {config.url}/setup?token={token}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
