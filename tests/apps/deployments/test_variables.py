"""How what a server's `.env` says is compared with the variables."""

from __future__ import annotations

import base64
import threading
from types import SimpleNamespace
from unittest.mock import AsyncMock
from uuid import uuid4

import pytest

from devflow.apps.deployments import variables
from devflow.core import dotenv
from devflow.remote.transport import Completed


async def test_a_servers_file_is_read_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    read_in = []

    def read(text: str) -> dict[str, str]:
        read_in.append(threading.current_thread())
        return {"A": text}

    monkeypatch.setattr(dotenv, "read", read)
    answer = f"panel\n{base64.b64encode(b'1').decode()}\n"
    connection = SimpleNamespace(run=AsyncMock(return_value=Completed(0, answer, "")))
    reach = SimpleNamespace(get=AsyncMock(return_value=connection))
    server = SimpleNamespace(pk=uuid4(), name="web1")
    found = await variables._compare_with(reach, server, "/srv/shop", {"A": "2"})  # type: ignore[arg-type]
    assert found == {"changed": ["A"], "only here": [], "only there": [], "by_hand": False}
    assert read_in != [threading.current_thread()]
