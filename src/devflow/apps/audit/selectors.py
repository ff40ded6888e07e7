"""Reads of the audit log and of the API's access log. All of them ask for the right `audit`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import Q, QuerySet
from django_scopes import scope, scopes_disabled

from devflow.apps import replica
from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.audit import chain, sealing
from devflow.apps.audit.models import ApiRequest, Event
from devflow.apps.audit.services import audit_record, event_document
from devflow.core.errors import ForbiddenError, InvalidError, NotFoundError

FORMATS: Final = ("jsonl", "csv")
_CSV_COLUMNS: Final = (
    "seq",
    "at",
    "who",
    "token",
    "action",
    "outcome",
    "target",
    "before",
    "after",
    "address",
    "user_agent",
    "id",
    "user_id",
    "token_id",
    "project_id",
    "target_id",
    "session",
    "hash",
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")
"""What a spreadsheet may take for a formula at the beginning of a cell."""
_PART = 500


@dataclass(frozen=True, slots=True)
class Filters:
    """Which events are wanted; what is empty wants all. `is_panel`: the panel's own chain instead of the team's.

    `who` and `address` are parts of the e-mail address and beginnings of the address, `action` an action or the noun
    before its dot, `text` is looked for in what was done.
    """

    who: str = ""
    action: str = ""
    project_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    address: str = ""
    text: str = ""
    is_panel: bool = False


@replica.listed
def event_list(*, actor: Actor, filters: Filters, before: str = "", limit: int = 50) -> list[Event]:
    """The newest first, after the event with the id `before`. Raises ForbiddenError, InvalidError."""
    team_id = _chain_of(actor, filters)
    found = _filtered(team_id, filters)
    if before:
        found = found.filter(pk__lt=_uuid(before))
    with scopes_disabled():
        return list(found.order_by("-id")[:limit])


def event_get(*, actor: Actor, event_id: str) -> Event:
    """An event of the team, or for who looks after the panel also of its chain. Raises NotFoundError."""
    actor.require(rights.AUDIT)
    with scopes_disabled():
        event = Event.objects.filter(pk=_uuid(event_id)).first()
    is_panels = event is not None and event.team_id is None and may_see_panel(actor)
    if event is None or not (event.team_id == actor.team.pk or is_panels) or not actor.sees(event.project_id):
        raise NotFoundError("There is no such event.")
    return event


def may_see_panel(actor: Actor) -> bool:
    """Who looks after the panel sees what happens outside of all teams: failed log-ins of nobody, new teams."""
    return actor.user.is_superuser and actor.can(rights.AUDIT)


@replica.listed
def action_list(*, actor: Actor) -> list[str]:
    """The actions that there are events of, for the choice of a filter."""
    actor.require(rights.AUDIT)
    with scope(team=actor.team):
        return sorted(Event.objects.order_by().values_list("action", flat=True).distinct())


def event_export(*, actor: Actor, filters: Filters, form: str) -> Iterator[str]:
    """The events in the order of the chain, as lines of JSON or CSV, read while they are sent. Recorded itself.

    Without filters JSON lines are the whole chain, which `devflow audit verify FILE` checks.
    """
    if form not in FORMATS:
        message = f"Choose one of: {', '.join(FORMATS)}."
        raise InvalidError(message, {"format": message})
    team_id = _chain_of(actor, filters)
    audit_record(
        team=None if filters.is_panel else actor.team, actor=actor, action="audit.exported", after={"format": form}
    )
    sealing.seal(team_id)
    rows = _rows(_filtered(team_id, filters))
    return _jsonl(rows) if form == "jsonl" else _csv(rows)


def chain_verify(*, actor: Actor, is_panel: bool = False) -> chain.Verdict:
    """Recomputes the whole chain. Raises ForbiddenError."""
    return sealing.verify(_chain_of(actor, Filters(is_panel=is_panel)))


@replica.listed
def request_list(
    *, actor: Actor, before: str = "", status: str = "", route: str = "", limit: int = 50
) -> list[ApiRequest]:
    """The team's requests to the API, the newest first. `status` is a number or its class, like 4xx."""
    actor.require(rights.AUDIT)
    wanted = Q()
    if before:
        wanted &= Q(pk__lt=int(before)) if before.isdecimal() and len(before) < 19 else Q(pk=None)
    if len(status) == 3 and status[0].isdecimal() and status[0].isascii():
        low = int(status[0]) * 100
        exact = Q(status=int(status)) if status.isdecimal() and status.isascii() else Q(status__range=(low, low + 99))
        wanted &= exact
    if route:
        wanted &= Q(route__icontains=_clean(route))
    with scope(team=actor.team):
        return list(ApiRequest.objects.filter(wanted).order_by("-id")[:limit])


def safe_cell(value: Any) -> str:
    """A value of a CSV file that no spreadsheet takes for a formula."""
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _chain_of(actor: Actor, filters: Filters) -> UUID | None:
    actor.require(rights.AUDIT)
    if not filters.is_panel:
        return actor.team.pk
    if not may_see_panel(actor):
        raise ForbiddenError("Only who looks after the panel may read its own log.")
    return None


def _filtered(team_id: UUID | None, filters: Filters) -> QuerySet[Event]:
    wanted = Q(team_id=team_id)
    if filters.who:
        wanted &= Q(who__icontains=_clean(filters.who)) | Q(token__icontains=_clean(filters.who))
    if action := _clean(filters.action):
        wanted &= Q(action=action) | Q(action__startswith=f"{action.rstrip('.')}.")
    if filters.project_id:
        wanted &= Q(project_id=filters.project_id)
    if filters.since:
        wanted &= Q(at__gte=filters.since)
    if filters.until:
        wanted &= Q(at__lt=filters.until)
    if filters.address:
        wanted &= Q(address__startswith=_clean(filters.address))
    if text := _clean(filters.text):
        wanted &= Q(target__icontains=text) | Q(before__icontains=text) | Q(after__icontains=text)
    with scopes_disabled():
        return Event.objects.filter(wanted)


def _rows(found: QuerySet[Event]) -> Iterator[Event]:
    """A part at a time, in the order of the chain; each part sees the scope anew, since it is read while it is sent."""
    after = 0
    while True:
        with scopes_disabled():
            part = list(found.filter(seq__gt=after).order_by("seq")[:_PART])
        yield from part
        if len(part) < _PART or part[-1].seq is None:
            return
        after = part[-1].seq


def _jsonl(rows: Iterator[Event]) -> Iterator[str]:
    for row in rows:
        yield json.dumps(event_document(row), ensure_ascii=False) + "\n"


def _csv(rows: Iterator[Event]) -> Iterator[str]:
    yield ",".join(_CSV_COLUMNS) + "\r\n"
    for row in rows:
        document = event_document(row)
        line = io.StringIO()
        csv.writer(line).writerow([safe_cell(document[name]) for name in _CSV_COLUMNS])
        yield line.getvalue()


def _clean(text: str) -> str:
    return text.replace("\x00", "").strip()[:200]


def _uuid(value: str) -> UUID:
    try:
        return UUID(str(value))
    except ValueError:
        raise NotFoundError("There is no such event.") from None
