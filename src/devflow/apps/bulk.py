"""Many rows in one statement: `FROM unnest(%s::bigint[], %s::text[])` takes them column by column."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    """The columns of rows that are all of one length; [] for no rows."""
    return [list(column) for column in zip(*rows, strict=True)]
