"""PostgreSQL goes away in the middle of something: that is no fault, and what it missed is written later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection, transaction
from procrastinate import App, PsycopgConnector
from procrastinate.contrib.django.utils import connector_params
from procrastinate.exceptions import ConnectorException

from devflow.apps.queue import enqueue, enqueue_each
from devflow.postgresql import pools
from devflow.postgresql.base import DatabaseWrapper
from devflow.postgresql.pools import AsyncSoonPool, SoonPool
from devflow.worker import app as tasks
from devflow.worker import queue
from devflow.worker.queue import PatientJobs, PatientWorker

# --- what is told of it -----------------------------------------------------------------------------------------------


@pytest.fixture
def ours(transactional_db: None) -> Iterator[int]:
    """The number of our session, which may be ended; afterwards there is a new one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        yield cursor.fetchone()[0]
    connection.close()


@pytest.mark.parametrize("limit", ["idle_in_transaction_session_timeout", "idle_session_timeout"])
def test_a_session_that_slept_too_long_counts_as_lost(ours: int, limit: str) -> None:
    """As after a worker that was frozen."""

    def sleep_long() -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET {limit} = '50ms'")
            with transaction.atomic() if "transaction" in limit else nullcontext():
                cursor.execute("SELECT 1")
                time.sleep(0.3)
                cursor.execute("SELECT 2")

    with pytest.raises(OperationalError):
        sleep_long()


@pytest.mark.parametrize(
    "work",
    [
        partial(enqueue, "sources.report", source_id="1"),
        partial(enqueue_each, "sources.report", [{"source_id": "1"}]),
    ],
)
def test_queueing_counts_as_writing(ours: int, work: Callable[[], None]) -> None:
    with psycopg.connect(**connector_params(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [ours])
    with pytest.raises(OperationalError):
        work()


# --- how soon it is tried again ---------------------------------------------------------------------------------------


class Away(psycopg.Connection[Any]):
    """PostgreSQL does not answer; `tried` counts."""

    tried = 0

    @classmethod
    def connect(cls, *_: Any, **__: Any) -> Any:
        Away.tried += 1
        raise psycopg.OperationalError("away")


class AwayAsync(psycopg.AsyncConnection[Any]):
    @classmethod
    async def connect(cls, *_: Any, **__: Any) -> Any:
        Away.connect()


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pools, queue):
        monkeypatch.setattr(module, "AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(Away, "tried", 0)


@pytest.mark.usefixtures("hurried")
def test_a_pool_never_waits_longer_and_longer() -> None:
    with SoonPool(connection_class=Away, min_size=1, open=True):
        _eventually(lambda: Away.tried > 8)


@pytest.mark.usefixtures("hurried")
def test_nor_does_the_queues() -> None:
    async def wait() -> None:
        pool = AsyncSoonPool(connection_class=AwayAsync, min_size=1, open=False)
        await pool.open()
        try:
            async with asyncio.timeout(2):
                while Away.tried <= 8:
                    await asyncio.sleep(0.01)
        finally:
            await pool.close()

    asyncio.run(wait())


@pytest.mark.usefixtures("db")
def test_djangos_connections_come_of_such_a_pool() -> None:
    options = {**connection.settings_dict["OPTIONS"], "pool": {"min_size": 0, "max_size": 1}}
    pooled = DatabaseWrapper({**connection.settings_dict, "OPTIONS": options}, alias="pooled")
    try:
        with pooled.cursor() as cursor:
            cursor.execute("SELECT 1")
        assert isinstance(pooled.pool, SoonPool)
    finally:
        pooled.close()
        pooled.close_pool()


def _eventually(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 2
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.01)


# --- what somebody waits for ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize(
    ("module", "name", "task"),
    [
        ("deployments", "advance", "deployment_advance"),
        ("servers", "check", "server_check"),
        ("cluster_jobs", "act", "cluster_act"),
        ("containers", "act", "container_act"),
        ("containers", "prune", "containers_prune"),
    ],
)
def test_what_may_be_done_again_is_until_its_end_was_written(
    monkeypatch: pytest.MonkeyPatch, module: str, name: str, task: str
) -> None:
    asked = []

    async def work(**given: object) -> None:
        asked.append(given)
        if len(asked) < 3:
            raise OperationalError("away")

    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(getattr(tasks, module), name, work)
    asyncio.run(getattr(tasks, task)("x"))
    assert len(asked) == 3


# --- the queue's jobs -------------------------------------------------------------------------------------------------


class Cut(PsycopgConnector):
    """The way to the database is cut `times` times at the query of this name: before it was done, or after that."""

    def __init__(self, query: str, times: int, *, is_done: bool) -> None:
        super().__init__(kwargs=connector_params(), min_size=1, max_size=4)
        self.query, self.times, self.is_done = query, times, is_done

    async def execute_query_async(self, query: str, **arguments: Any) -> None:  # type: ignore[override]
        return await self._cut(query, super().execute_query_async(query, **arguments))

    async def execute_query_one_async(self, query: str, **arguments: Any) -> dict[str, Any]:  # type: ignore[override]
        return await self._cut(query, super().execute_query_one_async(query, **arguments))  # type: ignore[no-any-return]

    async def _cut(self, query: str, work: Coroutine[Any, Any, Any]) -> Any:
        if self.query not in query or not self.times:
            return await work
        self.times -= 1
        if self.is_done:
            await work
        work.close()
        raise ConnectorException from psycopg.OperationalError("the connection was lost")


def work_off(connector: Cut, *, number: int = 2) -> list[int]:
    """Queues jobs and works until none is left; which were carried out, in order."""
    app, ran = App(connector=connector), []
    app.job_manager = PatientJobs(connector)

    @app.task(name="tests.count", queue="tests")
    async def count(which: int) -> None:
        ran.append(which)

    async def run() -> None:
        async with app.open_async(), asyncio.timeout(20):
            for which in range(number):
                await count.defer_async(which=which)
            worker = PatientWorker(
                app, queues=["tests"], wait=False, listen_notify=False, install_signal_handlers=False
            )
            await worker.run()  # type: ignore[no-untyped-call]

    asyncio.run(run())
    return ran


def statuses() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT status FROM procrastinate_jobs WHERE queue_name = 'tests' ORDER BY id")
        return [status for (status,) in cursor.fetchall()]


@pytest.mark.usefixtures("transactional_db", "hurried")
@pytest.mark.parametrize("is_done", [False, True])
def test_the_end_of_a_job_is_written_when_the_database_is_back(is_done: bool) -> None:
    """Else it counts as under way for as long as its worker lives."""
    assert work_off(Cut("finish_job", 1 if is_done else 3, is_done=is_done)) == [0, 1]
    assert statuses() == ["succeeded", "succeeded"]


@pytest.mark.usefixtures("transactional_db", "hurried")
@pytest.mark.parametrize("is_done", [False, True])
def test_a_job_that_was_taken_while_the_answer_was_lost_is_carried_out(is_done: bool) -> None:
    assert sorted(work_off(Cut("fetch_job", 2, is_done=is_done))) == [0, 1]
    assert statuses() == ["succeeded", "succeeded"]


@pytest.mark.usefixtures("transactional_db", "hurried")
def test_a_worker_that_stops_does_not_wait_for_the_database() -> None:
    connector = Cut("finish_job", 10**6, is_done=False)
    jobs = PatientJobs(connector)

    async def stop() -> None:
        async with asyncio.timeout(5):
            ending = asyncio.create_task(jobs.finish_job_by_id_async(1, queue.jobs.Status.SUCCEEDED, False))
            await asyncio.sleep(0.2)
            assert not ending.done()
            jobs.is_stopping = True
            await ending

    asyncio.run(stop())
