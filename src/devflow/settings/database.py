"""`DATABASE_URL`, or the embedded PostgreSQL, and `DATABASE_REPLICA_URL` as Django's settings."""

import atexit
import sys
from typing import Any, Final

import psycopg
import psycopg.conninfo

from devflow.embedded import running_url
from devflow.settings.env import Config, ConfigError

_DJANGO_NAMES: Final = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}

# A machine that has gone sends no word: the kernel alone would wait a quarter of an hour for one. (Libpq takes these
# for connections over TCP only.)
_SEE_DEATH: Final = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}


def database_settings(config: Config, *, connections: int) -> dict[str, Any]:
    """One database, whose idle connections are given back: each costs megabytes in PostgreSQL. Raises `ConfigError`."""
    url = config.database_url or running_url(config.data_dir)
    if url is None:
        raise ConfigError(f"The database of {config.data_dir} is not running: start `devflow up`, or set DATABASE_URL.")
    atexit.register(_close_pool)
    named, options = connection_settings(url)
    pool = {"min_size": 0, "max_size": connections, "max_idle": 60, "timeout": 5, "num_workers": 1}
    return {
        "ENGINE": "devflow.postgresql",
        **named,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {**options, "pool": pool, "application_name": "devflow"},
    }


def replica_settings(url: str, *, connections: int) -> dict[str, Any]:
    """The streaming replica, which nobody waits for long: the primary can be asked instead."""
    named, options = connection_settings(url)
    pool = {"min_size": 0, "max_size": connections, "max_idle": 60, "timeout": 2, "num_workers": 1}
    return {
        "ENGINE": "django.db.backends.postgresql",
        **named,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {**options, "connect_timeout": "2", "pool": pool, "application_name": "devflow"},
    }


def connection_settings(url: str) -> tuple[dict[str, str], dict[str, Any]]:
    """An address as Django's settings of a database, and what there is no such setting for. Raises `ConfigError`."""
    try:
        options: dict[str, Any] = _SEE_DEATH | dict(psycopg.conninfo.conninfo_to_dict(url))
    except psycopg.ProgrammingError:  # its message may quote a password
        raise ConfigError(
            "DATABASE_URL or DATABASE_REPLICA_URL is no address like postgresql://user:password@host:5432/name. Write "
            "characters of the password that are neither letters nor digits as %XX."
        ) from None
    return {name: str(options.pop(key, "")) for name, key in _DJANGO_NAMES.items()}, options


def _close_pool() -> None:
    """From Python 3.13 on, the end of a process waits 5 s for each thread of a pool that is still open."""
    database, conf = sys.modules.get("django.db"), sys.modules.get("django.conf")
    if database and conf and conf.settings.configured:  # else the settings were wrong, and would be read once more
        for connection in database.connections.all(initialized_only=True):
            connection.close_pool()
