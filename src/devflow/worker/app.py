"""The worker's tasks. Each is a thin shell around a job of an app; names are those that services queue by."""

from __future__ import annotations

import asyncio
import logging

from django.db import InterfaceError, OperationalError
from procrastinate.contrib.django import app

from devflow.apps.deployments import jobs as deployments
from devflow.apps.deployments import variables
from devflow.apps.notifications import jobs as notifications
from devflow.apps.servers import jobs as servers
from devflow.apps.servers.reach import ServerReach
from devflow.apps.sources import jobs as sources
from devflow.remote.pool import Pool

log = logging.getLogger(__name__)

NOTIFY_PAUSE_SECONDS = 0.5
"""Telling of a deployment waits a moment, so that it does not compete with the deployment's first steps."""


class WorkerState:
    """What the tasks of one worker process share: its connections, and who was told to stop."""

    def __init__(self) -> None:
        self.pool = Pool()
        self.reach = ServerReach(self.pool)
        self._cancelled: dict[str, asyncio.Event] = {}

    def cancelled(self, deployment_id: str) -> asyncio.Event:
        """The event that is set when this deployment is cancelled."""
        return self._cancelled.setdefault(deployment_id, asyncio.Event())

    def cancel(self, deployment_id: str) -> None:
        if deployment_id in self._cancelled:
            self._cancelled[deployment_id].set()

    def forget(self, deployment_id: str) -> None:
        self._cancelled.pop(deployment_id, None)

    @property
    def carried(self) -> list[str]:
        """The ids of the deployments that are being carried."""
        return list(self._cancelled)


state = WorkerState()


@app.task(name="deployments.advance", queue="deployments")
async def deployment_advance(deployment_id: str) -> None:
    try:
        while True:
            try:
                await deployments.advance(deployment_id=deployment_id, reach=state.reach, cancelled=state.cancelled)
                return
            except (OperationalError, InterfaceError):
                log.warning("the database is away; deployment %s goes on where it was when it is back", deployment_id)
                await asyncio.sleep(1)
    finally:
        state.forget(deployment_id)


@app.task(name="deployments.inspect", queue="deployments")
async def deployment_inspect(environment_id: str) -> None:
    await deployments.inspect_environment(environment_id=environment_id, reach=state.reach)


@app.task(name="deployments.compare_variables", queue="deployments")
async def variables_compare(environment_id: str) -> None:
    await variables.compare(environment_id=environment_id, reach=state.reach)


@app.task(name="servers.check", queue="servers")
async def server_check(server_id: str) -> None:
    await servers.check(server_id=server_id, reach=state.reach)


@app.task(name="sources.report", queue="sources")
async def source_report(source_id: str) -> None:
    await sources.report(source_id=source_id)


@app.task(name="sources.create_hook", queue="sources")
async def source_create_hook(source_id: str) -> None:
    await sources.create_hook(source_id=source_id)


@app.task(name="notifications.send", queue="notifications")
async def notifications_send(channel_id: str) -> None:
    await asyncio.sleep(NOTIFY_PAUSE_SECONDS)
    await notifications.send(channel_id=channel_id)
