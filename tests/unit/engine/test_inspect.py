"""Looking into a repository through a server: this machine, with real git."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devflow.core.errors import RemoteError
from devflow.engine import inspect
from devflow.engine.plan import Site, Target
from devflow.engine.script import RunSecrets
from devflow.engine.task import Tree
from devflow.remote.transport import LocalConnection
from tests.support.gitrepo import GitRepository

HERE = Target(id="5e5e5e5e", name="here")


def site(repository: str, branch: str = "main") -> Site:
    return Site("shop production", "e0", repository, "shop-1", branch, "/srv/shop", 5, (HERE,))


@pytest.fixture
async def origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[GitRepository]:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    yield GitRepository.local(tmp_path / "origin.git", tmp_path / "work")
    await asyncio.sleep(0.1)  # for the loop to see the end of followers that were given up


async def look(origin: GitRepository, *, branch: str = "main", commit: str = "") -> inspect.Seen:
    secrets = RunSecrets(variables={"KEY": "secret"})
    return await inspect.look(
        LocalConnection(), site=site(origin.path, branch), target=HERE, commit=commit, secrets=secrets
    )


async def test_the_head_of_the_branch_and_its_files(origin: GitRepository) -> None:
    commit = origin.commit({"artisan": "", "composer.json": "{}", "app/x.php": ""})
    seen = await look(origin)
    assert seen == inspect.Seen(commit, Tree(frozenset({"app", "artisan", "composer.json"}), {"composer.json": "{}"}))


async def test_an_older_commit(origin: GitRepository) -> None:
    first = origin.commit({"index.html": ""})
    origin.commit({"artisan": ""})
    assert await look(origin, commit=first) == inspect.Seen(first, Tree(frozenset({"index.html"})))


async def test_what_is_in_the_watched_files(origin: GitRepository, tmp_path: Path) -> None:
    odd = "recipe: 'größe'\n" + "# \x1e \\ $HOME \t`id`\n" * 2_000
    files = {"devflow.yml": odd, ".env.example": "", "package.json": "x" * 65_537, "app/composer.json": "{}"}
    (tmp_path / "work" / "requirements.txt").symlink_to("/etc/hostname")
    (tmp_path / "work" / "pyproject.toml").write_bytes(b"\xef\xbb\xbfname = '\xff'\r\n\x00")
    seen = await look(origin, commit=origin.commit(files))
    assert seen.tree.contents == {
        "devflow.yml": odd,
        ".env.example": "",
        "pyproject.toml": "name = '\N{REPLACEMENT CHARACTER}'\r\n\N{REPLACEMENT CHARACTER}",
    }
    assert seen.left_out == {"package.json"}
    assert "requirements.txt" in seen.tree.files


async def test_the_reason_is_told(origin: GitRepository) -> None:
    origin.commit({"index.html": ""})
    with pytest.raises(RemoteError, match="here, looking into the repository: The repository has no branch 'gone'"):
        await look(origin, branch="gone")


async def test_what_takes_too_long_is_ended(
    origin: GitRepository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "git").write_text('#!/bin/sh\necho $$ >>"$HOME/git"; exec sleep 60\n')
    (tools / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setattr(inspect, "TIMEOUT_SECONDS", 1)
    with pytest.raises(RemoteError, match="fetching took more than 1 s"):
        await look(origin)
    pids = (tmp_path / "home" / "git").read_text().split()
    assert not [pid for pid in pids if Path(f"/proc/{pid}/exe").exists()]
