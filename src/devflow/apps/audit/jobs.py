"""Background entry points of the audit log."""

from __future__ import annotations

from django.db import transaction
from django_scopes import scope, scopes_disabled

from devflow.apps.accounts.models import Team
from devflow.apps.accounts.selectors import team_list, user_find
from devflow.apps.audit import access_log, alerts
from devflow.apps.audit.context import request_context
from devflow.apps.audit.models import Event
from devflow.apps.audit.services import audit_record

_OF_SOMEBODY = ("login.failed", "login.throttled")


def look(event_id: str) -> None:
    """Raises the alert that this event gives reason for. Twice does no harm."""
    event = _event(event_id)
    if event is not None and event.team_id is None and event.action in _OF_SOMEBODY:
        _tell_teams(event)
    elif event is not None and event.team_id and (alert := alerts.look(event)) is not None:
        alerts.raise_alert(event, alert)


def mail(event_id: str) -> None:
    """Mails the alert of this event. Raises what the mail server does: the job is tried again."""
    event = _event(event_id)
    if event is not None and event.team_id and (alert := alerts.look(event)) is not None:
        alerts.mail(event, alert)


def clean() -> None:
    """Forgets what is past its retention."""
    access_log.clean()


def _tell_teams(event: Event) -> None:
    """A failed or refused log-in as somebody whom there is, in the logs of their teams."""
    user = user_find(email=event.target)
    if user is None:
        return
    told = {"event": str(event.pk), **(event.after or {})}
    for team in team_list(user=user):
        with (
            transaction.atomic(),
            request_context(address=event.address, user_agent=event.user_agent),
            scope(team=team),
        ):
            Team.objects.select_for_update(no_key=True).get(pk=team.pk)
            if not Event.objects.filter(action=event.action, user_id=user.pk, after=told).exists():
                audit_record(
                    team=team,
                    user=user,
                    action=event.action,
                    target=user.email,
                    target_id=str(user.pk),
                    after=told,
                    outcome=event.outcome,
                )


def _event(event_id: str) -> Event | None:
    with scopes_disabled():
        return Event.objects.filter(pk=event_id).first()
