"""How often something may be done: counted in the database for all processes together, cheaply.

A process takes what it needs from the shared count in portions, and gives out its portion from memory: for a high limit
one statement stands for many hits. A portion begins with one and doubles while hits keep coming, up to a twentieth of
the limit. So together the processes never allow more than the limit; what one of them has taken and not used is lost to
the others until the window ends, for each process a twentieth at most. A limit below 40 is counted one by one, exactly.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_network
from threading import Lock
from typing import Any, Final

from django.conf import settings
from django.db import connection
from django.utils import timezone

from devflow.apps.accounts.addresses import as_text, parse_address
from devflow.apps.accounts.rights import Actor

API_WINDOW_SECONDS: Final = 60
PORTIONS: Final = 20
MOST_REMEMBERED: Final = 10_000
FORGET_SECONDS: Final = 600
_UNLIMITED: Final = 1_000_000_000

# Adds to the window, or begins a new one; tells what was used before, and how long the window lasts still.
_TAKE: Final = """
INSERT INTO accounts_ratewindow AS kept (key, used, ends_at)
VALUES (%(key)s, %(wanted)s, clock_timestamp() + make_interval(secs => %(seconds)s))
ON CONFLICT (key) DO UPDATE SET
    used = CASE WHEN kept.ends_at <= clock_timestamp() THEN 0 ELSE LEAST(kept.used, %(limit)s) END + excluded.used,
    ends_at = CASE WHEN kept.ends_at <= clock_timestamp() THEN excluded.ends_at ELSE kept.ends_at END
RETURNING used - %(wanted)s, extract(epoch FROM ends_at - clock_timestamp())
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether it may be done, how often it still may, and when counting begins anew."""

    allowed: bool
    limit: int
    remaining: int
    retry_after_seconds: int
    reset_at: datetime


@dataclass(slots=True)
class _Portion:
    """What this process may still give out until `ends` (monotonic), and what the others have left, as far as known."""

    limit: int
    ends: float
    left: int
    left_to_all: int
    size: int


_portions: dict[tuple[str, str, int], _Portion] = {}
_lock = Lock()
_forget_at = 0.0


def hit(*, bucket: str, key: str, limit: int, window_seconds: int) -> Verdict:
    """Count one more of what `key` does under the name `bucket`, of which `limit` are allowed in each window.

    A window begins with its first hit. Not to be called inside a transaction: its end would decide whether the hit
    counts, and others with this key would wait for it.
    """
    name = (bucket, key, limit)
    with _lock:
        portion = _portions.get(name)
        now = time.monotonic()
        if portion and portion.ends > now:
            if portion.left:
                portion.left -= 1
                return _verdict(portion, now, is_allowed=True)
            if not portion.left_to_all:
                return _verdict(portion, now, is_allowed=False)
        wanted = _next_size(portion, now, limit)
    return _give_out(name, _take(bucket, key, limit, window_seconds, wanted))


def count(*, bucket: str, key: str, window_seconds: int) -> int:
    """Count one more of what has no limit here; how many there were in the window, with this one. One statement."""
    name = f"{bucket}:{key}"[:150]
    values: dict[str, str | int] = {"key": name, "wanted": 1, "seconds": window_seconds, "limit": _UNLIMITED}
    with connection.cursor() as cursor:
        _forget_old(cursor)
        cursor.execute(_TAKE, values)
        return int(cursor.fetchone()[0]) + 1


def actor_hit(actor: Actor) -> Verdict | None:
    """Count a request to the API with this token, or by this person in the browser; None where there is no limit."""
    key = f"token:{actor.token.pk}" if actor.token else f"user:{actor.user.pk}"
    return _api_hit(key, settings.API_LIMIT)


def nobody_hit(address: str) -> Verdict | None:
    """Count a request to the API without a valid token; None where there is no limit."""
    return _api_hit(f"address:{address_key(address)}", settings.API_LIMIT_NOBODY)


def _api_hit(key: str, limit: int) -> Verdict | None:
    return hit(bucket="api", key=key, limit=limit, window_seconds=API_WINDOW_SECONDS) if limit else None


def address_key(address: str) -> str:
    """What stands for an address in a key: of IPv6 the network that one customer has, of which they use any address."""
    found = parse_address(address)
    if isinstance(found, IPv6Address):
        return str(ip_network((found, 64), strict=False))
    return as_text(found) or "unknown"


def forget(*, bucket: str, key: str) -> None:
    """Begin anew: what was counted for `key` does not count any more."""
    with _lock:
        for name in [name for name in _portions if name[:2] == (bucket, key)]:
            del _portions[name]
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM accounts_ratewindow WHERE key = %s", [f"{bucket}:{key}"[:150]])


def forget_all() -> None:
    """Forget what this process has taken; for tests."""
    with _lock:
        _portions.clear()


def _next_size(portion: _Portion | None, now: float, limit: int) -> int:
    """How much to take: more each time while the window lasts."""
    if portion is None or portion.ends <= now:
        return 1
    return max(1, min(portion.size * 2, limit // PORTIONS))


def _take(bucket: str, key: str, limit: int, window_seconds: int, wanted: int) -> _Portion:
    """A portion of what is left to all."""
    with connection.cursor() as cursor:
        _forget_old(cursor)
        values: dict[str, str | int] = {
            "key": f"{bucket}:{key}"[:150],
            "wanted": wanted,
            "seconds": window_seconds,
            "limit": limit,
        }
        cursor.execute(_TAKE, values)
        used, seconds = cursor.fetchone()
    left = max(0, limit - used)
    mine = min(wanted, left)
    return _Portion(limit, time.monotonic() + max(0.0, float(seconds)), mine, left - mine, wanted)


def _give_out(name: tuple[str, str, int], taken: _Portion) -> Verdict:
    """Add what was taken to what another thread may have taken meanwhile, and use one of it."""
    with _lock:
        now = time.monotonic()
        portion = _portions.get(name)
        if portion and portion.ends > now and abs(portion.ends - taken.ends) < 1:
            portion.left += taken.left
            portion.left_to_all = min(portion.left_to_all, taken.left_to_all)
            portion.size = max(portion.size, taken.size)
        else:
            _make_room(now)
            portion = _portions[name] = taken
        is_allowed = portion.left > 0
        portion.left -= is_allowed
        return _verdict(portion, now, is_allowed=is_allowed)


def _verdict(portion: _Portion, now: float, *, is_allowed: bool) -> Verdict:
    seconds = max(0.0, portion.ends - now)
    return Verdict(
        allowed=is_allowed,
        limit=portion.limit,
        remaining=portion.left + portion.left_to_all,
        retry_after_seconds=0 if is_allowed else max(1, math.ceil(seconds)),
        reset_at=timezone.now() + timedelta(seconds=seconds),
    )


def _make_room(now: float) -> None:
    """Bounds the memory: what is over is forgotten; then, if it must be, what is the oldest, which costs statements."""
    if len(_portions) < MOST_REMEMBERED:
        return
    for name in [name for name, portion in _portions.items() if portion.ends <= now]:
        del _portions[name]
    while len(_portions) >= MOST_REMEMBERED:
        del _portions[next(iter(_portions))]


def _forget_old(cursor: Any) -> None:
    """Now and then, delete windows that are over: each address leaves one."""
    global _forget_at
    now = time.monotonic()
    if now < _forget_at:
        return
    _forget_at = now + FORGET_SECONDS
    cursor.execute("DELETE FROM accounts_ratewindow WHERE ends_at < clock_timestamp()")
