"""A panel that really runs: `devflow up` on a folder of its own, and what tests do with it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from .template import begin_migrated

SOURCE = Path(__file__).parents[2]
T = TypeVar("T")


class Panel:
    """`devflow up` with its data in `data_dir` and `settings` in its environment. Without a port, a free one.

    It begins with a database that is migrated already, which takes seconds; `from_nothing`, it makes its own.
    """

    def __init__(self, data_dir: Path, port: int | None = None, *, from_nothing: bool = False, **settings: str) -> None:
        self.data_dir = data_dir
        self.settings = settings
        self.from_nothing = from_nothing
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_file = data_dir.parent / f"{data_dir.name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Panel:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def environment(self) -> dict[str, str]:
        """What the commands of this panel need, and nothing of the tests' own settings."""
        kept = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "LANG", "TMPDIR")}
        return kept | {
            "PYTHONPATH": os.pathsep.join([str(SOURCE / "src"), str(SOURCE)]),
            "DEVFLOW_DATA_DIR": str(self.data_dir),
            "DEVFLOW_PORT": str(self.port),
            **self.settings,
        }

    def start(self, timeout_seconds: float = 120) -> Panel:
        """Start it and wait until web, worker and database are ready."""
        is_first = not (self.data_dir / "postgres").exists()
        if is_first and not self.from_nothing and "DATABASE_URL" not in self.settings:
            begin_migrated(self.data_dir)
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(self.command("up"), env=self.environment, stdout=log, stderr=log)
        try:
            wait_until(self.is_ready, timeout_seconds, what=self.output)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> int:
        """End it, hard when it does not within 10 s; returns its exit code."""
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "devflow.cli.main", *arguments]

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """One of the panel's commands, run to its end."""
        command = self.command(*arguments)
        return subprocess.run(command, env=self.environment, input=stdin, capture_output=True, text=True, timeout=100)

    def output(self) -> str:
        return self.log_file.read_text()

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=10).status_code == 200
        except httpx.TransportError:
            return False

    def child(self, name: str) -> int:
        """Process id of `web`, `worker` or `postgres`; waits for it when it is just being started."""
        pattern = {"web": "devflow.server", "worker": "devflow.worker", "postgres": "/bin/postgres"}[name]

        def find() -> int | None:
            return next((pid for pid in self.children() if re.search(pattern, command_line(pid))), None)

        return wait_until(find, 15, what=self.output)

    def children(self) -> list[int]:
        assert self.process is not None
        return children(self.process.pid)

    @contextmanager
    def writer(self) -> Iterator[Writer]:
        """Somebody who writes the events of a deployment."""
        with run_writer(self.environment) as writer:
            yield writer


class Writer:
    """`tests.support.event_writer`, running."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        document = self.read()
        self.deployment: str = document["deployment"]
        self.token: str = document["token"]
        self.stranger: str = document["stranger"]
        self.session: str = document["session"]

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and wait until it is done."""
        self.send(**request)
        return self.read()

    def send(self, **request: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the writer of events ended with exit code {self._process.wait()}")
        document: dict[str, Any] = json.loads(line)
        return document


@contextmanager
def run_writer(environment: dict[str, str]) -> Iterator[Writer]:
    command = [sys.executable, "-m", "tests.support.event_writer"]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Writer(process)
        finally:
            process.kill()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def children(pid: int) -> list[int]:
    """Process ids of the direct children."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def descendants(pid: int) -> list[int]:
    """All processes below this one."""
    return [found for child in children(pid) for found in (child, *descendants(child))]


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def is_alive(pid: int) -> bool:
    """Whether the process still runs; one that waits to be collected by its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill_hard(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def wait_until(condition: Callable[[], T | None], timeout_seconds: float, what: Callable[[], str] = str) -> T:
    """What `condition` returns once it is true. Fails with the text of `what` after the timeout."""
    deadline = time.monotonic() + timeout_seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_seconds:g} s: {what()[-2000:]}")
        time.sleep(0.05)
    return found
