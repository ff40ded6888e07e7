"""Old deployments go, with their steps and logs: a panel that runs for years must not grow without end.

What is past its retention is found project by project and removed in short transactions, logs a few thousand rows at a
time: whatever else the database is asked meanwhile waits for none of them for long. Each transaction leaves what the
next clean-up goes on with, so one that is broken off has lost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from devflow.apps.deployments.models import ENDED

BATCH: Final = 100
"""Deployments that are removed in one transaction."""
BATCH_EVENTS: Final = 5_000
"""Events that are removed in one: a deployment may have a hundred thousand."""
# Not by the ORM: what hangs on a deployment is removed by the database, without being read first.
_CHILDREN: Final = ("deployments_event", "deployments_step", "deployments_run", "deployments_release")
_OLD: Final = """
SELECT id FROM (
  SELECT id, status, created_at FROM deployments_deployment WHERE project_id = %s ORDER BY created_at DESC OFFSET %s
) AS deployment
WHERE created_at < %s AND status = ANY(%s)
  AND NOT EXISTS (SELECT 1 FROM deployments_release r WHERE r.deployment_id = deployment.id AND r.pruned_at IS NULL)
  AND NOT EXISTS (SELECT 1 FROM deployments_deployment later
                  WHERE later.rollback_to_id = deployment.id AND NOT later.status = ANY(%s))
ORDER BY created_at
"""
_LOCKED: Final = """
SELECT id FROM deployments_deployment old WHERE id = ANY(%s)
  AND NOT EXISTS (SELECT 1 FROM deployments_release r WHERE r.deployment_id = old.id AND r.pruned_at IS NULL)
  AND NOT EXISTS (SELECT 1 FROM deployments_deployment later
                  WHERE later.rollback_to_id = old.id AND NOT later.status = ANY(%s))
FOR UPDATE SKIP LOCKED
"""
_SOME_EVENTS: Final = """
DELETE FROM deployments_event WHERE id IN (SELECT id FROM deployments_event WHERE deployment_id = ANY(%s) LIMIT %s)
"""


def deployments_clean() -> int:
    """Removes deployments of every team that are past their retention; returns how many.

    Kept are the newest of each project (setting DEVFLOW_KEEP_DEPLOYMENTS), all of the last days (DEVFLOW_KEEP_DAYS),
    those that have not ended, and those whose release is still on a server.
    """
    removed = 0
    for project_id in _projects():
        old = _old(project_id)
        for first in range(0, len(old), BATCH):
            removed += _remove(old[first : first + BATCH])
    return removed


def _projects() -> Iterator[UUID]:
    """Those with more deployments than are kept, one look-up in an index for each."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM projects_project p WHERE EXISTS"
            " (SELECT 1 FROM deployments_deployment WHERE project_id = p.id OFFSET %s)",
            [settings.KEEP_DEPLOYMENTS],
        )
        found = cursor.fetchall()
    return (project_id for (project_id,) in found)


def _old(project_id: UUID) -> list[UUID]:
    ended = [str(status) for status in ENDED]
    before = timezone.now() - timedelta(days=settings.KEEP_DAYS)
    with connection.cursor() as cursor:
        cursor.execute(_OLD, [project_id, settings.KEEP_DEPLOYMENTS, before, ended, ended])
        return [row[0] for row in cursor.fetchall()]


def _remove(old: list[UUID]) -> int:
    """Logs first, in transactions of their own; then, with what hangs on them, the deployments that still may go."""
    while _remove_events(old) == BATCH_EVENTS:
        pass
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LOCKED, [old, [str(status) for status in ENDED]])
        gone = [row[0] for row in cursor.fetchall()]
        if not gone:
            return 0
        cursor.execute("UPDATE deployments_deployment SET rollback_to_id = NULL WHERE rollback_to_id = ANY(%s)", [gone])
        for table in _CHILDREN:
            cursor.execute(f"DELETE FROM {table} WHERE deployment_id = ANY(%s)", [gone])  # noqa: S608 - our own names
        cursor.execute("DELETE FROM deployments_deployment WHERE id = ANY(%s)", [gone])
    return len(gone)


def _remove_events(old: list[UUID]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_SOME_EVENTS, [old, BATCH_EVENTS])
        return int(cursor.rowcount)
