"""Runs that wait at gates: the engine's scripts under devflow-run, for real on this machine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from devflow.engine import script
from devflow.engine.output import Frame, JournalReader
from devflow.engine.plan import Plan, Site, Target, place
from devflow.engine.script import RunSecrets
from devflow.engine.task import Phase, Task
from devflow.remote import run
from devflow.remote.run import INTERRUPTED, Follower
from devflow.remote.transport import LocalConnection

DEPLOYMENT = f"d{os.getpid()}"
NONCE = "0123456789abcdef01234567"
SERVERS = (Target(id="s1", name="web1"), Target(id="s2", name="web2"))


def plan(home: Path) -> Plan:
    """Three groups: one that takes the lock, one that migrates on the first server, one that switches."""
    root = home / "site"
    (root / ".devflow").mkdir(parents=True)
    site = Site("shop production", "e0", "/srv/git/shop.git", "shop-1", "main", str(root), 5, SERVERS)
    phases = {Phase.PREFLIGHT: 'echo "held $deployment x" >"$root/.devflow/lock"\n'}
    tasks = [
        Task(phase.value, phase, phases.get(phase, f"echo {phase.value}\n"), "undone", is_builtin=True)
        for phase in (Phase.PREFLIGHT, Phase.MIGRATE, Phase.ACTIVATE, Phase.UNDO)
    ]
    return Plan("atomic", "small", "r2", "", False, site, place(site, tasks))


class Viewer:
    """A run on the first server being followed. `frames` are kind and rest of what it told so far."""

    def __init__(self, follower: Follower, offset: int) -> None:
        self.follower, self.reader = follower, JournalReader(NONCE, offset)
        self.frames: list[tuple[str, str]] = []
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> int:
        async for chunk in self.follower.chunks():
            items = self.reader.feed(chunk)
            self.frames += [(item.kind, item.rest) for item in items if isinstance(item, Frame)]
        return await self.follower.exit_code()

    async def has_come_to(self, gate: int) -> None:
        await eventually(lambda: ("gate", str(gate)) in self.frames)

    async def end(self) -> int:
        async with asyncio.timeout(20):
            code = await self.reading
        self.follower.close()
        return code

    def break_off(self) -> None:
        self.reading.cancel()
        self.follower.close()


def run_id(made: Plan) -> str:
    return script.run_id(DEPLOYMENT, SERVERS[0], made.forward)


async def view(connection: LocalConnection, made: Plan, offset: int = 0) -> Viewer:
    rendered = script.render(
        made, made.forward, SERVERS[0], deployment=DEPLOYMENT, commit="", secrets=RunSecrets(), nonce=NONCE
    )
    follower = await run.follow(connection, "web1", rendered.run_id, offset, rendered.text, listens=True)
    return Viewer(follower, offset)


async def eventually(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_run_goes_on_when_its_gates_are_opened(connection: LocalConnection, home: Path) -> None:
    viewer = await view(connection, plan(home))
    await viewer.has_come_to(2)
    await asyncio.sleep(0.2)
    assert viewer.frames[-1] == ("gate", "2")
    viewer.follower.open_gate(2)
    await viewer.has_come_to(3)
    viewer.follower.open_gate(3)
    assert await viewer.end() == 0
    assert viewer.frames[-1] == ("ended", "0")


async def test_gates_may_be_opened_before_the_run_comes_to_them_and_twice(
    connection: LocalConnection, home: Path
) -> None:
    viewer = await view(connection, plan(home))
    for gate in (2, 2, 3, 3, 2):
        viewer.follower.open_gate(gate)
    assert await viewer.end() == 0
    assert [rest for kind, rest in viewer.frames if kind == "gate"] == ["2", "3"]


async def test_another_follower_opens_the_gates_of_a_run_that_waits(connection: LocalConnection, home: Path) -> None:
    made = plan(home)
    first = await view(connection, made)
    await first.has_come_to(2)
    first.break_off()
    second = await view(connection, made, first.reader.offset)
    second.follower.open_gate(2)
    await second.has_come_to(3)
    second.follower.open_gate(3)
    assert await second.end() == 0
    begun = [rest for kind, rest in first.frames + second.frames if kind == "begin"]
    assert begun == ["0", "1", "2"]


async def test_a_run_that_waits_for_an_image_is_told_which(connection: LocalConnection, home: Path) -> None:
    wait = 'frame "await image"\nuntil { read -r told <"$run/told_image"; } 2>/dev/null; do wait_there; done\n'
    made = plan(home)
    task = replace(made.steps[0].task, command=made.steps[0].task.command + wait + 'note image "$told"\n')
    viewer = await view(connection, replace(made, steps=(replace(made.steps[0], task=task), *made.steps[1:])))
    await eventually(lambda: ("await", "image") in viewer.frames)
    viewer.follower._process.send(b"image ../x\nimage\n")
    viewer.follower.tell_image("c0ffee")
    for gate in (2, 3):
        viewer.follower.open_gate(gate)
    assert await viewer.end() == 0
    assert ("note", "image c0ffee") in viewer.frames


async def test_a_run_that_waits_can_be_killed(connection: LocalConnection, home: Path) -> None:
    made = plan(home)
    viewer = await view(connection, made)
    await viewer.has_come_to(2)
    await run.kill(connection, "web1", run_id(made))
    assert await viewer.end() == INTERRUPTED


async def test_behind_a_gate_the_lock_must_still_be_held(connection: LocalConnection, home: Path) -> None:
    made = plan(home)
    viewer = await view(connection, made)
    await viewer.has_come_to(2)
    (home / "site" / ".devflow" / "lock").unlink()
    viewer.follower.open_gate(2)
    assert await viewer.end() == 1
    assert viewer.frames[-2][0] == "explain"
    assert ("begin", "1") not in viewer.frames


async def test_what_is_no_number_opens_nothing(connection: LocalConnection, home: Path) -> None:
    made = plan(home)
    viewer = await view(connection, made)
    await viewer.has_come_to(2)
    viewer.follower._process.send(b"open ../../pwned\nopen\nshut 2\nopen 2x\n")
    await asyncio.sleep(0.3)
    assert viewer.frames[-1] == ("gate", "2")
    assert not list(home.rglob("*pwned*"))
    viewer.follower.open_gate(2)
    viewer.follower.open_gate(3)
    assert await viewer.end() == 0


async def test_nothing_is_left_running_by_those_who_follow(connection: LocalConnection, home: Path) -> None:
    made = plan(home)
    viewer = await view(connection, made)
    for gate in (2, 3):
        viewer.follower.open_gate(gate)
    assert await viewer.end() == 0
    await eventually(lambda: not _following(run_id(made)))


def _following(name: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if name.encode() in words:
            found.append(process.name)
    return found
