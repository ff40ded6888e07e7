"""What is logged holds no secrets."""

from __future__ import annotations

import contextvars
import json
import logging
import re
import sys

import pytest

from devflow.core.error_id import about, begin
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


def _entry(message: str) -> dict[str, str]:
    record = logging.LogRecord("devflow", logging.INFO, "", 0, message, (), None)
    entry: dict[str, str] = json.loads(JsonFormatter().format(record))
    return entry


def test_a_line_tells_what_it_is_about() -> None:
    def work() -> dict[str, str]:
        begin()
        about("deployment", "01a2")
        return _entry("taken over")

    entry = contextvars.copy_context().run(work)
    assert entry["deployment"] == "01a2"
    assert re.fullmatch("[0-9a-f]{12}", entry["id"])
    assert "deployment" not in _entry("nothing")


@pytest.mark.parametrize(
    ("given", "is_taken"),
    [
        ("4f2c9a", True),
        ("0e6cd6a8-7f2c-4d8a-9a38-7c1e2a7c1f00", True),
        ("", False),
        ("x" * 65, False),
        ("a b", False),
        ("a\nb", False),
        ('"><script>', False),
    ],
)
def test_an_id_is_taken_from_a_proxy_where_it_is_one(given: str, is_taken: bool) -> None:
    assert (contextvars.copy_context().run(begin, given) == given) == is_taken
