"""Git repositories to deploy from: a bare one, on this machine or on a test server, that grows by commits."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

from .vps import QUICK, Vps

ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_AUTHOR_NAME": "Ada Example",
    "GIT_AUTHOR_EMAIL": "ada@example.test",
    "GIT_COMMITTER_NAME": "Ada Example",
    "GIT_COMMITTER_EMAIL": "ada@example.test",
}
INIT = ("git", "init", "--quiet", "--initial-branch", "main")


class GitRepository:
    """A bare repository at `path`. Make one with `local` or `on_server`.

    `work` is an empty folder of this machine, for the work tree.
    """

    def __init__(self, path: str, push_url: str, work: Path, environment: Mapping[str, str] | None = None) -> None:
        self.path = path
        self._push_url = push_url
        self._work = work
        self._environment = {**os.environ, **ENVIRONMENT, **(environment or {})}
        subprocess.run([*INIT, str(work)], env=self._environment, check=True)

    @classmethod
    def local(cls, path: Path, work: Path) -> Self:
        """Bare at `path` of this machine."""
        subprocess.run([*INIT, "--bare", str(path)], check=True)
        return cls(str(path), str(path), work)

    @classmethod
    def on_server(cls, vps: Vps, path: str, work: Path) -> Self:
        """Bare at `path` of the server, made by its user: the server fetches it as a local path."""
        vps.run(shlex.join([*INIT, "--bare", path]))
        push_url = f"ssh://{vps.user}@{vps.host}:{vps.port}{path}"
        return cls(path, push_url, work, {"GIT_SSH_COMMAND": shlex.join([*vps.ssh_command, *QUICK])})

    def commit(
        self,
        files: Mapping[str, str | bytes | None],
        *,
        message: str = "Change",
        branch: str = "main",
        executable: Iterable[str] = (),
    ) -> str:
        """Writes the files (None removes one), commits and pushes them; returns the commit's hash.

        A branch that is new starts at the last commit.
        """
        self._switch(branch)
        for name, content in files.items():
            self._write(self._work / name, content)
        for name in executable:
            (self._work / name).chmod(0o755)
        self._git("add", "--all")
        self._git("commit", "--quiet", "--allow-empty", "--message", message)
        self._git("push", "--quiet", "--force", self._push_url, f"HEAD:refs/heads/{branch}")
        return self._git("rev-parse", "HEAD")

    def commit_folder(self, folder: Path, *, message: str = "Start", branch: str = "main") -> str:
        """Commits every file of a folder, executable where it is there; returns the commit's hash."""
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return self.commit(
            {str(path.relative_to(folder)): path.read_bytes() for path in paths},
            message=message,
            branch=branch,
            executable=[str(path.relative_to(folder)) for path in paths if os.access(path, os.X_OK)],
        )

    def _switch(self, branch: str) -> None:
        if self._git("symbolic-ref", "--short", "HEAD") == branch:
            return
        exists = self._git("branch", "--list", branch)
        self._git("switch", "--quiet", *(() if exists else ("--create",)), branch)

    def _write(self, path: Path, content: str | bytes | None) -> None:
        if content is None:
            path.unlink()
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def _git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self._work, env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"git {shlex.join(arguments)} (exit {done.returncode}): {done.stderr.strip()}")
        return done.stdout.strip()
