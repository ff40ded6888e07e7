"""Facts: parsed from text, and read from this machine."""

from __future__ import annotations

import os
import platform

import pytest

from devflow.core.errors import RemoteError
from devflow.remote import facts
from devflow.remote.transport import Completed, LocalConnection

OUTPUT = """\
Welcome to Example OS!
begin=devflow
os=Debian GNU/Linux 13 (trixie)
kernel=6.12
architecture=x86_64
cpus=4
user=deploy
shell=/bin/bash
memory_kb=8000000
memory_free_kb=
disk_kb=x
tool=git
tool=php
git=2.47.3
php=8.4.11
end=devflow
bye
"""


def test_parsing() -> None:
    assert facts.parse(OUTPUT) == {
        "os": "Debian GNU/Linux 13 (trixie)",
        "kernel": "6.12",
        "architecture": "x86_64",
        "cpus": 4,
        "user": "deploy",
        "shell": "/bin/bash",
        "memory_kb": 8_000_000,
        "tools": ["git", "php"],
        "git": "2.47.3",
        "php": "8.4.11",
    }


async def test_reading_this_machine() -> None:
    read = await facts.read(LocalConnection(), "here")
    assert read["cpus"] == os.cpu_count()
    assert read["architecture"] == platform.machine()
    assert read["memory_kb"] > read["memory_free_kb"] > 0
    assert read["disk_kb"] >= read["disk_free_kb"] >= 0
    assert {"git", "tar"} <= set(read["tools"])
    assert read["user"]
    assert read["os"]


@pytest.mark.parametrize("answer", [Completed(1, "This account is not available.\n", ""), Completed(0, "", "")])
async def test_a_login_shell_that_runs_nothing_is_explained(answer: Completed) -> None:
    class Refusing(LocalConnection):
        async def run(self, command: str, stdin: bytes = b"", timeout_seconds: float = 60) -> Completed:
            return answer

    with pytest.raises(RemoteError, match="web1: the login shell does not run commands") as refused:
        await facts.read(Refusing(), "web1")
    assert refused.value.server == "web1"
