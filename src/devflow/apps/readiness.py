"""Whether this installation can do its work, for `/readyz` and `devflow doctor`."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, DataError, InterfaceError, OperationalError, ProgrammingError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob, ProcrastinateWorker

from devflow.apps import replica

# Beginnings of SQLSTATE: connection lost, out of resources, shutting down or starting.
_AWAY = ("08", "53", "57P")
_UNKNOWN_NAMES = ("42P01", "42703")  # a table, a column

WORKER_SECONDS = 30
"""A worker that was not seen for so long counts as gone."""


def readiness() -> dict[str, str]:
    """`database`, `queue`, `worker`: each "ok", or what is wrong."""
    try:
        pending = migrations_pending()
    except DatabaseError as error:
        return unanswered(str(error).strip())
    if pending:
        return {
            "database": f"{len(pending)} migrations pending: start `devflow up`",
            "queue": "unknown",
            "worker": "unknown",
        }
    ProcrastinateJob.objects.filter(pk=0).exists()
    return {"database": "ok", "queue": "ok", "worker": "ok" if worker_count() else f"none seen for {WORKER_SECONDS} s"}


def unanswered(reason: str) -> dict[str, str]:
    """The same, where the database does not answer."""
    return {"database": reason, "queue": "not reachable", "worker": "not reachable"}


def aids(*, wait: bool = False) -> dict[str, str]:
    """`redis`, `replica`, where they are configured: each "ok", or what is wrong. Without them the panel works too.

    With `wait` the replica is looked at now, else what is known of it is told.
    """
    found: dict[str, str | None] = {}
    if settings.HAS_REDIS:
        from devflow.apps.redis_cache import redis_problem  # most panels have none

        found["redis"] = redis_problem()
    if replica.is_configured():
        found["replica"] = replica.watcher.look_twice() if wait else replica.watcher.problem()
    return {name: problem or "ok" for name, problem in found.items()}


def why_unavailable(error: Exception) -> str | None:
    """What to tell people where an error means that the database is away or is being changed; else None."""
    state = getattr(error.__cause__, "sqlstate", None) or ""
    if isinstance(error, OperationalError | InterfaceError) and _is_away(state):
        return "The database cannot be reached. Try again soon."
    if isinstance(error, ProgrammingError) and state in _UNKNOWN_NAMES and _is_behind():
        return "The panel is being upgraded. Try again soon."
    return None


def is_unstorable(error: Exception) -> bool:
    """Whether the database refused a text with a NUL: what was asked for cannot be there, nor be written."""
    return isinstance(error, DataError) and "NUL (0x00)" in str(error)


def _is_away(sqlstate: str) -> bool:
    return not sqlstate or sqlstate.startswith(_AWAY)


def _is_behind() -> bool:
    try:
        return bool(migrations_pending())
    except DatabaseError:  # also within a transaction that has failed: then it is a fault like any other
        return False


def migrations_pending() -> list[str]:
    """Migrations of this version that the database does not have. Raises DatabaseError when it cannot be reached."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def worker_count() -> int:
    """How many workers have shown a sign of life lately."""
    since = timezone.now() - timedelta(seconds=WORKER_SECONDS)
    return ProcrastinateWorker.objects.filter(last_heartbeat__gte=since).count()
