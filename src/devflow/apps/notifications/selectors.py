"""Reads of channels and of what was sent on them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django_scopes import scope

from devflow.apps import replica
from devflow.apps.accounts.rights import Actor
from devflow.apps.notifications.models import OPEN, Channel, Notification
from devflow.core.errors import NotFoundError


def channels_wanting(*, team_id: UUID, project_id: UUID | None, event: str) -> QuerySet[Channel]:
    """The channels that are to be told, oldest first; to be used inside the team's scope."""
    found = Channel.objects.filter(team_id=team_id, is_enabled=True, events__contains=[event]).order_by("id")
    return found.filter(Q(project=None) | Q(project_id=project_id)) if project_id else found.filter(project=None)


def is_wanted(*, team_id: UUID, project_id: UUID | None, event: str) -> bool:
    """True where some channel is to be told; to be used inside the team's scope."""
    return channels_wanting(team_id=team_id, project_id=project_id, event=event).exists()


def channel_list(*, actor: Actor, project_id: UUID | None = None) -> list[Channel]:
    """The team's channels by name, each with its project; with `project_id` those that are told of the project."""
    with scope(team=actor.team):
        found = actor.narrowed(_with_state(), "project")
        if project_id:
            found = found.filter(Q(project=None) | Q(project_id=project_id))
        return list(found)


def _with_state() -> QuerySet[Channel]:
    """Channels with their project, `failing_since` and `pending`."""
    of = Notification.objects.filter(channel=OuterRef("pk"), status__in=OPEN).order_by()
    tried = of.filter(attempts__gt=0).exclude(error="")
    state: dict[str, Any] = {
        "failing_since": Subquery(tried.order_by("created_at").values("created_at")[:1]),
        "pending": Coalesce(Subquery(of.values("channel").annotate(number=Count("pk")).values("number")), 0),
    }
    return Channel.objects.select_related("project").annotate(**state)


def channel_get(*, actor: Actor, channel_id: str) -> Channel:
    """By its id or its name. Raises NotFoundError."""
    with scope(team=actor.team):
        by = {"pk": channel_id} if _is_uuid(channel_id) else {"name": channel_id}
        channel = actor.narrowed(_with_state().filter(**by), "project").first()
    if channel is None:
        raise NotFoundError(f"There is no channel {channel_id!r} in this team.")
    return channel


@replica.listed
def notification_list(*, actor: Actor, channel: Channel, before: str = "", limit: int = 50) -> list[Notification]:
    """What was or is to be sent on a channel, the newest first; `before` is the id of the last one seen."""
    with scope(team=actor.team):
        found = Notification.objects.filter(channel=channel)
        if _is_uuid(before):
            found = found.filter(pk__lt=before)
        return list(found.order_by("-id")[:limit])


def notification_get(*, actor: Actor, channel: Channel, notification_id: str) -> Notification:
    """Raises NotFoundError."""
    with scope(team=actor.team):
        found = None
        if _is_uuid(notification_id):
            found = Notification.objects.filter(channel=channel, pk=notification_id).first()
    if found is None:
        raise NotFoundError(f"There is no delivery {notification_id!r} on this channel.")
    return found


def _is_uuid(value: Any) -> bool:
    try:
        UUID(str(value))
    except ValueError:
        return False
    return True
