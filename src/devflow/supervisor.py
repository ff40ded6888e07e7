"""`devflow up`: starts PostgreSQL, brings the database up to date, and keeps worker and web alive.

This process imports neither Django nor a database driver: it stays small, and a fault there cannot take it down. What
needs them runs in children, which die with it, even when it is killed with -9.
"""

import errno
import fcntl
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from devflow.core.errors import DevflowError
from devflow.deathsig import die_with_parent
from devflow.embedded import EmbeddedPostgres
from devflow.settings.env import FILE_NAME, Config, load_config
from devflow.settings.sentry import start_sentry

PID_FILE: Final = "devflow.pid"
FIRST_DELAY_SECONDS: Final = 0.2
LONGEST_DELAY_SECONDS: Final = 10.0
STABLE_SECONDS: Final = 60.0
FIRST_HANDED_OVER: Final = 3
"""The first open file that systemd hands over, sd_listen_fds(3)."""
# How long each may take to stop, together less than 5 s: requests are answered, running jobs left where they are.
WEB_STOP_SECONDS: Final = 1.4
WORKER_STOP_SECONDS: Final = 2.3
POSTGRES_STOP_SECONDS: Final = 0.8

_STOP_SIGNALS: Final = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}

Process = subprocess.Popen[bytes]


class SupervisorError(DevflowError):
    """The panel cannot be started; the message says why and what to do."""


class Child:
    """A process that is kept alive: one that ends is started again, after a wait that grows with every early end."""

    def __init__(self, name: str, spawn: Callable[[], Process], process: Process | None = None) -> None:
        """`process` is given when it runs already."""
        self.name = name
        self.due_at: float | None = None
        self._spawn = spawn
        self._delay_seconds = 0.0
        self.process = process or spawn()
        self._started_at = time.monotonic()

    def look_after(self, now: float) -> None:
        """Notice an end, and start again when the wait is over. `now` is of the monotonic clock."""
        if self.due_at is None and self.process.poll() is not None:
            self._plan(now, _how_ended(self.process.returncode))
        if self.due_at is not None and now >= self.due_at:
            self._start(now)

    def stop(self, timeout_seconds: float) -> None:
        """Ask it to end, and kill it when it takes too long."""
        self.process.terminate()
        try:
            self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _start(self, now: float) -> None:
        self._started_at, self.due_at = now, None
        try:
            self.process = self._spawn()
        except (DevflowError, OSError) as error:
            self._plan(now, str(error))

    def _plan(self, now: float, reason: str) -> None:
        is_early = now - self._started_at < STABLE_SECONDS
        longer = min(self._delay_seconds * 2, LONGEST_DELAY_SECONDS) or FIRST_DELAY_SECONDS
        self._delay_seconds = longer if is_early else FIRST_DELAY_SECONDS
        self.due_at = now + self._delay_seconds
        _say(f"{self.name} ended ({reason}); starting it again in {self._delay_seconds:g} s")


class Supervisor:
    """Everything that `devflow up` runs. `listener` is the open port: connections wait in it while web restarts."""

    def __init__(self, config: Config, listener: socket.socket) -> None:
        self._config = config
        self._listener = listener
        self._postgres = None if config.database_url else EmbeddedPostgres(config.data_dir)
        self._children: dict[str, Child] = {}

    def run(self) -> int:
        """Run until a signal to stop. Returns the exit code; raises `DevflowError` when PostgreSQL does not start."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {*_STOP_SIGNALS, signal.SIGCHLD})
        try:
            if self._postgres:
                self._postgres.start()
                self._add("PostgreSQL", self._postgres.spawn, self._postgres.process)
            exit_code = _wait_for(_start_module("devflow.prepare"))
            if exit_code == 0:
                self._start_services()
                self._keep_alive()
            return exit_code or 0
        finally:
            self._stop()

    def _add(self, name: str, spawn: Callable[[], Process], process: Process | None = None) -> None:
        self._children[name] = Child(name, spawn, process)

    def _start_services(self) -> None:
        port = self._listener.fileno()
        self._add("worker", lambda: _start_module("devflow.worker"))
        self._add("web", lambda: _start_module("devflow.server", f"--fd={port}", inherited=(port,)))
        _say(f"the panel is on {self._config.url}")
        if warning := _address_warning(self._config):
            _say(warning)

    def _keep_alive(self) -> None:
        while not _stop_requested(self._seconds_to_next_start()):
            now = time.monotonic()
            for child in self._children.values():
                child.look_after(now)

    def _seconds_to_next_start(self) -> float:
        due = [child.due_at for child in self._children.values() if child.due_at is not None]
        return max(0.0, min(due) - time.monotonic()) if due else STABLE_SECONDS

    def _stop(self) -> None:
        """Web first, so that nothing new comes in; the database last."""
        for name, seconds in (("web", WEB_STOP_SECONDS), ("worker", WORKER_STOP_SECONDS)):
            if name in self._children:
                self._children[name].stop(seconds)
        if self._postgres:
            self._postgres.stop(POSTGRES_STOP_SECONDS)


def main() -> int:
    """Entry point of the process; returns its exit code."""
    try:
        config = load_config()
        start_sentry(config, "up")
        with claimed(config.data_dir), _listening(config.host, config.port) as listener:
            return Supervisor(config, listener).run()
    except DevflowError as error:
        _say(str(error))
        return 1


@contextmanager
def claimed(data_dir: Path, by: str = "devflow up") -> Iterator[None]:
    """The data folder, private and ours alone, with the name of our command. Raises `SupervisorError` when another
    `devflow up`, backup or restore has it."""
    _make_private(data_dir)
    descriptor = os.open(data_dir / PID_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid, _, holder = os.read(descriptor, 80).decode().strip().partition(" ")
        raise SupervisorError(f"{holder or 'devflow up'} is running on {data_dir} already (process {pid})") from None
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()} {by}\n".encode())
        yield
    finally:
        os.close(descriptor)


def _make_private(data_dir: Path) -> None:
    """Make the folder, or close it to others when it is the panel's; somebody else's folder is left as it is."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if data_dir.stat().st_mode & 0o077:
            foreign = {entry.name for entry in data_dir.iterdir()} - {FILE_NAME, "master.key"}
            if foreign and PID_FILE not in foreign:
                raise SupervisorError(
                    f"{data_dir} holds other files and can be read by others: choose another DEVFLOW_DATA_DIR"
                )
            data_dir.chmod(0o700)
    except OSError as error:
        raise SupervisorError(f"the data folder {data_dir} cannot be used: {error.strerror}") from error


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """The panel's port: the one that systemd holds open for us, else a new one.

    Raises `SupervisorError` when it is taken or not allowed.
    """
    if os.environ.pop("LISTEN_PID", "") == str(os.getpid()) and os.environ.pop("LISTEN_FDS", "0") != "0":
        with socket.socket(fileno=FIRST_HANDED_OVER) as handed_over:
            yield handed_over
        return
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address, family=family, backlog=2048)
    except OSError as error:
        is_taken = error.errno == errno.EADDRINUSE
        reason = "is in use by another program" if is_taken else f"cannot be used: {error.strerror}"
        raise SupervisorError(f"port {port} on {host} {reason}; choose another by DEVFLOW_PORT") from error
    with listener:
        yield listener


def _address_warning(config: Config) -> str:
    """What to say where the panel's address is one of this machine at which it does not listen: one that was meant for
    the client commands, which read DEVFLOW_URL too, most likely. '' where there is nothing to say."""
    parts = urlsplit(config.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    is_here = parts.hostname == "localhost" or _is_loopback(parts.hostname or "")
    if not is_here or (port == config.port and parts.hostname in (config.host, "localhost", "127.0.0.1", "::1")):
        return ""
    return (
        f"warning: links and webhooks name {config.url} (DEVFLOW_URL), but the panel listens on"
        f" {config.host}:{config.port}. Where that is not meant, unset DEVFLOW_URL for it."
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _start_module(module: str, *arguments: str, inherited: tuple[int, ...] = ()) -> Process:
    """Start one of our modules as a child that dies with us. Ctrl-C in a terminal is for us alone, hence the group."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        pass_fds=inherited,
        process_group=0,
        preexec_fn=die_with_parent(signal.SIGKILL),
        env={"MALLOC_ARENA_MAX": "2", **os.environ},  # else every thread's memory grows for itself
    )


def _wait_for(process: Process) -> int | None:
    """The exit code of a child that ends by itself, or None when we were asked to stop before (it is ended then)."""
    while process.poll() is None:
        if _stop_requested(STABLE_SECONDS):
            process.terminate()
            process.wait()
            return None
    return process.returncode


def _stop_requested(timeout_seconds: float) -> bool:
    """Sleep until a signal or the timeout; whether the signal was one to stop (else a child has ended)."""
    received = signal.sigtimedwait({*_STOP_SIGNALS, signal.SIGCHLD}, timeout_seconds)
    return received is not None and received.si_signo in _STOP_SIGNALS


def _how_ended(returncode: int) -> str:
    return f"exit code {returncode}" if returncode >= 0 else f"killed by {signal.Signals(-returncode).name}"


def _say(text: str) -> None:
    sys.stderr.write(f"devflow: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
