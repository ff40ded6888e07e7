"""`REDIS_URL` as Django's settings."""

from typing import Any, Final

ANSWER_SECONDS: Final = 0.5
"""How long Redis is waited for."""


def cache_settings(url: str | None) -> dict[str, dict[str, Any]]:
    """`default`, and `sessions`, which is for what the database has too. Without Redis the first is in the memory of
    each process, and the second keeps nothing."""
    if url is None:
        return {
            "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
            "sessions": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
        }
    options = {
        "serializer": "devflow.apps.redis_cache.JsonSerializer",
        "socket_timeout": ANSWER_SECONDS,
        "max_connections": 64,
        **({} if url.startswith("unix:") else {"socket_connect_timeout": ANSWER_SECONDS}),
    }
    redis = {"BACKEND": "devflow.apps.redis_cache.PatientRedisCache", "LOCATION": url, "OPTIONS": options}
    return {name: {**redis, "KEY_PREFIX": f"devflow:{name}"} for name in ("default", "sessions")}
