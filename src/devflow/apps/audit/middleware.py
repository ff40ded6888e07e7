"""Tells all that is recorded from where a request comes, and notes the API's requests."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from devflow.apps.accounts.addresses import client_address
from devflow.apps.accounts.rights import Actor
from devflow.apps.audit import access_log
from devflow.apps.audit.context import request_context
from devflow.apps.audit.services import refusal_record

API: Final = "/api/"


class AuditMiddleware:
    """Comes after the session's middleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        begun = time.perf_counter()
        address = client_address(request)
        with request_context(
            address=address,
            user_agent=request.headers.get("User-Agent", ""),
            session=session_mark(request.session.session_key),
        ):
            response = self._get_response(request)
            if response.status_code == HTTPStatus.FORBIDDEN:
                _record_refusal(request)
        if request.path.startswith(API):
            access_log.note(
                request,
                status=response.status_code,
                duration_ms=(time.perf_counter() - begun) * 1000,
                address=address,
            )
        return response


def _record_refusal(request: HttpRequest) -> None:
    """A member was let in and then refused; who was not let in at all is nobody of a team's."""
    actor = getattr(request, "actor", None) or getattr(request, "auth", None)
    if isinstance(actor, Actor):
        refusal_record(actor=actor, what=f"{request.method} {access_log.route_of(request)}", path=request.path)


def session_mark(key: str | None) -> str:
    """Recognises a session in the log, and does not open it."""
    return hashlib.sha256(f"devflow-session:{key}".encode()).hexdigest()[:16] if key else ""
