"""A constant load on a site: kept connections and new ones, a slow request, an open socket."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self


@dataclass
class Load:
    """Asks `path` of `host` at `port` of this machine until it is left. A context manager.

    `failed` are answers that are not 200, and errors; `answers` what was answered how often; `last` the time of each's
    last one. A request on a kept connection that the server had closed meanwhile is sent once more on a new one, as
    browsers do (RFC 9112, 9.3.1): `again` counts these.
    """

    port: int
    host: str
    path: str = "/"
    threads: int = 4
    pause_seconds: float = 0.05
    failed: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    last: dict[str, float] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    again: int = 0

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._running = [
            threading.Thread(target=self._ask, args=(number % 2 == 0,), daemon=True) for number in range(self.threads)
        ]
        for thread in self._running:
            thread.start()
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stop.set()
        for thread in self._running:
            thread.join(20)

    def _ask(self, is_kept: bool) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._stop.is_set():
            is_new = connection is None
            connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            try:
                connection.request("GET", self.path, headers={"Host": self.host})
                answer = connection.getresponse()
                text = answer.read().decode(errors="replace").strip()
                self._note(text if answer.status == 200 else "", f"{answer.status} {text[:200]}")
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
                connection.close()
                connection = None
                if is_new:
                    self._note("", repr(error))
                else:
                    self.again += 1
                continue
            except (OSError, http.client.HTTPException) as error:
                self._note("", repr(error))
                connection.close()
                connection = None
                continue
            if not is_kept:
                connection.close()
                connection = None
            time.sleep(self.pause_seconds)
        if connection:
            connection.close()

    def _note(self, text: str, error: str) -> None:
        with self._lock:
            now = time.monotonic()
            if not text:
                self.failed.append(error)
                return
            self.answers[text] += 1
            self.last[text] = now
            self.first.setdefault(text, now)


class OpenSocket:
    """A connection that was upgraded, as a WebSocket is: the application sends back what it is sent."""

    def __init__(self, port: int, host: str, path: str = "/socket") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: Upgrade", "Upgrade: websocket", "", ""]
        self._socket.sendall("\r\n".join(lines).encode())
        self._file = self._socket.makefile("rb")
        status = self._file.readline().decode()
        assert " 101 " in status, status
        while self._file.readline().strip():
            pass

    def echo(self, text: str) -> str:
        """What comes back; '' where the connection is closed."""
        try:
            self._socket.sendall(f"{text}\n".encode())
            return self._file.readline().decode().strip()
        except OSError:
            return ""

    def close(self) -> None:
        self._file.close()
        self._socket.close()
