"""The Docker engine that runs the test servers: the machine's own, or Debian's `docker.io`, started here."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PACKAGES_SCRIPT = Path(__file__).parents[2] / "bin/lib/packages.sh"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "devflow-tests"
START_TIMEOUT_SECONDS = 30


class EngineUnavailableError(Exception):
    """No Docker engine answers, and none could be started; the text says why."""


@dataclass(frozen=True)
class Engine:
    """A Docker engine that answers; `command` is how this user reaches it (`docker`, or `sudo docker`)."""

    command: tuple[str, ...]

    def run(
        self, *arguments: str, stdin: str | None = None, timeout_seconds: float = 60, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """One docker command. With `check`, RuntimeError carries its output when it fails."""
        done = subprocess.run(
            [*self.command, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"docker {' '.join(arguments)} (exit {done.returncode}): {done.stderr.strip()}")
        return done

    def output(self, *arguments: str, timeout_seconds: float = 60) -> str:
        """What the command printed, without the line end."""
        return self.run(*arguments, timeout_seconds=timeout_seconds).stdout.strip()


def find_engine() -> Engine | None:
    """The engine that answers already, if there is one."""
    for command in (("docker",), ("sudo", "-n", "docker")):
        if shutil.which(command[0]) and _answers(command):
            return Engine(command)
    return None


def ensure_engine() -> Engine:
    """An engine that answers: found, or Debian's installed and started. EngineUnavailableError says why not."""
    if engine := find_engine():
        return engine
    with locked("engine"):
        if engine := find_engine():
            return engine
        _install()
        return _start_with_systemd() if Path("/run/systemd/system").exists() else _start()


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Held by one process of this user at a time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def as_root(*command: str) -> list[str]:
    """The command, through sudo where this user is not root."""
    return list(command) if os.geteuid() == 0 else ["sudo", "-n", *command]


def install_packages(*packages: str) -> None:
    """Debian packages; EngineUnavailableError with apt's words when that fails."""
    done = subprocess.run(["sh", str(PACKAGES_SCRIPT), *packages], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EngineUnavailableError(f"Cannot install {', '.join(packages)}: {done.stderr.strip()[-1000:]}")


def _answers(command: tuple[str, ...]) -> bool:
    done = subprocess.run([*command, "version"], capture_output=True, timeout=30, check=False)
    return done.returncode == 0


def _install() -> None:
    if not shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin"):
        install_packages("docker.io", "iptables")
    if not shutil.which("docker"):
        install_packages("docker-cli")  # a package of its own since Debian 13


def _start_with_systemd() -> Engine:
    done = subprocess.run(as_root("systemctl", "start", "docker"), capture_output=True, text=True, check=False)
    if engine := find_engine():
        return engine
    raise EngineUnavailableError(f"systemctl start docker (exit {done.returncode}): {done.stderr.strip()}")


def _start() -> Engine:
    """Starts dockerd, which outlives the tests: the next run finds it. Its process id and log are in the cache."""
    log, pid = CACHE / "dockerd.log", CACHE / "dockerd.pid"
    script = 'nohup setsid "$@" </dev/null >"$0" 2>&1 & echo $!'
    done = subprocess.run(
        ["sh", "-c", script, str(log), *as_root("dockerd")], capture_output=True, text=True, check=True
    )
    pid.write_text(done.stdout)
    process = Path("/proc", done.stdout.strip())
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while process.exists() and time.monotonic() < deadline:
        if engine := find_engine():
            return engine
        time.sleep(0.2)
    last_line = next((line for line in log.read_text(errors="replace").splitlines() if "failed to start" in line), "")
    raise EngineUnavailableError(f"dockerd does not run ({log}): {last_line}")
