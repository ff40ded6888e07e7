"""What a refused or failed HTTP request is told: problem details (RFC 9457), with an id that the log shares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from devflow.core.error_id import current_id, new_id

CONTENT_TYPE = "application/problem+json"


def problem(status: HTTPStatus, detail: str, errors: Iterable[Mapping[str, str]] = ()) -> dict[str, Any]:
    """The document: `type`, `title`, `status`, `detail`, `errors` ([{"field", "message"}]) and the request's `id`."""
    return {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "errors": [dict(error) for error in errors],
        "id": current_id() or new_id(),
    }
