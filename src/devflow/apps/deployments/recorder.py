"""Writes down what a deployment's servers say: buffered, masked, in order, each byte once, under the claim."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.utils import timezone
from django_scopes import scope

from devflow.apps.accounts.models import Team
from devflow.apps.bulk import records
from devflow.apps.deployments import announce, events
from devflow.apps.deployments.events import NewEvent
from devflow.apps.deployments.models import Deployment, Release, Run, Status, Step, StepStatus
from devflow.core.errors import ClaimLostError
from devflow.core.masking import Masker
from devflow.core.names import uuid7
from devflow.engine.output import Frame, Line
from devflow.engine.plan import Plan
from devflow.engine.runner import Observed, Outcome, RunProgress
from devflow.engine.task import Phase
from devflow.remote.run import INTERRUPTED

FLUSH_SECONDS, LONGEST_FLUSH_SECONDS = 0.04, 0.15
"""The pause between two writes: what a viewer waits at most, and what keeps a flood of lines in few transactions. It is
three times as long as a write took: a busy machine or database is not made busier."""
LARGEST_EVENT_LINES = 200
BACKLOG_EVENTS = 200
"""So many waiting events hold up reading: a flood of output then waits in the connection, not in our memory."""
_LOCAL, _MESSAGE = 300, 500
_RUN = ("id", "server_name", "name", "log_offset", "exit_code")
_STEP = ("id", "status", "started_at", "duration_seconds", "exit_code")
_StepRow = tuple[UUID, str, datetime | None, float | None, int | None]


@dataclass(slots=True)
class _Batch:
    """What waits to be written in the next transaction. Rows of steps are as they were when their event was made: what
    comes while they are being written belongs to the next batch, with its events and its place in the journal."""

    events: list[NewEvent] = field(default_factory=list)
    steps: dict[UUID, _StepRow] = field(default_factory=dict)
    runs: dict[tuple[str, str], tuple[int, int | None]] = field(default_factory=dict)
    deployment: dict[str, object] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.events or self.steps or self.runs or self.deployment)


class DeploymentRecorder:
    """The engine's recorder (engine/runner.py) on the database. Made by `jobs.advance` for one claim."""

    def __init__(
        self,
        *,
        deployment: Deployment,
        team: Team,
        plan: Plan,
        steps: list[Step],
        runs: list[Run],
        observed: Observed,
        masker: Masker,
        claim: UUID,
    ) -> None:
        self._deployment, self._team, self._plan, self._claim = deployment, team, plan, claim
        self._observed, self._masker = observed, masker
        self._steps = {(step.server_name, step.position): step for step in steps}
        self._runs = {(run.server_name, run.name): RunProgress(run.log_offset, run.exit_code) for run in runs}
        self._running: dict[str, Step] = {step.server_name: step for step in steps if step.status == StepStatus.RUNNING}
        self._batch = _Batch()
        self._writing = asyncio.Lock()
        self._wake = asyncio.Event()
        self._failure: BaseException | None = None

    # --- what the engine calls ---------------------------------------------------------------------------------------

    def progress(self, server: str, group: str) -> RunProgress:
        return self._runs.setdefault((server, group), RunProgress())

    def record(self, server: str, group: str, items: list[Line | Frame], progress: RunProgress) -> None:
        if self._failure is not None:
            raise self._failure
        for item in items:
            if isinstance(item, Line):
                self._log(server, item.text)
            else:
                self._frame(server, item)
        self._batch.runs[server, group] = (progress.offset, progress.exit_code)
        if progress.exit_code == INTERRUPTED:  # perhaps by a restart: the server's uptime begins anew
            self._observed.booted_at.pop(server, None)
        if progress.exit_code is None:
            self._wake.set()
        else:  # the engine is about to go on, and with that to write
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._wake.set)

    async def keep_up(self) -> None:
        if len(self._batch.events) > BACKLOG_EVENTS:
            await self.flush()

    def enter(self, phase: Phase) -> None:
        if self._failure is not None:
            raise self._failure
        self._set_status(Status.VERIFYING if phase is Phase.VERIFY else Status.RUNNING)
        self._wake.set()

    async def decide(self, ending: str, error: str) -> None:
        error = self._masker.mask(error)
        self._batch.deployment |= {"ending": ending, "error": error}
        await self.flush()

    async def flush(self) -> None:
        """Writes all that waits. Raises ClaimLostError or a database error, and from then on always: what it had taken
        is lost to this recorder, and is read again by the next one."""
        async with self._writing:
            if self._failure is not None:
                raise self._failure
            if not self._batch:
                return
            batch, self._batch = self._batch, _Batch()
            batch.deployment["observed"] = self._masked_observed()
            try:
                await sync_to_async(self._write)(batch)
            except Exception as error:
                self._failure = error
                raise

    # --- what the job calls ------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def writing(self):  # type: ignore[no-untyped-def]
        """While this is entered, what is recorded is written in the background, at most FLUSH_SECONDS later."""
        task = asyncio.create_task(self._write_always())
        try:
            yield task
        finally:
            async with self._writing:  # not in the middle of a write: what that had taken would be lost
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def finish(self, outcome: Outcome) -> None:
        """The last write: outcome, releases, steps that were never run, and the claim given back."""
        status = Status(outcome.status)
        broken_off = StepStatus.CANCELLED if status == Status.CANCELLED else StepStatus.FAILED
        for step in self._steps.values():
            if step.status == StepStatus.RUNNING:
                step.status = broken_off
                self._changed(step)
            elif step.status == StepStatus.PENDING:
                step.status = StepStatus.SKIPPED
                self._batch.steps[step.pk] = _row(step)
        self._set_status(status)
        error = self._masker.mask(outcome.error)
        self._batch.deployment |= {"error": error, "finished_at": timezone.now()}
        self._batch.events.append(NewEvent("deployment.completed", {"status": status.value, "error": error or None}))
        await self.flush()

    # --- inside ------------------------------------------------------------------------------------------------------

    async def _write_always(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            began = time.monotonic()
            await self.flush()
            took = time.monotonic() - began
            await asyncio.sleep(min(max(FLUSH_SECONDS, 3 * took), LONGEST_FLUSH_SECONDS))

    def _log(self, server: str, text: str) -> None:
        step = self._running.get(server)
        step_id = str(step.pk) if step else None
        last = self._batch.events[-1] if self._batch.events else None
        text = self._masker.mask(text) + "\n"
        if (
            last is not None
            and last.kind == "deployment.log"
            and last.lines < LARGEST_EVENT_LINES
            and last.data["server"] == server
            and last.data["step"] == step_id
        ):
            last.text += text
            last.lines += 1
        else:
            self._batch.events.append(NewEvent("deployment.log", {"server": server, "step": step_id}, text, 1))

    def _frame(self, server: str, frame: Frame) -> None:
        if frame.kind == "begin":
            self._begin(server, int(frame.rest), frame.uptime)
        elif frame.kind == "end":
            position, code = map(int, frame.rest.split())
            self._end(server, position, code, frame.uptime)
        elif frame.kind == "explain":
            self._log(server, f"\x1b[31m{frame.rest}\x1b[0m")
        elif frame.kind == "skip":
            self._skip(server, int(frame.rest), frame.uptime)
        elif frame.kind == "note" and frame.rest.startswith("canary "):  # pages look at the figures anew
            self._batch.events.append(NewEvent("deployment.status", {"status": self._deployment.status}))
        elif frame.kind == "note" and frame.rest.startswith("commit "):
            self._commit(frame.rest.removeprefix("commit "))

    def _begin(self, server: str, position: int, uptime: float) -> None:
        step = self._steps[server, position]
        step.status, step.started_at = StepStatus.RUNNING, min(timezone.now(), self._time(server, uptime))
        self._running[server] = step
        self._changed(step)
        if step.phase == Phase.VERIFY:
            self._set_status(Status.VERIFYING)
        elif step.phase == Phase.FINISH:
            self._set_status(Status.RUNNING)

    def _end(
        self, server: str, position: int, code: int, uptime: float, *, done: StepStatus = StepStatus.SUCCESS
    ) -> None:
        step = self._steps[server, position]
        took = self._time(server, uptime) - (step.started_at or self._time(server, uptime))
        step.status = done if code == 0 else StepStatus.FAILED
        step.exit_code, step.duration_seconds = code, round(max(0.0, took.total_seconds()), 3)
        self._running.pop(server, None)
        self._changed(step)

    def _skip(self, server: str, position: int, uptime: float) -> None:
        begun = self._batch.events[-1] if self._batch.events else None
        is_of_step = begun is not None and begun.data.get("step") == str(self._steps[server, position].pk)
        if begun and is_of_step and begun.kind == "deployment.step":
            self._batch.events.pop()  # nobody has to be told that it had begun
        self._end(server, position, 0, uptime, done=StepStatus.SKIPPED)

    def _changed(self, step: Step) -> None:
        self._batch.steps[step.pk] = _row(step)
        self._batch.events.append(_step_event(step))

    def _commit(self, shown: str) -> None:
        commit, author, message = (*shown.split("\t", 2), "", "")[:3]
        author, message = self._masker.mask(author)[:_LOCAL], self._masker.mask(message)[:_MESSAGE]
        known: dict[str, object] = {"commit": commit, "author": author, "commit_message": message}
        self._batch.deployment |= known
        self._batch.events.append(NewEvent("deployment.status", {"status": self._deployment.status, **known}))

    def _masked_observed(self) -> dict[str, Any]:
        """What the servers said, as it may be stored: their words may hold secrets."""
        document = self._observed.to_json()
        for said in ("explained", "last_line"):
            document[said] = {server: self._masker.mask(text) for server, text in document[said].items()}
        return document

    def _set_status(self, status: Status) -> None:
        if self._deployment.status == status:
            return
        self._deployment.status = status
        self._batch.deployment["status"] = status.value
        self._batch.events.append(NewEvent("deployment.status", {"status": status.value}))

    def _time(self, server: str, uptime: float) -> datetime:
        """The panel's time of a moment in a server's uptime: the servers' own clocks are not asked, they may be wrong.

        The same for every worker that carries the deployment, so that a step's duration is right over a take-over.
        """
        booted_at = self._observed.booted_at.setdefault(server, timezone.now().timestamp() - uptime)
        return datetime.fromtimestamp(booted_at + uptime, UTC)

    def _write(self, batch: _Batch) -> None:
        with transaction.atomic(), scope(team=self._team), connection.cursor() as cursor:
            held = events.append(
                team_id=self._team.pk, deployment_id=self._deployment.pk, events=batch.events, claim=self._claim
            )
            if not held:
                raise ClaimLostError("Another worker carries this deployment now.")
            if batch.steps:
                _write_steps(cursor, batch.steps.values())
            if batch.runs:
                self._write_runs(cursor, batch.runs)
            if "finished_at" in batch.deployment:
                self._write_releases()
                batch.deployment["claim"] = None
            if batch.deployment:
                Deployment.objects.filter(pk=self._deployment.pk).update(**batch.deployment)
            if "finished_at" in batch.deployment:
                announce.deployment_changed(
                    deployment_id=self._deployment.pk,
                    team_id=self._team.pk,
                    event=announce.ended_event(self._deployment.status),
                )
            elif "commit" in batch.deployment and not self._deployment.commit:  # now the provider can be told of it
                announce.deployment_changed(deployment_id=self._deployment.pk, team_id=self._team.pk, event=None)

    def _write_runs(self, cursor: CursorWrapper, runs: dict[tuple[str, str], tuple[int, int | None]]) -> None:
        rows = [(uuid7(), *key, *progress) for key, progress in runs.items()]
        cursor.execute(
            "INSERT INTO deployments_run"
            " (team_id, deployment_id, created_at, id, server_name, name, log_offset, exit_code)"
            " SELECT %s, %s, now(), new.* FROM json_to_recordset(%s)"
            " AS new(id uuid, server_name text, name text, log_offset bigint, exit_code int)"
            " ON CONFLICT (deployment_id, server_name, name)"
            " DO UPDATE SET log_offset = excluded.log_offset, exit_code = excluded.exit_code",
            [self._team.pk, self._deployment.pk, records(_RUN, rows)],
        )

    def _write_releases(self) -> None:
        """What the servers said is kept and current; a release counts as kept where all of them keep it."""
        reports = [set(kept) for kept in self._observed.releases.values()]
        if len(reports) != len(self._plan.site.targets):
            return
        kept = set.intersection(*reports)
        current = set(self._observed.current.values())
        environment = self._deployment.environment
        releases = Release.objects.filter(environment=environment)
        releases.filter(pruned_at=None).exclude(name__in=kept).update(pruned_at=timezone.now(), is_current=False)
        releases.filter(is_current=True).update(is_current=False)
        if self._deployment.release in kept and not self._plan.is_rollback:
            new = Release(
                team=self._team, environment=environment, deployment=self._deployment, name=self._deployment.release
            )
            Release.objects.bulk_create([new], ignore_conflicts=True)
        if len(current) == 1:
            releases.filter(name__in=current & kept).update(is_current=True)


def _row(step: Step) -> _StepRow:
    return step.pk, str(step.status), step.started_at, step.duration_seconds, step.exit_code


def _write_steps(cursor: CursorWrapper, steps: Iterable[_StepRow]) -> None:
    cursor.execute(
        "UPDATE deployments_step AS step SET status = new.status, started_at = new.started_at,"
        " duration_seconds = new.duration_seconds, exit_code = new.exit_code"
        " FROM json_to_recordset(%s)"
        " AS new(id uuid, status text, started_at timestamptz, duration_seconds float8, exit_code int)"
        " WHERE step.id = new.id",
        [records(_STEP, [*steps])],
    )


def _step_event(step: Step) -> NewEvent:
    data = {
        "step": str(step.pk),
        "name": step.name,
        "server": step.server_name,
        "phase": step.phase,
        "status": str(step.status),
        "started_at": step.started_at.isoformat() if step.started_at else None,
        "duration_seconds": step.duration_seconds,
        "exit_code": step.exit_code,
    }
    return NewEvent("deployment.step", data)
