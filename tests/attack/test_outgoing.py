"""Requests that the panel makes for its users (channels, git providers) never reach what is private, however the
address is written, unless the owner of the panel allows it. A real listener waits there; nobody may connect to it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from devflow.apps import outgoing
from devflow.apps.notifications.channels import CHANNELS
from devflow.apps.notifications.channels.base import Delivery
from devflow.apps.notifications.messages import Message
from devflow.apps.sources.api import APIS
from devflow.apps.sources.api.base import Access, State
from devflow.core.errors import DevflowError, InvalidError, OutgoingError
from tests.support.receivers import receiver

HOSTS = [
    "127.0.0.1",
    "127.0.0.2",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0x0.0x0.0x1",
    "0177.0.0.1",
    "017700000001",
    "127.000.000.001",
    "0",
    "0.0.0.0",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[::1%25lo]",
    "[64:ff9b::127.0.0.1]",
    "[2002:7f00:0001::]",
    "\uff11\uff12\uff17.0.0.1",
    "\u2460\u2461\u2466.0.0.1",
    "127\u30020\u30020\u30021",
    "127.0.0.1%00.example.com",
    "example.com@127.0.0.1",
    "user:word@localhost",
    "127.0.0.1\\@example.com",
]
OTHER_HOSTS = [
    "169.254.169.254",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.100.100.200",
    "192.0.0.192",
    "[64:ff9b:1::7f00:1]",
    "[::ffff:0:127.0.0.1]",
    "[fec0::1]",
    "[fc00::1]",
    "255.255.255.255",
    "224.0.0.1",
    "[ff02::1]",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "2852039166",
    "0xA9FEA9FE",
]
"""Where nobody of ours listens: refused before any connection, so it takes no time."""


@dataclass
class Listener:
    port: int
    connections: int = 0


@contextmanager
def listening() -> Iterator[Listener]:
    """Counts who connects to a port, on all addresses of this machine."""
    server = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    found = Listener(server.getsockname()[1])

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                found.connections += 1
                connection.close()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)


@pytest.fixture
def _nothing_private(settings: Settings) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = ()


async def _attempts(host: str, port: int) -> int:
    """Tries each way out of the panel to this host; how many there are."""
    url = f"http://{host}:{port}/x"
    ways: list[Callable[[], Awaitable[Any]]] = [
        partial(outgoing.request, "GET", url),
        partial(outgoing.request, "GET", f"http://{host}:{port}#@example.com/"),
    ]
    for kind in CHANNELS.values():
        if given := _settings(kind, host, port):
            ways.append(partial(kind.send, given, _delivery()))
    access = Access(url=url, token="word", repository="acme/shop")
    for api in APIS.values():
        ways += [
            partial(api.check, access),
            partial(api.set_status, access, _state()),
            partial(api.make_hook, access, "https://x.test/", "s"),
        ]
    for way in ways:
        with pytest.raises(DevflowError) as refused:
            await way()
        assert not (isinstance(refused.value, OutgoingError) and refused.value.transient), str(refused.value)
    return len(ways)


def _settings(kind: Any, host: str, port: int) -> dict[str, Any]:
    """The settings of a channel that leads there; empty where the channel itself takes no such address."""
    given: dict[str, Any] = {"to": ["ada@example.test"]} if "to" in kind.field_names else {}
    for field in kind.fields:
        if field.type == "address":
            given[field.name] = f"http://{host}:{port}/x"
        elif field.name == "host":
            given |= {"host": host.strip("[]"), "port": port, "encryption": "none"}
    try:
        return dict(kind.clean(given))
    except InvalidError:
        return {}


def _delivery() -> Delivery:
    message = Message(title="A title", tone="good", text="x", occurred_at="2026-11-21T12:00:00+00:00", team="Acme")
    return Delivery("0" * 32, "deployment.succeeded", "", message)


def _state() -> State:
    return State("c0ffee" + "0" * 34, "success", "devflow", "Deployed", "https://x.test/", "production")


@pytest.mark.usefixtures("_nothing_private")
@pytest.mark.parametrize("host", HOSTS)
async def test_nothing_private_gets_a_connection(host: str) -> None:
    with listening() as listener:
        assert await _attempts(host, listener.port) > 10
        assert listener.connections == 0


@pytest.mark.usefixtures("_nothing_private")
@pytest.mark.parametrize("host", OTHER_HOSTS)
async def test_nothing_near_is_asked(host: str) -> None:
    assert await _attempts(host, 80) > 10


async def test_what_is_allowed_is_reached() -> None:
    """The tests' settings allow the loopback, so the listener would have been reached."""
    with listening() as listener:
        with pytest.raises(OutgoingError):
            await outgoing.request("GET", f"http://127.0.0.1:{listener.port}/")
        assert listener.connections == 1


@pytest.mark.usefixtures("_nothing_private")
async def test_a_name_with_a_public_and_a_private_address_is_only_asked_at_the_public_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS rebinding by several answers: the private ones are left out before anything is tried."""
    real = socket.getaddrinfo

    def several(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if host != "rebinding.example":
            return real(host, port, *rest, **more)
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in ("127.0.0.1", "192.0.2.1")]
        return [*found, (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", port))]

    monkeypatch.setattr(outgoing.socket, "getaddrinfo", several)
    assert await outgoing.resolve("rebinding.example", 80) == ["93.184.216.34"]


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1:25/x",
        "dict://127.0.0.1:11211/stat",
        "ftp://127.0.0.1/",
        "unix:///var/run/docker.sock",
        "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
        "jar:http://127.0.0.1!/",
        "//127.0.0.1/",
        "http:127.0.0.1",
        "http:///127.0.0.1/",
        "http://\r\nHost: evil/",
    ],
)
async def test_only_the_web_is_spoken(url: str) -> None:
    with pytest.raises(OutgoingError) as refused:
        await outgoing.request("GET", url, timeout_seconds=3)
    assert not refused.value.transient


async def test_headers_and_bodies_cannot_be_smuggled_into_a_request() -> None:
    """Line ends in an address do not begin another header or request."""
    with receiver() as service:
        for rest in ("/a\r\nX-Evil: 1", "/a%0d%0aX-Evil:1", "/a HTTP/1.1\r\n\r\nGET /b", "/\u010d\u010a"):
            with suppress(OutgoingError):
                await outgoing.post(f"http://127.0.0.1:{service.port}{rest}", json={})
        for got in service.got:
            assert "x-evil" not in got.headers
            assert "\n" not in got.path
