"""Facts: parsed from text, and read from this machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path

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


@pytest.mark.parametrize("has_compose", [True, False])
async def test_what_compose_projects_need_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_compose: bool
) -> None:
    for name, text in (("jq", ":"), ("docker", "exit 0" if has_compose else '[ "$1" != compose ]')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    tools = (await facts.read(LocalConnection(), "here"))["tools"]
    assert {"jq", "docker"} <= set(tools)
    assert ("docker compose" in tools) is has_compose


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
