"""Markup in every text that the panel keeps, whatever its forms would say to it: pages must show it as text.

Run with a panel's environment, it fills that panel's database and prints what `tests.support.page_world` does.
"""

from __future__ import annotations

import sys
from typing import Any

TAG = "xk9q"
MARKUP = f"'\"><{TAG} a={TAG}><img src=x onerror={TAG}=1><script>alert({TAG}=1)</script>"
"""Leaves an attribute in either kind of quotes, opens an element that no page has, and runs scripts where it can."""
_MEANT_FOR_PROGRAMS = {
    "auth_tag",
    "branch",
    "claim",
    "commit",
    "content",
    "digest",
    "event",
    "fingerprint",
    "format",
    "hash",
    "hook_token",
    "host_key",
    "key",
    "key_digest",
    "kind",
    "password",
    "phase",
    "phases",
    "prefix",
    "previous",
    "provider",
    "recipe",
    "scope",
    "settings",
    "slug",
    "state",
    "status",
    "strategy",
    "time_zone",
    "trigger",
    "type",
    "waiting_for",
}
"""Columns that only hold what the panel itself chose: words of a list, ids, digests, keys."""
_IN_ADDRESSES = {("Server", "name"), ("Environment", "name"), ("Project", "slug"), ("Deployment", "server_names")}
_KEYS = {("Snapshot", "problem")}
"""Meant for programs, too; fields of this name hold texts elsewhere."""


def plant(text: str = MARKUP) -> int:
    """Puts the markup into every text of every row; the number of columns. In any state of scopes."""
    from django.apps import apps
    from django.db import models
    from django_scopes import scopes_disabled

    count = 0
    with scopes_disabled():
        for model in apps.get_models():
            if not model.__module__.startswith("devflow."):
                continue
            for field in model._meta.concrete_fields:
                is_text = isinstance(field, models.CharField | models.TextField) and not isinstance(
                    field, models.EmailField
                )
                if not is_text or field.choices or field.name in _MEANT_FOR_PROGRAMS:
                    continue
                if (model.__name__, field.name) in _IN_ADDRESSES | _KEYS:
                    continue
                count += bool(_fill(model, field, text))
    return count


def _fill(model: Any, field: Any, text: str) -> int:
    rows = model._base_manager.all()
    fits = text[: field.max_length] if field.max_length else text
    if not field.unique and not _is_in_a_constraint(model, field.name):
        return int(rows.update(**{field.name: fits}))
    for number, row in enumerate(rows):  # each another, and the same length
        row.__class__._base_manager.filter(pk=row.pk).update(**{field.name: fits[: -len(str(number))] + str(number)})
    return len(rows)


def _is_in_a_constraint(model: Any, name: str) -> bool:
    return any(name in getattr(constraint, "fields", ()) for constraint in model._meta.constraints)


def main() -> None:
    from tests.support.page_world import main as fill

    fill()
    from django.db import connection, transaction

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # rows that may only be added, too
        sys.stderr.write(f"{plant()} columns\n")


if __name__ == "__main__":
    main()
