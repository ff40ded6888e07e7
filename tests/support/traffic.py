"""Constant traffic against one site while it is deployed, and what a client outside saw of it.

    with Traffic(host, port, rate=200) as traffic:
        since = traffic.now()
        deploy()
        traffic.run_for(2)
    assert traffic.failed == [] and traffic.wrong("8", since) == []

Half of the requests are sent over connections that are kept open, half over one of their own; beside them slow ones
(`/slow`, five seconds) and one open WebSocket (`/ws`). Requests are sent when their time has come, whether or not
earlier ones were answered. The first line of an answer is the version of the release that made it.

A request is failed when the connection is refused, reset or closed before the whole answer has come, when there is no
answer in time, and when its status is not 200. One exception, that of every browser (RFC 9112, 9.3.1): a connection
that was kept open may be closed by the server just when the next request is sent; where not one byte of an answer has
come, the request is sent again, once, over a new connection. These are counted (`retried`).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

KEPT_CONNECTIONS = 10
TIMEOUT_SECONDS = 15.0
MESSAGE_SECONDS = 0.2
RECONNECT_SECONDS = 0.2
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
WEBSOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True, slots=True)
class Answer:
    """A request and what came of it. Times are those of `Traffic.now`; `failure` is empty where all was well."""

    path: str
    sent: float
    ended: float
    is_kept: bool
    version: str = ""
    failure: str = ""
    is_retried: bool = False

    @property
    def seconds(self) -> float:
        return self.ended - self.sent


@dataclass(slots=True)
class Socket:
    """A WebSocket as long as it was open. `end` is `open`, `asked` (closed as the protocol has it), or how it broke."""

    opened: float
    closed: float = 0.0
    end: str = "open"
    sent: int = 0
    echoed: int = 0
    version: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """A change of version. `first_new` is when the first answer of the new one was there, `last_old` when the last
    request was sent that the old one answered; `mixed_seconds` is how long both answered."""

    first_new: float
    last_old: float

    @property
    def mixed_seconds(self) -> float:
        return max(0.0, self.last_old - self.first_new)


class Traffic:
    """The traffic, from a thread of its own. A context manager: leaving it waits until all requests have ended.

    `rate` is requests per second, `slow_rate` that of slow ones. `host_name` is what the site is called.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        rate: float = 200,
        slow_rate: float = 1,
        has_websocket: bool = True,
        host_name: str = "",
        path: str = "/",
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self.answers: list[Answer] = []
        self.sockets: list[Socket] = []
        self.late_seconds = 0.0
        """By how much a request was sent later than it should have been, at worst: the machine was too busy then."""
        self.processor_seconds = 0.0
        """What the traffic cost this machine on our side; set at the end."""
        self._host, self._port = host, port
        self._rate, self._slow_rate, self._has_websocket = rate, slow_rate, has_websocket
        self._host_name = host_name or f"{host}:{port}"
        self._path = path
        self._timeout_seconds = timeout_seconds
        self._idle: deque[_Connection] = deque()
        self._requests: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self._is_up = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        self._is_up.wait()
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    # --- what was seen ---

    @staticmethod
    def now() -> float:
        return time.monotonic()

    def run_for(self, seconds: float) -> None:
        time.sleep(seconds)

    @property
    def failed(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.failure]

    @property
    def retried(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.is_retried]

    @property
    def cut_sockets(self) -> list[Socket]:
        """WebSockets that ended without a word."""
        return [socket for socket in self.sockets if socket.end not in ("open", "asked")]

    def wrong(self, version: str, since: float, until: float = float("inf")) -> list[Answer]:
        """Requests sent in this time that were answered by another version."""
        return [
            answer
            for answer in self.answers
            if since <= answer.sent < until and not answer.failure and answer.version != version
        ]

    def turn(self, old: str, new: str, since: float, until: float = float("inf")) -> Turn:
        """How the change was seen. AssertionError where the new version never answered."""
        answers = [answer for answer in self.answers if since <= answer.sent < until and not answer.failure]
        new_ones = [answer.ended for answer in answers if answer.version == new]
        assert new_ones, f"{new} never answered: {self.summary()}"
        return Turn(min(new_ones), max((answer.sent for answer in answers if answer.version == old), default=0.0))

    def summary(self) -> str:
        """What happened, in one line: for messages."""
        failures = Counter(f"{answer.path} {answer.failure}" for answer in self.failed)
        versions = Counter(answer.version for answer in self.answers if not answer.failure)
        sockets = Counter(socket.end for socket in self.sockets)
        return (
            f"{len(self.answers)} requests, failed {dict(failures)}, retried {len(self.retried)}, versions "
            f"{dict(versions)}, WebSockets {dict(sockets)}, late by {self.late_seconds:.3f} s at most"
        )

    # --- the traffic ---

    def _run(self) -> None:
        asyncio.run(self._drive())
        self.processor_seconds = time.thread_time()

    async def _drive(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._is_up.set()
        pace = [
            self._pace(self._rate / 2, lambda: self._ask(self._path, is_kept=True)),
            self._pace(self._rate / 2, lambda: self._ask(self._path, is_kept=False)),
            self._pace(self._slow_rate / 2, lambda: self._ask("/slow", is_kept=True)),
            self._pace(self._slow_rate / 2, lambda: self._ask("/slow", is_kept=False)),
        ]
        if self._has_websocket:
            pace.append(self._talk())
        await asyncio.gather(*pace)
        if self._requests:
            await asyncio.wait(self._requests)
        for connection in self._idle:
            connection.close()

    async def _pace(self, rate: float, ask: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if not rate:
            return
        due = time.monotonic()
        while not self._stop.is_set():
            task = asyncio.create_task(ask())
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)
            self.late_seconds = max(self.late_seconds, time.monotonic() - due)
            due += 1 / rate
            if (wait := due - time.monotonic()) > 0:
                await self._wait(wait)

    async def _wait(self, seconds: float) -> None:
        """So long, or until the traffic ends."""
        if seconds < 0.5:
            await asyncio.sleep(seconds)
        else:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), seconds)

    async def _ask(self, path: str, *, is_kept: bool) -> None:
        sent = time.monotonic()
        version, is_retried, failure = "", False, ""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                version, is_retried = await self._exchange(path, is_kept=is_kept)
        except (OSError, _FailedError) as error:
            failure = _describe(error)
        self.answers.append(Answer(path, sent, time.monotonic(), is_kept, version, failure, is_retried))

    async def _exchange(self, path: str, *, is_kept: bool) -> tuple[str, bool]:
        connection = await self._connection(is_kept=is_kept)
        is_retried = False
        try:
            try:
                status, body = await connection.ask(path, self._host_name, is_kept=is_kept)
            except (ConnectionError, _FailedError):
                if not connection.answered or connection.has_begun:
                    raise
                connection.close()
                connection = await _Connection.open(self._host, self._port)
                is_retried = True
                status, body = await connection.ask(path, self._host_name, is_kept=is_kept)
        except BaseException:
            connection.close()
            raise
        if is_kept and connection.is_open:
            self._idle.append(connection)
        else:
            connection.close()
        if status != 200:
            raise _FailedError(f"status {status}")
        return body.partition(b"\n")[0].decode(errors="replace").strip(), is_retried

    async def _connection(self, *, is_kept: bool) -> _Connection:
        """The one that was idle for longest, so that all are in use; a new one while there are few."""
        while is_kept and len(self._idle) >= KEPT_CONNECTIONS:
            connection = self._idle.popleft()
            if connection.is_open:
                return connection
            connection.close()
        return await _Connection.open(self._host, self._port)

    # --- the WebSocket ---

    async def _talk(self) -> None:
        while not self._stop.is_set():
            opened = time.monotonic()
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    connection = await _Connection.open(self._host, self._port)
                    await connection.upgrade("/ws", self._host_name)
            except (OSError, _FailedError) as error:
                self.answers.append(Answer("/ws", opened, time.monotonic(), is_kept=True, failure=_describe(error)))
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            socket = Socket(opened)
            self.sockets.append(socket)
            sending = asyncio.create_task(self._send(connection, socket))
            try:
                socket.end = await self._receive(connection, socket)
            except (OSError, _FailedError) as error:
                socket.end = _describe(error)
            socket.closed = time.monotonic()
            sending.cancel()
            connection.close()

    async def _send(self, connection: _Connection, socket: Socket) -> None:
        with suppress(OSError):
            while True:
                await connection.send(TEXT, str(socket.sent).encode())
                socket.sent += 1
                await asyncio.sleep(MESSAGE_SECONDS)

    async def _receive(self, connection: _Connection, socket: Socket) -> str:
        """Until the other side closes it as the protocol has it, or the traffic is over; says which."""
        stopped = asyncio.create_task(self._stop.wait())
        try:
            while True:
                reading = asyncio.create_task(connection.receive())
                await asyncio.wait({reading, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    reading.cancel()
                    return "open"
                kind, payload = reading.result()
                if kind == TEXT:
                    socket.echoed += 1
                    socket.version = payload.decode().partition(" ")[0]
                elif kind == PING:
                    await connection.send(PONG, payload)
                elif kind == CLOSE:
                    with suppress(OSError):
                        await connection.send(CLOSE, payload)
                    return "asked"
        finally:
            stopped.cancel()


class _FailedError(Exception):
    """The answer is not what it should be; the text says how."""


class _Connection:
    """One connection and the requests made over it, one after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._must_close = False
        self.answered = 0
        self.has_begun = False
        """Whether something of the answer to the last request has come."""

    @classmethod
    async def open(cls, host: str, port: int) -> Self:
        return cls(*await asyncio.open_connection(host, port))

    @property
    def is_open(self) -> bool:
        return not self._must_close and not self._reader.at_eof() and not self._writer.is_closing()

    def close(self) -> None:
        self._writer.close()

    async def ask(self, path: str, host_name: str, *, is_kept: bool) -> tuple[int, bytes]:
        """Status and body of the whole answer."""
        self.has_begun = False
        wanted = "keep-alive" if is_kept else "close"
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: {host_name}\r\nConnection: {wanted}\r\n\r\n".encode())
        status, headers = await self._head()
        body = await self._body(headers)
        self.answered += 1
        self._must_close |= headers.get("connection", "").lower() == "close"
        return status, body

    async def _head(self) -> tuple[int, dict[str, str]]:
        first = await self._reader.read(1)
        if not first:
            raise _FailedError("closed without an answer")
        self.has_begun = True
        head = first + await self._until(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")[:-2]
        version, status, *_ = [*line.split(" ", 2), "", ""]
        if not version.startswith("HTTP/1.") or not status.isdigit():
            raise _FailedError(f"not HTTP: {line[:60]!r}")
        headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
        return int(status), headers

    async def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            chunks = []
            while size := int((await self._until(b"\r\n")).split(b";")[0], 16):
                chunks.append((await self._exactly(size + 2))[:-2])
            await self._until(b"\r\n")
            return b"".join(chunks)
        if "content-length" in headers:
            return await self._exactly(int(headers["content-length"]))
        self._must_close = True
        return await self._reader.read()

    async def _until(self, end: bytes) -> bytes:
        try:
            return await self._reader.readuntil(end)
        except asyncio.IncompleteReadError as error:
            raise _FailedError("closed in the middle of an answer") from error

    async def _exactly(self, size: int) -> bytes:
        try:
            return await self._reader.readexactly(size)
        except asyncio.IncompleteReadError as error:
            raise _FailedError("closed in the middle of an answer") from error

    # --- RFC 6455, as much as short messages need ---

    async def upgrade(self, path: str, host_name: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        self._writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {host_name}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        status, headers = await self._head()
        if status != 101:
            raise _FailedError(f"status {status}")
        wanted = base64.b64encode(hashlib.sha1(f"{key}{WEBSOCKET_GUID}".encode()).digest()).decode()
        if headers.get("sec-websocket-accept") != wanted:
            raise _FailedError("not a WebSocket")

    async def send(self, kind: int, payload: bytes) -> None:
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        self._writer.write(bytes((0x80 | kind, 0x80 | len(payload))) + mask + masked)
        await self._writer.drain()

    async def receive(self) -> tuple[int, bytes]:
        try:
            first, size = await self._reader.readexactly(2)
            if size == 126:
                size = int.from_bytes(await self._reader.readexactly(2), "big")
            return first & 0x0F, await self._reader.readexactly(size)
        except asyncio.IncompleteReadError as error:
            raise _FailedError("closed without a word") from error


def _describe(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    names = {ConnectionRefusedError: "refused", ConnectionResetError: "reset", BrokenPipeError: "reset"}
    return next((name for kind, name in names.items() if isinstance(error, kind)), str(error) or type(error).__name__)


def slowest(answers: Iterable[Answer]) -> float:
    """Seconds of the slowest of them."""
    return max((answer.seconds for answer in answers), default=0.0)
