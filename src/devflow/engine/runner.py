"""Carries a plan out: one run on each server, side by side from gate to gate, and back again where it went wrong."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

from devflow.core.errors import ConnectError, HostKeyError, RemoteError
from devflow.engine import images, script
from devflow.engine.output import Frame, JournalReader, Line
from devflow.engine.plan import Group, Plan, Target
from devflow.engine.script import RunSecrets
from devflow.engine.task import Phase
from devflow.remote import run
from devflow.remote.run import INTERRUPTED, HomeUnusableError, NotInstalledError
from devflow.remote.transport import LATEST_SECONDS, Connection

T = TypeVar("T")
FIRST_CONTACT_SECONDS = 20
"""How long a server that has not answered in this deployment yet is tried before the deployment fails."""
LOST_CONTACT_SECONDS = 900
"""How long a server whose journal has begun to come is waited for. What runs there goes on by itself meanwhile."""
SILENT_SECONDS = 5
"""How long a server that never answered is tried once the deployment is cancelled or has failed."""
STALE_SECONDS = LATEST_SECONDS + 2
"""When a server does not begin any more what it was sent: it is not given up before."""
NOTICE_SECONDS = 3
"""A server that does not answer for so long is named in the log."""
STEADY_SECONDS = 10
"""A connection that held so long counts as good again: waiting for the server starts anew when it is lost."""
STOP_AGAIN_SECONDS = 0.5
ROOM_SECONDS = 20
"""How long taking back waits for room where the home of the login, and so the journal, is full."""
CANCELLED = ("cancelled", "Cancelled.")
_LEFT = "It was sent this deployment and never answered; the next one ends what may have begun there."
_RUNS_ON = "Nothing was taken back there, and what still runs is ended by the next deployment."
_UNDRAINED = "it serves the new release, and the balancer could not do without it. Deploy again when that is mended."


@dataclass(slots=True)
class RunProgress:
    """How far a run is known: bytes of its journal that are recorded, and its exit code once it has ended."""

    offset: int = 0
    exit_code: int | None = None


class Recorder(Protocol):
    """Where what is observed goes.

    `record` and `enter` may buffer; `keep_up` returns when it may buffer more, `decide` when all is kept.

    Every write may raise ClaimLostError: then another worker carries this deployment, and this one must stop.
    """

    def progress(self, server: str, group: str) -> RunProgress: ...
    def record(self, server: str, group: str, items: list[Line | Frame], progress: RunProgress) -> None: ...
    async def keep_up(self) -> None: ...
    def enter(self, phase: Phase) -> None: ...
    async def decide(self, ending: str, error: str) -> None: ...


class Reach(Protocol):
    """The way to servers: a shared connection by the panel's id of a server."""

    async def get(self, server_id: str) -> Connection: ...
    def drop(self, server_id: str, connection: Connection) -> None: ...


@dataclass(slots=True)
class Observed:
    """What the servers said in this deployment, by server name.

    `gates` is the last gate that a server came to: the number of the group that begins behind it. `awaiting` are the
    servers that wait to be told the commit, `awaiting_image` those that wait for the image. `image` is the id of the
    image that was built, `digest` what the registry knows it by.
    `canary` are the figures of a canary's shares (commands/canary.py), by share in percent.
    `booted_at` is when a server's uptime began, in the panel's time (seconds since the epoch).
    """

    commit: str = ""
    took_back: dict[str, str] = field(default_factory=dict)
    undoing: set[str] = field(default_factory=set)
    undone: set[str] = field(default_factory=set)
    gates: dict[str, int] = field(default_factory=dict)
    awaiting: set[str] = field(default_factory=set)
    awaiting_image: set[str] = field(default_factory=set)
    image: str = ""
    digest: str = ""
    current: dict[str, str] = field(default_factory=dict)
    releases: dict[str, list[str]] = field(default_factory=dict)
    explained: dict[str, str] = field(default_factory=dict)
    failed_step: dict[str, int] = field(default_factory=dict)
    failed_undo: dict[str, int] = field(default_factory=dict)
    last_line: dict[str, str] = field(default_factory=dict)
    booted_at: dict[str, float] = field(default_factory=dict)
    canary: dict[str, str] = field(default_factory=dict)
    reached: set[str] = field(default_factory=set)

    def to_json(self) -> dict[str, Any]:
        """As kept with the deployment, for a worker that takes over."""
        return {key: sorted(value) if isinstance(value, set) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Observed:
        known: dict[str, Any] = {key: set(value) if key in _SETS else value for key, value in document.items()}
        return cls(**known)


_SETS = ("awaiting", "awaiting_image", "undoing", "undone", "reached")


class Steering:
    """What a person last wanted of a canary, '' for nothing yet."""

    def __init__(self, word: str = "") -> None:
        self.word, self.changed = word, asyncio.Event()

    def say(self, word: str) -> None:
        if word != self.word:
            changed, self.word, self.changed = self.changed, word, asyncio.Event()
            changed.set()


@dataclass(frozen=True, slots=True)
class Outcome:
    """`status` is one of success, failed, rolled_back, cancelled."""

    status: str
    error: str


class Runner:
    """One deployment being carried out. `ending` and `error` are what an earlier worker had decided, if any."""

    def __init__(
        self,
        *,
        plan: Plan,
        deployment: str,
        secrets: RunSecrets,
        nonce_key: bytes,
        reach: Reach,
        recorder: Recorder,
        observed: Observed,
        cancelled: asyncio.Event,
        ending: str = "",
        error: str = "",
        steering: Steering | None = None,
    ) -> None:
        self._plan, self._deployment, self._secrets, self._nonce_key = plan, deployment, secrets, nonce_key
        self._reach, self._recorder, self._cancelled = reach, recorder, cancelled
        self._observed, self._ending, self._error = observed, ending, error
        self._targets = {target.name: target for target in plan.site.everyone}
        self._gates = {number: asyncio.Event() for number in range(1, len(plan.groups) + 1)}
        self._opened = self._opened_before()
        for number in range(1, self._opened + 1):
            self._gates[number].set()
        self._steering = steering or Steering()
        self._is_steered = plan.strategy == "canary" and not plan.is_rollback
        self._lost: set[str] = set()
        self._heard: set[str] = set()
        self._sent_at = dict.fromkeys(observed.reached, time.monotonic())
        self._apart: set[str] = set()
        self._left: set[str] = set()
        self._unended: dict[str, str] = {}
        self._wants_image = {name: asyncio.Event() for name in self._targets}
        for name in observed.awaiting_image:
            self._wants_image[name].set()
        self._moved = asyncio.Event()
        self._commit_known = asyncio.Event()
        if plan.commit or observed.commit or plan.is_rollback:
            self._commit_known.set()

    async def carry_out(self) -> Outcome:
        """Goes on until the deployment has ended. Raises ClaimLostError when it is another worker's."""
        if not self._ending:
            failure = await self._go_forward()
            if failure is None:
                return Outcome("success", "")
            if self._is_past_going_back():
                await self._clean_up()
                return Outcome("success", "")
            await self._decide(*failure)
        await self._take_back()
        return self._outcome()

    async def _go_forward(self) -> tuple[str, str] | None:
        """Runs the plan everywhere; None when it ended well on all servers, else the ending and what went wrong."""
        if self._cancelled.is_set() and not self._is_past_cancelling():  # an earlier worker may have started it
            await self._stop()
            return CANCELLED
        runs = {name: asyncio.ensure_future(self._begin(target)) for name, target in self._targets.items()}
        try:
            await self._watch(runs)
            errors = [error for error in (run.result() for run in runs.values() if run.done()) if error]
            for name in {*self._not_begun(), *(self._unheard() if self._cancelled.is_set() else ())}:
                runs[name].cancel()
            while not all(run.done() for run in runs.values()):
                await self._stop()
                await asyncio.wait(runs.values(), timeout=STOP_AGAIN_SECONDS)  # a server may just be being reached
        finally:
            for task in runs.values():
                task.cancel()
            await asyncio.gather(*runs.values(), return_exceptions=True)
        if not errors and all(self._has_ended(name, well=True) for name in runs):
            return None
        return CANCELLED if self._cancelled.is_set() else ("failed", "\n".join(errors))

    async def _watch(self, runs: Mapping[str, asyncio.Future[str]]) -> None:
        """Opens gates until all runs have ended, one that failed has brought the others to rest, or it is cancelled."""
        cancel = asyncio.ensure_future(self._cancelled.wait())
        self._recorder.enter(self._plan.groups[0].steps[0].task.phase)
        try:
            while not all(run.done() for run in runs.values()):
                if self._cancelled.is_set() and not self._is_past_cancelling():
                    return
                if not any(run.done() and run.result() for run in runs.values()):
                    self._open_gates()
                elif all(run.done() or self._is_waiting(name) for name, run in runs.items()):
                    return
                moved = asyncio.ensure_future(self._moved.wait())
                signs: set[asyncio.Future[Any]] = {moved, *(run for run in runs.values() if not run.done())}
                await asyncio.wait(
                    signs if self._cancelled.is_set() else {*signs, cancel}, return_when=asyncio.FIRST_COMPLETED
                )
                moved.cancel()
                self._moved.clear()
        finally:
            cancel.cancel()

    def _open_gates(self) -> None:
        """Lets all servers go on to each group that all of them have come to.

        That is not written down first: who takes over reads in the journals how far they have come.
        """
        while self._opened < len(self._plan.groups) and all(map(self._has_come, self._targets)):
            group = self._plan.groups[self._opened]
            self._recorder.enter(group.steps[0].task.phase)
            self._opened += 1
            self._gates[self._opened].set()

    def _opened_before(self) -> int:
        """The last group that an earlier worker let begin, as far as the servers told."""
        begun = set(self._observed.failed_step.values())
        return max(
            (n for n, group in enumerate(self._plan.groups, 1) if begun & {step.position for step in group.steps}),
            default=1,
        )

    def _has_come(self, server: str) -> bool:
        """True where the server has done all that comes before the first gate that is closed."""
        following = [number for number in self._plan.groups_of(server) if number > self._opened]
        if not following:
            return self._has_ended(server, well=True)
        return self._came_to(server) >= following[0]

    def _is_waiting(self, server: str) -> bool:
        is_to_be_told = server in self._observed.awaiting and not self._commit_known.is_set()
        return is_to_be_told or self._came_to(server) > self._opened

    def _came_to(self, server: str) -> int:
        """The last gate that the server came to; who has nothing to do before some gate has come there."""
        return self._observed.gates.get(server, self._plan.groups_of(server)[0])

    def _is_past_cancelling(self) -> bool:
        """True for what has ended everywhere, and for cleaning up on several servers: half could not go back."""
        is_point_of_no_return = len(self._plan.groups) > 1 and self._opened == len(self._plan.groups)
        return is_point_of_no_return or all(map(self._has_ended, self._targets))

    def _has_ended(self, server: str, *, well: bool = False) -> bool:
        code = self._recorder.progress(server, self._plan.forward.name).exit_code
        return code == 0 if well else code is not None

    async def _begin(self, target: Target) -> str:
        """As `_settle`, once the first gate that concerns the server is open."""
        await self._first_gate(target.name).wait()
        return "" if self._cancelled.is_set() else await self._settle(self._plan.forward, target)

    def _not_begun(self) -> list[str]:
        return [name for name in self._targets if not self._first_gate(name).is_set()]

    def _first_gate(self, server: str) -> asyncio.Event:
        return self._gates[self._plan.groups_of(server)[0]]

    async def _settle(self, group: Group, target: Target) -> str:
        """Runs a group on one server; '' when it ended well, else what went wrong, in words."""
        try:
            code = await self._with_room(
                lambda: self._follow(group, target), seconds=ROOM_SECONDS if group.is_undo else 0
            )
        except RemoteError as error:
            self._lost.add(target.name)
            return str(error)
        return "" if code == 0 else self._explain(group, target, code)

    async def _with_room(self, attempt: Callable[[], Awaitable[T]], *, seconds: float) -> T:
        """Tries again while the server's home is full: often for a moment only, and nobody else would take back."""
        until = time.monotonic() + seconds
        while True:
            try:
                return await attempt()
            except HomeUnusableError:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(1)

    async def _follow(self, group: Group, target: Target, *, is_over: bool = False) -> int:
        """The exit code of the run, over as many connections as it takes; a run that `is_over` is only read to its end.

        Raises RemoteError.
        """
        progress = self._recorder.progress(target.name, group.name)
        if progress.exit_code is not None:
            return progress.exit_code
        identity = script.run_id(self._deployment, target, group)
        nonce = script.nonce_of(identity, self._nonce_key)
        text = script.render(
            self._plan,
            group,
            target,
            deployment=self._deployment,
            commit=self._plan.commit or self._observed.commit,
            secrets=self._secrets,
            nonce=nonce,
            apart=sorted(self._apart),
        ).text

        async def attempt(connection: Connection) -> int:
            self._observed.reached.add(target.name)
            goes_forward = not group.is_undo and not is_over
            if goes_forward:
                self._sent_at[target.name] = time.monotonic()
            reader = JournalReader(nonce, progress.offset)
            gates = list(self._plan.groups_of(target.name)[1:]) if goes_forward else []
            is_steered = self._is_steered and goes_forward
            follower = await run.follow(
                connection,
                target.name,
                identity,
                progress.offset,
                "" if is_over else text,
                listens=bool(gates) or is_steered,
            )
            if goes_forward:
                self._sent_at[target.name] = time.monotonic()
            usher = asyncio.ensure_future(self._usher(follower, target, gates, is_steered=is_steered))
            try:
                async for chunk in follower.chunks():
                    items = reader.feed(chunk)
                    progress.exit_code = reader.ended
                    self._take(group, target, reader, items, progress)
                    if reader.ended is not None:
                        return reader.ended
                    await self._recorder.keep_up()
                code = await follower.exit_code()
            finally:
                usher.cancel()
                follower.close()
            progress.exit_code = code
            self._take(group, target, reader, reader.finish(), progress)
            return code

        return await self._insist(target, attempt)

    async def _usher(self, follower: run.Follower, target: Target, gates: list[int], *, is_steered: bool) -> None:
        """Tells the run what it waits for, as it is known; it does no harm to tell twice."""
        waits = [self._open(follower, gates)]
        if is_steered:
            waits.append(self._steer(follower))
        if gates:
            waits.append(self._bring_image(follower, target))
        if gates and target != self._plan.site.leader:
            waits.append(self._tell_commit(follower))
        await asyncio.gather(*waits)

    async def _bring_image(self, follower: run.Follower, target: Target) -> None:
        """Has the image brought to a server that waits for it, and tells it which."""
        await self._wants_image[target.name].wait()
        if digest := self._observed.digest:  # a registry has it
            follower.tell_image(digest.removeprefix("sha256:"))
            return
        builder = self._plan.site.builder or self._plan.site.targets[0]
        identity = script.run_id(self._deployment, target, self._plan.forward)
        is_there = await images.bring(
            self._reach, source=builder, target=target, image=self._observed.image, run_id=identity
        )
        follower.tell_image(self._observed.image.removeprefix("sha256:") if is_there else "0")

    async def _tell_commit(self, follower: run.Follower) -> None:
        await self._commit_known.wait()
        if commit := self._plan.commit or self._observed.commit:
            follower.tell_commit(commit)

    async def _steer(self, follower: run.Follower) -> None:
        """Tells the run each word, and the last one again over a new connection."""
        while True:
            changed = self._steering.changed
            if self._steering.word:
                follower.steer(self._steering.word)
            await changed.wait()

    async def _open(self, follower: run.Follower, gates: list[int]) -> None:
        for number in gates:
            await self._gates[number].wait()
            follower.open_gate(number)

    def _take(
        self, group: Group, target: Target, reader: JournalReader, items: list[Line | Frame], progress: RunProgress
    ) -> None:
        progress.offset = reader.offset
        self._heard.add(target.name)
        for item in items:
            observe(self._observed, self._plan, target.name, item)
        if self._observed.commit:
            self._commit_known.set()
        if target.name in self._observed.awaiting_image:
            self._wants_image[target.name].set()
        if any(isinstance(item, Frame) and item.kind in ("gate", "await") for item in items):
            self._moved.set()
        self._recorder.record(target.name, group.name, items, progress)

    async def _stop(self) -> None:
        """Ends the run on every server that was reached; one that never answered must not hold the others up, and is
        seen to when it is taken back."""
        silent = self._unheard()
        running = [
            name
            for name in self._targets
            if name in self._observed.reached and name not in silent and not self._has_ended(name)
        ]
        errors = await asyncio.gather(*(self._kill(self._targets[name]) for name in running), return_exceptions=True)
        for name, error in zip(running, errors, strict=True):
            if isinstance(error, RemoteError):
                self._observed.explained[name] = str(error)
            elif error is not None:
                raise error

    def _unheard(self) -> set[str]:
        """The servers of whose journal nothing has come: whether anything has begun there is not known."""
        return {name for name in self._targets if not self._has_answered(name)}

    def _has_answered(self, server: str) -> bool:
        progress = self._recorder.progress(server, self._plan.forward.name)
        return server in self._heard or progress.offset > 0 or progress.exit_code is not None

    async def _end_forward(self, target: Target) -> str:
        """Ends what may still run there of the way forward, and reads its journal to the end: it may have begun without
        our hearing of it, or gone on when the worker before died. '' or why nothing can be taken back there."""
        name = target.name
        if self._has_ended(name) or name in self._unended:
            return self._unended.get(name, "")
        has_answered = self._has_answered(name)
        try:
            await self._with_room(lambda: self._kill(target), seconds=ROOM_SECONDS)
            await self._follow(self._plan.forward, target, is_over=True)
        except RemoteError as error:
            if has_answered and not isinstance(error, ConnectError):  # what cannot be ended must not keep the site away
                self._tell(target, str(error))
                self._unended[name] = ""  # once is enough
            else:
                self._unended[name] = f"{error} {_RUNS_ON if has_answered else _LEFT}"
        return self._unended.get(name, "")

    async def _kill(self, target: Target) -> None:
        """Ends the run of the way forward. Raises RemoteError."""
        identity = script.run_id(self._deployment, target, self._plan.forward)

        async def attempt(connection: Connection) -> int:
            await run.kill(connection, target.name, identity)
            return 0

        await self._insist(target, attempt)

    async def _insist(self, target: Target, attempt: Callable[[Connection], Awaitable[int]]) -> int:
        """Tries until it works, the error is not one of the way, or the server was away for too long."""
        silent_since, lost_since, pause, is_told, has_lost = 0.0, 0.0, 0.2, False, False
        while True:
            connection = None
            began = time.monotonic()
            try:
                connection = await self._reach.get(target.id)
                began = time.monotonic()
                return await attempt(connection)
            except NotInstalledError:
                assert connection is not None
                await run.install(connection, target.name)
            except ConnectError as error:
                now = time.monotonic()
                if connection is not None:
                    self._reach.drop(target.id, connection)
                    is_steady = now - began > STEADY_SECONDS and self._has_answered(target.name)
                    if is_steady:
                        silent_since = now
                    if is_steady or not (has_lost or self._cancelled.is_set()):
                        # that an open connection is dead may have taken long to notice: a new one is tried as well
                        lost_since, pause, is_told = now, 0.2, False
                    has_lost = True
                silent_since, lost_since = silent_since or began, lost_since or began
                until = lost_since + self._patience(target.name, lost_since)
                if not error.transient or isinstance(error, HostKeyError) or now > until:
                    raise
                if now - silent_since > NOTICE_SECONDS and not is_told:
                    is_told = True
                    self._tell(target, _waiting(target.name, now - silent_since, until - now))
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))
                pause = min(pause * 2, 3.0)

    def _patience(self, server: str, lost_since: float) -> float:
        """How many seconds this server is waited for."""
        if self._has_answered(server):  # in rounds, the others must not wait once more
            return FIRST_CONTACT_SECONDS if self._plan.is_in_rounds and server in self._lost else LOST_CONTACT_SECONDS
        if server in self._lost or self._cancelled.is_set():
            return max(SILENT_SECONDS, self._sent_at.get(server, 0.0) + STALE_SECONDS - lost_since)
        return FIRST_CONTACT_SECONDS

    def _tell(self, target: Target, text: str) -> None:
        """A line of our own in the deployment's log."""
        name = self._plan.forward.name
        self._recorder.record(target.name, name, [Line(text)], self._recorder.progress(target.name, name))

    def _is_past_going_back(self) -> bool:
        """True where all of several servers have done everything and some was let clean up: it may have forgotten by
        now what it served before. One that went back by itself takes the others with it all the same."""
        last = {step.position for step in self._plan.groups[-1].steps}
        has_begun = bool(last & set(self._observed.failed_step.values()))
        return len(self._plan.groups) > 1 and has_begun and not self._observed.undoing

    async def _clean_up(self) -> None:
        """Has the servers that went down or away while they cleaned up do it once more. What one keeps that stays away,
        the next deployment takes over (commands/lock.py)."""
        left = [target for name, target in self._targets.items() if not self._has_ended(name, well=True)]
        errors = await asyncio.gather(*(self._clean_up_on(target) for target in left))
        for target, error in zip(left, errors, strict=True):
            if error:
                self._tell(target, f"{error} All was done there but cleaning up: the next deployment does that.")

    async def _clean_up_on(self, target: Target) -> str:
        if target.name in self._lost:
            return f"{target.name} does not answer any more."
        if why := await self._end_forward(target):
            return why
        return "" if self._has_ended(target.name, well=True) else await self._settle(self._plan.last_word, target)

    async def _take_back(self) -> None:
        """Undoes on every server that was reached and has not undone it all by itself."""
        self._recorder.enter(Phase.UNDO)
        if self._plan.is_in_rounds:
            errors = await self._take_back_in_rounds()
        else:
            waiting = [
                target
                for name, target in self._targets.items()
                if name in self._observed.reached and not (name in self._observed.undone and self._ending == "failed")
            ]
            errors = await asyncio.gather(*(self._undo(self._plan.undo, target) for target in waiting))
        failed = [f"Taking back: {error}" for error in errors if error]
        if failed:
            self._error = "\n".join([self._error, *failed])

    async def _take_back_in_rounds(self) -> list[str]:
        """Takes back round by round. A server that gets requests is left as it is, and one that could not be taken back
        is not given any (`$apart` on the balancer)."""
        reached = [target for name, target in self._targets.items() if name in self._observed.reached]
        await asyncio.gather(*map(self._end_forward, reached))  # who may serve is only known when all was heard
        errors: list[str] = []
        gone: set[str] = set()
        is_drained = False
        for group in self._plan.undo_groups:
            is_of_round = bool(group.steps[0].task.servers)
            names = [name for name in group.servers if name in self._observed.reached and name not in gone]
            if is_of_round and not is_drained:
                serving = [name for name in names if self._may_serve(name)]
                self._left.update(serving)
                errors += [f"{name} stays as it is: {_UNDRAINED}" for name in serving]
                names = [name for name in names if name not in serving]
            said = await asyncio.gather(*(self._undo(group, self._targets[name]) for name in names))
            failed = {name for name, error in zip(names, said, strict=True) if error}
            errors += filter(None, said)
            gone |= {name for name in failed if self._recorder.progress(name, group.name).exit_code is None}
            is_drained = bool(names) and not failed
            if is_of_round:
                self._apart |= failed
        return errors

    def _may_serve(self, server: str) -> bool:
        """True where the server had gone live, and the balancer was asked to give it requests."""
        steps = self._plan.forward.steps
        own = [step.position for step in steps if step.task.servers and server in step.servers]
        began, balancer = self._observed.failed_step, self._plan.site.balancer
        if not own or balancer is None or began.get(server, 0) < own[0]:
            return False
        return began.get(balancer.name, 0) > own[-1]

    async def _undo(self, group: Group, target: Target) -> str:
        """Undoes on one server, once more when it went down meanwhile; '' or what went wrong."""
        if why := await self._end_forward(target):
            return why
        self._observed.explained.pop(target.name, None)
        error = await self._settle(group, target)
        if self._recorder.progress(target.name, group.name).exit_code == INTERRUPTED:
            error = await self._settle(group.again, target)
        return error

    async def _decide(self, ending: str, error: str) -> None:
        self._ending, self._error = ending, error
        await self._recorder.decide(ending, error)

    def _outcome(self) -> Outcome:
        if not self._left and all(self._has_kept(target.name) for target in self._plan.site.targets):
            return Outcome("success", "")  # stopped or interrupted when all was done: nothing was left to take back
        if self._ending == "failed" and self._observed.took_back and not self._left:
            return Outcome("rolled_back", self._error)
        return Outcome(self._ending, self._error)

    def _has_kept(self, server: str) -> bool:
        """True where undoing went well and left the release in place. One that is gone back to may have served before,
        too: there the last step must have begun."""
        observed = self._observed
        is_undone = server in observed.undone and server not in observed.failed_undo
        last = max(step.position for step in self._plan.forward.steps if server in step.servers)
        is_done = not self._plan.is_rollback or observed.failed_step.get(server) == last
        return is_undone and is_done and observed.current.get(server) == self._plan.release

    def _explain(self, group: Group, target: Target, code: int) -> str:
        """What went wrong in a run, as a person wants to hear it."""
        name = target.name
        observed = self._observed
        position = (observed.failed_undo if group.is_undo else observed.failed_step).get(name)
        step = next(
            (step.task.name for step in self._plan.steps if step.position == position), group.steps[0].task.name
        )
        if explained := observed.explained.get(name):
            return f"{name}, step '{step}': {explained}"
        if code == INTERRUPTED:
            why = "it was killed, or the server restarted or ran out of memory"
            return f"{name}: the run was interrupted during '{step}': {why}."
        last = "" if group.is_undo else observed.last_line.get(name, "")
        return (
            f"{name}: step '{step}' failed with exit code {code}" + (f": {last}" if last else ".") + _hint(code, last)
        )


def _waiting(server: str, waited: float, left: float) -> str:
    """Both in seconds."""
    now = datetime.now(UTC)
    since, until = now - timedelta(seconds=waited), now + timedelta(seconds=left)
    return f"Waiting for {server}: no answer since {since:%H:%M:%S}, until {until:%H:%M:%S} (UTC)."


def observe(observed: Observed, plan: Plan, server: str, item: Line | Frame) -> None:
    """Takes one item of a server's journal into what is known of the deployment."""
    if isinstance(item, Line):
        if item.text.strip() and server not in observed.undoing:
            observed.last_line[server] = item.text.strip()[-300:]
        return
    if item.kind == "explain":
        observed.explained.setdefault(server, item.rest)
    elif item.kind == "begin":
        _begin(observed, plan, server, int(item.rest))
    elif item.kind == "end":
        _end(observed, plan, server, *map(int, item.rest.split()))
    elif item.kind == "gate":
        observed.gates[server] = int(item.rest)
    elif item.kind == "await":
        (observed.awaiting_image if item.rest == "image" else observed.awaiting).add(server)
    elif item.kind == "note":
        key, _, value = item.rest.partition(" ")
        _note(observed, server, key, value)


def _begin(observed: Observed, plan: Plan, server: str, position: int) -> None:
    if plan.steps[position].task.phase is Phase.UNDO:
        observed.undoing.add(server)
    else:
        observed.failed_step[server] = position
        observed.last_line.pop(server, None)  # what another step printed explains nothing


def _end(observed: Observed, plan: Plan, server: str, position: int, code: int) -> None:
    last = next((step for step in reversed(plan.undo.steps) if server in step.servers), None)
    if last and position == last.position and code == 0:
        observed.undone.add(server)
    if code != 0 and plan.steps[position].task.phase is Phase.UNDO:
        observed.failed_undo[server] = position


def _note(observed: Observed, server: str, key: str, value: str) -> None:
    if key == "commit":
        observed.commit = value.split("\t", 1)[0]
    elif key == "took_back":
        observed.took_back[server] = value
    elif key == "canary":
        observed.canary[value.rsplit(" ", 1)[-1]] = value
    elif key in ("image", "digest"):
        setattr(observed, key, value)
    elif key == "current":
        observed.current[server] = value
        observed.releases[server] = []
    elif key == "release":
        observed.releases[server].append(value)


def _hint(code: int, last: str) -> str:
    if "No space left on device" in last or "Disk quota exceeded" in last:
        return " The disk is full: free some space and deploy again."
    if code == 124:
        return " It took too long and was ended."
    if code == 127:
        return " A program is missing on the server: install it there, or change the command."
    if code in (137, -9):
        return " It was killed, most likely because the server ran out of memory."
    return ""
