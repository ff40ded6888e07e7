"""A Sentry of the tests: takes what the panel sends, over HTTP on loopback."""

from __future__ import annotations

import gzip
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


class Sentry:
    """`dsn` for the panel's settings; `raw` is all that came, `events` the events in it."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self.events: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._endpoint())
        self.dsn = f"http://public@127.0.0.1:{self._server.server_port}/1"

    def __enter__(self) -> Sentry:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def event(self, error_id: str, timeout_seconds: float = 10) -> dict[str, Any]:
        """The one with this id, when it has come."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            for event in list(self.events):
                if event.get("tags", {}).get("error_id") == error_id:
                    return event
            time.sleep(0.05)
        raise AssertionError(f"no event of {error_id} among {[event.get('tags') for event in self.events]}")

    def _take(self, body: bytes) -> None:
        self.raw.append(body)
        _, *lines = body.splitlines()
        for head, content in zip(lines[::2], lines[1::2], strict=False):
            if json.loads(head).get("type") == "event":
                self.events.append(json.loads(content))

    def _endpoint(self) -> type[BaseHTTPRequestHandler]:
        take = self._take

        class Endpoint(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                pass

        return Endpoint
