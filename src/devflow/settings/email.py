"""`EMAIL_URL` as Django's settings."""

from typing import Any, Final
from urllib.parse import unquote, urlsplit

from devflow.settings.env import ConfigError

# Scheme → default port, and how the connection is encrypted.
_SCHEMES: Final[dict[str, tuple[int, dict[str, bool]]]] = {
    "smtp": (587, {"EMAIL_USE_TLS": True}),
    "smtps": (465, {"EMAIL_USE_SSL": True}),
    "smtp+plain": (25, {}),
}


def email_settings(url: str | None) -> dict[str, Any]:
    """Settings for `smtp://user:password@host:587` (STARTTLS), `smtps://…` (TLS) or `smtp+plain://…`.

    Nothing is sent without one. Raises `ConfigError`.
    """
    if url is None:
        return {"EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend"}
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets, a port beyond 65535
        is_address = False
    if not is_address:
        raise ConfigError(f"EMAIL_URL: must be like smtp://user:password@mail.example.org:587 ({', '.join(_SCHEMES)})")
    port, encryption = _SCHEMES[parts.scheme]
    return {
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or port,
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_TIMEOUT": 10,
        **encryption,
    }
