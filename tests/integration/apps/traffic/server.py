"""Answers its version: at once, after five seconds (`/slow`), or to each message of a WebSocket (`/ws`).

Told to end (SIGTERM), it takes no more connections, finishes the requests that it has, and closes WebSockets as the
protocol has it. Listens on $PORT of $HOST (127.0.0.1:8000).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import signal
from pathlib import Path

VERSION = (Path(__file__).parent / "version.txt").read_text().strip()
SLOW_SECONDS = 5
GOING_AWAY = (1001).to_bytes(2, "big")
PADDING = "." * 1000


class Application:
    def __init__(self) -> None:
        self.is_ending = False
        self.requests: set[asyncio.Task[None]] = set()
        self.idle: set[asyncio.StreamWriter] = set()
        self.sockets: set[asyncio.StreamWriter] = set()

    async def run(self) -> None:
        server = await asyncio.start_server(
            self.connected, os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8000"))
        )
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        await ended.wait()
        self.is_ending = True
        server.close()
        for writer in self.idle:
            writer.close()
        for writer in self.sockets:
            writer.write(frame(8, GOING_AWAY))
        if self.requests:
            await asyncio.wait(self.requests, timeout=20)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self.requests.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                self.idle.discard(writer)
                if not await self.answer(head, reader, writer):
                    break
                # Only what had an answer is idle: the first request of a new connection is on its way.
                self.idle.add(writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.requests.discard(task)
            self.idle.discard(writer)
            writer.close()

    async def answer(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answers a request; whether the connection is kept."""
        request, *lines = head.rstrip().split("\r\n")
        path = request.split()[1].partition("?")[0]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if path == "/ws" and headers.get("upgrade", "").lower() == "websocket":
            await self.talk(headers["sec-websocket-key"], reader, writer)
            return False
        if path == "/slow":
            await asyncio.sleep(SLOW_SECONDS)
        body = f"{VERSION}\n{PADDING}\n".encode()
        is_kept = headers.get("connection", "").lower() != "close" and "HTTP/1.1" in request and not self.is_ending
        kept = "keep-alive" if is_kept else "close"
        answer = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: {kept}\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{answer}\r\n".encode() + body)
        await writer.drain()
        return is_kept

    async def talk(self, key: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accept = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
        writer.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        self.sockets.add(writer)
        try:
            while True:
                kind, payload = await read_frame(reader)
                if kind == 8:
                    if not self.is_ending:
                        writer.write(frame(8, payload))
                    break
                writer.write(frame(kind, f"{VERSION} {payload.decode()}".encode()))
                await writer.drain()
        finally:
            self.sockets.discard(writer)


def frame(kind: int, payload: bytes) -> bytes:
    """One that the server sends: whole, short, not masked."""
    return bytes((0x80 | kind, len(payload))) + payload


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """One that a client sent: whole, short, masked."""
    first, second = await reader.readexactly(2)
    mask = await reader.readexactly(4)
    payload = await reader.readexactly(second & 0x7F)
    return first & 0x0F, bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


if __name__ == "__main__":
    asyncio.run(Application().run())
