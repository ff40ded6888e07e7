"""`/healthz`: the process answers. `/readyz`: it can do its work; each part with what is wrong with it, also those that
it can do without; within 5 s, also where the database hangs. `/metrics`: the panel's own figures, for who is on this
machine or has the token for them."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from hmac import compare_digest
from http import HTTPStatus
from typing import Any, Final

from django.conf import settings
from django.db import DatabaseError

from devflow.apps.accounts.addresses import is_within, networks
from devflow.apps.readiness import aids, readiness, unanswered
from devflow.web.answers import send_body, send_json, send_problem
from devflow.web.threads import in_thread

READY_SECONDS: Final = 5
_looks: Final = ThreadPoolExecutor(2, thread_name_prefix="readyz")
"""Of its own: they hang as the database hangs. Who comes while all do waits for one, and not for longer than above."""
_THIS_MACHINE: Final = networks(["127.0.0.0/8", "::1"])


async def healthz(send: Any) -> None:
    await send_json(send, HTTPStatus.OK, {"status": "ok"})


async def readyz(send: Any) -> None:
    try:
        async with asyncio.timeout(READY_SECONDS):
            parts, others = await in_thread(_look, pool=_looks)
    except TimeoutError:
        parts, others = unanswered(f"no answer in {READY_SECONDS} s"), {}
    is_ready = all(state == "ok" for state in parts.values())
    await send_json(send, HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE, {**parts, **others})


def _look() -> tuple[dict[str, str], dict[str, str]]:
    return readiness(), aids()


async def metrics(scope: Any, send: Any) -> None:
    if not _may_read_metrics(scope):
        detail = "Give the token of the setting DEVFLOW_METRICS_TOKEN as `Authorization: Bearer …`."
        await send_problem(send, HTTPStatus.UNAUTHORIZED, detail, (b"www-authenticate", b"Bearer"))
        return
    try:
        content_type, text = await in_thread(_metrics)
    except DatabaseError:
        await send_problem(send, HTTPStatus.SERVICE_UNAVAILABLE, "The database cannot be reached.")
        return
    await send_body(send, HTTPStatus.OK, text, content_type.encode())


def _metrics() -> tuple[str, bytes]:
    from devflow.apps import metrics  # most panels are never asked

    return metrics.CONTENT_TYPE, metrics.metrics_text()


def _may_read_metrics(scope: Any) -> bool:
    given = dict(scope["headers"]).get(b"authorization", b"")
    if settings.METRICS_TOKEN:
        return compare_digest(given, f"Bearer {settings.METRICS_TOKEN}".encode())
    return not scope.get("is_forwarded") and is_within((scope.get("client") or ("",))[0], _THIS_MACHINE)
