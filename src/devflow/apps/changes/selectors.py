"""Reads of what changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone
from django_scopes import scopes_disabled

from devflow.apps import replica
from devflow.apps.changes.models import Change

CHANGES_CHANNEL: Final = "devflow_changes"
KEPT: Final = timedelta(hours=6)
_MARGIN: Final = timedelta(minutes=30)
_REPLICA_BEHIND: Final = 10
"""Seconds, more than a replica in use is behind: a page may show what was before its mark."""
_NOW: Final = "SELECT pg_snapshot_xmin(now.it)::text::bigint, pg_snapshot_xmax(now.it)::text::bigint FROM (SELECT pg_current_snapshot() AS it) AS now"  # noqa: E501


@dataclass(frozen=True, slots=True)
class Mark:
    """How far somebody has been told: all that transactions before number `transaction` changed.

    `seconds` is when that was, since 1970. Its text goes to the browser and comes back from there.
    """

    transaction: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.transaction}.{self.seconds}"


def mark_now() -> Mark:
    """Who reads a page's rows after this, and is told of changes from here on, misses none."""
    return _marks()[0]


def mark_read(text: str) -> Mark | None:
    """The mark of that text; None for what is none."""
    parts = text.split(".")
    if len(parts) != 2 or not all(part.isascii() and part.isdecimal() and len(part) <= 18 for part in parts):
        return None
    return Mark(int(parts[0]), int(parts[1]))


def changes_since(*, team_id: UUID, mark: Mark) -> tuple[list[str] | None, Mark]:
    """The topics of what changed since, and the mark of now. None in their place where it is not known any more: the
    mark is too old, or of another database.

    What was told already may be among them; nothing is left out.
    """
    with transaction.atomic(), scopes_disabled():
        now, next_number = _marks()
        oldest = (timezone.now() - KEPT + _MARGIN).timestamp()
        if mark.seconds < oldest or mark.transaction > next_number:
            return None, now
        told = Q(transaction__gte=mark.transaction)
        if replica.is_configured():
            told |= Q(at__gt=datetime.fromtimestamp(mark.seconds - _REPLICA_BEHIND, UTC))
        found = Change.objects.filter(told, team_id=team_id)
        return sorted({topic for topics in found.values_list("topics", flat=True) for topic in topics}), now


def _marks() -> tuple[Mark, int]:
    """The mark of now, and the number of the next transaction."""
    with connection.cursor() as cursor:
        cursor.execute(_NOW)
        oldest_open, next_number = cursor.fetchone()
    return Mark(oldest_open, int(timezone.now().timestamp())), next_number
