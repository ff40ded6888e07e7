"""The queue's worker, as one that outlives PostgreSQL: what it has to write it writes when PostgreSQL is back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from procrastinate import App, PsycopgConnector, exceptions, jobs, manager, worker
from procrastinate.contrib.django.utils import connector_params
from psycopg.errors import RaiseException

from devflow.postgresql.pools import AGAIN_SECONDS, AsyncSoonPool, is_away

log = logging.getLogger(__name__)
WAIT_SECONDS = 5
"""How long a query waits for a connection before it is logged and tried again."""
T = TypeVar("T")


def with_patience(app: App, **pool: Any) -> App:
    """The app with a connector of its own beside Django's, which services go on using in their transactions."""
    connector = PsycopgConnector(
        pool_factory=AsyncSoonPool, kwargs=connector_params(), min_size=1, max_size=4, timeout=WAIT_SECONDS, **pool
    )
    made = app.with_connector(connector)
    made.job_manager = PatientJobs(connector)
    return made


class PatientWorker(worker.Worker):
    """Tells its jobs when it stops: from then on nothing is waited for."""

    def stop(self) -> None:
        if isinstance(self.app.job_manager, PatientJobs):
            self.app.job_manager.is_stopping = True
        super().stop()  # type: ignore[no-untyped-call]


class PatientJobs(manager.JobManager):
    """Tries again, for as long as the worker works, where the database is away.

    A job whose end is not written would count as under way for ever, since its worker lives; and so would one that was
    taken, where the answer was lost: `_held` are those that this worker knows to have.
    """

    def __init__(self, connector: PsycopgConnector) -> None:
        super().__init__(connector)
        self.is_stopping = False
        self._held: set[int] = set()

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> jobs.Job | None:
        try:
            job = await super().fetch_job(queues, worker_id)
        except exceptions.ConnectorException as error:
            if not is_away(error.__cause__):
                raise
            await self._insist(partial(self._give_back, worker_id), what="taking a job")
            return None if self.is_stopping else await self.fetch_job(queues, worker_id)
        if job and job.id:
            self._held.add(job.id)
        return job

    async def finish_job_by_id_async(self, job_id: int, status: jobs.Status, delete_job: bool) -> None:
        finish = partial(super().finish_job_by_id_async, job_id, status, delete_job)
        await self._insist(finish, what=f"the end of job {job_id}")
        self._held.discard(job_id)

    async def retry_job_by_id_async(self, job_id: int, *given: Any, **named: Any) -> None:
        retry = partial(super().retry_job_by_id_async, job_id, *given, **named)
        await self._insist(retry, what=f"job {job_id}, which is to be tried again")
        self._held.discard(job_id)

    async def update_heartbeat(self, worker_id: int) -> None:
        await self._insist(partial(super().update_heartbeat, worker_id), what="the sign of life")

    async def unregister_worker(self, worker_id: int) -> None:
        await self._insist(partial(super().unregister_worker, worker_id), what="that this worker ends")

    async def listen_for_jobs(self, **given: Any) -> None:
        await self._insist(partial(super().listen_for_jobs, **given), what="listening for jobs")

    async def _give_back(self, worker_id: int) -> None:
        """Puts back what was taken for this worker without its hearing of it."""
        for job in await self.list_jobs_async(status=jobs.Status.DOING.value, worker_id=worker_id):
            if job.id not in self._held:
                log.warning("job %s was taken, and the answer was lost: it is put back", job.id)
                await self.retry_job(job)

    async def _insist(self, work: Callable[[], Awaitable[T]], *, what: str) -> T | None:
        """Does `work` until the database has answered; None where the worker stops before, or had been answered."""
        is_again = False
        while True:
            try:
                return await work()
            except exceptions.ConnectorException as error:
                if is_again and isinstance(error.__cause__, RaiseException):  # it was done, and the answer lost
                    return None
                if not is_away(error.__cause__):
                    raise
                if self.is_stopping:
                    log.warning("the database is away: %s is not written any more", what)
                    return None
                if not is_again:
                    log.warning("the database is away; %s waits for it", what)
            is_again = True
            await asyncio.sleep(AGAIN_SECONDS)
