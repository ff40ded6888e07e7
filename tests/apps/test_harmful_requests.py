"""Requests that mean harm, written byte by byte to a panel that really runs."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from devflow.protocol import HEAD_SECONDS, LARGEST_HEAD
from devflow.web.bodies import LARGEST
from tests.support.panel import Panel

pytestmark = pytest.mark.timeout(120)

HOST, END = "Host: 127.0.0.1\r\n", "Connection: close\r\n\r\n"
MANY = "X: y\r\n" * LARGEST_HEAD
PAGE = "/setup?token=x"
MEGABYTE = b"x" * (1 << 20)
HARD_TO_READ = {
    "length and chunks": "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    "the same length twice": "Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
    "a list of lengths": "Content-Length: 4, 4\r\n\r\nabcd",
    "a sign": "Content-Length: +4\r\n\r\nabcd",
    "a negative length": "Content-Length: -4\r\n\r\nabcd",
    "a length in hexadecimal": "Content-Length: 0x4\r\n\r\nabcd",
    "a length beyond all bounds": "Content-Length: 99999999999999999999999\r\n\r\nabcd",
    "an unknown coding": "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "two codings": "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked is not the last coding": "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded header": "X: a\r\n Transfer-Encoding: chunked\r\n\r\n",
    "a null byte": "X: a\0b\r\n\r\n",
    "a bare carriage return": "X: a\rTransfer-Encoding: chunked\r\n\r\n",
    "a second host": "Host: evil.example\r\n\r\n",
    "no size of a chunk": "Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    "a negative chunk": "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    "a chunk beyond all bounds": "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n\r\n",
    "lines without carriage return": "Transfer-Encoding: chunked\r\n\r\n1\na\n0\n\n",
    "a chunk of another size": "Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
    "headers after the body": "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n",
}
ENDLESS = {
    "header": f"GET /healthz HTTP/1.1\r\n{HOST}X: ",
    "address": "GET /",
    "extension of a chunk": f"POST /setup HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n1;",
    "header after the body": f"POST /setup HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: ",
}


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    with Panel(tmp_path_factory.mktemp("panel") / "data") as running:
        httpx.get(running.url + PAGE, timeout=60)  # so that all is loaded
        yield running


def connect(panel: Panel) -> socket.socket:
    return socket.create_connection(("127.0.0.1", panel.port), timeout=30)


def say(panel: Panel, text: str) -> bytes:
    """Everything that is answered until the panel ends the connection."""
    with connect(panel) as connection:
        connection.sendall(text.encode("latin-1"))
        return read(connection)


def read(connection: socket.socket) -> bytes:
    answer = b""
    try:
        while part := connection.recv(1 << 16):
            answer += part
    except ConnectionResetError:
        pass
    return answer


def status(answer: bytes) -> int:
    assert answer.count(b"HTTP/1.1 ") == 1, answer
    return int(answer.split()[1])


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("path", ["/setup", "/healthz", "/api/v1/projects", "/webhooks/github/x"])
@pytest.mark.parametrize("rest", HARD_TO_READ.values(), ids=HARD_TO_READ)
def test_what_could_be_read_in_two_ways_is_refused(panel: Panel, path: str, rest: str) -> None:
    hidden = f"GET /healthz HTTP/1.1\r\n{HOST}\r\n"
    answer = say(panel, f"POST {path} HTTP/1.1\r\n{HOST}{rest}{hidden}")
    # /healthz reads no body: what is wrong in it may come after the answer, which ends the connection then.
    assert b'"ok"' not in answer.partition(b"HTTP/1.1 400")[2]
    assert status(answer) == 400 or path == "/healthz"


def test_one_host_and_a_known_version_are_asked_for(panel: Panel) -> None:
    assert status(say(panel, f"GET {PAGE} HTTP/1.1\r\n{END}")) == 400
    assert status(say(panel, f"GET {PAGE} HTTP/1.1\r\nHost: evil.example\r\n{END}")) == 400
    assert status(say(panel, f"GET http://evil.example{PAGE} HTTP/1.1\r\nHost: evil.example\r\n{END}")) == 400
    assert status(say(panel, f"CONNECT evil.example:80 HTTP/1.1\r\n{HOST}{END}")) == 400
    assert status(say(panel, f"GET {PAGE} HTTP/1.0\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")) == 400


def test_the_body_of_a_get_is_no_second_request(panel: Panel) -> None:
    hidden = "GET /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    answer = say(panel, f"GET /healthz HTTP/1.1\r\n{HOST}Content-Length: {len(hidden)}\r\n{END}{hidden}")
    assert status(answer) == 200


@pytest.mark.parametrize("begun", ENDLESS.values(), ids=ENDLESS)
def test_a_head_without_an_end_is_cut(panel: Panel, begun: str) -> None:
    before, sent = resident_bytes(panel.child("web")), 0
    with connect(panel) as connection:
        connection.sendall(begun.encode())
        try:
            while sent < 50 * len(MEGABYTE):
                sent += connection.send(MEGABYTE)
        except (ConnectionResetError, BrokenPipeError):
            pass
    assert LARGEST_HEAD < sent < 20 * len(MEGABYTE)  # what was on its way in the sockets
    assert resident_bytes(panel.child("web")) - before < 10e6


def test_a_large_head_is_told(panel: Panel) -> None:
    assert status(say(panel, f"GET {PAGE} HTTP/1.1\r\n{HOST}X: {'a' * LARGEST_HEAD}\r\n{END}")) == 431
    assert status(say(panel, f"GET {PAGE} HTTP/1.1\r\n{HOST}{MANY}{END}")) == 431
    assert status(say(panel, f"GET {PAGE} HTTP/1.1\r\n{HOST}X: {'a' * (LARGEST_HEAD // 2)}\r\n{END}")) == 403


@pytest.mark.parametrize("path", ["/setup", "/accounts/login/", "/api/v1/projects", "/static/nothing", "/webhooks/a/b"])
def test_a_body_that_says_it_is_too_large_is_refused_unread(panel: Panel, path: str) -> None:
    with connect(panel) as connection:  # nothing of the body is sent
        head = f"POST {path} HTTP/1.1\r\n{HOST}Content-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("path", ["/setup", "/api/v1/projects", "/healthz", "/webhooks/github/x"])
@pytest.mark.parametrize("way", ["chunks", "length"])
def test_a_gigabyte_is_refused_in_little_memory(panel: Panel, path: str, way: str) -> None:
    web = panel.child("web")
    before = resident_bytes(web)
    framing = "Transfer-Encoding: chunked" if way == "chunks" else "Content-Length: 1073741824"
    part = b"100000\r\n" + MEGABYTE + b"\r\n" if way == "chunks" else MEGABYTE
    highest, begun, sent = before, time.monotonic(), 0
    with connect(panel) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\n{HOST}{framing}\r\n\r\n".encode())
        try:
            for _ in range(1024):
                connection.sendall(part)
                sent += len(part)
                highest = max(highest, resident_bytes(web))
        except OSError:  # the panel has had enough
            pass
        connection.settimeout(1)
        answer = b""
        with suppress(OSError):
            answer = connection.recv(1 << 16)
    expected = b"200" if path == "/healthz" else b"404" if path.startswith("/webhooks") and way == "chunks" else b"413"
    assert not answer or answer.split()[1] == expected
    assert highest - before < 20e6, (highest - before, sent)
    assert sent < 64 * len(MEGABYTE), "who does not listen is cut off"
    assert time.monotonic() - begun < HEAD_SECONDS + 5
    assert panel.is_ready()


def test_bodies_that_do_not_come_hold_up_nobody(panel: Panel) -> None:
    head = f"POST /setup?token=x HTTP/1.1\r\n{HOST}Content-Length: 1000\r\n\r\nhalf".encode()
    with ExitStack() as held:
        for _ in range(40):
            held.enter_context(connect(panel)).sendall(head)
        assert httpx.get(panel.url + PAGE, timeout=5).status_code == 403


def test_answers_that_are_not_read_hold_up_nobody(panel: Panel) -> None:
    with ExitStack() as held:
        for _ in range(20):
            deaf = held.enter_context(socket.socket())
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            deaf.connect(("127.0.0.1", panel.port))
            deaf.sendall(f"GET /static/ninja/swagger-ui-bundle.js HTTP/1.1\r\n{HOST}\r\n".encode())
        time.sleep(1)
        assert httpx.get(panel.url + PAGE, timeout=5).status_code == 403


def test_many_bodies_together_are_held_in_bounded_memory(panel: Panel) -> None:
    """Thirty that stop just before their end: later ones are told to come again."""
    web = panel.child("web")
    before = resident_bytes(web)
    with ExitStack() as held:
        for _ in range(30):
            connection = held.enter_context(connect(panel))
            connection.setblocking(False)
            head = f"POST /setup?token=x HTTP/1.1\r\n{HOST}Content-Length: {LARGEST}\r\n\r\n".encode()
            _send_what_goes(connection, head + b"x" * (LARGEST - 10))
        assert resident_bytes(web) - before < 120e6
        assert httpx.get(panel.url + PAGE, timeout=5).status_code == 403
        late = httpx.post(panel.url + PAGE, content=b"y" * 2_000_000, timeout=5)
        assert (late.status_code, "retry-after" in late.headers) == (503, True)
    assert httpx.post(panel.url + PAGE, content=b"y" * 2_000_000, timeout=5).status_code == 403


def test_who_says_nothing_is_not_waited_for(panel: Panel) -> None:
    begun = time.monotonic()
    with connect(panel) as silent, connect(panel) as slow:
        slow.sendall(b"GET /healthz HT")
        time.sleep(1)
        slow.sendall(b"TP/1.1\r\n")
        assert read(silent) == b""
        assert read(slow) == b""
    assert HEAD_SECONDS - 1 < time.monotonic() - begun < HEAD_SECONDS + 5


def _send_what_goes(connection: socket.socket, content: bytes) -> None:
    """All that the panel takes: until it has taken nothing for a fifth of a second."""
    sent, heard_at = 0, time.monotonic()
    while sent < len(content) and time.monotonic() - heard_at < 0.2:
        try:
            sent += connection.send(content[sent:])
            heard_at = time.monotonic()
        except BlockingIOError:
            time.sleep(0.01)
        except OSError:
            return
