"""The events of deployments, read once for each deployment and handed to everybody who follows it.

Each viewer only remembers which event it has seen last. What comes next is taken from the chunks that a feed keeps of
late, and from the table where the viewer is behind these: so no viewer costs memory, none can hold up another, and
there is neither a gap nor a double, since events are numbered without gaps.
"""

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, Protocol

import psycopg
from django.db import DatabaseError

from devflow.apps.deployments.events import EVENTS_CHANNEL

PAGE_EVENTS: Final = 200
HEARTBEAT: Final = b": still here\n\n"
HEARTBEAT_SECONDS: Final = 15.0
KEPT_BYTES: Final = 1 << 20
RECONNECT_SECONDS: Final = (0.1, 0.5, 1.0, 2.0)

_LOGS: Final = ("deployment.log", "container.log")
_ENDS: Final = ("deployment.completed", "container.log_ended")

_log = logging.getLogger(__name__)


class Event(Protocol):
    """A row of the table of events."""

    seq: int
    kind: str
    data: dict[str, Any]
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Events `first` … `last` as they go over the wire. `ends[i]` is where event `first + i` ends in `payload`."""

    first: int
    payload: bytes
    ends: tuple[int, ...]
    is_end: bool
    """Whether its last event is the end: of the deployment, or of a log that was followed."""

    @property
    def last(self) -> int:
        return self.first + len(self.ends) - 1

    def after(self, seq: int) -> bytes:
        """The part that comes after event `seq`."""
        return self.payload if seq < self.first else self.payload[self.ends[seq - self.first] :]


def encode(events: Sequence[Event]) -> Chunk:
    """One or more events in their order as a chunk in the format of server-sent events."""
    encoded = [_encode_one(event) for event in events]
    return Chunk(
        first=events[0].seq,
        payload=b"".join(encoded),
        ends=tuple(accumulate(map(len, encoded))),
        is_end=events[-1].kind in _ENDS,
    )


def _encode_one(event: Event) -> bytes:
    data = {"seq": event.seq, **event.data}
    if event.kind in _LOGS:
        data |= {"line": event.line, "text": event.text}
    return f"id: {event.seq}\nevent: {event.kind}\ndata: {json.dumps(data)}\n\n".encode()


class Feed:
    """The live end of one deployment's events. `last` is the newest that was read; None before a viewer got there."""

    def __init__(self) -> None:
        self.viewers = 0
        self.last: int | None = None
        self.beats = 0
        self.task: asyncio.Task[None] | None = None
        self.is_stale = False
        self._chunks: deque[Chunk] = deque()
        self._kept_bytes = 0
        self._changed = asyncio.Event()

    def chunk_after(self, seq: int) -> Chunk | None:
        """The kept chunk with event `seq + 1`, or None when it is not kept (any more) or not there yet."""
        for chunk in reversed(self._chunks):
            if chunk.first <= seq + 1:
                return chunk if chunk.last > seq else None
        return None

    def is_live(self, seq: int) -> bool:
        """Whether who has seen event `seq` has seen all that was read."""
        return self.last is not None and seq >= self.last

    def publish(self, chunk: Chunk) -> None:
        self.last = chunk.last
        self._chunks.append(chunk)
        self._kept_bytes += len(chunk.payload)
        while self._kept_bytes > KEPT_BYTES and len(self._chunks) > 1:
            self._kept_bytes -= len(self._chunks.popleft().payload)
        self.wake()

    def wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def wait(self) -> None:
        """Wait for a chunk, a heartbeat or the end of the process."""
        await self._changed.wait()


class Hub:
    """All feeds of this process, and its one connection that listens for news.

    `read(deployment_id, after_seq, limit)` reads events from the table; `connect()` opens a connection to listen on.
    """

    def __init__(
        self,
        read: Callable[[str, int, int], Awaitable[Sequence[Event]]],
        connect: Callable[[], Awaitable[psycopg.AsyncConnection[Any]]],
    ) -> None:
        self._read = read
        self._connect = connect
        self._feeds: dict[str, Feed] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._is_closed = False

    async def follow(self, deployment_id: str, seen: int) -> AsyncGenerator[bytes, None]:
        """Everything after event `seen`, up to the end of the deployment, with heartbeats while nothing happens.

        `seen` must not be greater than the deployment's last event. Raises `DatabaseError` when the
        database stays away.
        """
        with self._watched(deployment_id) as feed:
            while not self._is_closed:
                chunk = feed.chunk_after(seen)
                if chunk is None and not feed.is_live(seen):
                    chunk = await self._read_patiently(deployment_id, seen)
                    if chunk is None and feed.last is None:
                        feed.last = seen
                        self._refresh(deployment_id)
                if chunk is not None:
                    yield chunk.after(seen)
                    seen = chunk.last
                    if chunk.is_end:
                        return
                elif feed.is_live(seen) and not self._is_closed:
                    beats = feed.beats
                    await feed.wait()
                    if feed.beats != beats:
                        yield HEARTBEAT

    def close(self) -> None:
        """End all streams; nothing can be followed afterwards."""
        self._is_closed = True
        for feed in self._feeds.values():
            feed.wake()

    @contextmanager
    def _watched(self, deployment_id: str) -> Iterator[Feed]:
        """The deployment's feed, which lives as long as it has viewers; we listen as long as there are feeds."""
        feed = self._feeds.setdefault(deployment_id, Feed())
        feed.viewers += 1
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._beat())]
        try:
            yield feed
        finally:
            feed.viewers -= 1
            if feed.viewers == 0:
                del self._feeds[deployment_id]
            if not self._feeds:
                for task in self._tasks:
                    task.cancel()
                self._tasks = []

    async def _listen(self) -> None:
        """Refresh feeds as news come in. After a lost connection all of them, since news may have been missed."""
        attempt = 0
        while True:
            try:
                async with await self._connect() as connection:
                    await connection.execute(f"LISTEN {EVENTS_CHANNEL}")
                    attempt = 0
                    self._refresh_all()
                    async for notice in connection.notifies():
                        self._refresh(json.loads(notice.payload)["d"])
            except psycopg.OperationalError as error:
                _log.warning("lost the database while listening: %s", error)
            await asyncio.sleep(RECONNECT_SECONDS[min(attempt, len(RECONNECT_SECONDS) - 1)])
            attempt += 1

    async def _beat(self) -> None:
        """Show proxies and viewers that the stream lives, and make good what might have been missed."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            self._refresh_all()
            for feed in self._feeds.values():
                feed.beats += 1
                feed.wake()

    def _refresh_all(self) -> None:
        for deployment_id in self._feeds:
            self._refresh(deployment_id)

    def _refresh(self, deployment_id: str) -> None:
        """Have the feed read what is new; while it reads, remember to read once more."""
        feed = self._feeds.get(deployment_id)
        if feed is None or feed.last is None:
            return
        feed.is_stale = True
        if feed.task is None or feed.task.done():
            feed.task = asyncio.create_task(self._read_news(deployment_id, feed))

    async def _read_news(self, deployment_id: str, feed: Feed) -> None:
        while feed.is_stale and feed.viewers:
            feed.is_stale = False
            assert feed.last is not None
            try:
                chunk = await self._read_chunk(deployment_id, feed.last)
            except DatabaseError as error:  # the next connection or heartbeat tries again
                _log.warning("cannot read events of %s: %s", deployment_id, error)
                return
            if chunk is not None:
                feed.publish(chunk)
                feed.is_stale |= len(chunk.ends) == PAGE_EVENTS

    async def _read_patiently(self, deployment_id: str, after: int) -> Chunk | None:
        """Read for a viewer, who need not notice that the database restarts."""
        for pause in RECONNECT_SECONDS:
            try:
                return await self._read_chunk(deployment_id, after)
            except DatabaseError as error:
                _log.warning("cannot read events of %s, trying again: %s", deployment_id, error)
                await asyncio.sleep(pause)
        return await self._read_chunk(deployment_id, after)

    async def _read_chunk(self, deployment_id: str, after: int) -> Chunk | None:
        events = await self._read(deployment_id, after, PAGE_EVENTS)
        return encode(events) if events else None
