"""The worker's tasks. Each is a thin shell around a job of an app; names are those that services queue by."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError, close_old_connections, connection
from procrastinate import RetryStrategy
from procrastinate.contrib.django import app

from devflow.apps.accounts import jobs as accounts
from devflow.apps.audit import jobs as audit
from devflow.apps.containers import jobs as containers
from devflow.apps.deployments import jobs as deployments
from devflow.apps.deployments import proxy, variables
from devflow.apps.notifications import jobs as notifications
from devflow.apps.notifications import push
from devflow.apps.privacy import jobs as privacy
from devflow.apps.servers import cluster_jobs
from devflow.apps.servers import jobs as servers
from devflow.apps.servers.reach import ServerReach
from devflow.apps.sources import jobs as sources
from devflow.postgresql.pools import AGAIN_SECONDS
from devflow.remote.pool import Pool

log = logging.getLogger(__name__)

MAIL_AGAIN = RetryStrategy(max_attempts=6, exponential_wait=4)  # 4 s, 16 s … about a quarter of an hour
HANDED_OVER = RetryStrategy(retry_exceptions=[asyncio.CancelledError])  # type: ignore[list-item]
"""What a worker that is told to end has not finished is put back into the queue at once, for another one; all of these
may be done again from the beginning, as after the death of a worker."""
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


@app.task(name="deployments.advance", queue="deployments", retry=HANDED_OVER)
async def deployment_advance(deployment_id: str) -> None:
    work = partial(deployments.advance, deployment_id=deployment_id, reach=state.reach, cancelled=state.cancelled)
    try:
        await _insist(work, f"deployment {deployment_id}")
    finally:
        state.forget(deployment_id)


@app.task(name="deployments.inspect", queue="deployments", retry=HANDED_OVER)
async def deployment_inspect(environment_id: str) -> None:
    await deployments.inspect_environment(environment_id=environment_id, reach=state.reach)


@app.task(name="deployments.compare_variables", queue="deployments", retry=HANDED_OVER)
async def variables_compare(environment_id: str) -> None:
    await variables.compare(environment_id=environment_id, reach=state.reach)


@app.task(name="deployments.look_at_proxy", queue="deployments", retry=HANDED_OVER)
async def proxy_look(environment_id: str) -> None:
    await proxy.look(environment_id=environment_id, reach=state.reach)


@app.task(name="servers.check", queue="servers", retry=HANDED_OVER)
async def server_check(server_id: str) -> None:
    await _insist(partial(servers.check, server_id=server_id, reach=state.reach), f"the check of server {server_id}")


@app.task(name="servers.cluster_act", queue="servers", retry=HANDED_OVER)
async def cluster_act(action_id: str) -> None:
    await _insist(partial(cluster_jobs.act, action_id=action_id, reach=state.reach), f"action {action_id}")


@app.task(name="containers.look", queue="containers", retry=HANDED_OVER)
async def containers_look(server_id: str, disk: str) -> None:
    await containers.look(server_id=server_id, with_disk=bool(disk), reach=state.reach)


@app.task(name="containers.act", queue="containers", retry=HANDED_OVER)
async def container_act(action_id: str) -> None:
    await _insist(partial(containers.act, action_id=action_id, reach=state.reach), f"action {action_id}")


@app.task(name="containers.prune", queue="containers", retry=HANDED_OVER)
async def containers_prune(action_id: str) -> None:
    await _insist(partial(containers.prune, action_id=action_id, reach=state.reach), f"clean-up {action_id}")


@app.task(name="containers.follow", queue="containers", retry=HANDED_OVER)
async def container_follow(follow_id: str) -> None:
    await containers.follow(follow_id=follow_id, reach=state.reach)


@app.task(name="sources.report", queue="sources", retry=HANDED_OVER)
async def source_report(source_id: str) -> None:
    await sources.report(source_id=source_id)


@app.task(name="sources.create_hook", queue="sources", retry=HANDED_OVER)
async def source_create_hook(source_id: str) -> None:
    await sources.create_hook(source_id=source_id)


@app.task(name="notifications.send", queue="notifications", retry=HANDED_OVER)
async def notifications_send(channel_id: str) -> None:
    await asyncio.sleep(NOTIFY_PAUSE_SECONDS)
    await notifications.send(channel_id=channel_id)


@app.task(name="notifications.push", queue="notifications", retry=HANDED_OVER)
async def notifications_push(message_id: str) -> None:
    await asyncio.sleep(NOTIFY_PAUSE_SECONDS)
    await _insist(partial(push.send, message_id=message_id), f"push message {message_id}")


@app.task(name="accounts.mail_reset", queue="accounts", retry=MAIL_AGAIN)
async def mail_reset(email: str) -> None:
    await accounts.mail_reset(email=email)


@app.task(name="accounts.mail_confirmation", queue="accounts", retry=MAIL_AGAIN)
async def mail_confirmation(email: str) -> None:
    await accounts.mail_confirmation(email=email)


@app.task(name="accounts.mail_invitation", queue="accounts", retry=MAIL_AGAIN)
async def mail_invitation(invitation_id: str) -> None:
    await accounts.mail_invitation(invitation_id=invitation_id)


@app.task(name="audit.look", queue="audit", retry=HANDED_OVER)
async def audit_look(event_id: str) -> None:
    await _insist(partial(sync_to_async(audit.look), event_id), f"the look at event {event_id}")


@app.task(name="audit.mail", queue="audit", retry=MAIL_AGAIN)
async def audit_mail(event_id: str) -> None:
    await _apart(audit.mail, event_id)


@app.task(name="privacy.export", queue="privacy", retry=HANDED_OVER)
async def privacy_export(archive_id: str) -> None:
    await _insist(partial(_apart, privacy.export, archive_id), f"archive {archive_id}")


@app.task(name="privacy.remove_files", queue="privacy", retry=MAIL_AGAIN)
async def privacy_remove_files(
    team_id: str,
    server_id: str,
    root: str,
    mirrors: list[str],
    deployments: list[str],
    environment: str = "",
    serves: bool = True,
) -> None:
    await privacy.remove_files(
        team_id=team_id,
        server_id=server_id,
        root=root,
        mirrors=mirrors,
        deployments=deployments,
        environment=environment,
        serves=serves,
        reach=state.reach,
    )


@app.task(name="privacy.remove_team", queue="privacy", retry=HANDED_OVER)
async def privacy_remove_team(team_id: str) -> None:
    await privacy.remove_team(team_id=team_id, reach=state.reach)


async def _insist(work: Callable[[], Awaitable[None]], what: str) -> None:
    """Does what may be done again until the database has heard of its end: somebody waits for that."""
    while True:
        try:
            return await work()
        except (OperationalError, InterfaceError):
            log.warning("the database is away; %s goes on where it was when it is back", what)
        await asyncio.sleep(AGAIN_SECONDS)
        await sync_to_async(close_old_connections)()


async def _apart(work: Callable[[str], None], argument: str) -> None:
    """Does what takes long in a thread of its own, for which no deployment waits, and gives its connection back."""

    def run() -> None:
        try:
            work(argument)
        finally:
            connection.close()

    await sync_to_async(run, thread_sensitive=False)()
