"""Requests to services outside, against services on loopback (which the tests' settings allow)."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from devflow.apps import outgoing
from devflow.core.errors import OutgoingError
from tests.support.receivers import CLOSES, DRIPS, HANGS, make_authority, receiver


async def test_a_request_is_sent_and_its_answer_read() -> None:
    with receiver() as service:
        service.answer((201, {"X-Answer": "Yes"}, b'{"a": 1}'))
        answer = await outgoing.post(service.url, json={"said": "ä"}, headers={"X-Key": "v"})
    assert (answer.status, answer.headers["x-answer"], answer.json()) == (201, "Yes", {"a": 1})
    answer.require_success()
    [got] = service.got
    assert got.path == "/hook/secret-part"
    assert got.body.decode() == '{"said":"ä"}'
    assert got.headers["host"] == f"127.0.0.1:{service.port}"
    assert got.headers["x-key"] == "v"
    assert got.headers["user-agent"].startswith("DevFlow-Pro/")


@pytest.mark.parametrize(
    ("status", "is_transient"),
    [(400, False), (401, False), (404, False), (410, False), (408, True), (425, True), (429, True), (500, True)],
)
async def test_a_refusal_is_for_now_or_for_good(status: int, is_transient: bool) -> None:
    with receiver() as service:
        service.answer((status, {"Retry-After": "7"}, b"<p>no\n\n such</p>"))
        answer = await outgoing.post(service.url)
    with pytest.raises(OutgoingError) as caught:
        answer.require_success()
    error = caught.value
    assert (error.transient, error.status, error.retry_after_seconds) == (is_transient, status, 7)
    assert str(error).startswith(f"127.0.0.1 answered {status} ")
    assert "<p>no such</p>" in str(error)
    assert "secret-part" not in str(error)


@pytest.mark.parametrize(
    ("value", "seconds"), [("", None), ("2.5", 2.5), ("soon", None), ("-1", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)]
)
def test_retry_after_is_read(value: str, seconds: float | None) -> None:
    assert outgoing.Response("h", 429, {"retry-after": value}, "").retry_after_seconds == seconds


async def test_redirects_are_not_followed() -> None:
    with receiver() as elsewhere, receiver() as service:
        service.answer((302, {"Location": elsewhere.url}, b""))
        answer = await outgoing.post(service.url)
    assert answer.status == 302
    assert elsewhere.got == []
    with pytest.raises(OutgoingError, match="redirects are not followed") as caught:
        answer.require_success()
    assert not caught.value.transient


@pytest.mark.parametrize("kind", [HANGS, DRIPS])
async def test_a_service_that_does_not_end_its_answer_is_given_up(kind: int) -> None:
    with receiver() as service:
        service.answer(kind)
        began = time.monotonic()
        with pytest.raises(OutgoingError, match="did not answer within 1 seconds") as caught:
            await outgoing.post(service.url, timeout_seconds=1)
        assert time.monotonic() - began < 10
    assert caught.value.transient


async def test_a_long_answer_is_cut() -> None:
    with receiver() as service:
        service.answer((200, {}, b"x" * 5_000_000))
        answer = await outgoing.post(service.url)
    assert len(answer.text) == outgoing.LONGEST_ANSWER_BYTES


async def test_a_closed_connection_and_a_closed_port_are_for_now() -> None:
    with receiver() as service:
        service.answer(CLOSES)
        with pytest.raises(OutgoingError, match=r"^127.0.0.1 broke the connection") as caught:
            await outgoing.post(service.url)
    assert caught.value.transient
    with pytest.raises(OutgoingError, match=r"^127.0.0.1 cannot be reached") as caught:
        await outgoing.post(service.url)
    assert caught.value.transient
    assert "secret-part" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "ftp://example.com/", "file:///etc/passwd", "http://", "https:///x", "http://[::1", "http://a b/"],
)
async def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(OutgoingError) as caught:
        await outgoing.post(url)
    assert not caught.value.transient


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]"],
)
async def test_a_private_address_is_refused_in_any_spelling(host: str, settings: Settings) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = ()
    with receiver() as service:
        with pytest.raises(OutgoingError) as caught:
            await outgoing.post(f"http://{host}:{service.port}/")
        assert service.got == []
    assert not caught.value.transient
    assert "DEVFLOW_ALLOW_PRIVATE_ADDRESSES" in str(caught.value)


@pytest.mark.parametrize(
    ("address", "is_public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("239.1.1.1", False),
        ("255.255.255.255", False),
        ("0.0.0.0", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b:1::a9fe:a9fe", False),
        ("192.0.0.192", False),
        ("fec0::1", False),
    ],
)
def test_only_public_addresses_are_allowed(address: str, is_public: bool, settings: Settings) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = ()
    assert outgoing.is_allowed(address) is is_public


def test_a_network_may_be_allowed(settings: Settings) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = ("10.0.0.0/8", "fd00::/8")
    assert outgoing.is_allowed("10.1.2.3")
    assert outgoing.is_allowed("::ffff:10.1.2.3")
    assert outgoing.is_allowed("fd00::1")
    assert not outgoing.is_allowed("192.168.1.1")


async def test_an_unknown_name_is_told() -> None:
    with pytest.raises(OutgoingError, match=r"The name nothing\.invalid cannot be looked up"):
        await outgoing.post("https://nothing.invalid/")


async def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads elsewhere the second time it is looked up (DNS rebinding) gains nothing."""
    real, asked = outgoing.socket.getaddrinfo, []

    def once(host: object, *rest: object, **more: object) -> object:
        if host == "rebinding.example":
            asked.append(host)
            host = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return real(host, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(outgoing.socket, "getaddrinfo", once)
    with receiver() as service:
        answer = await outgoing.post(f"http://rebinding.example:{service.port}/x")
    assert answer.is_success
    assert asked == ["rebinding.example"]
    assert service.got[0].headers["host"] == f"rebinding.example:{service.port}"


async def test_certificates_are_checked_for_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = make_authority(tmp_path)
    with receiver(authority.context("localhost")) as service:
        with pytest.raises(OutgoingError, match="certificate of localhost is not valid") as caught:
            await outgoing.post(f"https://localhost:{service.port}/")
        assert not caught.value.transient
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        answer = await outgoing.post(f"https://localhost:{service.port}/")
        assert answer.is_success
        with pytest.raises(OutgoingError, match=r"certificate of 127\.0\.0\.1 is not valid"):
            await outgoing.post(f"https://127.0.0.1:{service.port}/")
    assert len(service.got) == 1


async def test_names_that_hang_do_not_hold_up_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lookups have threads of their own: the loop's are left to those who connect to servers."""
    real, released = outgoing.socket.getaddrinfo, threading.Event()

    def slow(host: object, *rest: object, **more: object) -> object:
        if host == "hangs.example":
            released.wait(30)
        return real("127.0.0.1" if host == "hangs.example" else host, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(outgoing.socket, "getaddrinfo", slow)
    waiting = [asyncio.ensure_future(outgoing.resolve("hangs.example", 80)) for _ in range(50)]
    await asyncio.sleep(0.2)
    try:
        assert await asyncio.wait_for(asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80), 10)
    finally:
        released.set()
    assert await asyncio.gather(*waiting) == [["127.0.0.1"]] * 50
