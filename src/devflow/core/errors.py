"""The one tree of errors.

DevflowError
├── InvalidError            what was asked for is not valid (422); carries errors per field
├── NotFoundError           not there, or not yours (404)
├── ForbiddenError          yours to see, not yours to do (403)
│   └── SecondFactorError   the team wants a second factor of its members, and this one has none
├── ConflictError           valid, but not now (409)
├── TooManyError            asked for too often (429); carries how long to wait
├── RemoteError             something on the way to or on a server went wrong
│   ├── ConnectError        no usable connection; `transient` says whether trying again can help
│   │   └── HostKeyError    the server shows another key than the pinned one: never retried
│   └── CommandError        a command ended with another exit code than 0
├── OutgoingError           a service that the panel calls did not take it; `transient` says whether to try again
└── StoppedError            stopped on purpose; not a failure
    ├── CancelledError      a person cancelled
    └── ClaimLostError      another worker carries this deployment now
"""

from __future__ import annotations

import math


class DevflowError(Exception):
    """Base of all errors that a person may read; `str(error)` says what happened and what to do."""

    transient = False


class InvalidError(DevflowError):
    """Input was refused. `errors` maps a field's name to its message."""

    def __init__(self, message: str, errors: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.errors = errors or {}


class NotFoundError(DevflowError):
    """There is no such thing, or it is another team's."""


class ForbiddenError(DevflowError):
    """The person or token may see this, and may not do that."""


class SecondFactorError(ForbiddenError):
    """The team wants a second factor of its members, and this one has none yet."""


class ConflictError(DevflowError):
    """Valid, but in the way of something else; the message names it."""


class TooManyError(DevflowError):
    """Asked for too often; `retry_after_seconds` (at least 1) says when it is answered again."""

    def __init__(self, retry_after_seconds: float, message: str = "") -> None:
        self.retry_after_seconds = max(1, math.ceil(retry_after_seconds))
        super().__init__(message or f"Too many requests. Try again in {self.retry_after_seconds} s.")


class RemoteError(DevflowError):
    """A server could not be used. `server` is its name."""

    def __init__(self, message: str, *, server: str = "") -> None:
        super().__init__(message)
        self.server = server


class ConnectError(RemoteError):
    """No usable connection. `transient` is True where waiting may help (unreachable), else False (refused key)."""

    def __init__(self, message: str, *, server: str = "", transient: bool = False) -> None:
        super().__init__(message, server=server)
        self.transient = transient


class HostKeyError(ConnectError):
    """The server's host key is not the pinned one."""


class CommandError(RemoteError):
    """A command on a server failed. Holds the masked command, exit code and both outputs."""

    def __init__(self, *, server: str, command: str, exit_code: int, stdout: str = "", stderr: str = "") -> None:
        last = (stderr.strip() or stdout.strip()).splitlines()[-1:] or ["no output"]
        super().__init__(f"{server}: `{command}` ended with exit code {exit_code}: {last[0]}", server=server)
        self.command, self.exit_code, self.stdout, self.stderr = command, exit_code, stdout, stderr


class OutgoingError(DevflowError):
    """A service (a channel, a git provider) did not take what the panel sent; the message names only its host.

    `transient` is True where waiting may help, `retry_after_seconds` what the service asked for, `status` its HTTP or
    SMTP answer.
    """

    def __init__(
        self,
        message: str,
        *,
        transient: bool = False,
        status: int | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.transient, self.status, self.retry_after_seconds = transient, status, retry_after_seconds


class StoppedError(DevflowError):
    """Stopped on purpose."""


class CancelledError(StoppedError):
    """A person cancelled this."""


class ClaimLostError(StoppedError):
    """Another worker has taken this deployment over; whoever sees this must stop at once and write nothing."""
