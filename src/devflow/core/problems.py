"""What a refused or failed HTTP request is told: problem details (RFC 9457), with an id that the log shares."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

CONTENT_TYPE = "application/problem+json"


def problem(status: HTTPStatus, detail: str, errors: Iterable[Mapping[str, str]] = ()) -> dict[str, Any]:
    """The document: `type`, `title`, `status`, `detail`, `errors` ([{"field", "message"}]) and a new `id`."""
    return {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "errors": [dict(error) for error in errors],
        "id": secrets.token_hex(6),
    }
