"""The sessions of a person's browsers: listed, ended, and how long ago the person last proved who they are."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from allauth.account.internal.flows.login import get_authentication_records
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.models import Session as Row
from django.core.cache import cache
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from devflow.apps.accounts import events
from devflow.apps.accounts.models import User
from devflow.apps.accounts.session_store import SessionStore
from devflow.core.errors import NotFoundError

SEEN_SECONDS: Final = 60
"""How often the last visit of a session is written down."""
_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrom", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS: Final = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)


@dataclass(frozen=True, slots=True)
class Session:
    id: int
    device: str
    address: str
    began_at: datetime
    seen_at: datetime
    is_current: bool


def is_recent(request: HttpRequest) -> bool:
    """Whether the person of this session has proved who they are within ACCOUNT_REAUTHENTICATION_TIMEOUT.

    By logging in, or by a password, code or passkey when they were asked again.
    """
    if not request.user.is_authenticated:
        return False
    proofs = [record.get("at", 0) for record in get_authentication_records(request, request.user)]
    return time.time() - max(proofs, default=0) < settings.ACCOUNT_REAUTHENTICATION_TIMEOUT


def session_list(*, user: User, current_key: str | None) -> list[Session]:
    """The sessions that are alive, the one seen last first."""
    alive = UserSession.objects.purge_and_list(user)
    found = [
        Session(
            id=each.pk,
            device=device(each.user_agent),
            address=each.ip,
            began_at=each.created_at,
            seen_at=each.last_seen_at,
            is_current=each.session_key == current_key,
        )
        for each in alive
    ]
    return sorted(found, key=lambda each: (each.is_current, each.seen_at), reverse=True)


def session_end(*, user: User, session_id: int) -> None:
    """Logs one browser out. Raises NotFoundError."""
    found = UserSession.objects.filter(user=user, pk=session_id).first()
    if found is None:
        raise NotFoundError("There is no such session (any more).")
    found.end()
    events.record(team=None, user=user, action="session.ended", target=device(found.user_agent))


def sessions_end(*, user: User, but_key: str | None = None) -> int:
    """Logs all of the person's browsers out but the one with this session key; returns how many."""
    ended = list(UserSession.objects.filter(user=user).exclude(session_key=but_key or ""))
    for each in ended:
        each.end()
    if ended:
        events.record(team=None, user=user, action="session.ended", target=f"{len(ended)} sessions")
    return len(ended)


def session_holds(*, user: User, key: str) -> bool:
    """Whether the person's session with this key was neither ended nor made worthless by another password; one that has
    merely run out still holds."""
    row = Row.objects.filter(session_key=key).first()
    data = SessionStore(key).decode(row.session_data) if row else {}
    known = (user.get_session_auth_hash(), *user.get_session_auth_fallback_hash())
    is_theirs = data.get(SESSION_KEY) == str(user.pk)
    return is_theirs and any(constant_time_compare(data.get(HASH_SESSION_KEY, ""), each) for each in known)


def session_seen(*, user: User, key: str, address: str, agent: str) -> bool:
    """Writes down that the session was used, once a minute at most; True when it did."""
    if not cache.add(f"session-seen:{key}", True, SEEN_SECONDS):
        return False
    now = timezone.now()
    seen = {"ip": address, "user_agent": agent[: UserSession._meta.get_field("user_agent").max_length]}
    known = UserSession.objects.filter(session_key=key)
    late = known.filter(last_seen_at__lt=now - timedelta(seconds=SEEN_SECONDS))
    if not late.update(last_seen_at=now, **seen) and not known.exists():
        UserSession.objects.get_or_create(session_key=key, defaults={"user": user, **seen})
    return True


def device(agent: str) -> str:
    """`Firefox on Linux`: what a person recognises a browser by."""
    browser = next((name for mark, name in _BROWSERS if mark in agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    return " on ".join(filter(None, (browser, system))) or agent[:60] or "Unknown"
