"""Where a request comes from: what proxies say, and what nobody may forge."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from devflow.apps.accounts.addresses import (
    Proxied,
    as_text,
    checked_networks,
    forwarded_address,
    is_within,
    networks,
    parse_address,
)
from devflow.core.errors import InvalidError

PROXY, INNER, CLIENT, FORGED = "10.0.0.2", "10.0.0.3", "203.0.113.7", "198.51.100.66"
TRUSTED = ("10.0.0.0/8", "fd00::/8")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("192.0.2.1:8080", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ('"[2001:db8::1]:443"', "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("", ""),
        ("unknown", ""),
        ("_hidden", ""),
        ("192.0.2", ""),
        ("192.0.2.256", ""),
        ("192.0.2.01", ""),
        ("192.0.2.1:", ""),
        ("192.0.2.1:http", ""),
        ("192.0.2.1:99999999", ""),
        ("0x7f.1", ""),
        ("2130706433", ""),
        ("[2001:db8::1", ""),
        ("[2001:db8::1]x", ""),
        ("2001:db8::1]", ""),
        ("fe80::1%eth0", ""),
        ("::1::", ""),
        ("192.0.2.1 10.0.0.1", ""),
        ("١٩٢.0.2.1", ""),
        ("192.0.2.1\x00", ""),
    ],
)
def test_an_address_is_read_from_what_proxies_write(text: str, address: str) -> None:
    assert as_text(parse_address(text)) == address


@pytest.mark.parametrize(
    ("peer", "headers", "seen"),
    [
        # nobody is trusted for what they say of others
        (CLIENT, [f"{FORGED}"], CLIENT),
        (CLIENT, ["10.0.0.9"], CLIENT),
        (CLIENT, [], CLIENT),
        # one proxy, and what the client had written before it
        (PROXY, [CLIENT], CLIENT),
        (PROXY, [f"{FORGED}, {CLIENT}"], CLIENT),
        (PROXY, [f"{FORGED},{FORGED},  {CLIENT}"], CLIENT),
        (PROXY, [f"10.0.0.9, {CLIENT}"], CLIENT),
        (PROXY, [], PROXY),
        (PROXY, [""], PROXY),
        # several proxies, several headers
        (PROXY, [f"{CLIENT}, {INNER}"], CLIENT),
        (PROXY, [CLIENT, INNER], CLIENT),
        (PROXY, [FORGED, f"{CLIENT}, {INNER}"], CLIENT),
        (PROXY, [f"{INNER}, {CLIENT}"], CLIENT),
        # a client that is in a trusted network itself
        (PROXY, ["10.0.0.9, 10.0.0.8"], "10.0.0.9"),
        # what cannot be read says nothing, and nothing before it is believed
        (PROXY, ["unknown"], PROXY),
        (PROXY, [f"{FORGED}, unknown"], PROXY),
        (PROXY, [f"{FORGED}, unknown, {CLIENT}"], CLIENT),
        (PROXY, [f"{FORGED}, unknown, {INNER}"], INNER),
        (PROXY, [f"{CLIENT}, "], PROXY),
        # every way to write an address
        (PROXY, [f"{CLIENT}:51234"], CLIENT),
        (PROXY, [f"[2001:db8::7]:51234, {INNER}:80"], "2001:db8::7"),
        (PROXY, [f"::ffff:{CLIENT}, ::ffff:{INNER}"], CLIENT),
        (f"::ffff:{PROXY}", [CLIENT], CLIENT),
        ("fd00::2", [CLIENT], CLIENT),
        ("fe80::1%eth0", [FORGED], "fe80::1"),
    ],
)
def test_the_client_is_the_last_that_is_no_proxy_of_ours(peer: str, headers: list[str], seen: str) -> None:
    scope = _through(peer, [(b"x-forwarded-for", value.encode()) for value in headers])
    assert scope["client"][0] == seen


@pytest.mark.parametrize(
    ("peer", "sent", "scheme", "host"),
    [
        (PROXY, {"x-forwarded-proto": "https"}, "https", "panel.internal"),
        (PROXY, {"x-forwarded-proto": "HTTPS"}, "https", "panel.internal"),
        (PROXY, {"x-forwarded-proto": "http, https"}, "https", "panel.internal"),
        (PROXY, {"x-forwarded-proto": "https, http"}, "http", "panel.internal"),
        (PROXY, {"x-forwarded-proto": "javascript"}, "http", "panel.internal"),
        (PROXY, {"x-forwarded-host": "panel.example.org"}, "http", "panel.example.org"),
        (PROXY, {"x-forwarded-host": "evil.example.org, panel.example.org"}, "http", "panel.example.org"),
        (CLIENT, {"x-forwarded-proto": "https", "x-forwarded-host": "evil.example.org"}, "http", "panel.internal"),
    ],
)
def test_scheme_and_host_are_what_a_trusted_proxy_says(peer: str, sent: dict[str, str], scheme: str, host: str) -> None:
    scope = _through(peer, [(name.encode(), value.encode()) for name, value in sent.items()])
    assert (scope["scheme"], dict(scope["headers"])[b"host"].decode()) == (scheme, host)


@pytest.mark.parametrize("peer", [CLIENT, PROXY])
@pytest.mark.parametrize(
    "name", ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "forwarded", "x-real-ip"]
)
def test_no_header_of_a_proxy_reaches_the_application(peer: str, name: str) -> None:
    """Not in the other spelling either, which becomes the same variable of WSGI."""
    sent = [(name.encode(), b"198.51.100.66"), (name.replace("-", "_").encode(), b"198.51.100.66")]
    left = [found for found, _ in _through(peer, sent)["headers"]]
    assert left == [b"host"] or (name == "forwarded" and left == [b"host"])


def test_who_opens_the_unix_socket_is_trusted() -> None:
    assert _through(None, [(b"x-forwarded-for", CLIENT.encode())], is_local=True)["client"][0] == CLIENT
    assert _through(None, [], is_local=True)["client"][0] == "127.0.0.1"
    assert _through(None, [], is_local=False)["client"][0] == ""


def test_without_proxies_nothing_is_believed() -> None:
    assert _through("127.0.0.1", [(b"x-forwarded-for", CLIENT.encode())], trusted=())["client"][0] == "127.0.0.1"


def test_an_empty_chain_leaves_the_peer() -> None:
    assert forwarded_address(parse_address(PROXY), [], networks(TRUSTED)) == parse_address(PROXY)


@pytest.mark.parametrize(
    ("address", "among", "expected"),
    [
        ("192.0.2.7", ["192.0.2.0/24"], True),
        ("192.0.3.7", ["192.0.2.0/24"], False),
        ("2001:db8::1", ["2001:db8::/32"], True),
        ("192.0.2.7", ["2001:db8::/32", "192.0.2.7"], True),
        ("::ffff:192.0.2.7", ["192.0.2.0/24"], True),
        ("192.0.2.7", ["::ffff:192.0.2.0/120"], True),
        ("192.0.2.7", ["::/0"], False),
        ("", ["0.0.0.0/0", "::/0"], False),
        ("unknown", ["0.0.0.0/0"], False),
    ],
)
def test_an_address_is_in_a_network_of_its_own_kind(address: str, among: list[str], expected: bool) -> None:
    assert is_within(address, networks(among)) is expected


def test_networks_are_kept_in_their_shortest_form_and_once() -> None:
    given = ["192.0.2.7/24", " 192.0.2.0/24", "", "2001:DB8:0::/32", "192.0.2.9"]
    assert checked_networks(given) == ["192.0.2.0/24", "2001:db8::/32", "192.0.2.9/32"]


@pytest.mark.parametrize("text", ["office", "192.0.2.0/33", "192.0.2.0-9", "fe80::1%eth0/64", "*", "1.2.3"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(InvalidError) as refused:
        checked_networks([text])
    assert text[:10] in refused.value.errors["networks"]


def test_there_may_not_be_any_number_of_networks() -> None:
    with pytest.raises(InvalidError):
        checked_networks(f"10.{number // 256}.{number % 256}.0/24" for number in range(201))


@pytest.mark.parametrize(("peer", "given"), [("10.0.0.1", "4f2c9a"), ("203.0.113.7", "")])
def test_a_trusted_proxy_may_say_how_it_calls_a_request(peer: str, given: str) -> None:
    assert _through(peer, [(b"x-request-id", b"4f2c9a")]).get("request_id", "") == given


def _through(
    peer: str | None,
    headers: list[tuple[bytes, bytes]],
    *,
    is_local: bool = False,
    trusted: tuple[str, ...] = TRUSTED,
) -> Any:
    """What the application sees of a request."""
    seen: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    scope = {
        "type": "http",
        "client": (peer, 50000) if peer else None,
        "scheme": "http",
        "headers": [(b"host", b"panel.internal"), *headers],
    }
    asyncio.run(Proxied(application, trusted, is_local=is_local)(scope, None, None))
    return seen[0]
