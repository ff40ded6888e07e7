"""Ways to run a command on a server: over SSH, on this machine, or (in unit tests) nowhere."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import asyncssh

from devflow.core.errors import ConnectError, HostKeyError

CONNECT_TIMEOUT_SECONDS = 10
KEEPALIVE_SECONDS, KEEPALIVE_COUNT = 3, 3
"""A connection that has not answered for nine seconds is given up (and made anew by who needs it)."""
LONG_CHANNELS, BRIEF_CHANNELS = 7, 2
"""sshd allows ten at once. Some are left for what is soon over, so that runs that are followed can also be killed; the
tenth is the shell that waits."""
LATEST_SECONDS = 10
"""What a server reads later than that after it was sent is not begun there: it was frozen or cut off meanwhile, and
nobody waits for it any more. By the server's uptime, since its clock may be wrong."""
_TOO_LATE = 94
_WAITING_SHELL = (
    """sh -c 'read -r now _ </proc/uptime && echo "$now" && IFS= read -r latest && IFS= read -r command """
    f"""&& read -r now _ </proc/uptime && {{ [ "${{now%.*}}" -le "$latest" ] || exit {_TOO_LATE}; }} """
    """&& eval "exec $command"'"""
)
_CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class Address:
    """How to reach a server. `host_key` is the pinned key (`ssh-ed25519 AAAA…`); '' accepts the first one seen."""

    name: str
    host: str = ""
    port: int = 22
    user: str = ""
    private_key: str = field(default="", repr=False)
    host_key: str = ""
    is_local: bool = False


@dataclass(frozen=True, slots=True)
class Completed:
    """What a command left: exit code, and both outputs as text (invalid UTF-8 replaced)."""

    exit_code: int
    stdout: str
    stderr: str


class Process(Protocol):
    """A running command: its output in chunks, then its end."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Chunks of stdout until it is closed. Raises ConnectError when the connection was lost."""
        ...

    async def wait(self) -> tuple[int, str]:
        """Exit code and stderr. Raises ConnectError when the connection was lost before."""
        ...

    def send(self, data: bytes) -> None:
        """More standard input, for a process that was started to stay open. What does not arrive is not told."""
        ...

    async def feed(self, data: bytes) -> None:
        """As `send`, as fast as the process takes it. Raises ConnectError where it takes no more."""
        ...

    def end_input(self) -> None:
        """There is no more to come."""
        ...

    def close(self) -> None: ...


class Connection(Protocol):
    host_key: str

    async def start(self, command: str, stdin: bytes = b"", *, stays_open: bool = False) -> Process:
        """Starts `command`, one program on one line, with this standard input: all of it, or more may be sent where it
        `stays_open`. Raises ConnectError."""
        ...

    async def run(self, command: str, stdin: bytes = b"", timeout_seconds: float = 60) -> Completed:
        """Runs `command` in the login shell, to its end. Raises ConnectError, also when it takes too long."""
        ...

    @property
    def is_open(self) -> bool: ...

    def close(self) -> None: ...


class _Base:
    async def start(self, command: str, stdin: bytes = b"", *, stays_open: bool = False) -> Process:
        raise NotImplementedError

    async def _start_brief(self, command: str, stdin: bytes) -> Process:
        return await self.start(command, stdin)

    async def run(self, command: str, stdin: bytes = b"", timeout_seconds: float = 60) -> Completed:
        process: Process | None = None
        try:
            async with asyncio.timeout(timeout_seconds):
                process = await self._start_brief(command, stdin)
                output = b"".join([chunk async for chunk in process.chunks()])
                exit_code, stderr = await process.wait()
        except TimeoutError:
            raise ConnectError(f"no answer within {timeout_seconds:.0f} s", transient=True) from None
        finally:
            if process is not None:
                process.close()
        return Completed(exit_code, output.decode(errors="replace"), stderr)


@dataclass(frozen=True, slots=True)
class _Shell:
    """A shell that waits for what it is to become. `uptime` is the server's, as told when our clock showed `heard`."""

    process: asyncssh.SSHClientProcess[bytes]
    uptime: float
    heard: float

    @property
    def latest(self) -> int:
        """The server's uptime up to which it begins what it is sent now."""
        return int(self.uptime + time.monotonic() - self.heard) + LATEST_SECONDS


class SshConnection(_Base):
    """One SSH connection; many commands run over it at once (sshd allows ten by default).

    To open a channel and start a program in it takes two round trips before the program can be sent its input. So one
    channel is kept ready for the next `start`, with a shell that becomes the program whose name it reads, unless what
    it reads was sent long ago.
    """

    def __init__(self, address: Address, connection: asyncssh.SSHClientConnection, host_key: str) -> None:
        self._address, self._connection, self.host_key = address, connection, host_key
        self._long, self._brief = asyncio.Semaphore(LONG_CHANNELS), asyncio.Semaphore(BRIEF_CHANNELS)
        self._waiting_shell = asyncio.create_task(self._open_shell())

    @property
    def is_open(self) -> bool:
        return not self._connection.is_closed()

    async def start(self, command: str, stdin: bytes = b"", *, stays_open: bool = False) -> Process:
        return await self._start(command, stdin, self._long, stays_open=stays_open)

    async def _start_brief(self, command: str, stdin: bytes) -> Process:
        return await self._start(command, stdin, self._brief)

    async def _start(
        self, command: str, stdin: bytes, channels: asyncio.Semaphore, *, stays_open: bool = False
    ) -> Process:
        await channels.acquire()
        try:
            shell = await self._take_shell() if channels is self._long else None
            process = shell.process if shell else await self._open(command)
        except (asyncssh.Error, OSError) as error:
            channels.release()
            raise ConnectError(f"{self._address.name}: the connection was lost ({error})", transient=True) from error
        except BaseException:
            channels.release()
            raise
        with contextlib.suppress(BrokenPipeError, ConnectionError, asyncssh.Error):
            process.stdin.write(f"{shell.latest}\n{command}\n".encode() + stdin if shell else stdin)
            if not stays_open:
                process.stdin.write_eof()
        return _SshProcess(self._address, self._connection, process, channels)

    async def _open(self, command: str) -> asyncssh.SSHClientProcess[bytes]:
        try:
            return await self._connection.create_process(command, encoding=None, stderr=asyncssh.PIPE)
        except AttributeError as error:  # asyncssh's own, where the connection ends just when the channel was opened
            if self.is_open:
                raise
            raise asyncssh.ConnectionLost("closed meanwhile") from error

    async def _take_shell(self) -> _Shell | None:
        """The shell that waits, while the next one is opened; a new one where none is ready, or it has gone."""
        if not self._waiting_shell.done():
            return await self._open_shell()
        shell = self._waiting_shell.result()
        self._waiting_shell = asyncio.create_task(self._open_shell())
        return await self._open_shell() if shell is None or shell.process.is_closing() else shell

    async def _open_shell(self) -> _Shell | None:
        """None where it could not be opened, or is none that tells the time."""
        process = None
        try:
            process = await self._open(_WAITING_SHELL)
            return _Shell(process, float(await process.stdout.readline()), time.monotonic())
        except (asyncssh.Error, OSError):  # whoever starts something will be told why
            return None
        except ValueError:
            assert process is not None
            process.close()
            return None

    def close(self) -> None:
        self._connection.abort()


class _SshProcess:
    def __init__(
        self,
        address: Address,
        connection: asyncssh.SSHClientConnection,
        process: asyncssh.SSHClientProcess[bytes],
        channels: asyncio.Semaphore,
    ) -> None:
        self._address, self._connection, self._process = address, connection, process
        self._channels: asyncio.Semaphore | None = channels

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            while chunk := await self._process.stdout.read(_CHUNK):
                yield chunk
        except (asyncssh.Error, OSError) as error:
            raise self._lost(error) from error

    async def wait(self) -> tuple[int, str]:
        try:
            stderr = await self._process.stderr.read()
            await self._process.wait_closed()
        except (asyncssh.Error, OSError) as error:
            raise self._lost(error) from error
        code = self._process.exit_status
        if code is None:
            raise self._lost("closed")
        if code == _TOO_LATE and not stderr:
            raise self._lost(f"the server read what was sent more than {LATEST_SECONDS} s later, and did not begin it")
        return code, stderr.decode(errors="replace")

    def send(self, data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionError, asyncssh.Error):
            self._process.stdin.write(data)

    async def feed(self, data: bytes) -> None:
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except (asyncssh.Error, OSError) as error:
            raise self._lost(error) from error

    def end_input(self) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionError, asyncssh.Error):
            self._process.stdin.write_eof()

    def close(self) -> None:
        self._process.close()
        if self._channels is not None:
            self._channels.release()
            self._channels = None

    def _lost(self, reason: object) -> ConnectError:
        return ConnectError(f"{self._address.name}: the connection was lost ({reason})", transient=True)


class LocalConnection(_Base):
    """This machine, through the same commands."""

    host_key = ""
    is_open = True

    async def start(self, command: str, stdin: bytes = b"", *, stays_open: bool = False) -> Process:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            start_new_session=True,
            cwd=Path.home(),
            env=_environment(),
        )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ConnectionError, RuntimeError):  # the last: uvloop, when it has ended
            process.stdin.write(stdin)
            if not stays_open:
                process.stdin.close()
        return _LocalProcess(process)

    def close(self) -> None:
        return


def _environment() -> dict[str, str]:
    """Ours without the panel's own settings, which are nobody else's business."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("DEVFLOW_", "DATABASE_", "DJANGO_"))}


class _LocalProcess:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def chunks(self) -> AsyncIterator[bytes]:
        assert self._process.stdout is not None
        while chunk := await self._process.stdout.read(_CHUNK):
            yield chunk

    async def wait(self) -> tuple[int, str]:
        assert self._process.stderr is not None
        stderr = await self._process.stderr.read()
        return await self._process.wait(), stderr.decode(errors="replace")

    def send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ConnectionError, RuntimeError):
            self._process.stdin.write(data)

    async def feed(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except (OSError, RuntimeError) as error:
            raise ConnectError(f"the program has ended ({error})", transient=True) from error

    def end_input(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)


class _Client(asyncssh.SSHClient):
    """Accepts the pinned host key only; without a pin, the first key that the server shows."""

    def __init__(self, pinned: str) -> None:
        self._pinned = pinned
        self.shown = ""

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.shown = " ".join(key.export_public_key("openssh").decode().split()[:2])
        return not self._pinned or self.shown == self._pinned


async def connect(address: Address) -> Connection:
    """A new connection. Raises HostKeyError, ConnectError; both say what to do."""
    if address.is_local:
        return LocalConnection()
    client = _Client(address.host_key)
    try:
        connection, _ = await asyncssh.create_connection(
            lambda: client,
            address.host,
            address.port,
            options=asyncssh.SSHClientConnectionOptions(**_options(address)),
        )
    except asyncssh.HostKeyNotVerifiable as error:
        raise HostKeyError(_changed_key(address, client.shown), server=address.name) from error
    except asyncssh.PermissionDenied as error:
        raise ConnectError(
            f"{address.name} refused the login as {address.user}. Put the server's public key (shown on its page) "
            f"into ~{address.user}/.ssh/authorized_keys there.",
            server=address.name,
        ) from error
    except (TimeoutError, OSError, asyncssh.Error) as error:
        raise ConnectError(_unreachable(address, error), server=address.name, transient=True) from error
    return SshConnection(address, connection, client.shown or address.host_key)


def _options(address: Address) -> dict[str, object]:
    options: dict[str, object] = {
        "username": address.user,
        "client_keys": [asyncssh.import_private_key(address.private_key)],
        "known_hosts": b"",
        "config": None,
        "agent_path": None,
        "password": None,
        "preferred_auth": "publickey",
        "gss_host": None,
        "compression_algs": None,
        "encryption_algs": "^aes128-gcm@openssh.com,aes256-gcm@openssh.com",  # done by the processor; ChaCha20 is not
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "login_timeout": CONNECT_TIMEOUT_SECONDS,
        "keepalive_interval": KEEPALIVE_SECONDS,
        "keepalive_count_max": KEEPALIVE_COUNT,
        "request_pty": False,
    }
    if address.host_key:
        options["server_host_key_algs"] = _algorithms(address.host_key.split()[0])
    return options


def _algorithms(key_type: str) -> list[str]:
    return ["rsa-sha2-512", "rsa-sha2-256"] if key_type == "ssh-rsa" else [key_type]


def _changed_key(address: Address, shown: str) -> str:
    return (
        f"{address.name} shows another host key than the pinned one; somebody may be in between, or the server was "
        f"reinstalled. Nothing was sent. Compare {shown or 'its key'} with /etc/ssh/*.pub on the server; "
        "when it is right, forget the old key on the server's page."
    )


def _unreachable(address: Address, error: BaseException) -> str:
    where = f"{address.host}:{address.port}"
    if isinstance(error, socket.gaierror):
        return f"{address.name} cannot be reached: the host name {address.host} is not known. Check it and the DNS."
    if isinstance(error, ConnectionRefusedError):
        return f"{address.name} cannot be reached: nothing listens on {where}. Is sshd running, and the port right?"
    if isinstance(error, TimeoutError) or "timed out" in str(error).lower() or "timeout" in str(error).lower():
        silence = f"no answer from {where} in {CONNECT_TIMEOUT_SECONDS} s"
        return f"{address.name} cannot be reached: {silence}. Is it up, and the firewall open?"
    return f"{address.name} cannot be reached at {where}: {error or type(error).__name__}."
