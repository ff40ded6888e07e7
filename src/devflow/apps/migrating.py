"""Brings the database up to date while older versions of the panel go on working with it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

from django.apps import apps
from django.core.management import call_command
from django.db import OperationalError, connection
from django.db.models import Field

from devflow.apps.readiness import migrations_pending
from devflow.core.errors import ConflictError

LOCK_SECONDS: Final = 10
"""How long a table that somebody uses (a backup, a report) is waited for; behind us all others would wait."""


def database_migrate() -> list[str]:
    """Applies what is pending, and returns the names. Raises ConflictError where a table stays in use; what was applied
    till then holds, and the next attempt goes on."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
    pending = migrations_pending()
    try:
        try:
            call_command("migrate", verbosity=0, interactive=False)
        finally:
            defaults_keep()  # also where a later one could not be applied: the old version goes on with those before it
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") != "55P03":
            raise
        raise ConflictError(
            f"A table has been in use for {LOCK_SECONDS} s, by a backup perhaps. Nothing is half done: try again."
        ) from error
    return pending


def defaults_keep() -> None:
    """Gives each column that must not be empty its default in the database too.

    Django keeps defaults to itself. An older version, which does not know a new column, could add no row any more.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()"
            " AND is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO' AND is_generated = 'NEVER'"
        )
        bare = set(cursor.fetchall())
    wanted: dict[str, list[Field[Any, Any]]] = defaultdict(list)
    for model in apps.get_models():
        for field in model._meta.local_concrete_fields:
            if (model._meta.db_table, field.column) in bare and _has_constant_default(field):
                wanted[model._meta.db_table].append(field)
    with connection.schema_editor(atomic=False) as editor:  # one table after the other is locked
        for table, fields in wanted.items():
            parts = [
                f"ALTER COLUMN {editor.quote_name(str(field.column))} SET DEFAULT"
                f" {editor.quote_value(editor.effective_default(field))}"
                for field in fields
            ]
            editor.execute(f"ALTER TABLE {editor.quote_name(table)} {', '.join(parts)}", params=None)


def _has_constant_default(field: Field[Any, Any]) -> bool:
    """Not a key or a time that is made anew for each row."""
    if field.primary_key or getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
        return False
    is_empty = not field.has_default() and field.blank and field.empty_strings_allowed
    return is_empty or _is_constant(field.default)


def _is_constant(default: Any) -> bool:
    return default in (dict, list, bytes) or isinstance(default, bool | int | float | str | bytes)
