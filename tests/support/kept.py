"""The rows that tests begin with are made once in a while, and copied for the tests in between; those that tests leave
are deleted table by table.

Making them takes a fifth of a second, most of what many a test costs; copying them takes a tenth of that. Django's way
of emptying the database makes all content types and permissions anew, and a file for each table and index.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, wraps
from time import monotonic
from typing import Any, TypeVar

from django.conf import settings
from django.db import connection, transaction

from devflow.settings.keys import MasterKeys

Made = TypeVar("Made")
KEPT_SECONDS = 60
"""So that what was "just now" when they were made is so for each test."""
_STILL = "SET LOCAL session_replication_role = replica;"
"""No triggers and no checks of references until the transaction ends."""


@dataclass(frozen=True)
class _Kept:
    """What was made, the `rows` of each table then, which tables had rows before, and the keys that sealed them."""

    made: Any
    rows: dict[str, bytes]
    before: frozenset[str]
    keys: MasterKeys
    since: float

    def is_good(self, before: frozenset[str]) -> bool:
        is_same = self.before == before and self.keys is settings.MASTER_KEYS
        return is_same and monotonic() - self.since < KEPT_SECONDS


def kept(make: Callable[[], Made]) -> Callable[[], Made]:
    """`make` for tests that begin with it: it has no arguments, and all that it does is to add rows."""
    last: list[_Kept] = []

    @wraps(make)
    def again() -> Made:
        before = tables_with_rows()
        if last and last[0].is_good(before) and may_still_triggers():
            _copy_in(last[0].rows)
        else:
            last[:] = [_made(make, before)]
        made: Made = deepcopy(last[0].made)
        return made

    return again


def _made(make: Callable[[], Any], before: frozenset[str]) -> _Kept:
    made = make()
    rows = {table: _copy_out(table) for table in sorted(tables_with_rows() - before)}
    return _Kept(made, rows, before, settings.MASTER_KEYS, monotonic())


def delete_rows(but: frozenset[str]) -> None:
    """Leaves all tables empty, but these."""
    tables = sorted(tables_with_rows() - but)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_STILL + "".join(f'DELETE FROM "{table}";' for table in tables))


@cache
def may_still_triggers() -> bool:
    """Not for every user of a database of one's own (`DATABASE_URL`): there all is done Django's way."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW is_superuser")
        return bool(cursor.fetchone() == ("on",))


def tables_with_rows() -> frozenset[str]:
    with connection.cursor() as cursor:
        cursor.execute(_which_have_rows())
        return frozenset(name for (name,) in cursor.fetchall())


@cache
def _which_have_rows() -> str:
    names = sorted(connection.introspection.table_names())
    return " UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (SELECT FROM \"{name}\")" for name in names)


def _copy_out(table: str) -> bytes:
    with connection.cursor() as cursor, cursor.copy(f'COPY "{table}" TO STDOUT') as rows:
        return b"".join(bytes(part) for part in rows)


def _copy_in(tables: dict[str, bytes]) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_STILL)  # what triggers made is among the rows
        for table, rows in tables.items():
            with cursor.copy(f'COPY "{table}" FROM STDIN') as copy:
                copy.write(rows)
        cursor.execute("SET LOCAL session_replication_role = origin;")
