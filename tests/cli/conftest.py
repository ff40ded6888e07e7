"""The command line, run as a script runs it, against a panel that really runs and deploys to this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.gitrepo import GitRepository
from tests.support.panel import SOURCE, Panel

ADMIN = "ada@example.test"


@dataclass(frozen=True)
class Result:
    """How a command ended; `out` and `err` are what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document that was printed."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Cli:
    """`devflow` with the address and the token in its environment; `home` is its user's."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str, stdin: str = "", status: int | None = 0) -> Result:
        """Runs a command to its end, which must be with `status`, and never with a traceback."""
        with self.start(*arguments) as process:
            out, err = process.communicate(stdin, timeout=60)
        assert "Traceback" not in err, err
        assert status is None or process.returncode == status, f"{process.returncode}: {out}{err}"
        return Result(process.returncode, out, err)

    @contextmanager
    def start(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """The command, running; killed in the end."""
        command = [sys.executable, "-P", "-m", "devflow.cli.main", *arguments]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command,
            env=self.all_variables(),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
            preexec_fn=_obey_ctrl_c,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def with_environment(self, **changes: str) -> Cli:
        return replace(self, environment={**self.environment, **changes})

    def all_variables(self) -> dict[str, str]:
        """The whole environment of a command."""
        kept = {key: os.environ[key] for key in ("PATH", "LANG", "TMPDIR") if key in os.environ}
        return {
            **kept,
            "HOME": str(self.home),
            "PYTHONPATH": str(SOURCE / "src"),
            **self.environment,
        }


@dataclass(frozen=True)
class Shop:
    """A project, deployed from `repository` to this machine, into `root`, by its environment `production`."""

    slug: str
    repository: GitRepository
    root: Path

    def page(self) -> str:
        """What the site shows."""
        return (self.root / "current" / "index.html").read_text()


@pytest.fixture(scope="session")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    """A panel with a first user and this machine as the server `local`. Its journals are in a home of their own."""
    folder = tmp_path_factory.mktemp("cli")
    with pytest.MonkeyPatch.context() as patch:
        (folder / "home").mkdir()
        patch.setenv("HOME", str(folder / "home"))
        with Panel(folder / "data", DEVFLOW_ALLOW_PRIVATE_ADDRESSES="127.0.0.0/8") as running:
            made = running.run(
                "admin", "create-user", "--email", ADMIN, "--password-stdin", stdin="correct horse battery\n"
            )
            assert made.returncode == 0, made.stderr
            yield running


@pytest.fixture(scope="session")
def tokens(panel: Panel) -> dict[str, str]:
    """A token of the first user for each scope."""
    return {
        name: panel.run("admin", "create-token", "--email", ADMIN, "--scopes", name).stdout.strip()
        for name in ("read", "deploy", "admin")
    }


@pytest.fixture
def stranger(tmp_path: Path) -> Cli:
    """Somebody who has not logged in."""
    home = tmp_path / "home"
    home.mkdir()
    return Cli(home)


@pytest.fixture
def cli(stranger: Cli, panel: Panel, tokens: dict[str, str]) -> Cli:
    """The administrator."""
    return stranger.with_environment(DEVFLOW_URL=panel.url, DEVFLOW_TOKEN=tokens["admin"])


@pytest.fixture
def shop(cli: Cli, tmp_path: Path, request: pytest.FixtureRequest) -> Shop:
    """A static site with one commit, added by the command line, and not deployed yet."""
    slug = "shop-" + os.urandom(3).hex()
    repository = GitRepository.local(tmp_path / "shop.git", tmp_path / "work")
    repository.commit({"index.html": "first"})
    if cli("servers", "show", "local", status=None).status:
        cli("servers", "add", "local", "--local")
        cli("servers", "check", "local")
    root = tmp_path / "sites" / "shop"
    root.parent.mkdir()
    cli("projects", "add", slug, "--repository", repository.path, "--recipe", "static")
    cli("environments", "add", slug, "production", "--branch", "main", "--server", "local", "--root", str(root))
    return Shop(slug, repository, root)


def _obey_ctrl_c() -> None:
    """As in a terminal, also where the tests run in the background, whose processes ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
