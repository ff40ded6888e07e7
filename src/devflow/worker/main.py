"""One worker process: the queue's worker, and beside it what keeps every deployment moving."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import psycopg
from asgiref.sync import sync_to_async
from django.db import close_old_connections
from procrastinate import App, JobContext
from procrastinate.contrib.django import app
from procrastinate.contrib.django.utils import connector_params

from devflow.apps.audit import jobs as audit
from devflow.apps.audit import sealing
from devflow.apps.changes.services import changes_clean
from devflow.apps.deployments import selectors, services
from devflow.apps.deployments.events import CONTROL_CHANNEL
from devflow.apps.deployments.retention import deployments_clean
from devflow.apps.notifications.push import push_clean
from devflow.apps.notifications.services import notifications_adopt
from devflow.apps.privacy.services import archives_clean
from devflow.apps.servers import cluster_jobs
from devflow.apps.sources.reports import reports_adopt
from devflow.apps.sources.services import deliveries_clean
from devflow.core.error_id import about, begin
from devflow.worker.app import state
from devflow.worker.beats import Beats
from devflow.worker.queue import PatientWorker, with_patience

log = logging.getLogger(__name__)

CONCURRENCY = 50
HEARTBEAT_SECONDS = 2.0
DEAD_AFTER_SECONDS = 10.0
SWEEP_SECONDS = 3.0
DRAIN_SECONDS = 2.0
FETCH_SECONDS = 2.0
"""How often it is looked for jobs that nobody was told of: PostgreSQL was away."""
CLEAN_SECONDS = 3600.0
CLUSTERS_SECONDS = 10.0


def run() -> None:
    """Works until SIGTERM or SIGINT; what is being carried then is left where it is, for the next worker to go on."""
    try:
        import uvloop

        uvloop.run(_main())
    except KeyboardInterrupt:
        return


async def _main() -> None:
    queue = with_patience(app)
    queue.perform_import_paths()  # type: ignore[no-untyped-call]
    async with queue.open_async():
        side = [
            asyncio.create_task(
                _always("sweep", SWEEP_SECONDS, partial(_sweep, queue, Beats(DEAD_AFTER_SECONDS, time.monotonic())))
            ),
            asyncio.create_task(_always("adopting", SWEEP_SECONDS, _adopt)),
            asyncio.create_task(_always("listen", 1.0, _listen)),
            asyncio.create_task(_always("cleaning up", CLEAN_SECONDS, _clean)),
            asyncio.create_task(_always("looking at clusters", CLUSTERS_SECONDS, _look_at_clusters)),
        ]
        try:
            worker = PatientWorker(
                queue,
                name=f"{socket.gethostname()}-{os.getpid()}",
                queues=sorted({task.queue for task in app.tasks.values()}),  # others are for a newer version's workers
                concurrency=CONCURRENCY,
                update_heartbeat_interval=HEARTBEAT_SECONDS,
                # at its start; who was only cut off must find its row again, which its jobs refer to
                stalled_worker_timeout=CLEAN_SECONDS,
                shutdown_graceful_timeout=DRAIN_SECONDS,
                fetch_job_polling_interval=FETCH_SECONDS,
                abort_job_polling_interval=60.0,
                delete_jobs="successful",
                worker_middleware=[_with_id],
            )
            await worker.run()  # type: ignore[no-untyped-call]
        finally:
            for task in side:
                task.cancel()
            await asyncio.gather(*side, return_exceptions=True)
            state.pool.close()


async def _with_id(work: Callable[[], Awaitable[Any]], context: JobContext, *_: object) -> Any:
    """Each job has an id in the log (`core.error_id`), and what it is about: the first id among its arguments; also
    what the queue logs of it afterwards, in the same task."""
    begin()
    name, value = next(
        ((name, value) for name, value in context.job.task_kwargs.items() if name.endswith("_id")), ("", "")
    )
    about(name.removesuffix("_id"), str(value))
    return await work()


async def _always(name: str, pause: float, work: Callable[[], Awaitable[None]]) -> None:
    """Does `work` again and again; an error (the database is restarting) is told and survived."""
    while True:
        begin()
        try:
            await work()
        except Exception:
            log.exception("%s failed; trying again", name)
        await asyncio.sleep(pause)


async def _sweep(queue: App, beats: Beats) -> None:
    """Puts back what dead workers left."""
    stalled = await queue.job_manager.get_stalled_jobs(seconds_since_heartbeat=DEAD_AFTER_SECONDS)
    for job in stalled if beats.are_believed(time.monotonic()) else ():
        log.warning("job %s of a dead worker is taken up again", job.id)
        await queue.job_manager.retry_job(job)


async def _adopt() -> None:
    """Takes up what no job carries; finds cancels that `_listen` missed."""
    for deployment_id in await sync_to_async(_adopt_and_cancels)(state.carried):
        state.cancel(deployment_id)


def _adopt_and_cancels(carried: list[str]) -> list[str]:
    close_old_connections()
    services.deployments_adopt()
    notifications_adopt()
    reports_adopt()
    sealing.seal_all()
    return selectors.cancels_among(deployment_ids=carried)


async def _clean() -> None:
    """Removes what is past its retention. Not a periodic task of the queue: its scheduler ends the worker when the
    database is restarted."""
    await sync_to_async(_clean_up)()


async def _look_at_clusters() -> None:
    await cluster_jobs.observe_all(reach=state.reach)


def _clean_up() -> None:
    close_old_connections()
    audit.clean()
    archives_clean()
    deployments_clean()
    changes_clean()
    push_clean()
    deliveries_clean()


async def _listen() -> None:
    """Hears of cancels at once; the sweep finds those that were missed."""
    listener = await psycopg.AsyncConnection.connect(**connector_params(), autocommit=True)
    async with listener:
        await listener.execute(f"LISTEN {CONTROL_CHANNEL}")
        async for notice in listener.notifies():
            message = json.loads(notice.payload)
            state.cancel(message.get("cancel", ""))
