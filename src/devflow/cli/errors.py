"""How client commands end: the exit statuses that scripts rely on."""

from typing import Final

from devflow.core.errors import DevflowError

DONE: Final = 0
FAILED: Final = 1
WRONG_USAGE: Final = 2
ROLLED_BACK: Final = 3
CANCELLED: Final = 4
"""Cancelled or superseded."""
WAITS: Final = 5
"""For an approval or a deployment window."""
NOT_ALLOWED: Final = 6
"""Not allowed, or not logged in."""
NOT_REACHABLE: Final = 7
INTERRUPTED: Final = 130
"""Stopped by Ctrl-C, as shells have it."""

OF_DEPLOYMENT: Final = {
    "success": DONE,
    "failed": FAILED,
    "rolled_back": ROLLED_BACK,
    "cancelled": CANCELLED,
    "superseded": CANCELLED,
    "waiting": WAITS,
}


class ClientError(DevflowError):
    """Ends the command with its message on stderr and `exit_status`."""

    def __init__(self, message: str, exit_status: int = FAILED) -> None:
        super().__init__(message)
        self.exit_status = exit_status
