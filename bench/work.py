"""The work that every contestant does: the same repository brought to a site of its own on the same servers.

A fetch into a mirror, a new release of 400 files and 5 MB, a shared folder and a shared file linked in, one build
command, the switch, pruning to five releases, under a lock. Each run deploys a commit of its own.
"""

from __future__ import annotations

import os
import random
import shlex
import subprocess
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.gitrepo import GitRepository
from tests.support.vps import Vps

BRANCH = "main"
RECIPE = "static"
KEEP = 5
SHARED_FILE, SHARED_FOLDER = ".env", "storage"
BUILD = "cat REVISION >public/version.txt"
FILES, FILE_BYTES = 400, 12_500
CHANGED_FILES = 5
LINE = "{:016x} = some('{:02d}');\n"


class Work:
    """The repository: the same on each server, at the same path, where all contestants fetch it from."""

    path = "/home/deploy/work.git"

    def __init__(self, servers: Sequence[Vps], folder: Path) -> None:
        self._servers, self._folder = servers, folder
        self._random = random.Random(1)
        self._repository = GitRepository.on_server(servers[0], self.path, folder)
        for vps in servers[1:]:
            vps.run(f"git init --quiet --bare --initial-branch {BRANCH} {self.path}")
        self._push(range(FILES))

    def turn(self, root: str, deploy: Callable[[], float]) -> Callable[[], float]:
        """A run of a contestant: a new commit, the deployment, and a look whether all sites serve it."""
        for vps in self._servers:
            vps.put("APP_ENV=production\n", f"{root}/shared/{SHARED_FILE}", mode="600")

        def run() -> float:
            commit = self._push(self._random.sample(range(FILES), CHANGED_FILES))
            seconds = deploy()
            for vps in self._servers:
                verify(vps, root, commit)
            return seconds

        return run

    def _push(self, numbers: Iterable[int]) -> str:
        """A commit that changes these files, on all servers; returns its id."""
        commit = self._repository.commit({_name(number): self._text() for number in numbers})
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self._push_to, self._servers[1:]))
        return commit

    def _push_to(self, vps: Vps) -> None:
        url = f"ssh://{vps.user}@{vps.host}:{vps.port}{self.path}"
        environment = {**os.environ, "GIT_SSH_COMMAND": shlex.join(vps.ssh_command)}
        subprocess.run(["git", "push", "--quiet", url, BRANCH], cwd=self._folder, env=environment, check=True)

    def _text(self) -> str:
        """Compresses about as source code does."""
        lines = FILE_BYTES // len(LINE.format(0, 0))
        return "".join(LINE.format(self._random.getrandbits(64), self._random.randrange(100)) for _ in range(lines))


def verify(vps: Vps, root: str, commit: str) -> None:
    """Raises AssertionError unless the site serves this commit, whole, built, linked and pruned."""
    script = (
        f"cd {root}/current/ && cat REVISION public/version.txt && find src public -name 'file*' | wc -l"
        f" && readlink {SHARED_FOLDER} {SHARED_FILE} && ls -d ../*/ | wc -l"
    )
    *found, kept = vps.run(script).stdout.split()
    wanted = [commit, commit, str(FILES), f"{root}/shared/{SHARED_FOLDER}", f"{root}/shared/{SHARED_FILE}"]
    assert found == wanted, f"{root} on {vps.name} serves {found}, not {wanted}"
    assert int(kept) <= KEEP, f"{root} on {vps.name} keeps {kept} releases"


def _name(number: int) -> str:
    return f"{'public' if number % 8 == 0 else f'src/part{number % 20}'}/file{number}.txt"
