"""`/healthz`: the process answers. `/readyz`: it can do its work; each part with what is wrong with it."""

from http import HTTPStatus
from typing import Any

from devflow.apps.readiness import readiness
from devflow.web.answers import send_json
from devflow.web.threads import in_thread


async def healthz(send: Any) -> None:
    await send_json(send, HTTPStatus.OK, {"status": "ok"})


async def readyz(send: Any) -> None:
    parts = await in_thread(readiness)
    is_ready = all(state == "ok" for state in parts.values())
    await send_json(send, HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE, dict(parts))
