"""The traffic of the tests sees every fault: each is made on purpose here, once, among many good answers."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest

from tests.support.panel import free_port, wait_until
from tests.support.traffic import Answer, Traffic, Turn

SERVER = Path(__file__).parent / "apps/traffic/server.py"
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%b\n"
# What the server does with one request instead of answering it.
FAULTS = {
    "reset": "reset",
    "closed": "closed without an answer",
    "half": "closed in the middle of an answer",
    "502": "status 502",
    "404": "status 404",
    "silent": "no answer in time",
    "noise": "not HTTP: 'what?'",
}


class FaultyServer:
    """Answers "1", except where told otherwise. A context manager."""

    def __init__(self) -> None:
        self.version = b"1"
        self.next_fault = ""
        self.on_kept = False
        """Whether the fault waits for a connection that has had an answer already."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.close()

    def refuse(self, seconds: float) -> None:
        """Nothing listens for a while."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        time.sleep(seconds)
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=100)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        listener = self._listener
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        answered = 0
        with connection:
            while b"\r\n\r\n" in connection.recv(4096):
                fault = ""
                if self.next_fault and bool(answered) == self.on_kept:
                    fault, self.next_fault = self.next_fault, ""
                if not self._answer(connection, fault):
                    return
                answered += 1

    def _answer(self, connection: socket.socket, fault: str) -> bool:
        if fault == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif fault == "half":
            connection.sendall((GOOD % self.version)[:-1])
        elif fault == "noise":
            connection.sendall(b"what?\r\n\r\n")
        elif fault == "silent":
            time.sleep(1.5)
        elif fault.isdigit():
            connection.sendall(f"HTTP/1.1 {fault} Oh\r\nContent-Length: 0\r\n\r\n".encode())
            return True
        elif fault == "old":
            connection.sendall(GOOD % b"0")
            return True
        elif not fault:
            connection.sendall(GOOD % self.version)
            return True
        return False


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer() as started:
        yield started


def quick_traffic(server: FaultyServer) -> Traffic:
    return Traffic("127.0.0.1", server.port, slow_rate=0, has_websocket=False, timeout_seconds=1)


@pytest.mark.parametrize("fault", FAULTS)
def test_one_bad_answer_among_many_is_seen_once_and_named(server: FaultyServer, fault: str) -> None:
    with quick_traffic(server) as traffic:
        traffic.run_for(0.4)
        server.next_fault = fault
        traffic.run_for(0.4)
    assert [answer.failure for answer in traffic.failed] == [FAULTS[fault]], traffic.summary()
    assert len(traffic.answers) > 100
    assert traffic.retried == []


@pytest.mark.alone
def test_refused_connections_are_seen(server: FaultyServer) -> None:
    with quick_traffic(server) as traffic:
        traffic.run_for(0.3)
        server.refuse(0.2)
        traffic.run_for(0.3)
    failures = Counter(answer.failure for answer in traffic.failed)
    # one may have been taken by the kernel already, for a server that never took it: that is reset
    assert failures.keys() <= {"refused", "reset"}, traffic.summary()
    assert failures["reset"] <= 1, traffic.summary()
    assert 15 <= len(traffic.failed) <= 25, "half of 200 requests/s need a new connection"


@pytest.mark.alone
def test_a_wrong_version_after_the_switch_is_seen(server: FaultyServer) -> None:
    with quick_traffic(server) as traffic:
        began = traffic.now()
        traffic.run_for(0.4)
        server.version = b"2"
        switched = traffic.now() + 0.05
        traffic.run_for(0.4)
        assert traffic.wrong("2", switched) == []
        server.next_fault = "old"
        traffic.run_for(0.4)
    assert [answer.version for answer in traffic.wrong("2", switched)] == ["0"]
    turn = traffic.turn("1", "2", began)
    assert switched - 0.1 < turn.first_new < switched + 0.1
    assert turn.mixed_seconds < 0.05
    assert traffic.failed == []


def test_a_mixed_time_is_measured_by_when_requests_were_sent() -> None:
    traffic = Traffic("127.0.0.1", 1)
    times = [("1", 0.0, 0.1), ("2", 1.0, 1.1), ("1", 0.9, 6.0), ("1", 1.5, 1.6), ("2", 2.0, 2.1)]
    traffic.answers = [Answer("/", sent, ended, is_kept=True, version=version) for version, sent, ended in times]
    assert traffic.turn("1", "2", 0.0) == Turn(first_new=1.1, last_old=1.5)
    assert traffic.turn("1", "2", 0.0).mixed_seconds == pytest.approx(0.4)
    assert [answer.sent for answer in traffic.wrong("2", 1.1)] == [1.5]
    assert traffic.wrong("2", 1.1, 1.5) == []


@pytest.mark.parametrize("fault", ["closed", "reset"])
def test_only_a_kept_connection_that_gives_no_byte_is_asked_again_and_counted(server: FaultyServer, fault: str) -> None:
    server.on_kept = True
    with quick_traffic(server) as traffic:
        traffic.run_for(0.4)
        server.next_fault = fault
        traffic.run_for(0.4)
        server.next_fault = "half"
        traffic.run_for(0.4)
    assert len(traffic.retried) == 1
    assert [answer.failure for answer in traffic.failed] == ["closed in the middle of an answer"], traffic.summary()


@contextmanager
def application(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The application of the traffic tests, on this machine."""
    process = subprocess.Popen([sys.executable, str(SERVER)], env={**os.environ, "PORT": str(port)})

    def answers() -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(answers, 10)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.alone
def test_slow_requests_and_a_websocket_end_well_with_an_application_that_is_told_to_end() -> None:
    port = free_port()
    with application(port) as process, Traffic("127.0.0.1", port, rate=200) as traffic:
        began = traffic.now()
        traffic.run_for(2)
        told = traffic.now()
        process.terminate()
        traffic.run_for(6)
    kinds = Counter((answer.path, answer.failure) for answer in traffic.answers)
    slow = [answer for answer in traffic.answers if answer.path == "/slow" and answer.sent < told - 0.05]
    assert 2 <= len(slow) <= 2 * (1 + (told - began) // 2), "one kept and one fresh, every two seconds"
    assert all(not answer.failure and 4.9 < answer.seconds < 6 for answer in slow), "those under way had their answers"
    assert 0.875 < kinds["/", ""] / (200 * (told - began)) < 1.125
    assert min(answer.sent for answer in traffic.failed) > told - 0.05
    first = traffic.sockets[0]
    assert (first.end, first.version, first.sent - first.echoed) == ("asked", "1", 0)
    assert traffic.late_seconds < 1
    assert traffic.processor_seconds < 2


def test_a_websocket_that_breaks_off_is_seen() -> None:
    port = free_port()
    with application(port) as process, Traffic("127.0.0.1", port, rate=2, slow_rate=0) as traffic:
        traffic.run_for(0.6)
        process.kill()
        traffic.run_for(0.3)
    assert [socket.end for socket in traffic.cut_sockets] in (["closed without a word"], ["reset"])
