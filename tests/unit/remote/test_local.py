"""Programs on this machine, in the loop that the worker has."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvloop

from devflow.core.errors import ConnectError
from devflow.remote.transport import LocalConnection, Process


def test_a_program_that_has_ended_before_it_is_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """As devflow-run that is not installed: uvloop has closed the pipe by then."""
    begin = asyncio.create_subprocess_exec

    async def begin_and_end(*command: str, **options: Any) -> Any:
        process = await begin(*command, **options)
        await process.wait()
        return process

    async def ended() -> tuple[int, str]:
        process = await LocalConnection().start("exit 97", b"script")
        with pytest.raises(ConnectError, match="the program has ended"):
            await feed_for_seconds(process)
        return await process.wait()

    async def feed_for_seconds(process: Process) -> None:
        for _ in range(500):  # uvloop tells it when its loop has come round to the pipe
            await process.feed(b"more")
            await asyncio.sleep(0.01)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", begin_and_end)
    assert uvloop.run(ended()) == (97, "")
