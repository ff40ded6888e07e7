"""Writes of what changed: only that it is forgotten; triggers of the database write the rest."""

from __future__ import annotations

from django.utils import timezone
from django_scopes import scopes_disabled

from devflow.apps.changes.models import Change
from devflow.apps.changes.selectors import KEPT


def changes_clean() -> int:
    """Removes what nobody will ask for any more, of every team; returns how much."""
    with scopes_disabled():
        removed, _ = Change.objects.filter(at__lt=timezone.now() - KEPT).delete()
        return removed
