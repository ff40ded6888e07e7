"""Security alerts: which events the owners of a team are told of, by channel and by mail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import connection, transaction
from django.utils.translation import gettext as _
from django_scopes import scope, scopes_disabled

from devflow.apps.accounts.logins import paragraphs, written_for
from devflow.apps.accounts.models import Membership, Role, Team
from devflow.apps.audit.models import Event
from devflow.apps.audit.services import audit_record
from devflow.apps.notifications.messages import Message
from devflow.apps.notifications.services import notify
from devflow.apps.queue import BACKGROUND, enqueue
from devflow.apps.told import told

NEW_DEVICE, FAILURES = "security.new_device", "security.repeated_failures"
ROLE_RAISED, TOKEN_MADE = "security.role_raised", "security.token_made"
RAISED: Final = "alert.raised"
FAILURES_WITHIN, FAILURES_AT_LEAST = timedelta(minutes=15), 5
_RANKS: Final = (Role.VIEWER, Role.DEVELOPER, Role.ADMIN, Role.OWNER)


@dataclass(frozen=True, slots=True)
class Alert:
    """`title` and `text` are for people; `kind` is one of the notifications' events."""

    kind: str
    title: str
    text: str


def look(event: Event) -> Alert | None:
    """The alert that the event gives reason for, if any. Reads, and changes nothing."""
    after, before = event.after or {}, event.before or {}
    place = f"from the address {event.address}" if event.address else "from an unknown address"
    if event.action == "login.succeeded" and after.get("is_new_device"):
        return Alert(NEW_DEVICE, f"{event.who} logged in with a new device", f"Device: {after.get('device')}, {place}.")
    if event.action == "login.failed" and _has_failed_often(event):
        minutes = FAILURES_WITHIN.seconds // 60
        return Alert(
            FAILURES,
            f"Logging in as {event.who} fails again and again",
            f"{FAILURES_AT_LEAST} times or more within {minutes} minutes, last {place}.",
        )
    if event.action == "token.created":
        scopes = ", ".join(map(str, after.get("scopes") or ()))
        text = f"Its scopes: {scopes}." if scopes else "Its scopes are in the audit log."
        return Alert(TOKEN_MADE, f"{event.who} made the API token {event.target}", text)
    if event.action in ("member.role_changed", "member.added", "invitation.accepted"):
        return _raised(event, str(before.get("role", "")), str(after.get("role", "")), place)
    return None


def raise_alert(event: Event, alert: Alert) -> bool:
    """Records the alert and queues its messages, once for each event; False where it was raised before."""
    assert event.team_id
    team = Team.objects.get(pk=event.team_id)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('audit-alert'), hashtext(%s))", [str(team.pk)])
        if _was_raised(event, alert):
            return False
        audit_record(
            team=team,
            who="panel",
            action=RAISED,
            target=alert.title,
            target_id=str(event.pk),
            after={"kind": alert.kind, "about": str(event.user_id or "")},
        )
        message = message_of(team, event, alert)
        notify(team=team, project_id=None, event=alert.kind, subject=str(event.pk), message=message)
        if settings.HAS_MAIL:
            enqueue("audit.mail", priority=BACKGROUND, event_id=str(event.pk))
    return True


def mail(event: Event, alert: Alert) -> int:
    """Writes to the team's owners, and to whose account it is; to how many people. Raises what the mail server does."""
    assert event.team_id
    team = Team.objects.get(pk=event.team_id)
    with scope(team=team):
        members = list(Membership.objects.filter(user__is_active=True).select_related("user"))
    people = [member.user for member in members if member.role == Role.OWNER or member.user_id == event.user_id]
    people = [user for user in people if "@" in user.email]
    for user in people:
        with written_for(user):
            EmailMessage(*_mail(team, event, alert), to=[user.email]).send()
    return len(people)


def _mail(team: Team, event: Event, alert: Alert) -> tuple[str, str]:
    """Subject and text, in the language of now."""
    title = told(alert.title, names=(event.who, event.target))
    facts = [
        f"{_('Team')}: {team.name}",
        f"{_('When')}: {event.at:%Y-%m-%d %H:%M} UTC",
        f"{_('Audit log')}: {_url(event)}",
    ]
    advice = _(
        "If nobody of you did this, change the password, end the sessions and revoke the tokens of this account."
    )
    text = paragraphs([f"{title}.\n{told(alert.text)}", "\n".join(facts), advice])
    return " ".join(f"[DevFlow Pro] {title}".split())[:200], text


def message_of(team: Team, event: Event, alert: Alert) -> Message:
    return Message(
        title=alert.title,
        text=alert.text,
        tone="warning",
        url=_url(event),
        occurred_at=event.at.isoformat(),
        team=team.name,
        requested_by=event.who,
    )


def _raised(event: Event, before: str, after: str, place: str) -> Alert | None:
    """Of who became admin or owner, whichever way."""
    if after not in _RANKS[2:] or (before in _RANKS and _RANKS.index(Role(before)) >= _RANKS.index(Role(after))):
        return None
    was = f"Before: {before}. " if before else ""
    return Alert(ROLE_RAISED, f"{event.target} is now {after} of the team", f"{was}Changed by {event.who}, {place}.")


def _has_failed_often(event: Event) -> bool:
    assert event.team_id
    with scopes_disabled():
        failed = Event.objects.filter(
            team_id=event.team_id,
            action="login.failed",
            user_id=event.user_id,
            at__gt=event.at - FAILURES_WITHIN,
            at__lte=event.at,
        )
        return event.user_id is not None and failed.count() >= FAILURES_AT_LEAST


def _was_raised(event: Event, alert: Alert) -> bool:
    assert event.team_id
    with scopes_disabled():
        raised = Event.objects.filter(team_id=event.team_id, action=RAISED)
        if raised.filter(target_id=str(event.pk)).exists():
            return True
        recent = raised.filter(at__gt=event.at - FAILURES_WITHIN, after__kind=FAILURES)
        return alert.kind == FAILURES and recent.filter(after__about=str(event.user_id)).exists()


def _url(event: Event) -> str:
    return f"{settings.PUBLIC_URL}/audit/{event.pk}/"  # not by reverse(): the worker knows no pages
