"""What is logged holds no secrets."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from devflow.settings.log import JsonFormatter, mask


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://panel:hunter2@db/x failed", "postgresql://panel:***@db/x failed"),
        ("https://deploy:p%40ss@git.example.org", "https://deploy:***@git.example.org"),
        ("password=hunter2, user=x", "password=***, user=x"),
        ("{'Authorization': 'Bearer dfp_abc'}", "{'Authorization': '***'}"),
        ("token: dfp_abc", "token: ***"),
        ("ssh://git@host:22/x", "ssh://git@host:22/x"),
        ("the password is wrong", "the password is wrong"),
    ],
)
def test_secrets_are_masked(text: str, masked: str) -> None:
    assert mask(text) == masked


def test_a_record_is_one_line_of_json() -> None:
    try:
        raise RuntimeError("password=hunter2\nmore")
    except RuntimeError:
        record = logging.LogRecord("devflow.x", logging.ERROR, __file__, 1, "failed: %s", ("a\nb",), sys.exc_info())
    line = JsonFormatter().format(record)
    entry = json.loads(line)
    assert "\n" not in line
    assert (entry["level"], entry["logger"], entry["message"]) == ("error", "devflow.x", "failed: a\nb")
    assert "hunter2" not in line
    assert entry["exception"].startswith("Traceback")
