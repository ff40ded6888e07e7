"""Constant load on an address, as browsers make it: what every request got is remembered."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class Answer:
    """When the request was sent and answered (monotonic), its status (0: none), and the text, or what went wrong."""

    began: float
    ended: float
    status: int
    text: str


@dataclass
class Load:
    """`steady` threads keep their connections, `fresh` ones open one for each request, `slow` ones ask for `/slow`.

    A connection that the other side had closed while nothing was under way on it is opened anew, once for each request:
    that is no failure (RFC 9112, 9.3.1).
    """

    host: str
    port: int
    domain: str = "shop.example.test"
    steady: int = 4
    fresh: int = 2
    slow: int = 1
    pause_seconds: float = 0.06
    answers: list[Answer] = field(default_factory=list)
    opened_anew: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        kinds: list[Callable[[], None]] = [
            *[self._steady] * self.steady,
            *[self._fresh] * self.fresh,
            *[self._slow] * self.slow,
        ]
        self._threads = [threading.Thread(target=kind, daemon=True) for kind in kinds]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    @property
    def failed(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.status != 200]

    def told(self, since: float = 0.0) -> Counter[str]:
        """How often each text came, of requests that were sent after `since`."""
        return Counter(answer.text for answer in self.answers if answer.began >= since)

    def _steady(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._stop.is_set():
            connection = self._ask(connection, "/")
            time.sleep(self.pause_seconds)
        if connection:
            connection.close()

    def _fresh(self) -> None:
        while not self._stop.is_set():
            self._ask_once("/")
            time.sleep(self.pause_seconds)

    def _slow(self) -> None:
        while not self._stop.is_set():
            self._ask_once("/slow")

    def _ask_once(self, path: str) -> None:
        if connection := self._ask(None, path):
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection | None, path: str) -> http.client.HTTPConnection | None:
        began = time.monotonic()
        is_reused = connection is not None
        connection = connection or http.client.HTTPConnection(self.host, self.port, timeout=20)
        try:
            connection.request("GET", path, headers={"Host": self.domain})
            response = connection.getresponse()
            text = response.read().decode(errors="replace").strip()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            if is_reused and isinstance(error, http.client.RemoteDisconnected | ConnectionResetError | BrokenPipeError):
                self.opened_anew += 1
                return self._ask(None, path)
            self.answers.append(Answer(began, time.monotonic(), 0, repr(error)))
            return None
        self.answers.append(Answer(began, time.monotonic(), response.status, text))
        return connection
