"""A running panel and raw bytes: forged headers, addresses that lead to files, and what answers beside Django.

(Requests that can be cut in two ways, and bodies of a gigabyte: tests/apps/test_harmful_requests.py.)
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from tests.support.panel import Panel


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    with Panel(tmp_path_factory.mktemp("attacked") / "data") as started:
        yield started


@dataclass
class Said:
    """What the panel answered to raw bytes."""

    answer: bytes

    @property
    def statuses(self) -> list[int]:
        lines = self.answer.split(b"HTTP/1.1 ")[1:]
        return [int(line[:3]) for line in lines]


def say(panel: Panel, *parts: bytes) -> Said:
    """Sends the parts, and reads until the connection ends."""
    with socket.create_connection(("127.0.0.1", panel.port), 10) as connection:
        said = Said(b"")
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(b"".join(parts))
            while part := connection.recv(65536):
                said.answer += part
        return said


FORGED = [
    b"X-Forwarded-For: 203.0.113.9",
    b"X_Forwarded_For: 203.0.113.9",
    b"X-Real-IP: 203.0.113.9",
    b"Forwarded: for=203.0.113.9;host=evil.test;proto=https",
    b"X-Forwarded-Host: evil.test",
    b"X-Forwarded-Proto: https",
    b"X-Forwarded-Port: 1",
    b"X-Original-URL: /api/v1/whoami",
    b"X-Rewrite-URL: /api/v1/whoami",
    b"X-HTTP-Method-Override: DELETE",
    b"Remote_User: owner@example.test",
    b"Remote-User: owner@example.test",
    b"X-Forwarded-User: owner@example.test",
    b"Script-Name: /evil",
]


@pytest.mark.parametrize("header", FORGED, ids=lambda header: header.split(b":")[0].decode())
def test_a_header_of_proxies_changes_nothing(panel: Panel, header: bytes) -> None:
    """No header makes anybody a person, and no name from one comes back."""
    said = say(
        panel,
        b"GET /accounts/password/reset/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n",
        header,
        b"\r\n\r\n",
    )
    assert said.statuses[0] in (200, 302)
    assert b"evil" not in said.answer
    asked = say(panel, b"GET /api/v1/whoami HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", header, b"\r\n\r\n")
    assert asked.statuses == [401]


@pytest.mark.parametrize(
    "host", [b"evil.test", b"localhost@evil.test", b"localhost:80@evil.test", b"evil.test#localhost"]
)
def test_another_host_is_not_answered_with_a_page(panel: Panel, host: bytes) -> None:
    said = say(panel, b"GET /accounts/password/reset/ HTTP/1.1\r\nConnection: close\r\nHost: " + host + b"\r\n\r\n")
    assert said.statuses == [400]
    assert b"evil" not in said.answer


WAYS_UP = [
    b"/static/../../../../../../etc/passwd",
    b"/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    b"/static/..%2f..%2f..%2f..%2f..%2fetc/passwd",
    b"/static/..%5c..%5c..%5cetc/passwd",
    b"/static//etc/passwd",
    b"/static/%00",
    b"/static/build/..%c0%af..%c0%afetc/passwd",
    b"/static/.%2e/.%2e/manage.py",
    b"//etc/passwd",
    b"/../etc/passwd",
    b"/static/build/../../../settings/base.py",
    b"/api/v1/../../etc/passwd",
    b"/api/v1/deployments/..%2f..%2fetc%2fpasswd/log",
    b"/api/v1/deployments/..%2f..%2fetc%2fpasswd/events",
    b"/webhooks/github/..%2f..%2fx",
    b"/webhooks/..%2f..%2f/x",
    b"/webhooks/%00/%00",
    b"/api/v1/deployments/%00/events",
    b"/api/v1/deployments/%ff%fe/events",
    b"http://evil.test/healthz",
    b"*",
]


@pytest.mark.parametrize("path", WAYS_UP, ids=lambda path: path.decode())
def test_no_address_leads_to_a_file(panel: Panel, path: bytes) -> None:
    said = say(panel, b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert len(said.statuses) == 1
    assert said.statuses[0] < 500, said.answer
    assert b"root:x:0" not in said.answer
    assert b"DJANGO_SETTINGS" not in said.answer
    assert b"MASTER_KEY" not in said.answer


ODD = [
    b"Cookie: devflow_session=" + b"x" * 4000,
    b"Cookie: devflow_session=%00",
    b'Cookie: devflow_session="\\000\\200"',
    b"Cookie: devflow_session=\xff\xfe",
    b"Cookie: =; ;;=x; devflow_session",
    b"Authorization: Bearer \xc3\xbc\xff",
    b"Authorization: Bearer",
    b"Authorization: Basic eDp5",
    b"Authorization: \xff",
    b"Last-Event-ID: 99999999999999999999",
    b"Last-Event-ID: \xc2\xb2",
    b"Last-Event-ID: -1",
    b"Accept: text/event-stream\xff",
    b"User-Agent: \xf0\x9f\x9a\x80\xff",
    b"Origin: null",
    b"Origin: https://evil.test",
]


@pytest.mark.parametrize("header", ODD, ids=lambda header: header[:40].decode("latin-1"))
@pytest.mark.parametrize(
    "path",
    [
        b"/api/v1/deployments/01a1feb1-933d-7eeb-839b-af8b7086cbee/events?after=1;after=%ff&=&after",
        b"/api/v1/whoami",
        b"/",
    ],
)
def test_no_header_fells_what_answers_beside_django(panel: Panel, path: bytes, header: bytes) -> None:
    said = say(panel, b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", header, b"\r\n\r\n")
    assert len(said.statuses) == 1
    assert said.statuses[0] < 500, said.answer
    assert b"access-control-allow-origin" not in said.answer.lower()
    assert b"Traceback" not in said.answer
