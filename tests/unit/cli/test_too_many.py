"""A command waits when the panel says that it was asked too often, and then goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from devflow.cli.client import Client
from devflow.cli.credentials import Credentials
from devflow.cli.errors import ClientError


@contextmanager
def panel(*answers: tuple[int, str]) -> Iterator[tuple[Client, list[str]]]:
    """A server that answers with these statuses and times to wait, one after the other; and what it was asked."""
    asked: list[str] = []
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.headers["Idempotency-Key"])
            status, wait = left.pop(0)
            body = b'{"detail": "Too many requests.", "errors": []}'
            self.send_response(status)
            if wait:
                self.send_header("Retry-After", wait)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Client(Credentials(f"http://127.0.0.1:{server.server_port}", "dfp_x")), asked
        finally:
            server.shutdown()
            thread.join()


def test_it_waits_as_long_as_it_is_told_and_sends_the_same_again() -> None:
    with panel((429, "1"), (201, "")) as (client, asked):
        begun = time.monotonic()
        client.post("tokens", body={})
        assert time.monotonic() - begun >= 1
        assert len(asked) == 2
        assert len(set(asked)) == 1


@pytest.mark.parametrize("wait", ["", "61", "soon", "-1"])
def test_it_does_not_wait_for_long_nor_without_being_told(wait: str) -> None:
    with panel((429, wait)) as (client, asked), pytest.raises(ClientError, match="Too many requests"):
        client.post("tokens", body={})
    assert len(asked) == 1


def test_it_waits_once() -> None:
    with panel((429, "1"), (429, "1")) as (client, asked), pytest.raises(ClientError, match="Too many requests"):
        client.post("tokens", body={})
    assert len(asked) == 2
