"""How long a log line takes from the worker's hands to 200 viewers, at 500 lines a second, in a panel that runs."""

from __future__ import annotations

import asyncio
import re
import statistics
import tempfile
import time
from pathlib import Path

from bench.common import Result
from tests.support.panel import Panel, Writer

VIEWERS = 200
LINES_PER_SECOND = 500
SECONDS = 15
GOAL_SECONDS = 0.25

_SENT = re.compile(rb'"text": "(\d+\.\d+) ')
_LINE_END = rb"\n"  # as JSON writes it


class Viewer(asyncio.Protocol):
    """Counts lines and takes the age of each event's first line, as it comes in; parses no more than that."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._rest = b""
        self.lines = 0
        self.ages: list[float] = []
        self.connected = asyncio.Event()
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.time()
        self.connected.set()
        *blocks, self._rest = (self._rest + data).split(b"\n\n")
        for block in blocks:
            if sent := _SENT.search(block):
                self.ages.append(now - float(sent[1]))
                self.lines += block.count(_LINE_END)
            elif b"event: deployment.completed" in block:
                self.ended.set()


def main() -> None:
    folder = tempfile.TemporaryDirectory(prefix="devflow-bench-")
    with folder as path, Panel(Path(path) / "data") as panel, panel.writer() as writer:
        viewers = asyncio.run(watch(panel, writer))
    lost = LINES_PER_SECOND * SECONDS * VIEWERS - sum(viewer.lines for viewer in viewers)
    assert lost == 0, f"{lost} lines did not arrive"
    ages = [age for viewer in viewers for age in viewer.ages]
    p95 = statistics.quantiles(ages, n=20)[-1]
    Result(
        bench="stream",
        case=f"p95, {VIEWERS} viewers, {LINES_PER_SECOND} lines/s, all delivered",
        unit="s",
        value=round(p95, 4),
        runs=len(ages),
        against=f"goal {GOAL_SECONDS} s",
        ratio=round(p95 / GOAL_SECONDS, 3),
    ).print()


async def watch(panel: Panel, writer: Writer) -> list[Viewer]:
    """All viewers, after the last event reached them."""
    loop = asyncio.get_running_loop()
    request = (
        f"GET /api/v1/deployments/{writer.deployment}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {writer.token}\r\n\r\n"
    ).encode()
    viewers = [Viewer(request) for _ in range(VIEWERS)]
    for viewer in viewers:
        await loop.create_connection(lambda viewer=viewer: viewer, "127.0.0.1", panel.port)  # type: ignore[misc]
    await asyncio.gather(*(viewer.connected.wait() for viewer in viewers))
    text = "{now:.6f} Compiled module {n} of the application"
    writer.send(lines=LINES_PER_SECOND * SECONDS, per_second=LINES_PER_SECOND, text=text)
    await loop.run_in_executor(None, writer.read)
    writer.send(complete=True)
    async with asyncio.timeout(30):
        await asyncio.gather(*(viewer.ended.wait() for viewer in viewers))
    return viewers
