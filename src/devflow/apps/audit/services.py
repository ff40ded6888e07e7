"""Writes of the audit log: records what was done, in the transaction that does it."""

from __future__ import annotations

import hmac
import secrets
import threading
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django_scopes import scopes_disabled

from devflow.apps.accounts.models import Team, User
from devflow.apps.accounts.rights import Actor
from devflow.apps.accounts.selectors import team_list
from devflow.apps.audit import chain, context
from devflow.apps.audit.models import Event
from devflow.apps.queue import BACKGROUND, enqueue
from devflow.apps.sealed import master_keys
from devflow.core.crypto import derive_key
from devflow.core.names import uuid7
from devflow.core.shell import MASK

ALERTING: Final = frozenset(
    {
        "login.succeeded",
        "login.failed",
        "login.throttled",
        "member.role_changed",
        "token.created",
        "invitation.accepted",
        "member.added",
    }
)
"""Actions that a worker looks at: the owners may have to be told (alerts.py)."""
REFUSALS_APART = timedelta(minutes=10)
"""The same person refused the same thing again within this time makes no second event."""

_SECRET_WORDS = ("password", "secret", "private", "passphrase", "credential", "recovery", "sealed", "hook_token")
_SECRET_NAMES = frozenset({"token", "key", "value", "deploy_key", "access_token", "settings"})
_numbering: Final = threading.Lock()
_last_id = UUID(int=0)
_LONGEST_TEXT = 2_000
_MOST_ITEMS = 200
_DEEPEST = 6


def audit_record(
    *,
    team: Team | None,
    action: str,
    actor: Actor | None = None,
    user: User | None = None,
    who: str = "",
    target: str = "",
    target_id: str = "",
    project_id: UUID | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    outcome: str = "done",
) -> Event:
    """Records that somebody did `action` (`noun.verb`, in the past tense) to `target`.

    Call it in the transaction of the change, so that neither is there without the other.

    Who: the actor, else the user, else `who` in words ("webhook of GitHub"). `team` None is of the panel. Of `before`
    and `after` give what changed; what is called like a secret is masked, whatever it is. `outcome`: done, refused or
    failed. One insert; its place in the chain is given later (sealing.py), so nobody waits for anybody.
    """
    person = actor.user if actor else user
    here = context.current()
    token = actor.token if actor else None
    row = Event(
        id=_next_id(),
        team=team,
        at=timezone.now(),
        action=action,
        outcome=outcome,
        user_id=person.pk if person else None,
        token_id=token.pk if token else here.token_id,
        project_id=project_id,
        target_id=str(target_id)[:64],
        session=here.session,
        who=_text(person.handle if person else who, 300),
        token=_text(token.name if token else here.token, 200),
        address=here.address[:45],
        user_agent=here.user_agent,
        who_salt=secrets.token_hex(16),
        target=_text(target, 500),
        before=changes_masked(before),
        after=changes_masked(after),
        what_salt=secrets.token_hex(16),
    )
    document = event_document(row)
    row.who_digest = document["who_digest"] = chain.details_digest(document, chain.WHO, row.who_salt)
    row.what_digest = document["what_digest"] = chain.details_digest(document, chain.WHAT, row.what_salt)
    row.stamp = chain.event_stamp(document, _stamp_keys(master_keys())[0])
    with scopes_disabled():
        row.save(force_insert=True)
    if action in ALERTING:
        enqueue("audit.look", priority=BACKGROUND, event_id=str(row.pk))
    return row


def is_stamped(row: Event, document: Mapping[str, Any]) -> bool:
    """Whether the panel recorded this event, with one of its master keys."""
    return any(hmac.compare_digest(chain.event_stamp(document, key), row.stamp) for key in _stamp_keys(master_keys()))


@lru_cache(maxsize=4)
def _stamp_keys(masters: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(derive_key(master, b"devflow-audit-v1") for master in masters)


def change_record(
    *,
    actor: Actor,
    action: str,
    target: str,
    target_id: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    project_id: UUID | None = None,
) -> None:
    """Records what is different between two states of something; nothing where all is the same."""
    names = [name for name, value in after.items() if before.get(name) != value]
    if names:
        audit_record(
            team=actor.team,
            actor=actor,
            action=action,
            target=target,
            target_id=target_id,
            project_id=project_id,
            before={name: before.get(name) for name in names},
            after={name: after[name] for name in names},
        )


def person_record(*, team: Team | None, user: User | None = None, actor: Actor | None = None, **more: Any) -> None:
    """What accounts record (accounts/events.py). What a person did outside of any team (logged in, set a second factor)
    stands in the log of each of their teams, and in the panel's where they are in none."""
    teams: list[Team | None] = [team]
    if team is None and actor is None and user is not None:
        teams = [*team_list(user=user)] or [None]
    for each in teams:
        audit_record(team=each, user=user, actor=actor, **more)


def typed_address(text: str) -> str:
    """What was typed as an address, as it may be kept: people type their password into the wrong field."""
    return text[:200] if "@" in text else "something that is no e-mail address"


def refusal_record(*, actor: Actor, what: str, path: str) -> None:
    """Somebody was refused `what` (method and address as a template) for want of a right; repeats are one event."""
    since = timezone.now() - REFUSALS_APART
    with scopes_disabled():
        again = Event.objects.filter(
            team=actor.team, user_id=actor.user.pk, action="right.refused", target=what, at__gt=since
        )
        if again.exists():
            return
    audit_record(
        team=actor.team, actor=actor, action="right.refused", target=what, after={"path": path}, outcome="refused"
    )


def events_erase(*, person: tuple[UUID, str] | None = None, team_id: UUID | None = None) -> int:
    """Erases the personal data of events: of a person (id and e-mail address) wherever they stand, or all of a team's.

    The chain stays whole, and tells how much was erased. Returns the number of parts (who, what). For deletions only
    (apps/privacy), in their transaction.
    """
    with transaction.atomic(), connection.cursor() as cursor, scopes_disabled():
        cursor.execute("SET LOCAL devflow.audit_erasure = 'on'")
        told: Counter[UUID | None] = Counter()
        for part, names in (("who", chain.WHO), ("what", chain.WHAT)):
            rows = Event.objects.exclude(**{f"{part}_salt": ""}).exclude(action=chain.ERASED)
            chosen = _of_person(rows, part, *person) if person else rows.filter(team=team_id)
            found = list(chosen.values_list("id", "team_id"))
            blank: dict[str, Any] = {name: None if name in ("before", "after") else "" for name in names}
            Event.objects.filter(pk__in=[pk for pk, _ in found]).update(**blank, **{f"{part}_salt": ""})
            told.update(of_team for _, of_team in found)
        cursor.execute("SET LOCAL devflow.audit_erasure = 'off'")
        for team_of, parts in told.items():
            team = Team(pk=team_of) if team_of else None
            audit_record(team=team, who="panel", action=chain.ERASED, after={"parts": parts})
    return told.total()


def event_document(event: Event) -> dict[str, Any]:
    """An event as it is hashed and exported: chain.FIELDS, all as JSON has them."""
    document: dict[str, Any] = {name: getattr(event, name) for name in chain.FIELDS if name not in ("chain", "at")}
    document |= {name: _uuid(document[name]) for name in ("id", "user_id", "token_id", "project_id")}
    document["chain"] = _uuid(event.team_id) or chain.PANEL
    document["at"] = _time(event.at)
    return {name: document[name] for name in chain.FIELDS}


def changes_masked(changes: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """As it may be kept: secrets masked by their names, long texts cut, all of it of JSON's types without floats."""
    if changes is None:
        return None
    return {_text(str(name), 100): _masked(str(name), value, 0) for name, value in changes.items()}


def _next_id() -> UUID:
    """In order also within a millisecond, as far as one process goes: what one request does stays in its order."""
    global _last_id
    with _numbering:
        _last_id = max(uuid7(), UUID(int=_last_id.int + 1))
        return _last_id


def _masked(name: str, value: Any, depth: int) -> Any:
    lower = name.lower()
    if value in (None, "", True, False) or isinstance(value, int):
        return value
    if lower in _SECRET_NAMES or any(word in lower for word in _SECRET_WORDS) or isinstance(value, bytes | memoryview):
        return MASK
    if depth >= _DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        items = list(value.items())[:_MOST_ITEMS]
        return {_text(str(key), 100): _masked(str(key), inner, depth + 1) for key, inner in items}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked("", inner, depth + 1) for inner in list(value)[:_MOST_ITEMS]]
    return _text(value.isoformat() if isinstance(value, datetime) else str(value), _LONGEST_TEXT)


def _text(text: str, longest: int) -> str:
    """Cut, and without what PostgreSQL cannot keep."""
    clean = text.replace("\x00", "").encode("utf-8", "replace").decode()
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"


def _of_person(rows: QuerySet[Event], part: str, user_id: UUID, email: str) -> QuerySet[Event]:
    """By them: who did it. About them: what was done, and whatever names their address."""
    about = Q(target_id=str(user_id))
    if part == "who":
        theirs = Q(user_id=user_id) | Q(who__iexact=email)
        # of nobody who was known then (a failed log-in): the address may be theirs
        return rows.filter(theirs | Q(about | Q(target__iexact=email), user_id=None))
    named = Q(before__icontains=email) | Q(after__icontains=email) | Q(target__icontains=email)
    return rows.filter(about | named)


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _uuid(value: UUID | None) -> str | None:
    return str(value) if value else None
