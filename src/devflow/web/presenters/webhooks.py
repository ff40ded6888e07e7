"""A webhook's deliveries as the pages show them."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

SHOWN_CHARACTERS = 200_000
MOST_PARSED_CHARACTERS = 1_000_000
"""What is longer is shown as it came."""


def pretty(payload: str) -> tuple[str, bool]:
    """A payload with lines where it is JSON, and whether it was cut for the page."""
    text = payload
    if len(payload) <= MOST_PARSED_CHARACTERS:
        with suppress(ValueError, RecursionError):
            text = _beginning(json.loads(payload))
    return text[:SHOWN_CHARACTERS], len(text) > SHOWN_CHARACTERS


def _beginning(document: Any) -> str:
    """The document with lines, up to a little more than is shown: indents can make it a thousand times longer."""
    parts, length = [], 0
    for part in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(document):
        parts.append(part)
        length += len(part)
        if length > SHOWN_CHARACTERS:
            break
    return "".join(parts)
