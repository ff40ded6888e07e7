"""Reads of channels and of what was sent on them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django_scopes import scope

from devflow.apps.accounts.rights import Actor
from devflow.apps.notifications.models import Channel, Notification
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
        found = Channel.objects.select_related("project")
        if project_id:
            found = found.filter(Q(project=None) | Q(project_id=project_id))
        return list(found)


def channel_get(*, actor: Actor, channel_id: str) -> Channel:
    """By its id or its name. Raises NotFoundError."""
    with scope(team=actor.team):
        by = {"pk": channel_id} if _is_uuid(channel_id) else {"name": channel_id}
        channel = Channel.objects.select_related("project").filter(**by).first()
    if channel is None:
        raise NotFoundError(f"There is no channel {channel_id!r} in this team.")
    return channel


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
