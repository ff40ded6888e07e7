"""The kept SSH connection: a shell waits in it for the next command, and nothing depends on its being there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from devflow.core.errors import ConnectError
from devflow.remote.transport import LATEST_SECONDS, LONG_CHANNELS, Address, Connection, Process, SshConnection, connect
from tests.support.vps import Vps

pytestmark = pytest.mark.integration

READY = "pgrep -u deploy -fc 'IFS= read -r command'"
"""Counts the shells that wait (sshd's own login shell becomes the one that it was told to start)."""


@pytest.fixture
async def connection(vps: Vps) -> AsyncIterator[Connection]:
    made = await connect(Address("one", vps.host, vps.port, vps.user, vps.private_key, vps.host_key))
    yield made
    made.close()


async def finish(process: Process) -> tuple[bytes, int, str]:
    """Output, exit code and stderr."""
    output = b"".join([chunk async for chunk in process.chunks()])
    code, stderr = await process.wait()
    process.close()
    return output, code, stderr


async def wait_for_shell(connection: Connection) -> None:
    """One of this connection: that of the test before may not have ended yet."""
    assert isinstance(connection, SshConnection)
    async with asyncio.timeout(10):
        while not connection._waiting_shell.done():
            await asyncio.sleep(0.02)
        while (await connection.run(READY)).stdout.strip() == "0":
            await asyncio.sleep(0.02)


async def test_what_starts_in_the_waiting_shell_is_as_if_started_alone(connection: Connection) -> None:
    command = "sh -c 'wc -c; echo \"it'\\''s\" \"$HOME\" >&2; exit 3'"
    for _ in range(3):
        await wait_for_shell(connection)
        started = await connection.start(command, b"\nx" * 100_000)
        assert await finish(started) == (b"200000\n", 3, "it's /home/deploy\n")


async def test_the_next_shell_waits_while_a_command_runs(connection: Connection) -> None:
    await wait_for_shell(connection)
    running = await connection.start("sh -c 'cat >/dev/null; sleep 60'")
    await wait_for_shell(connection)
    assert await finish(await connection.start("echo second")) == (b"second\n", 0, "")
    running.close()


async def test_a_waiting_shell_that_was_killed_is_done_without(connection: Connection) -> None:
    await wait_for_shell(connection)
    await connection.run("pkill -u deploy -f 'IFS= read -r command'")
    await asyncio.sleep(0.2)
    assert await finish(await connection.start("echo", b"")) == (b"\n", 0, "")


async def test_as_many_commands_as_are_allowed_leave_room_for_a_short_one(connection: Connection) -> None:
    running = [await connection.start("sh -c 'cat >/dev/null; sleep 60'") for _ in range(LONG_CHANNELS)]
    await wait_for_shell(connection)
    assert (await connection.run("echo room")).stdout == "room\n"
    for process in running:
        process.close()


async def test_what_a_frozen_server_reads_too_late_is_not_begun(connection: Connection, vps: Vps) -> None:
    await wait_for_shell(connection)
    await connection.run("rm -f /tmp/begun")
    vps.freeze()
    try:
        started = await connection.start("touch /tmp/begun", b"")
        await asyncio.sleep(LATEST_SECONDS + 2)
    finally:
        vps.thaw()
    with pytest.raises(ConnectError):
        await finish(started)
    await asyncio.sleep(1)
    assert vps.run("ls /tmp/begun", check=False).stdout == ""


async def test_what_a_server_reads_late_is_begun(connection: Connection, vps: Vps) -> None:
    await wait_for_shell(connection)
    vps.freeze()
    try:
        started = await connection.start("echo late", b"")
        await asyncio.sleep(4)
    finally:
        vps.thaw()
    assert await finish(started) == (b"late\n", 0, "")
