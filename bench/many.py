"""Many deployments at once in one panel with one worker: what their viewers see, and what the panel needs."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from bench.idle import cpu_seconds, pss_bytes
from bench.ours import OurPanel
from tests.support.panel import Panel

PROCESSES = ("worker", "web", "postgres")
_STAMP = re.compile(r"(\d{10}\.\d+) ")


@dataclass
class Watched:
    """What the viewer of one deployment saw: its status, ages of steps' ends and of lines with a time before them."""

    status: str = ""
    step_ages: list[float] = field(default_factory=list)
    line_ages: list[float] = field(default_factory=list)
    lines: int = 0
    ended_at: float = 0.0

    def take(self, block: bytes) -> None:
        """One event as it came in. Of each log event the first line is the oldest."""
        now = time.time()
        fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line)
        kind, told = fields.get(b"event", b""), json.loads(fields.get(b"data", b"{}"))
        if kind == b"deployment.step" and told["duration_seconds"] is not None:
            began = datetime.fromisoformat(told["started_at"]).timestamp()
            self.step_ages.append(max(0.0, now - began - told["duration_seconds"]))
        elif kind == b"deployment.log" and (sent := _STAMP.match(told["text"])):
            self.line_ages.append(now - float(sent[1]))
            self.lines += told["text"].count("\n")
        elif kind == b"deployment.completed":
            self.status, self.ended_at = told["status"], now


@dataclass(frozen=True)
class Needed:
    """By process: processor seconds, and the most memory (PSS, bytes)."""

    cpu: dict[str, float]
    memory: dict[str, int]


def begin_and_watch(panel: OurPanel, projects: list[str], timeout_seconds: float) -> list[Watched]:
    """Deploys all of them at once; returns what a viewer of each saw, when all have ended."""
    deployments = [panel.begin(project) for project in projects]
    requests = [panel.request_of_events(deployment) for deployment in deployments]
    return asyncio.run(_watch_all(panel.panel.port, requests, timeout_seconds))


async def _watch_all(port: int, requests: list[bytes], timeout_seconds: float) -> list[Watched]:
    async with asyncio.timeout(timeout_seconds):
        return list(await asyncio.gather(*(_watch(port, request) for request in requests)))


async def _watch(port: int, request: bytes) -> Watched:
    """Reads the stream as it is sent: events are its lines that no length of a chunk stands between."""
    seen = Watched()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    try:
        writer.write(request)
        assert b" 200 " in await reader.readuntil(b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        rest = b""
        while not seen.status:
            length = int(await reader.readuntil(b"\r\n"), 16)
            *blocks, rest = (rest + (await reader.readexactly(length + 2))[:-2]).split(b"\n\n")
            for block in blocks:
                seen.take(block)
        return seen
    finally:
        writer.close()


@contextmanager
def needs(panel: Panel) -> Iterator[list[Needed]]:
    """What the panel's processes need meanwhile; it is there when this is left."""
    pids = {name: panel.child(name) for name in PROCESSES}
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    most = dict.fromkeys(PROCESSES, 0)
    is_over = threading.Event()

    def look() -> None:
        is_last = False
        while not is_last:
            is_last = is_over.wait(0.5)  # at the end, too: what is short is looked at once
            for name, pid in pids.items():
                most[name] = max(most[name], pss_bytes(pid))

    looking, found = threading.Thread(target=look, daemon=True), []
    looking.start()
    try:
        yield found
    finally:
        is_over.set()
        looking.join()
    found.append(Needed({name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}, most))
