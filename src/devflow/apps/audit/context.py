"""From where a request comes: known to all that is recorded while it is answered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID

LONGEST_AGENT = 300


@dataclass(slots=True)
class RequestContext:
    """`session` recognises a session and opens nothing (a digest of its key); `token` is the name of the API token."""

    address: str = ""
    user_agent: str = ""
    token_id: UUID | None = None
    token: str = ""
    session: str = ""


_current: ContextVar[RequestContext | None] = ContextVar("devflow_request", default=None)


def current() -> RequestContext:
    """That of the request that is being answered; an empty one in a worker or a command."""
    return _current.get() or RequestContext()


@contextmanager
def request_context(
    *,
    address: str = "",
    user_agent: str = "",
    token_id: UUID | None = None,
    token: str = "",
    session: str = "",
) -> Iterator[RequestContext]:
    """What is recorded inside comes from there. The token may be put in later, when it was read (`token_use`)."""
    made = RequestContext(
        address=address,
        user_agent=printable(user_agent)[:LONGEST_AGENT],
        token_id=token_id,
        token=token,
        session=session,
    )
    reset = _current.set(made)
    try:
        yield made
    finally:
        _current.reset(reset)


def token_use(token_id: UUID, name: str) -> None:
    """The request that is being answered was let in by this token."""
    context = _current.get()
    if context is not None:
        context.token_id, context.token = token_id, name


def printable(text: str) -> str:
    """What a header may hold, without what a terminal or a page would obey."""
    return "".join(character if character.isprintable() else "�" for character in text)
