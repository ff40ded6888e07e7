"""Logging: one JSON object per line on stderr; passwords in addresses are masked."""

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any, Final

from devflow.core.error_id import current_id, current_subject

_PASSWORD_IN_URL: Final = re.compile(r"(\w://[^/\s:@]*:)[^/\s@]+@")
_SECRET_PAIR: Final = re.compile(
    r"\b(password|token|secret|authorization)(['\"]?\s*[=:]\s*['\"]?)(?:bearer\s+)?[^\s,;&'\"]+", re.IGNORECASE
)


def mask(text: str) -> str:
    """Hides passwords in addresses and values of what is named like a secret."""
    return _SECRET_PAIR.sub(r"\1\2***", _PASSWORD_IN_URL.sub(r"\1***@", text))


class JsonFormatter(logging.Formatter):
    """`time`, `level`, `logger`, `message`, `id` of the request or job, `deployment` (`server`, …) that it is about,
    and `exception` with its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": mask(record.getMessage()),
        }
        if error_id := current_id():
            entry["id"] = error_id
        kind, subject_id = current_subject()
        if kind:
            entry[kind] = subject_id
        if record.exc_info:
            entry["exception"] = mask(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False)


LOGGING: Final[dict[str, Any]] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "devflow.settings.log.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "devflow": {"level": "INFO"},
        # Django's own handlers (console in debug, mail to admins) are replaced by the root's.
        "django": {"handlers": [], "level": "WARNING", "propagate": True},
        "django.server": {"handlers": [], "propagate": True},
        "django.request": {"level": "ERROR"},  # a refused request is no fault of ours
        "uvicorn.error": {"level": "ERROR"},  # nor what is no HTTP
        "django.security.DisallowedHost": {"level": "CRITICAL"},  # nor is one for another host
    },
}
