"""devflow-run for real: on this machine, with a home folder of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devflow.remote import run
from devflow.remote.transport import LocalConnection


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
async def connection(home: Path) -> AsyncIterator[LocalConnection]:
    """A connection to this machine, with devflow-run installed; whatever a test leaves running is ended."""
    connection = LocalConnection()
    await run.install(connection, "here")
    yield connection
    for folder in (home / ".devflow" / "runs").iterdir():
        if not folder.name.startswith("."):
            await run.kill(connection, "here", folder.name)
