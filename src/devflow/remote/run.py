"""Journaled runs on a server (DESIGN §4): started once, followed from any byte, ended for sure."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from importlib.resources import files

from devflow.core.errors import ConnectError, RemoteError
from devflow.core.shell import quote
from devflow.remote.transport import Connection, Process

_PROGRAM = files("devflow.remote").joinpath("devflow-run.sh").read_bytes()
_NAME = f"devflow-run-{hashlib.sha256(_PROGRAM).hexdigest()[:12]}"
NOT_INSTALLED, HOME_UNUSABLE, INCOMPLETE, TAKEN_BACK, BROKEN_OFF = 97, 98, 99, 96, 95
INTERRUPTED = -1
"""The exit code that stands for a run without end of its own: killed, or the server went down."""


class Follower:
    """A run being followed: chunks of its journal, then its exit code."""

    def __init__(self, connection: Connection, server: str, process: Process) -> None:
        self._connection, self._server, self._process = connection, server, process

    def chunks(self) -> AsyncIterator[bytes]:
        return self._process.chunks()

    async def exit_code(self) -> int:
        """The run's exit code, or INTERRUPTED. Raises RemoteError where devflow-run itself could not do its work."""
        code, stderr = await self._process.wait()
        last = (stderr.strip().splitlines() or [""])[-1]
        if last.startswith("devflow-run: ended "):
            return int(last.rsplit(" ", 1)[1])
        if last.startswith("devflow-run: interrupted"):
            return INTERRUPTED
        if code == INCOMPLETE:
            raise ConnectError(f"{self._server}: the script came incomplete", server=self._server, transient=True)
        if code == BROKEN_OFF:
            raise ConnectError(f"{self._server}: following the run broke off", server=self._server, transient=True)
        if code == NOT_INSTALLED and last == "":
            raise NotInstalledError(self._server)
        if code == TAKEN_BACK:
            return INTERRUPTED
        raise _unusable(self._server, code, stderr)

    def tell_commit(self, commit: str) -> None:
        """What a run that has come to the branch's head waits for, where another server found it first."""
        self._process.send(f"commit {commit}\n".encode())

    def tell_image(self, digest: str) -> None:
        """What a run that waits for an image goes on with: its digest in hexadecimal, or '0' where it does not come."""
        self._process.send(f"image {digest}\n".encode())

    def steer(self, word: str) -> None:
        """What a person wants of a canary: hold, resume, promote, abort."""
        self._process.send(f"canary {word}\n".encode())

    def open_gate(self, number: int) -> None:
        """Lets the run go on that waits at this gate, or will come to it."""
        self._process.send(f"open {number}\n".encode())

    def close(self) -> None:
        self._process.close()


class NotInstalledError(RemoteError):
    """devflow-run of this version is not on the server yet."""


class HomeUnusableError(RemoteError):
    """The home folder, where the journal is kept, cannot be written: full, read-only, or another's."""


async def follow(
    connection: Connection, server: str, run_id: str, offset: int, script: str, *, listens: bool = False
) -> Follower:
    """Starts the run when it never was, and follows its journal from byte `offset`. Raises ConnectError.

    With `listens` the way to the run stays open for `Follower.open_gate` and `Follower.tell_commit`.
    """
    text = script.encode()
    size = [str(len(text))] if listens else []  # what comes after so many bytes tells the run something
    process = await connection.start(_call("start", run_id, str(offset), *size), text, stays_open=listens)
    return Follower(connection, server, process)


async def kill(connection: Connection, server: str, run_id: str) -> None:
    """Ends all processes of the run and sees that they are gone. Raises RemoteError, ConnectError."""
    done = await connection.run(_call("kill", run_id), timeout_seconds=30)
    if done.exit_code == NOT_INSTALLED:
        await install(connection, server)
        done = await connection.run(_call("kill", run_id), timeout_seconds=30)
    if done.exit_code == HOME_UNUSABLE:
        raise _unusable(server, done.exit_code, done.stderr)
    if done.exit_code != 0:
        raise RemoteError(f"{server}: {done.stderr.strip()}", server=server)


async def install(connection: Connection, server: str) -> None:
    """Puts devflow-run where `follow` looks for it. Raises HomeUnusableError, RemoteError."""
    target = f"$HOME/.devflow/bin/{_NAME}"
    script = (
        'umask 077; mkdir -p "$HOME/.devflow/bin" "$HOME/.devflow/runs" '
        f'&& cat >"{target}.$$" && chmod 700 "{target}.$$" && mv "{target}.$$" "{target}" '
        f'&& ln -sf {_NAME} "$HOME/.devflow/bin/devflow-run" && sh "{target}" status none'
    )
    done = await connection.run(f"sh -c {quote(script)}", _PROGRAM)
    if done.exit_code != 0 or done.stdout.strip() != "absent":
        raise _unusable(server, done.exit_code, done.stderr or done.stdout)


def _call(*words: str) -> str:
    """devflow-run with these words, through sh: whatever the login shell is, and where the home is mounted noexec.

    Exits 97 where it is not installed.
    """
    program = f'"$HOME/.devflow/bin/{_NAME}"'
    return (
        f"sh -c {quote(f'[ -r {program} ] || exit {NOT_INSTALLED}; exec sh {program} ' + ' '.join(map(quote, words)))}"
    )


def _unusable(server: str, code: int, output: str) -> RemoteError:
    reason = (output.strip().splitlines() or ["no output"])[-1]
    if code == HOME_UNUSABLE or "No space" in output or "Read-only" in output or "Permission denied" in output:
        first = (output.strip().splitlines() or ["no output"])[0]
        return HomeUnusableError(
            f"The home folder of the login user on {server} cannot be written ({first}). "
            "The panel keeps its journal in ~/.devflow: free some space there, or make the home writable.",
            server=server,
        )
    return RemoteError(
        f"{server} did not run the panel's script as a POSIX shell would (exit code {code}): {reason}. "
        "Is the login shell sh or bash?",
        server=server,
    )
