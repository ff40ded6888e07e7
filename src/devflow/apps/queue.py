"""How services hand work to the workers: in the same transaction as what they wrote.

Names of tasks are given as text, since the functions are the worker's; `devflow.worker.app` registers them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from procrastinate.contrib.django import app

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
    deferrer.defer(**arguments)


def enqueue_each(task: str, arguments: Iterable[Mapping[str, str]], *, priority: int = WEBHOOK) -> None:
    """Queues a job of the task for each of these arguments, in one statement."""
    found: list[dict[str, Any]] = [dict(each) for each in arguments]
    if found:
        deferrer = app.configure_task(task, queue=task.split(".")[0], priority=priority, allow_unknown=True)
        deferrer.batch_defer(*found)
