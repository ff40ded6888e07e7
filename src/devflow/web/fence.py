"""Where the panel may be used from, when `DEVFLOW_ALLOWED_NETWORKS` says so.

What asks without being a person or a token of ours comes from elsewhere, and is let through: git providers (their
webhooks have secrets of their own) and who watches whether the panel lives.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

from devflow.apps.accounts.addresses import is_within, networks
from devflow.web.answers import send_body, send_problem

OPEN: Final = ("/healthz", "/readyz")
OPEN_BELOW: Final = "/webhooks/"


class Fence:
    """ASGI: the application, for who comes from one of these networks; for everybody, where none is named."""

    def __init__(self, application: Any, allowed: Iterable[str]) -> None:
        self._application = application
        self._allowed = networks(allowed)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._allowed and scope["type"] == "http" and not self._is_let_in(scope):
            address = (scope.get("client") or ("",))[0] or "an unknown address"
            detail = f"This panel may be reached from certain networks only: not from {address}."
            if scope["path"].startswith("/api/"):
                await send_problem(send, HTTPStatus.FORBIDDEN, detail)
            else:
                await send_body(send, HTTPStatus.FORBIDDEN, f"{detail}\n".encode())
            return
        await self._application(scope, receive, send)

    def _is_let_in(self, scope: Any) -> bool:
        path = scope["path"]
        return (
            path in OPEN or path.startswith(OPEN_BELOW) or is_within((scope.get("client") or ("",))[0], self._allowed)
        )
