"""A way to a panel that can be cut: a proxy on loopback, for what a browser does when the network is away."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

LONGEST_SECONDS = 60


@dataclass
class Front:
    """`is_away`: connections are closed without a word; `is_slow`: pages are not answered until it is not any more; of
    the service worker's text the first of `worker` is replaced by the second, as in another version. `asked` are method
    and path of what came to it."""

    port: int = 0
    is_away: bool = False
    is_slow: bool = False
    worker: tuple[bytes, bytes] = (b"", b"")
    asked: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def front(panel_url: str) -> Iterator[Front]:
    """A proxy for the panel on a free port of 127.0.0.1."""
    state = Front()
    panel = urlsplit(panel_url)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(f"{self.command} {self.path}")
            self.close_connection = True
            if state.is_slow and "text/html" in self.headers.get("accept", ""):
                while state.is_slow and not state.released.wait(0.1):
                    pass
            if state.is_away:
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            way = http.client.HTTPConnection(str(panel.hostname), panel.port, timeout=LONGEST_SECONDS)
            try:
                way.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in ("connection", "accept-encoding"):
                        way.putheader(name, value)
                way.endheaders(body)
                self._answer(way.getresponse())
            except OSError:
                return
            finally:
                way.close()

        do_POST = do_GET  # noqa: N815 - http.server's name

        def _answer(self, answer: http.client.HTTPResponse) -> None:
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("connection", "close")
            self.end_headers()
            if self.path == "/service-worker.js":
                self.wfile.write(answer.read().replace(*state.worker) if state.worker[0] else answer.read())
            while not state.is_away and (part := answer.read1(65536)):
                self.wfile.write(part)
                self.wfile.flush()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.is_away = True
        state.released.set()
        with suppress(OSError):
            server.shutdown()
            server.server_close()
        thread.join()
