"""This machine as a server (SSH itself is tried in integration/)."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from devflow.core.errors import ConnectError
from devflow.remote.transport import Address, LocalConnection, connect


async def test_both_outputs_and_the_exit_code_come_back() -> None:
    done = await LocalConnection().run("echo out; echo err >&2; exit 3")
    assert (done.exit_code, done.stdout, done.stderr) == (3, "out\n", "err\n")


async def test_standard_input_arrives_whole() -> None:
    done = await LocalConnection().run("wc -c", b"x" * 1_000_000)
    assert done.stdout.strip() == "1000000"


async def test_output_that_is_no_utf8_is_shown_all_the_same() -> None:
    done = await LocalConnection().run("printf '\\377ok'")
    assert done.stdout == "\N{REPLACEMENT CHARACTER}ok"


async def test_a_command_that_takes_too_long_is_given_up() -> None:
    begun = time.monotonic()
    with pytest.raises(ConnectError, match="no answer within") as refused:
        await LocalConnection().run("sleep 30", timeout_seconds=0.2)
    assert refused.value.transient
    assert time.monotonic() - begun < 10
    await asyncio.sleep(0.1)  # for the loop to see the end of what was given up


async def test_the_panels_own_settings_are_not_handed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("DATABASE_URL", "DEVFLOW_KEY_FILE", "DJANGO_SETTINGS_MODULE"):
        monkeypatch.setenv(name, "private")
    done = await LocalConnection().run("env; pwd")
    assert "private" not in done.stdout
    assert done.stdout.splitlines()[-1] == str(tmp_path)
    assert "PATH=" + os.environ["PATH"] in done.stdout


async def test_a_local_server_needs_no_ssh() -> None:
    connection = await connect(Address(name="here", is_local=True))
    assert connection.is_open
    assert (await connection.run("echo hello")).stdout == "hello\n"
