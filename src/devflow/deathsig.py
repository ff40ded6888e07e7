"""Ties a child process to its parent's life, so that nothing is left behind when the parent is killed with -9."""

import ctypes
import os
import signal
from collections.abc import Callable
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None, use_errno=True)


def die_with_parent(signum: signal.Signals) -> Callable[[], None]:
    """A `preexec_fn` for `subprocess.Popen`: the child gets `signum` when the thread that started it ends.

    Linux only. Signals that the parent has blocked are unblocked in the child.
    """
    parent = os.getpid()

    def set_signal() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _libc.prctl(_PR_SET_PDEATHSIG, signum)
        if os.getppid() != parent:  # it died between fork and prctl
            os._exit(1)

    return set_signal
