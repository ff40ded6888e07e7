"""The id of the request or job that is being worked on, and what it is about.

People are shown it where something goes wrong, and every line that is logged meanwhile carries it: so what somebody
reports is found in the log (and in Sentry) at once.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_current: ContextVar[str] = ContextVar("error_id", default="")
_subject: ContextVar[tuple[str, str]] = ContextVar("subject", default=("", ""))
_GIVEN: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")


def new_id() -> str:
    return secrets.token_hex(6)


def current_id() -> str:
    """The id of what is being worked on; "" outside of requests and jobs."""
    return _current.get()


def begin(given: str = "") -> str:
    """Give an id to this task (of asyncio), for as long as it lives: the one that a proxy gave, where it is one."""
    found = given if _GIVEN.fullmatch(given) else new_id()
    _current.set(found)
    return found


def about(kind: str, subject_id: str) -> None:
    """What this task (of asyncio) works on from now on, like the deployment with this id."""
    _subject.set((kind, subject_id))


def current_subject() -> tuple[str, str]:
    """Its kind and id; "" and "" where there is none."""
    return _subject.get()


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
