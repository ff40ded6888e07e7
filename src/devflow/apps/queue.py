"""How services hand work to the workers: in the same transaction as what they wrote.

Names of tasks are given as text, since the functions are the worker's; `devflow.worker.app` registers them all.
"""

from __future__ import annotations

from procrastinate.contrib.django import app

MANUAL, WEBHOOK = 10, 0
"""Priorities: what a person waits for goes first."""


def enqueue(task: str, *, lock: str | None = None, priority: int = WEBHOOK, **arguments: str) -> None:
    """Queues a task of the queue of its subject (`deployments.advance` goes to `deployments`)."""
    deferrer = app.configure_task(task, queue=task.split(".")[0], lock=lock, priority=priority, allow_unknown=True)
    deferrer.defer(**arguments)
