"""The API's access log: which requests were answered, to whom, how fast.

A request only appends to a list in memory; a thread of the web process writes what has gathered, in one statement. What
a killed process had not written yet is lost: at most the last seconds. (Events are never written so: see services.py.)
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections import deque
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.db import close_old_connections, connection
from django.http import HttpRequest
from django.utils import timezone
from django_scopes import scopes_disabled

from devflow.apps.accounts.rights import Actor
from devflow.apps.audit.models import ApiRequest

SECONDS: Final = 2.0
AT_ONCE: Final = 1_000
MOST_KEPT: Final = 50_000
"""While the database is away no more are kept in memory; the oldest go first."""

log = logging.getLogger(__name__)
_noted: Final[deque[dict[str, Any]]] = deque(maxlen=MOST_KEPT)
_wakes = threading.Event()


def note(request: HttpRequest, *, status: int, duration_ms: float, address: str) -> None:
    """Notes a request that was answered. `request.auth` is who asked, where somebody was let in."""
    asked = getattr(request, "auth", None)
    answered(
        actor=asked if isinstance(asked, Actor) else None,
        method=request.method or "",
        route=route_of(request),
        status=status,
        duration_ms=duration_ms,
        address=address,
    )


def answered(*, actor: Actor | None, method: str, route: str, status: int, duration_ms: float, address: str) -> None:
    """The same for what Django does not answer: event streams, which are noted when they begin."""
    if settings.API_LOG_DAYS == 0:
        return
    _noted.append(
        {
            "at": timezone.now(),
            "team_id": actor.team.pk if actor else None,
            "user_id": actor.user.pk if actor else None,
            "token_id": actor.token.pk if actor and actor.token else None,
            "method": method[:10],
            "route": route,
            "status": status,
            "duration_ms": round(duration_ms, 2),
            "address": address[:45],
        }
    )
    if len(_noted) >= AT_ONCE:
        _wakes.set()


def route_of(request: HttpRequest) -> str:
    """The request's path as a template, like `/api/v1/projects/<slug>`; `(none)` where there is nothing."""
    found = request.resolver_match
    return f"/{found.route}"[:200] if found and found.route else "(none)"


def start() -> None:
    """Has what is noted written from now on, by a thread of this web process."""
    if settings.API_LOG_DAYS > 0:
        threading.Thread(target=_write_always, name="access-log", daemon=True).start()
        atexit.register(_write_quietly)


def flush() -> int:
    """Writes what was noted; how many that were."""
    written = 0
    with scopes_disabled():
        while rows := [_noted.popleft() for _ in range(min(AT_ONCE, len(_noted)))]:
            try:
                ApiRequest.objects.bulk_create([ApiRequest(**row) for row in rows])
            except Exception:
                _noted.extendleft(reversed(rows))
                raise
            written += len(rows)
    return written


def clean() -> None:
    """Forgets what is older than the setting DEVFLOW_API_LOG_DAYS says."""
    with scopes_disabled():
        ApiRequest.objects.filter(at__lt=timezone.now() - timedelta(days=settings.API_LOG_DAYS)).delete()


def _write_always() -> None:
    while True:
        _wakes.wait(SECONDS)
        _wakes.clear()
        _write_quietly()


def _write_quietly() -> None:
    if not _noted:
        return
    try:
        close_old_connections()
        flush()
    except Exception as error:
        log.warning("the API's access log waits: %s", error)
    finally:
        connection.close()
