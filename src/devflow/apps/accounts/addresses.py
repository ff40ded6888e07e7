"""Where a request comes from, behind proxies too: the one right answer, which nobody can forge.

What a proxy says about its client (`X-Forwarded-…`) is believed from the proxies of `DEVFLOW_TRUSTED_PROXIES` only, and
of what it passes on only what a trusted one has written: the entries are read from the right, up to the first address
that is not trusted. What nobody we trust has said is taken off the request before anything else can read it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, cast

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from devflow.core.errors import InvalidError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LOOPBACK: Final = "127.0.0.1"
MOST_NETWORKS: Final = 200
_FORWARDED: Final = (b"x-forwarded-", b"forwarded", b"x-real-ip")
_SCHEMES: Final = ("http", "https")


class AddressedRequest(HttpRequest):
    """A request whose client is known: `client_address` is an IP address in its shortest form, or empty."""

    client_address: str


def client_address(request: HttpRequest) -> str:
    """The address of who asks, in its shortest form; empty where there is none."""
    return as_text(parse_address(request.META.get("REMOTE_ADDR", "")))


def with_client_address(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Django's middleware: `request.client_address`."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        cast("AddressedRequest", request).client_address = client_address(request)
        return get_response(request)

    return middleware


class Proxied:
    """ASGI: the application sees the client's address, scheme and host, and no header of a proxy; `is_forwarded` says
    whether one brought the request, `request_id` how it calls it (`X-Request-Id`).

    `trusted`: addresses and networks. `is_local`: behind a Unix socket, whose peers have no address; who can open it is
    trusted.
    """

    def __init__(self, application: Any, trusted: Iterable[str] = (), *, is_local: bool = False) -> None:
        self._application = application
        self._trusted = networks(trusted)
        self._is_local = is_local

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope = self._seen_through(scope)
        await self._application(scope, receive, send)

    def _seen_through(self, scope: Any) -> Any:
        peer = LOOPBACK if self._is_local else (scope.get("client") or ("", 0))[0].partition("%")[0]
        told = [(name, value.decode("latin-1")) for name, value in scope["headers"] if name.startswith(_FORWARDED)]
        # A name with "_" becomes the same variable as one with "-" on the way to Django.
        kept = [
            (name, value) for name, value in scope["headers"] if not name.startswith(_FORWARDED) and b"_" not in name
        ]
        address = parse_address(peer)
        seen = {**scope, "client": (as_text(address), 0), "headers": kept}
        seen["is_forwarded"] = bool(told) or self._is_local
        if not (self._is_local or is_within(address, self._trusted)):
            return seen
        seen["request_id"] = dict(kept).get(b"x-request-id", b"").decode("latin-1")
        if chain := _values(told, b"x-forwarded-for"):
            seen["client"] = (as_text(forwarded_address(address, chain, self._trusted)), 0)
        # One of each is what the nearest proxy has written: further ones can be the client's own.
        if (proto := _values(told, b"x-forwarded-proto")) and proto[-1].lower() in _SCHEMES:
            seen["scheme"] = proto[-1].lower()
        if host := _values(told, b"x-forwarded-host"):
            others = [(name, value) for name, value in kept if name != b"host"]
            seen["headers"] = [*others, (b"host", host[-1].encode("latin-1"))]
        return seen


def forwarded_address(peer: Address | None, chain: Sequence[str], trusted: Sequence[Network]) -> Address | None:
    """The client: the last entry that is not a trusted proxy's; all of them trusted, the first.

    `peer` is the trusted proxy that sent us the chain. Whose entry cannot be read has not told who asked it: then it is
    taken for the client itself, since whatever stands before could be forged.
    """
    found = peer
    for entry in reversed(chain):
        address = parse_address(entry)
        if address is None:
            return found
        found = address
        if not is_within(address, trusted):
            break
    return found


@lru_cache(maxsize=4096)
def parse_address(text: str) -> Address | None:
    """`192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`; None for what is no address.

    An IPv4 address that is mapped into IPv6 (`::ffff:192.0.2.1`) is the IPv4 address.
    """
    text = text.strip().strip('"')
    if text.startswith("["):
        text, bracket, port = text[1:].partition("]")
        if not bracket or (port and not _is_port(port)):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _is_port(f":{port}"):
            return None
    if "%" in text:  # a zone is a matter of the machine that wrote it
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def as_text(address: Address | None) -> str:
    return "" if address is None else str(address)


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and networks as networks; those of IPv4 mapped into IPv6 as IPv4. Raises ValueError."""
    return tuple(_network(text) for text in texts)


def is_within(address: Address | str | None, among: Iterable[Network]) -> bool:
    """Whether the address is in one of the networks; what is no address is in none."""
    found = parse_address(address) if isinstance(address, str) else address
    return found is not None and any(found in network for network in among)


def checked_networks(texts: Iterable[str]) -> list[str]:
    """Addresses and networks as a person gave them, in their shortest form, each once. Raises InvalidError."""
    found: list[str] = []
    for text in (text.strip() for text in texts):
        if not text:
            continue
        try:
            found.append(str(_network(text)))
        except ValueError:
            message = (
                f"{text[:60]!r} is neither an address nor a network, like 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32."
            )
            raise InvalidError(message, {"networks": message}) from None
    if len(found) > MOST_NETWORKS:
        message = f"Give {MOST_NETWORKS} networks at most."
        raise InvalidError(message, {"networks": message})
    return list(dict.fromkeys(found))


def _network(text: str) -> Network:
    network = ip_network(text.strip(), strict=False)
    if "%" in text:
        raise ValueError(f"{text} is of one machine only")
    if isinstance(network, IPv6Network) and network.prefixlen >= 96 and network.network_address.ipv4_mapped:
        return IPv4Network((network.network_address.ipv4_mapped, network.prefixlen - 96))
    return network


def _values(headers: list[tuple[bytes, str]], name: bytes) -> list[str]:
    """The entries of all headers of this name, in their order."""
    return [entry.strip() for found, value in headers if found == name for entry in value.split(",")]


def _is_port(text: str) -> bool:
    return text[:1] == ":" and text[1:].isascii() and text[1:].isdecimal() and len(text) <= 6
