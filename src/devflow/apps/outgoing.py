"""HTTP requests of the panel to services outside: channels, git providers.

Their addresses are what users typed, so each is looked up once, refused when it is not public (unless the setting
DEVFLOW_ALLOW_PRIVATE_ADDRESSES allows its network), and the connection goes to the very address that was looked at: a
name cannot lead elsewhere a moment later. Redirects are not followed. Messages of errors name only the host, since the
rest of an address may be its secret.
"""

from __future__ import annotations

import asyncio
import json as jsonlib
import os
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache, partial
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any

import certifi
from django.conf import settings

import devflow
from devflow.core.errors import OutgoingError

if TYPE_CHECKING:  # it brings much with it: only who sends loads it, when it does
    import httpx

LONGEST_ANSWER_BYTES = 64 * 1024
TIMEOUT_SECONDS = 15.0
_MOST_ADDRESSES = 3
_LOOKUPS = ThreadPoolExecutor(8, thread_name_prefix="lookup")
"""Names are looked up in threads of their own: one that hangs must not hold up the connections to servers."""
_NAT64 = ip_network("64:ff9b::/96")
_NOT_PUBLIC = tuple(map(ip_network, ("192.0.0.0/24", "64:ff9b:1::/48", "3fff::/20", "5f00::/16", "fec0::/10")))
"""What is not public, either, and Python does not say so in all its versions: clouds answer at 192.0.0.192."""
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True, slots=True)
class Response:
    """What the service answered: any status, names of headers in lower case, the first 64 KB of its text."""

    host: str
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_transient(self) -> bool:
        """Whether waiting may help: 408, 425, 429 and 5xx."""
        return self.status in _TRANSIENT or self.status >= 500

    @property
    def retry_after_seconds(self) -> float | None:
        """What `Retry-After` asks for, given in seconds or as a date; None without one that can be read."""
        value = self.headers.get("retry-after", "").strip()
        if value.replace(".", "", 1).isdecimal() and value.isascii():
            return float(value)
        with suppress(ValueError, TypeError):
            at = parsedate_to_datetime(value)
            return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
        return None

    def json(self) -> Any:
        """The text as JSON; None when it is not."""
        with suppress(ValueError, RecursionError):
            return jsonlib.loads(self.text)
        return None

    def require_success(self) -> None:
        """Raises OutgoingError for another status than 2xx: transient for 408, 425, 429 and 5xx."""
        if self.is_success:
            return
        if 300 <= self.status < 400:
            message = f"{self.host} answered {_named(self.status)}: redirects are not followed, give the final address."
        else:
            message = f"{self.host} answered {_named(self.status)}: {_shown(self.text)}"
        raise OutgoingError(
            message,
            transient=self.is_transient,
            status=self.status,
            retry_after_seconds=self.retry_after_seconds,
        )


async def request(
    method: str,
    url: str,
    *,
    json: Any = None,
    content: bytes | str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Response:
    """One request; the service's answer, whatever its status (see `Response.require_success`).

    Raises OutgoingError when there is no answer: transient where the connection failed, permanent for an address that
    is not to be called. From a thread without an event loop: `async_to_sync(request)(…)`.
    """
    target = _parse(url)
    try:
        async with asyncio.timeout(timeout_seconds):  # for all of it: an answer may drip byte by byte
            return await _request(method, target, json, content, headers or {}, timeout_seconds)
    except TimeoutError:
        raise OutgoingError(
            f"{target.host} did not answer within {timeout_seconds:g} seconds.", transient=True
        ) from None


async def post(
    url: str,
    *,
    json: Any = None,
    content: bytes | str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Response:
    """`request` with POST."""
    return await request("POST", url, json=json, content=content, headers=headers, timeout_seconds=timeout_seconds)


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host that may be called, in the order to try. Raises OutgoingError when there is none."""
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        found = await asyncio.get_running_loop().run_in_executor(_LOOKUPS, look_up)
    except (socket.gaierror, UnicodeError) as error:
        is_unknown = isinstance(error, UnicodeError) or error.errno == socket.EAI_NONAME
        raise OutgoingError(f"The name {host} cannot be looked up.", transient=not is_unknown) from None
    addresses = list(dict.fromkeys(str(item[4][0]) for item in found))
    allowed = [address for address in addresses if is_allowed(address)]
    if not allowed:
        raise OutgoingError(
            f"{host} is at {addresses[0]}, which is not a public address. To send there, allow its network in the "
            "setting DEVFLOW_ALLOW_PRIVATE_ADDRESSES."
        )
    return allowed[:_MOST_ADDRESSES]


def literal_problem(host: str) -> str:
    """What is wrong with a host that is given as an address which may not be called; '' for a name, which is looked up
    when something is sent, and for an address that may."""
    try:
        is_right = is_allowed(host.strip("[]"))
    except ValueError:
        return ""
    if is_right:
        return ""
    return f"{host} is a private address: an operator can allow its network in DEVFLOW_ALLOW_PRIVATE_ADDRESSES."


def is_allowed(address: str) -> bool:
    """True for a public address and for one in a network of the setting DEVFLOW_ALLOW_PRIVATE_ADDRESSES."""
    ip = _inner(ip_address(address.split("%")[0]))
    if any(ip in ip_network(network) for network in settings.ALLOW_PRIVATE_ADDRESSES):
        return True
    if any(ip in network for network in _NOT_PUBLIC):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not ip.is_unspecified


@cache
def _context(_cert_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()  # the system's authorities, or those of SSL_CERT_FILE
    if _cert_file is None:
        context.load_verify_locations(certifi.where())
    return context


def tls_context() -> ssl.SSLContext:
    """Checks certificates by the system's authorities and Mozilla's; by SSL_CERT_FILE alone where that is set."""
    return _context(os.environ.get("SSL_CERT_FILE"))


def _parse(url: str) -> httpx.URL:
    import httpx

    try:
        target = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        target = httpx.URL("")
    if target.scheme not in ("http", "https") or not target.host:
        raise OutgoingError("The address must start with https:// or http:// and name a host.")
    return target


async def _request(
    method: str,
    target: httpx.URL,
    json: Any,
    content: bytes | str | None,
    headers: Mapping[str, str],
    timeout_seconds: float,
) -> Response:
    import httpx

    host = target.raw_host.decode()
    port = target.port or (443 if target.scheme == "https" else 80)
    addresses = await resolve(host, port)
    own = {
        "host": target.netloc.decode(),
        "user-agent": f"DevFlow-Pro/{devflow.__version__}",
        "accept-encoding": "identity",  # nothing is unpacked here
    }
    # The environment's proxies are not used: they would look the name up themselves.
    async with httpx.AsyncClient(verify=tls_context(), trust_env=False, timeout=timeout_seconds) as client:
        for number, address in enumerate(addresses, start=1):
            sent = client.build_request(
                method,
                target.copy_with(host=address),
                json=json,
                content=content,
                headers={**own, **headers},
                extensions={"sni_hostname": host} if target.scheme == "https" else {},
            )
            try:
                answer = await client.send(sent, stream=True)
                break
            except httpx.ConnectError as error:
                if number == len(addresses):
                    raise _failure(host, error) from None
            except httpx.HTTPError as error:
                raise _failure(host, error) from None
        try:
            body = await _read(answer)
        except httpx.HTTPError as error:
            raise _failure(host, error) from None
        finally:
            await answer.aclose()
    return Response(host, answer.status_code, dict(answer.headers), body.decode(errors="replace"))


async def _read(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in answer.aiter_raw():
        body += chunk
        if len(body) >= LONGEST_ANSWER_BYTES:
            break
    return bytes(body[:LONGEST_ANSWER_BYTES])


def certificate_problem(host: str, error: BaseException) -> OutgoingError | None:
    """What to tell when the host's certificate was refused; None where that is not why it failed."""
    reason: BaseException | None = error
    while reason is not None:
        if isinstance(reason, ssl.SSLCertVerificationError):
            return OutgoingError(f"The certificate of {host} is not valid: {reason.verify_message}.")
        reason = reason.__cause__ or reason.__context__
    return None


def _failure(host: str, error: httpx.HTTPError) -> OutgoingError:
    import httpx

    if known := certificate_problem(host, error):
        return known
    if isinstance(error, httpx.ConnectError):
        return OutgoingError(f"{host} cannot be reached: {_plain(error)}.", transient=True)
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return OutgoingError(f"The request to {host} cannot be sent: {_plain(error)}.")
    return OutgoingError(f"{host} broke the connection: {_plain(error)}.", transient=True)


def _plain(error: Exception) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__


def _inner(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 address leads to (mapped, 6to4, NAT64), else the address itself."""
    if isinstance(ip, IPv4Address):
        return ip
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


def _named(status: int) -> str:
    with suppress(ValueError):
        return f"{status} {HTTPStatus(status).phrase}"
    return str(status)


def _shown(text: str) -> str:
    """The beginning of an answer, on one line."""
    line = " ".join(text.split())
    return (line[:300] + "…" if len(line) > 300 else line) or "no more was said"
