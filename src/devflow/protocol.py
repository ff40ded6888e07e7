"""HTTP as `devflow web` speaks it: uvicorn's, with the bounds that uvicorn leaves to a proxy.

The panel may stand in the open. So the head of a request has a largest size and a longest time to come, nobody is
waited for who neither sends nor reads, and what could be read in two ways (by a proxy and by us) is refused.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LARGEST_HEAD: Final = 32 * 1024
"""Request line and headers, in bytes."""
HEAD_SECONDS: Final = 10.0
"""How long the head of a request may take; also how long the rest of a body that was refused is taken and dropped."""
LARGEST_DROPPED: Final = 16 * 1024 * 1024
"""So much of a body is taken and dropped after its request was answered, so that the answer is read; then it is cut."""
READ_SECONDS: Final = 60.0
"""How long an answer may lie unread before the connection is cut."""
LAST_SECONDS: Final = 0.3
"""What a stop leaves to a connection without a request: the request may be on its way, and a proxy that lost it would
answer 502. It is answered, and the connection closed."""


class RefusedError(Exception):
    """Raised inside the parser: this request is not to be read any further."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_head = True
        self._head_bytes = self._dropped_bytes = 0
        self._was_heard = False
        self._unheard_bytes = 0
        self._waiting: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._is_ending = False

    # --- the connection ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_waiting()
        self._stop_unread()

    def data_received(self, data: bytes) -> None:
        self._was_heard = False
        super().data_received(data)
        if self.transport.is_closing():
            return
        # What the parser keeps to itself (a header without an end) is not told to us piece by piece.
        self._unheard_bytes = 0 if self._was_heard else self._unheard_bytes + len(data)
        if self._unheard_bytes > LARGEST_HEAD:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self.cycle is None or self.cycle.response_complete:
            self._wait_for_head()
        else:
            self._stop_waiting()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stop_unread()
        self._unread = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_unread()

    def shutdown(self) -> None:
        """The server stops: what was asked is answered, also what comes within `LAST_SECONDS`."""
        if self._is_ending:
            super().shutdown()
            return
        self._is_ending = True
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(LAST_SECONDS, self.shutdown)
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """For what the parser refused, and we in it."""
        too_large = self._head_bytes > LARGEST_HEAD
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if too_large else HTTPStatus.BAD_REQUEST)

    # --- the parser --------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._was_heard = self._is_head = True
        self._head_bytes = self._dropped_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_head:
            raise RefusedError("headers after the body")
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._was_heard, self._is_head = True, False
        self._check_framing()
        super().on_headers_complete()
        if self._is_ending:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._was_heard = True
        super().on_body(body)
        if self.cycle.response_complete:
            self._dropped_bytes += len(body)
            if self._dropped_bytes > LARGEST_DROPPED:
                self.transport.abort()

    def on_message_complete(self) -> None:
        self._was_heard = True
        super().on_message_complete()

    def _check_framing(self) -> None:
        """What the parser lets pass, and a proxy may understand in another way."""
        is_old = self.parser.get_http_version() == "1.0"
        hosts = sum(name == b"host" for name, _ in self.headers)
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if hosts > 1 or (hosts == 0 and not is_old):
            raise RefusedError("not one host")
        if codings and (codings != [b"chunked"] or is_old):
            raise RefusedError("another coding than chunked")

    def _count(self, size: int) -> None:
        self._was_heard = True
        self._head_bytes += size
        if self._head_bytes > LARGEST_HEAD:
            raise RefusedError("the head is too large")

    # --- helpers -----------------------------------------------------------------------------------------------------

    def _refuse(self, status: HTTPStatus) -> None:
        body = f"{status.phrase}\n".encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\nx-content-type-options: nosniff\r\ncache-control: no-store\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _wait_for_head(self) -> None:
        if self._waiting is None:
            self._waiting = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _stop_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
