"""Connections to a PostgreSQL that may be away: told apart from other errors, and tried again soon."""

from __future__ import annotations

from typing import Any

from psycopg import InterfaceError, OperationalError, errors
from psycopg_pool import AsyncConnectionPool, ConnectionPool, pool, pool_async

AGAIN_SECONDS = 1.0
"""How often a pool tries to connect while PostgreSQL does not answer. Of their own accord pools wait twice as long each
time, which after a minute's absence is one more minute."""
SESSION_ENDED = (errors.IdleInTransactionSessionTimeout, errors.TransactionTimeout)
"""What PostgreSQL calls internal errors: it has ended the session, as after a worker that was frozen."""


def is_away(error: BaseException | None) -> bool:
    """Whether this error of psycopg says that the connection is gone, and no more: a new one may do."""
    return isinstance(error, (OperationalError, InterfaceError, *SESSION_ENDED))


class SoonPool(ConnectionPool[Any]):
    """Tries to connect again every second."""

    def schedule_task(self, task: Any, delay: float) -> None:
        super().schedule_task(task, min(delay, AGAIN_SECONDS) if isinstance(task, pool.AddConnection) else delay)


class AsyncSoonPool(AsyncConnectionPool[Any]):
    """The same, for the queue."""

    async def schedule_task(self, task: Any, delay: float) -> None:
        is_soon = isinstance(task, pool_async.AddConnection)
        await super().schedule_task(task, min(delay, AGAIN_SECONDS) if is_soon else delay)
