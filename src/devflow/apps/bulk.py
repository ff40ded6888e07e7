"""Many rows in one statement: `FROM json_to_recordset(%s) AS new(id uuid, name text)` takes them as one text.

An array for each column would be quoted value by value in Python, which costs more than all else of the statement.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any


def records(names: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    """The rows as JSON: a list of objects with these names. What JSON has no word for goes as its text."""
    return json.dumps([dict(zip(names, row, strict=True)) for row in rows], default=str, ensure_ascii=False)
