"""Servers that exist in memory only: they read the engine's scripts and write the journals that those would write.

What a step does is said beforehand by `Acts`; everything else (a second start only follows, a run goes on without a
follower, a kill ends it, undoing after a failure) is as devflow-run does it.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from devflow.core.errors import ConnectError
from devflow.remote import run
from devflow.remote.transport import Completed, Connection

UPTIME = "100.00"


@dataclass(slots=True)
class Act:
    """What a step does: prints lines, waits for `gate`, notes, explains, ends with `code` (None: shot, without end)."""

    code: int | None = 0
    lines: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    explain: str = ""
    gate: asyncio.Event | None = None


@dataclass(slots=True)
class FakeRun:
    journal: bytearray = field(default_factory=bytearray)
    code: int | None = None
    is_over: bool = False
    task: asyncio.Task[None] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    open_gates: set[int] = field(default_factory=set)
    commit: str = ""
    steered: list[str] = field(default_factory=list)

    def tell_commit(self, commit: str) -> None:
        self.commit = commit
        self._announce()

    async def await_commit(self) -> None:
        while not self.commit:
            await self.changed.wait()

    def open_gate(self, number: int) -> None:
        self.open_gates.add(number)
        self._announce()

    async def wait_at(self, gate: int) -> None:
        while gate not in self.open_gates:
            await self.changed.wait()

    def write(self, text: str) -> None:
        self.journal += text.encode()
        self._announce()

    def end(self, code: int | None) -> None:
        self.code, self.is_over = code, True
        self._announce()

    def _announce(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class FakeServer:
    """`acts` maps the position of a step in the plan to what it does there; `ran` is what was carried out, in order."""

    def __init__(self, name: str, acts: dict[int, Act]) -> None:
        self.name, self.acts = name, acts
        self.runs: dict[str, FakeRun] = {}
        self.awaiting: set[int] = set()
        self.scripts: dict[str, str] = {}
        self.ran: list[int] = []
        self.killed: list[str] = []
        self.is_installed = True
        self.is_frozen = False  # takes what it is sent, and does not answer
        self.host_key = ""
        self.deaf_at = 0  # never hears that this gate is open

    def start(self, run_id: str, script: str) -> FakeRun:
        if run_id not in self.runs:
            self.scripts[run_id] = script
            self.runs[run_id] = begun = FakeRun()
            begun.task = asyncio.ensure_future(self._carry_out(begun, script))
        return self.runs[run_id]

    def kill(self, run_id: str) -> None:
        self.killed.append(run_id)
        found = self.runs.setdefault(run_id, FakeRun())
        if found.task is not None:
            found.task.cancel()
        if not found.is_over:
            found.end(None if found.task else 143)

    def shoot(self) -> None:
        """All processes die, as when the machine restarts."""
        for found in self.runs.values():
            if not found.is_over:
                assert found.task is not None
                found.task.cancel()
                found.end(None)

    async def _carry_out(self, run: FakeRun, script: str) -> None:
        nonce = re.search(r"^nonce=(\w+)$", script, re.MULTILINE)
        assert nonce is not None
        failed = script.partition("failed() {")[2].partition("}")[0]
        undo = [int(number) for number in re.findall(r"attempt(?:_if)? (\d+)", failed)]
        only = re.search(r"case \$1 in ([\d|]+)\)", failed)
        if "\nleads=0\n" in script and "\ncommit=''\n" in script:
            _, *parts = re.split(r"^task_(\d+)\(\) {$", script, flags=re.MULTILINE)
            self.awaiting = {
                int(number) for number, body in zip(parts[::2], parts[1::2], strict=True) if "told_commit" in body
            }
        worst = 0

        def frame(words: str) -> None:
            run.write(f"\x1e{nonce[1]} {UPTIME} {words}\x1e\n")

        for kind, number in re.findall(r"^(step|step_if|attempt|attempt_if|gate) (\d+)$", script, re.MULTILINE):
            if kind == "gate":
                frame(f"gate {number}")
                await run.wait_at(-1 if int(number) == self.deaf_at else int(number))
                continue
            code = await self._step(run, int(number), frame)
            if code is None:
                return
            worst = code or worst
            if code and kind.startswith("step"):
                for position in undo if only is None or number in only[1].split("|") else []:
                    if await self._step(run, position, frame) is None:
                        return
                break
        frame(f"ended {worst}")
        run.end(worst)

    async def _step(self, run: FakeRun, position: int, frame: Callable[[str], None]) -> int | None:
        act = self.acts.get(position, Act())
        self.ran.append(position)
        frame(f"begin {position}")
        for line in act.lines:
            run.write(f"{line}\n")
        if act.gate is not None:
            await act.gate.wait()
        if position in self.awaiting and not act.code:
            frame("await commit")
            await run.await_commit()
        for note in act.notes:
            frame(f"note {note}")
        if act.explain:
            frame(f"explain {act.explain}")
        if act.code is None:
            run.end(None)
        else:
            frame(f"end {position} {act.code}")
        return act.code


class FakeConnection:
    """A connection to a FakeServer. `cut` breaks it: whoever reads from it then learns that it was lost."""

    is_open = True

    def __init__(self, server: FakeServer) -> None:
        self._server = server
        self.host_key = ""
        self.lost = asyncio.Event()

    def cut(self) -> None:
        self.is_open = False
        self.lost.set()

    def close(self) -> None:
        self.cut()

    async def start(self, command: str, stdin: bytes = b"", *, stays_open: bool = False) -> FakeProcess:
        self._check()
        words = _words(command)
        assert len(words) <= 3 or int(words[3]) == len(stdin)
        assert stays_open == (len(words) > 3)
        if not self._server.is_installed:
            return FakeProcess(self, None, 0)
        assert words[0] == "start"
        if self._server.is_frozen:
            return FakeProcess(self, FakeRun(), 0)
        return FakeProcess(self, self._server.start(words[1], stdin.decode()), int(words[2]))

    async def run(self, command: str, stdin: bytes = b"", timeout_seconds: float = 60) -> Completed:
        self._check()
        if stdin:
            self._server.is_installed = True
            return Completed(0, "absent\n", "")
        words = _words(command)
        if not self._server.is_installed:
            return Completed(run.NOT_INSTALLED, "", "")
        assert words[0] == "kill"
        if self._server.is_frozen:
            await self.lost.wait()
            self._check()
        self._server.kill(words[1])
        return Completed(0, "", "")

    def _check(self) -> None:
        if not self.is_open:
            raise ConnectError(f"{self._server.name}: the connection was lost", transient=True)


def _words(command: str) -> list[str]:
    """What devflow-run is called with."""
    inner = shlex.split(shlex.split(command)[2])
    return inner[max(place for place, word in enumerate(inner) if "/devflow-run" in word) + 1 :]


class FakeProcess:
    """Follows a run from a byte; without a run devflow-run was not installed."""

    def __init__(self, connection: FakeConnection, run: FakeRun | None, offset: int) -> None:
        self._connection, self._run, self._offset = connection, run, offset

    async def chunks(self) -> AsyncIterator[bytes]:
        while self._run is not None:
            changed = self._run.changed
            if chunk := bytes(
                self._run.journal[self._offset : self._offset + 7]
            ):  # small, so that frames come in parts
                self._offset += len(chunk)
                yield chunk
            elif self._run.is_over:
                return
            else:
                await self._wait(changed)
            if self._connection.lost.is_set():
                raise ConnectError("the connection was lost", transient=True)

    async def _wait(self, changed: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(event.wait()) for event in (changed, self._connection.lost)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def wait(self) -> tuple[int, str]:
        if self._run is None:
            return run.NOT_INSTALLED, ""
        state = "interrupted" if self._run.code is None else f"ended {self._run.code}"
        return 0, f"devflow-run: {state}\n"

    def send(self, data: bytes) -> None:
        word, value = data.decode().split()
        if self._run is None:
            return
        if word == "commit":
            self._run.tell_commit(value)
        elif word == "canary":
            self._run.steered.append(value)
        else:
            assert word == "open"
            self._run.open_gate(int(value))

    async def feed(self, data: bytes) -> None:
        raise NotImplementedError

    def end_input(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        return


class FakeReach:
    """The way to fake servers, by their ids. `away` names those that cannot be reached; `connections` counts."""

    def __init__(self, servers: dict[str, FakeServer]) -> None:
        self.servers = servers
        self.away: set[str] = set()
        self.error: ConnectError | None = None
        self.connections = 0
        self._open: dict[str, FakeConnection] = {}

    async def get(self, server_id: str) -> Connection:
        if server_id in self.away:
            raise self.error or ConnectError(f"{server_id} cannot be reached", transient=True)
        kept = self._open.get(server_id)
        if kept is None or not kept.is_open:
            self.connections += 1
            kept = self._open[server_id] = FakeConnection(self.servers[server_id])
        return kept

    def drop(self, server_id: str, connection: Connection) -> None:
        connection.close()

    def cut(self, server_id: str = "") -> None:
        """Every open connection is lost, or the one to this server."""
        for each, connection in self._open.items():
            if server_id in ("", each):
                connection.cut()
