"""`DATABASE_REPLICA_URL`: lists and searches are read from a streaming replica of the database, all else is not.

Only where nobody can notice: in requests for whole pages that change nothing, of people who have changed nothing for a
while, and while the replica keeps up. Whatever fails there is read from the primary instead.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from datetime import timedelta
from functools import wraps
from threading import Lock, Thread
from typing import Any, Final, ParamSpec, TypeVar

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import MiddlewareNotUsed
from django.db import DatabaseError, InterfaceError, OperationalError, connection, connections
from django.db.models import Q
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

ALIAS: Final = "replica"
OWN_WRITES_SECONDS: Final = 15.0
"""For so long after they have changed something people read from the primary. Longer than a replica in use is behind,
by more than the clocks of two machines differ."""
MOST_BEHIND_SECONDS: Final = 3.0
LOOK_SECONDS: Final = 1.0
TRUST_SECONDS: Final = 2.5
"""How long a look at the replica counts: one that hangs is not asked any more."""

_SAFE: Final = ("GET", "HEAD", "OPTIONS")
_PRIMARY: Final = "SELECT system_identifier, pg_current_wal_lsn() - '0/0' FROM pg_control_system()"
_REPLICA: Final = (
    "SELECT system_identifier, coalesce(pg_last_wal_replay_lsn() - '0/0', 0), pg_is_in_recovery()"
    " FROM pg_control_system()"
)

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)
_changes_nothing: ContextVar[bool] = ContextVar("changes_nothing", default=False)
_is_reading: ContextVar[bool] = ContextVar("is_reading", default=False)


def is_configured() -> bool:
    return ALIAS in settings.DATABASES


def listed(selector: Callable[P, T]) -> Callable[P, T]:
    """For selectors that return a list (not a queryset) and take `actor`: read from the replica where it may be."""

    @wraps(selector)
    def read(*args: P.args, **kwargs: P.kwargs) -> T:
        if not (_changes_nothing.get() and _may_be_behind(kwargs["actor"]) and watcher.is_good()):
            return selector(*args, **kwargs)
        token = _is_reading.set(True)
        try:
            return selector(*args, **kwargs)
        except (OperationalError, InterfaceError) as error:
            watcher.distrust(error)
        finally:
            _is_reading.reset(token)
        return selector(*args, **kwargs)

    return read


def _may_be_behind(actor: Any) -> bool:
    wrote_at = actor.user.wrote_at
    is_recent = wrote_at is not None and timezone.now() - wrote_at < timedelta(seconds=OWN_WRITES_SECONDS)
    return not is_recent and not connection.in_atomic_block


class Router:
    """Django's router: the replica while a list is read, else the primary, wherever a row was read."""

    def db_for_read(self, model: object, **hints: object) -> str:
        return ALIAS if _is_reading.get() else "default"

    def db_for_write(self, model: object, **hints: object) -> str:
        return "default"

    def allow_relation(self, *rows: object, **hints: object) -> bool:
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool:
        return db != ALIAS


def with_replica(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Django's middleware: requests that change nothing may read lists from the replica; who sends another one may not
    for a while, at whichever web process."""
    if not is_configured():
        raise MiddlewareNotUsed

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if request.method not in _SAFE:
            response = get_response(request)
            _remember_write(request)
            return response
        if request.headers.get("HX-Request") == "true":  # a page's part, asked for because it changed just now
            return get_response(request)
        token = _changes_nothing.set(True)
        try:
            return get_response(request)
        finally:
            _changes_nothing.reset(token)

    return middleware


def _remember_write(request: HttpRequest) -> None:
    """At most once a second, since many at once would wait for each other."""
    now = timezone.now()
    late = Q(wrote_at=None) | Q(wrote_at__lt=now - timedelta(seconds=1))
    with suppress(OperationalError, InterfaceError):  # what was asked for is done, whatever becomes of this
        user: Any = getattr(getattr(request, "auth", None), "user", None) or request.user
        if user.is_authenticated:
            get_user_model().objects.filter(late, pk=user.pk).update(wrote_at=now)


class Watcher:
    """Looks again and again how far the replica is behind, in a thread of its own, which may hang as it hangs.

    What the primary had written by when is remembered: the replica is behind by the age of the newest such moment that
    it has come to. So one that is cut off from an idle primary is not behind, and from a busy one it is.
    """

    def __init__(self) -> None:
        self._good_until = 0.0
        self._problem: str | None = "not looked at yet"
        self._moments: deque[tuple[float, int]] = deque(maxlen=60)
        self._thread: Thread | None = None
        self._lock = Lock()

    def is_good(self) -> bool:
        """Whether lists may be read from it. Never waits."""
        self._start()
        return time.monotonic() < self._good_until

    def problem(self) -> str | None:
        """What is wrong with it, as far as is known; None where it is good. Never waits."""
        return None if self.is_good() else self._problem or "does not answer"

    def distrust(self, error: Exception) -> None:
        """Not to be used until it was looked at again."""
        self._good_until = 0.0
        self._tell(f"failed: {type(error).__name__}")
        connections[ALIAS].close()

    def look(self) -> str | None:
        """Looks now, and returns what is wrong with it; waits for it."""
        try:
            problem = self._examine()
        except DatabaseError as error:
            problem = f"not reachable: {str(error).strip().splitlines()[0] if str(error).strip() else 'no answer'}"
        if problem is None:
            self._good_until = time.monotonic() + TRUST_SECONDS
        self._tell(problem)
        return problem

    def look_twice(self) -> str | None:
        """As `look`, for who has just begun to: what the primary wrote a moment ago may not be there yet."""
        if self.look() is not None:
            time.sleep(LOOK_SECONDS)
        return self.look()

    def _examine(self) -> str | None:
        began = time.monotonic()
        primary, written = _ask("default", _PRIMARY)
        self._moments.append((began, int(written)))
        identity, replayed, is_replica = _ask(ALIAS, _REPLICA)
        if identity != primary:
            return "is no replica of DATABASE_URL, but of another database"
        if not is_replica:
            return "is a primary now, no replica"
        reached = [moment for moment, position in self._moments if position <= replayed]
        seconds = time.monotonic() - (max(reached) if reached else self._moments[0][0])
        if not reached or seconds > MOST_BEHIND_SECONDS:
            return f"more than {seconds:.0f} s behind" if seconds >= 1 else "behind"
        return None

    def _tell(self, problem: str | None) -> None:
        if problem != self._problem and (problem is None) != (self._problem is None):
            log.warning("the replica %s", f"is not used: {problem}" if problem else "is used")
        self._problem = problem

    def _start(self) -> None:
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = Thread(target=self._keep_looking, name="replica", daemon=True)
                    self._thread.start()

    def _keep_looking(self) -> None:
        while True:
            self.look()
            time.sleep(LOOK_SECONDS)


def _ask(alias: str, query: str) -> tuple[Any, ...]:
    try:
        with connections[alias].cursor() as cursor:
            cursor.execute(query)
            row: tuple[Any, ...] = cursor.fetchone()
            return row
    finally:
        connections[alias].close()


watcher: Final = Watcher()
