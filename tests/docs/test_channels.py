"""The guide tells every kind of channel with its settings, every event, and a check of signatures that works."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from devflow.apps.notifications.channels import CHANNELS
from devflow.apps.notifications.channels.base import Delivery
from devflow.apps.notifications.channels.webhook import document, sign
from devflow.apps.notifications.events import EVENTS
from devflow.apps.notifications.messages import Message

GUIDE = Path(__file__).parents[2] / "docs" / "guide"


@pytest.mark.parametrize("kind", CHANNELS)
def test_every_kind_has_a_page_with_its_settings(kind: str) -> None:
    page = (GUIDE / "channels" / f"{kind}.md").read_text()
    rows = " ".join(line for line in page.splitlines() if line.startswith("| `"))
    assert [field.name for field in CHANNELS[kind].fields if f"`{field.name}`" not in rows] == []
    assert f"channels/{kind}.md" in (GUIDE / "notifications.md").read_text()


def test_every_event_is_told_with_its_default() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \|.*\| (yes|no) \|$", (GUIDE / "notifications.md").read_text(), re.MULTILINE)
    assert rows == [(name, "yes" if event.is_default else "no") for name, event in EVENTS.items()]


def test_the_check_of_the_guide_takes_what_is_genuine_only() -> None:
    page = (GUIDE / "channels" / "webhook.md").read_text()
    code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    names: dict[str, Any] = {}
    exec(code, names)
    now, body = str(int(time.time())), b'{"a": 1}'
    headers = {"X-DevFlow-Timestamp": now, "X-DevFlow-Signature": f"sha256={sign('secret', now, body)}"}
    assert names["is_genuine"]("secret", headers, body)
    assert not names["is_genuine"]("other", headers, body)
    assert not names["is_genuine"]("secret", headers, body + b" ")
    old = str(int(time.time()) - 3600)
    assert not names["is_genuine"](
        "secret", {"X-DevFlow-Timestamp": old, "X-DevFlow-Signature": f"sha256={sign('secret', old, body)}"}, body
    )


def test_the_document_of_the_guide_has_all_fields() -> None:
    page = (GUIDE / "channels" / "webhook.md").read_text()
    shown = re.findall(r'"(\w+)":', re.findall(r"```json\n(.*?)```", page, re.DOTALL)[0])
    assert shown == list(document(Delivery("1", "test", "", Message(title="A"))))
