"""The bodies of requests: read as a whole before a thread is bothered, and never too much of them.

A thread of Django's that waited for a body could be held by whoever sends it slowly, and there are few of them. So
bodies are gathered here: each of a bounded size and within a bounded time, all of them together in bounded memory.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Final

from devflow.web.errors import send_error

LARGEST: Final = 2_621_440
"""Bytes of one body for pages and API. (Webhooks have their own, larger bound.)"""
ALL_TOGETHER: Final = 64 * 1024 * 1024
"""Bytes of all bodies that one web process holds at a time."""
SECONDS: Final = 30.0
"""How long a request may take to bring its body."""


class TooLargeError(Exception):
    """The body is larger than it may be."""


class NoRoomError(Exception):
    """Too many bodies are in memory already."""


class GoneError(Exception):
    """Who asked has gone."""


class Memory:
    """What all bodies together may take up."""

    def __init__(self, free: int = ALL_TOGETHER) -> None:
        self.free = free

    def body(self, receive: Any) -> Body:
        return Body(receive, self)


class Body:
    """A request's body, read no further than it is asked to be. `with` gives its memory back at the end."""

    def __init__(self, receive: Any, memory: Memory) -> None:
        self._receive = receive
        self._memory = memory
        self._bytes = bytearray()
        self._held = 0
        self._is_whole = False

    def __enter__(self) -> Body:
        return self

    def __exit__(self, *_: object) -> None:
        self._memory.free += self._held
        self._held = 0

    async def read(self, limit: int) -> bool:
        """True when all of it is here, False when it is longer than the limit. Raises NoRoomError, GoneError."""
        while not self._is_whole and len(self._bytes) <= limit:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise GoneError
            self._keep(message.get("body", b""))
            self._is_whole = not message.get("more_body", False)
        return self._is_whole and len(self._bytes) <= limit

    def taken(self) -> bytes:
        body = bytes(self._bytes)
        self._bytes.clear()
        return body

    def _keep(self, part: bytes) -> None:
        if len(part) > self._memory.free:
            raise NoRoomError
        self._memory.free -= len(part)
        self._held += len(part)
        self._bytes += part


class BoundedBodies:
    """ASGI: the application gets the whole body in one piece, or is not asked at all."""

    def __init__(self, application: Any, memory: Memory) -> None:
        self._application = application
        self._memory = memory

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        length = content_length(scope)
        if length is not None and length > LARGEST:
            await _too_large(scope, send)
        elif length or (length is None and _is_chunked(scope)):
            await self._with_body(scope, receive, send)
        else:
            await self._application(scope, receive, send)

    async def _with_body(self, scope: Any, receive: Any, send: Any) -> None:
        with self._memory.body(receive) as body:
            try:
                async with asyncio.timeout(SECONDS):
                    is_whole = await body.read(LARGEST)
            except TimeoutError:
                detail = f"The body did not come within {SECONDS:.0f} s."
                await send_error(scope, send, HTTPStatus.REQUEST_TIMEOUT, detail, (b"connection", b"close"))
            except NoRoomError:
                detail = "The panel is taking too much at a time. Send it again soon."
                await send_error(scope, send, HTTPStatus.SERVICE_UNAVAILABLE, detail, (b"retry-after", b"2"))
            except GoneError:
                return
            else:
                if is_whole:
                    await self._application(*_replayed(scope, receive, body.taken()), send)
                else:
                    await _too_large(scope, send)


async def _too_large(scope: Any, send: Any) -> None:
    detail = f"A body has at most {LARGEST:,} bytes."
    await send_error(scope, send, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)


def content_length(scope: Any) -> int | None:
    """What the request says of its body's length; None where it says nothing (that is a number)."""
    given = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return int(given) if given.isdigit() and len(given) < 20 else None


def _is_chunked(scope: Any) -> bool:
    return any(name == b"transfer-encoding" for name, _ in scope["headers"])


def _replayed(scope: Any, receive: Any, body: bytes) -> tuple[Any, Any]:
    """The request as if its body came at once and had told its length."""
    dropped = (b"content-length", b"transfer-encoding")
    headers = [(name, value) for name, value in scope["headers"] if name not in dropped]
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def replay() -> Any:
        return next(messages, None) or await receive()

    return {**scope, "headers": [*headers, (b"content-length", str(len(body)).encode())]}, replay
