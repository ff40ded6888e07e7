"""Old deployments go, with their steps and logs: a panel that runs for years must not grow without end."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from devflow.apps.deployments.models import ENDED

BATCH: Final = 100
"""Deployments that are removed in one transaction: each may have a hundred thousand lines."""
# Not by the ORM: what hangs on a deployment is removed by the database, without being read first.
_CHILDREN: Final = ("deployments_event", "deployments_step", "deployments_run", "deployments_release")
_OLD: Final = """
SELECT id FROM deployments_deployment WHERE id IN (
  SELECT id FROM (
    SELECT id, status, created_at, row_number() OVER (PARTITION BY project_id ORDER BY created_at DESC) AS place
    FROM deployments_deployment
  ) AS deployment
  WHERE place > %s AND created_at < %s AND status = ANY(%s)
    AND NOT EXISTS (SELECT 1 FROM deployments_release r WHERE r.deployment_id = deployment.id AND r.pruned_at IS NULL)
    AND NOT EXISTS (SELECT 1 FROM deployments_deployment later
                    WHERE later.rollback_to_id = deployment.id AND NOT later.status = ANY(%s))
  ORDER BY created_at LIMIT %s
) FOR UPDATE SKIP LOCKED
"""


def deployments_clean() -> int:
    """Removes deployments of every team that are past their retention; returns how many.

    Kept are the newest of each project (setting DEVFLOW_KEEP_DEPLOYMENTS), all of the last days (DEVFLOW_KEEP_DAYS),
    those that have not ended, and those whose release is still on a server.
    """
    removed = 0
    while batch := _remove_batch():
        removed += batch
    return removed


def _remove_batch() -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        before = timezone.now() - timedelta(days=settings.KEEP_DAYS)
        ended = [str(status) for status in ENDED]
        cursor.execute(_OLD, [settings.KEEP_DEPLOYMENTS, before, ended, ended, BATCH])
        old = [row[0] for row in cursor.fetchall()]
        if not old:
            return 0
        cursor.execute("UPDATE deployments_deployment SET rollback_to_id = NULL WHERE rollback_to_id = ANY(%s)", [old])
        for table in _CHILDREN:
            cursor.execute(f"DELETE FROM {table} WHERE deployment_id = ANY(%s)", [old])  # noqa: S608 - our own names
        cursor.execute("DELETE FROM deployments_deployment WHERE id = ANY(%s)", [old])
    return len(old)
