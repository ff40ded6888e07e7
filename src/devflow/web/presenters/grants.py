"""Who may do what in a project, as the Access page shows it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.translation import gettext as _

from devflow.apps.accounts.models import Membership
from devflow.apps.accounts.rights import GRANT_LABELS
from devflow.apps.projects.grants import Access, Right
from devflow.apps.told import told


@dataclass(frozen=True, slots=True)
class Line:
    """What a member may do somewhere: `by_role` and `by_grant` in words, '' for nothing."""

    where: str
    by_role: str
    by_grant: str


@dataclass(frozen=True, slots=True)
class Person:
    member: Membership
    lines: tuple[Line, ...]


def people_of(found: Iterable[Access]) -> list[Person]:
    """One line for each place where a member's rights differ from those in the whole project."""
    return [Person(access.membership, _lines(access)) for access in found]


def _lines(access: Access) -> tuple[Line, ...]:
    (_all, everywhere), *others = access.places
    first = _line(_("everywhere"), everywhere)
    others_shown = [_line(where.name, found) for where, found in others if where is not None]
    differ = [line for line in others_shown if (line.by_role, line.by_grant) != (first.by_role, first.by_grant)]
    return (_line(_("elsewhere"), everywhere) if differ else first, *differ)


def _line(where: str, found: Iterable[Right]) -> Line:
    listed = list(found)
    by_role = ", ".join(told(GRANT_LABELS[right.action]) for right in listed if right.grant is None)
    return Line(where, by_role, ", ".join(told(GRANT_LABELS[right.action]) for right in listed if right.grant))
