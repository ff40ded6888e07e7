"""A TCP proxy that makes a distance: what passes through arrives half a round trip later, each way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

CHUNK_BYTES = 65536


class DelayProxy:
    """Stands before `host:port` on `proxy.port` of 127.0.0.1, in a thread of its own; a context manager.

    Opening a connection costs a round trip, as a handshake would; bandwidth is not limited.
    """

    host = "127.0.0.1"

    def __init__(self, host: str, port: int, *, round_trip_seconds: float) -> None:
        self._target = (host, port)
        self._round_trip_seconds = round_trip_seconds
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="delay-proxy", daemon=True)
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self.mend()
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Closes every connection, and refuses new ones until `mend`."""
        self._call(self._cut())

    def mend(self) -> None:
        """Accepts connections (again), on the same port."""
        self._call(self._listen())

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.ensure_future(self._connect(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(self._round_trip_seconds)
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            try:
                await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))
            finally:
                far_writer.transport.abort()
        except OSError:
            return  # either side is gone: so is the other
        finally:
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Each chunk is written half a round trip after it came, in order; so is the end."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        deliver = asyncio.ensure_future(self._deliver(under_way, writer))
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                under_way.put_nowait((self._due(), chunk))
            under_way.put_nowait((self._due(), b""))
            await deliver
        finally:
            deliver.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await deliver

    async def _deliver(self, under_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        while True:
            due, chunk = await under_way.get()
            await asyncio.sleep(due - self._loop.time())
            if not chunk:
                with suppress(OSError):
                    writer.write_eof()
                return
            writer.write(chunk)
            await writer.drain()

    def _due(self) -> float:
        return self._loop.time() + self._round_trip_seconds / 2
