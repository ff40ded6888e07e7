"""Lets scripts of other sites use the API from a browser: none, unless `DEVFLOW_CORS_ORIGINS` names them.

They need an API token: browsers are not told that cookies may come along. Around the whole of the API, its event
streams too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

PATH: Final = "/api/"
_METHODS: Final = b"GET, POST, PUT, PATCH, DELETE"
_REQUEST_HEADERS: Final = b"Authorization, Content-Type, Idempotency-Key, Last-Event-ID"
_RESPONSE_HEADERS: Final = b"Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset"
_PREFLIGHT_SECONDS: Final = b"600"


class Cors:
    """ASGI: the application, whose answers tell browsers which origins may read them."""

    def __init__(self, application: Any, origins: Sequence[str]) -> None:
        self._application = application
        self._origins = frozenset(origin.encode() for origin in origins)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if not self._origins or scope["type"] != "http" or not scope["path"].startswith(PATH):
            await self._application(scope, receive, send)
            return
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"")
        is_allowed = origin in self._origins
        if is_allowed and scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            await _send_preflight(send, origin)
            return

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                more = [(b"vary", b"Origin")]
                if is_allowed:
                    more += [*_allow(origin), (b"access-control-expose-headers", _RESPONSE_HEADERS)]
                message = {**message, "headers": [*message.get("headers", []), *more]}
            await send(message)

        await self._application(scope, receive, send_with_headers)


async def _send_preflight(send: Any, origin: bytes) -> None:
    headers = [
        *_allow(origin),
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", _REQUEST_HEADERS),
        (b"access-control-max-age", _PREFLIGHT_SECONDS),
        (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _allow(origin: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"access-control-allow-origin", origin)]
