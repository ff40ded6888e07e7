"""Writes the ordered record of a deployment, and announces it. Nothing else inserts events."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import connection
from django.utils import timezone

from devflow.apps.bulk import records

EVENTS_CHANNEL, CONTROL_CHANNEL = "devflow_events", "devflow_control"
_COLUMNS = ("seq", "kind", "data", "text", "log_offset", "line")


@dataclass(slots=True)
class NewEvent:
    """An event before it has its number. `lines` counts the lines of `text`, which ends with a newline."""

    kind: str
    data: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    lines: int = 0


def append(*, team_id: UUID, deployment_id: UUID, events: list[NewEvent], claim: UUID | None = None) -> bool:
    """Numbers and stores the events and has them announced on commit; False when `claim` is not held any more.

    Must be called in a transaction. The row of the deployment is locked from here to its end, so that numbers are
    given in the order of commits and without gaps.
    """
    size = sum(len(event.text.encode()) for event in events)
    lines = sum(event.lines for event in events)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE deployments_deployment"
            " SET last_seq = last_seq + %s, log_lines = log_lines + %s, log_bytes = log_bytes + %s"
            " WHERE id = %s AND claim IS NOT DISTINCT FROM %s RETURNING last_seq, log_lines, log_bytes",
            [len(events), lines, size, deployment_id, claim],
        )
        row = cursor.fetchone()
        if row is None:
            return False
        if events:
            rows = _rows(events, seq=row[0] - len(events), line=row[1] - lines, offset=row[2] - size)
            payload = json.dumps({"d": str(deployment_id), "s": row[0]})
            cursor.execute(
                "WITH added AS (INSERT INTO deployments_event"
                " (team_id, deployment_id, created_at, seq, kind, data, text, log_offset, line)"
                " SELECT %s, %s, %s, new.* FROM json_to_recordset(%s)"
                " AS new(seq bigint, kind text, data jsonb, text text, log_offset bigint, line bigint))"
                " SELECT pg_notify(%s, %s)",
                [team_id, deployment_id, timezone.now(), records(_COLUMNS, rows), EVENTS_CHANNEL, payload],
            )
    return True


def announce_cancel(deployment_id: UUID) -> None:
    """Tells the worker that carries the deployment that it was cancelled."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CONTROL_CHANNEL, json.dumps({"cancel": str(deployment_id)})])


def _rows(events: list[NewEvent], *, seq: int, line: int, offset: int) -> list[tuple[Any, ...]]:
    """The columns of each event; the arguments are what came before."""
    rows: list[tuple[Any, ...]] = []
    for event in events:
        seq += 1
        data = event.data | {"line": line + 1} if event.lines else event.data
        rows.append((seq, event.kind, data, event.text, offset, line + 1))
        line += event.lines
        offset += len(event.text.encode())
    return rows
