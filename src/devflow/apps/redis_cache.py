"""`REDIS_URL`: a cache that all web processes share. Nothing is in it that is not in the database too, or may be lost.

While Redis is away the cache is empty and keeps nothing; it is asked again every few seconds. What it holds is JSON, so
that who can write to Redis cannot run code in the panel.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from django.core.cache import caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

AGAIN_SECONDS: Final = 5.0
"""How long it is left alone when it did not answer."""

T = TypeVar("T")

log = logging.getLogger(__name__)


def redis_problem() -> str | None:
    """What is wrong with Redis; None where all is well, or none is used."""
    if not isinstance(cache := caches["default"], RedisCache):
        return None
    try:
        cache._cache.get_client().ping()
    except RedisError as error:
        return f"not reachable ({type(error).__name__}): sessions are read from the database"
    return None


class JsonSerializer:
    """Values as JSON. What is no JSON (somebody else wrote it) is None, as what is not there."""

    def dumps(self, value: Any) -> bytes:
        return json.dumps(value).encode()

    def loads(self, data: bytes) -> Any:
        try:
            return json.loads(data)
        except ValueError:
            return None


class PatientRedisCache(RedisCache):
    """Redis as Django's cache, for which nobody has to wait and nothing fails while it is away."""

    _again_at = 0.0

    def add(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Without Redis: true, as with an empty cache."""
        return self._tried(lambda: super(PatientRedisCache, self).add(key, value, timeout, version), True)

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        return self._tried(lambda: super(PatientRedisCache, self).get(key, default, version), default)

    def set(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        self._tried(lambda: super(PatientRedisCache, self).set(key, value, timeout, version), None)

    def delete(self, key: str, version: int | None = None) -> bool:
        """Always tried: what is not removed is there again for the others."""
        return self._tried(lambda: super(PatientRedisCache, self).delete(key, version), False, is_urgent=True)

    def _tried(self, ask: Callable[[], T], otherwise: T, *, is_urgent: bool = False) -> T:
        if time.monotonic() < self._again_at and not is_urgent:
            return otherwise
        try:
            return ask()
        except RedisError as error:
            # of the class: each thread has a cache of its own, and none shall wait again for what another has tried
            PatientRedisCache._again_at = time.monotonic() + AGAIN_SECONDS
            log.warning("Redis does not answer (%s); the cache is empty for %g s", type(error).__name__, AGAIN_SECONDS)
            return otherwise
