"""The id of the request or job that is being worked on.

People are shown it where something goes wrong, and every line that is logged meanwhile carries it: so what somebody
reports is found in the log (and in Sentry) at once.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_current: ContextVar[str] = ContextVar("error_id", default="")


def new_id() -> str:
    return secrets.token_hex(6)


def current_id() -> str:
    """The id of what is being worked on; "" outside of requests and jobs."""
    return _current.get()


def begin() -> str:
    """Give an id to this task (of asyncio), for as long as it lives."""
    _current.set(new_id())
    return _current.get()


def fault_text(error: Exception) -> str:
    """What a person is told of a job that ended by a fault of the panel."""
    return f"The panel had a fault of its own ({type(error).__name__}); the worker's log has it under {current_id()}."


@contextmanager
def identified() -> Iterator[str]:
    """Everything within has one id: that which is there already, else a new one."""
    if known := _current.get():
        yield known
        return
    token = _current.set(new_id())
    try:
        yield _current.get()
    finally:
        _current.reset(token)
