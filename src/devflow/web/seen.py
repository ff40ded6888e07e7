"""Django's middleware that remembers when and from where a session was used last, for the list on the page Account."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from devflow.apps.accounts.addresses import LOOPBACK, client_address
from devflow.apps.accounts.sessions import session_seen
from devflow.apps.notifications.devices import SESSION_DEVICES, devices_seen


def with_sessions_seen(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Requests without a session (those with API tokens) cost nothing."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if settings.SESSION_COOKIE_NAME in request.COOKIES and request.user.is_authenticated:
            key = request.session.session_key or ""
            address = client_address(request) or LOOPBACK
            agent = request.headers.get("User-Agent", "")
            is_written = session_seen(user=request.user, key=key, address=address, agent=agent)
            if is_written and (devices := request.session.get(SESSION_DEVICES)):
                devices_seen(user=request.user, device_ids=devices, session_key=key)
        return get_response(request)

    return middleware
