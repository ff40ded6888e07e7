"""Short answers of the asynchronous part of the web process."""

import json
from http import HTTPStatus
from typing import Any

from devflow.core.problems import CONTENT_TYPE, problem


async def send_json(send: Any, status: HTTPStatus, content: dict[str, Any]) -> None:
    await send_body(send, status, json.dumps(content).encode(), b"application/json")


async def send_problem(send: Any, status: HTTPStatus, detail: str, *headers: tuple[bytes, bytes]) -> None:
    """An error as the API gives it (RFC 9457)."""
    await send_body(send, status, json.dumps(problem(status, detail)).encode(), CONTENT_TYPE.encode(), *headers)


async def send_body(
    send: Any,
    status: HTTPStatus,
    body: bytes = b"",
    content_type: bytes = b"text/plain",
    *more_headers: tuple[bytes, bytes],
) -> None:
    headers = [
        (b"content-type", content_type),
        (b"content-length", str(len(body)).encode()),
        *more_headers,
    ]
    await send({"type": "http.response.start", "status": status.value, "headers": headers})
    await send({"type": "http.response.body", "body": body})
