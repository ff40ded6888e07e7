"""Whether this installation can do its work, for `/readyz` and `devflow doctor`."""

from __future__ import annotations

from datetime import timedelta

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob, ProcrastinateWorker

WORKER_SECONDS = 30
"""A worker that was not seen for so long counts as gone."""


def readiness() -> dict[str, str]:
    """`database`, `queue`, `worker`: each "ok", or what is wrong."""
    try:
        pending = migrations_pending()
    except DatabaseError as error:
        return dict.fromkeys(("database", "queue", "worker"), "not reachable") | {"database": str(error).strip()}
    if pending:
        return {
            "database": f"{len(pending)} migrations pending: start `devflow up`",
            "queue": "unknown",
            "worker": "unknown",
        }
    ProcrastinateJob.objects.filter(pk=0).exists()
    return {"database": "ok", "queue": "ok", "worker": "ok" if worker_count() else f"none seen for {WORKER_SECONDS} s"}


def migrations_pending() -> list[str]:
    """Migrations of this version that the database does not have. Raises DatabaseError when it cannot be reached."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def worker_count() -> int:
    """How many workers have shown a sign of life lately."""
    since = timezone.now() - timedelta(seconds=WORKER_SECONDS)
    return ProcrastinateWorker.objects.filter(last_heartbeat__gte=since).count()
