"""How services hand work to the workers: in the same transaction as what they wrote.

Names of tasks are given as text, since the functions are the worker's; `devflow.worker.app` registers them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import OperationalError
from procrastinate.contrib.django import app
from procrastinate.exceptions import ConnectorException

from devflow.postgresql.pools import is_away

MANUAL, WEBHOOK, BACKGROUND = 10, 0, -10
"""Priorities: what a person waits for goes first, what nobody waits for last."""


def enqueue(
    task: str,
    *,
    lock: str | None = None,
    priority: int = WEBHOOK,
    schedule_at: datetime | None = None,
    **arguments: str,
) -> None:
    """Queues a task of the queue of its subject (`deployments.advance` goes to `deployments`), for now or for later."""
    deferrer = app.configure_task(
        task,
        queue=task.split(".")[0],
        lock=lock,
        priority=priority,
        schedule_at=schedule_at,
        allow_unknown=True,
    )
    with _as_django_says():
        deferrer.defer(**arguments)


def enqueue_each(task: str, arguments: Iterable[Mapping[str, str]], *, priority: int = WEBHOOK) -> None:
    """Queues a job of the task for each of these arguments, in one statement."""
    found: list[dict[str, Any]] = [dict(each) for each in arguments]
    if found:
        deferrer = app.configure_task(task, queue=task.split(".")[0], priority=priority, allow_unknown=True)
        with _as_django_says():
            deferrer.batch_defer(*found)


@contextmanager
def _as_django_says() -> Iterator[None]:
    """A database that is away while something is queued is no other error than while something else is written."""
    try:
        yield
    except ConnectorException as error:
        if is_away(error.__cause__):
            raise OperationalError(str(error.__cause__)) from error.__cause__
        raise
