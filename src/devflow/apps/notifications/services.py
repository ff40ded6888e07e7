"""Writes of channels; queues what they are told."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.conf import settings as django_settings
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, TextField
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast
from django.utils import timezone
from django_scopes import scope, scopes_disabled
from procrastinate.contrib.django.models import ProcrastinateJob

from devflow.apps.accounts import rights
from devflow.apps.accounts.models import Team
from devflow.apps.accounts.rights import Actor, Place
from devflow.apps.audit.services import audit_record
from devflow.apps.notifications.channels import CHANNELS
from devflow.apps.notifications.channels.base import SETTING_PREFIX
from devflow.apps.notifications.events import EVENTS, TEST_EVENT, default_events
from devflow.apps.notifications.messages import Message
from devflow.apps.notifications.models import (
    HOLDS_UP_ATTEMPTS,
    OPEN,
    Channel,
    Notification,
    NotificationStatus,
)
from devflow.apps.notifications.selectors import channels_wanting
from devflow.apps.queue import BACKGROUND, MANUAL, enqueue, enqueue_each
from devflow.apps.told import ENGLISH
from devflow.core import names
from devflow.core.errors import ConflictError, InvalidError

_UNSET: Any = object()
_SEND = "notifications.send"


def notify(*, team: Team, project_id: UUID | None, event: str, subject: str, message: Message) -> int:
    """Queues a message on every channel that wants the event; the number of them.

    Writes rows and jobs in the caller's transaction and sends nothing, so neither a slow nor a broken channel can hold
    up or fail what is told of. `subject` is the id of what the message is about.
    """
    with scope(team=team):
        channels = list(channels_wanting(team_id=team.pk, project_id=project_id, event=event))
        now = timezone.now()
        Notification.objects.bulk_create(
            Notification(
                team=team,
                channel=channel,
                event=event,
                subject=subject,
                message=message.to_json(),
                next_attempt_at=now,
            )
            for channel in channels
        )
        enqueue_each(_SEND, [{"channel_id": str(channel.pk)} for channel in channels], priority=BACKGROUND)
    return len(channels)


def channel_add(
    *,
    actor: Actor,
    kind: str,
    name: str,
    settings: Mapping[str, Any],
    project_id: UUID | None = None,
    events: Iterable[str] | None = None,
    language: str = ENGLISH,
) -> tuple[Channel, dict[str, str]]:
    """A new channel, and the secrets that the panel made for it, by setting: they are not shown again.

    `project_id` must be of a project of the team, which the caller has looked up; None stands for all projects.
    Without `events` it is told of the usual ones, in this `language` (a key of LANGUAGES). Raises ForbiddenError,
    InvalidError, ConflictError.
    """
    actor.require(rights.MANAGE, Place(actor.team.pk, project_id))
    if kind not in CHANNELS:
        message = f"Choose one of: {', '.join(CHANNELS)}."
        raise InvalidError(message, {"kind": message})
    clean = CHANNELS[kind].clean(settings)
    channel = Channel(team=actor.team, project_id=project_id, name=names.single_line(name, "name"), kind=kind)
    channel.events = _events(default_events() if events is None else events)
    channel.language = _language(language)
    _put_settings(channel, clean)
    with _unique_name(channel.name), transaction.atomic(), scope(team=actor.team):
        channel.save(force_insert=True)
        _record(actor, channel, "channel.added")
    made = {
        field.name: str(clean[field.name])
        for field in CHANNELS[kind].fields
        if field.is_generated and not settings.get(field.name)
    }
    return channel, made


def channel_update(
    *,
    actor: Actor,
    channel: Channel,
    name: str | None = None,
    settings: Mapping[str, Any] | None = None,
    project_id: UUID | None = _UNSET,
    events: Iterable[str] | None = None,
    language: str | None = None,
    is_enabled: bool | None = None,
) -> Channel:
    """Changes what is given. Settings that are left out stay, as do secrets that are given empty; one that is given as
    None is forgotten.

    But for another host they must be given again: else whoever may change the host could have them sent to their own.
    Raises ForbiddenError, InvalidError, ConflictError.
    """
    actor.require(rights.MANAGE, channel)
    if project_id is not _UNSET:
        actor.require(rights.MANAGE, Place(actor.team.pk, project_id))
    with _unique_name(name or channel.name), transaction.atomic(), scope(team=actor.team):
        channel = Channel.objects.select_for_update(of=("self",)).select_related("project").get(pk=channel.pk)
        if name is not None:
            channel.name = names.single_line(name, "name")
        if events is not None:
            channel.events = _events(events)
        if language is not None:
            channel.language = _language(language)
        if project_id is not _UNSET:
            channel.project_id = project_id
        if is_enabled is not None:
            channel.is_enabled = is_enabled
        if settings is not None:
            kind = CHANNELS[channel.kind]
            secrets = {field.name for field in kind.fields if field.is_secret}
            given = {key: value for key, value in settings.items() if value != "" or key not in secrets}
            kept = json.loads(channel.settings)
            clean = kind.clean({**kept, **given})
            due = [key for key in secrets - given.keys() if kept[key] and clean[key]]
            if kept.get("host") != clean.get("host") and due:
                message = "This was for the host before: give it again for the new one."
                raise InvalidError(message, {f"{SETTING_PREFIX}{key}": message for key in due})
            _put_settings(channel, clean)
            channel.problem = ""
        channel.save()
        _record(actor, channel, "channel.changed", has_new_settings=settings is not None)
    return channel


def channel_remove(*, actor: Actor, channel: Channel) -> None:
    """Forgets the channel, and what was sent on it. Raises ForbiddenError."""
    actor.require(rights.MANAGE, channel)
    with transaction.atomic(), scope(team=actor.team):
        if Channel.objects.filter(pk=channel.pk).delete()[0]:
            _record(actor, channel, "channel.removed")


def channel_test(*, actor: Actor, channel: Channel) -> Notification:
    """Has a worker send a test message at once; the outcome is in the row. Raises ForbiddenError."""
    actor.require(rights.MANAGE, channel)
    now = timezone.now()
    message = Message(
        title=f"This is a test of the channel {channel.name}",
        tone="good",
        text=f"{actor.user} asked for it in DevFlow Pro. What you are told from now on looks like this.",
        occurred_at=now.isoformat(),
        team=actor.team.name,
        project=channel.project.name if channel.project else "",
        commit="0123456789abcdef0123456789abcdef01234567",
        commit_message="An example of a commit message, with <b>odd</b> & *special* characters: @everyone",
        author=str(actor.user),
        duration_seconds=12.3,
    )
    with transaction.atomic(), scope(team=actor.team):
        notification = Notification.objects.create(
            team=actor.team,
            channel=channel,
            event=TEST_EVENT,
            message=message.to_json(),
            next_attempt_at=now,
        )
        enqueue(_SEND, priority=MANUAL, channel_id=str(channel.pk))
    return notification


def notification_retry(*, actor: Actor, notification: Notification) -> Notification:
    """Tries a delivery again now, with all attempts before it. Raises ForbiddenError, ConflictError."""
    actor.require(rights.MANAGE, notification.channel)
    retried = {
        "status": NotificationStatus.PENDING,
        "attempts": 0,
        "next_attempt_at": timezone.now(),
        "finished_at": None,
    }
    with transaction.atomic(), scope(team=actor.team):
        retriable = (NotificationStatus.FAILED, NotificationStatus.PENDING)
        if not Notification.objects.filter(pk=notification.pk, status__in=retriable).update(**retried):
            raise ConflictError("This was sent, or is being sent right now.")
        enqueue(_SEND, priority=MANUAL, channel_id=str(notification.channel_id))
    for name, value in retried.items():
        setattr(notification, name, value)
    return notification


def _record(actor: Actor, channel: Channel, action: str, **more: Any) -> None:
    told = {"kind": channel.kind, "address": channel.address, "events": channel.events, "is_on": channel.is_enabled}
    told["language"] = channel.language
    audit_record(
        team=actor.team,
        actor=actor,
        action=action,
        target=channel.name,
        target_id=str(channel.pk),
        project_id=channel.project_id,
        after=told | more,
    )


def notifications_adopt(*, limit: int = 50) -> None:
    """Queues a job for each channel where something is due that none carries: its wait is over, or its job was lost."""
    jobs = ProcrastinateJob.objects.filter(task_name=_SEND, status__in=["todo", "doing"])
    carrying = jobs.annotate(channel=KeyTextTransform("channel_id", "args"))
    carried = Exists(carrying.filter(channel=Cast(OuterRef("channel_id"), TextField())))
    now = timezone.now()
    with scopes_disabled():
        earlier = Notification.objects.filter(channel=OuterRef("channel"), pk__lt=OuterRef("pk"), status__in=OPEN)
        holds_up = earlier.filter(next_attempt_at__gt=now).exclude(event=TEST_EVENT)
        held_up = Exists(holds_up.exclude(status=NotificationStatus.PENDING, attempts__gte=HOLDS_UP_ATTEMPTS))
        due = Notification.objects.filter(~carried, ~held_up, status__in=OPEN, next_attempt_at__lte=now)
        for channel_id in due.order_by("channel_id").values_list("channel_id", flat=True).distinct()[:limit]:
            enqueue(_SEND, priority=BACKGROUND, channel_id=str(channel_id))


def _put_settings(channel: Channel, settings: Mapping[str, Any]) -> None:
    channel.settings = json.dumps(settings)
    channel.address = CHANNELS[channel.kind].address(settings)[:300]


def _events(given: Iterable[str]) -> list[str]:
    wanted = set(given)
    if unknown := sorted(wanted - EVENTS.keys()):
        message = f"There is no event {', '.join(unknown)}. Choose of: {', '.join(EVENTS)}."
        raise InvalidError(message, {"events": message})
    return [name for name in EVENTS if name in wanted]


def _language(given: str) -> str:
    known = dict(django_settings.LANGUAGES)
    if given not in known:
        message = f"Choose one of: {', '.join(known)}."
        raise InvalidError(message, {"language": message})
    return given


class _unique_name:  # noqa: N801 - reads as a function
    """Turns the database's refusal of a second channel of this name into a ConflictError."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, IntegrityError) and "channel_name_once" in str(error):
            raise ConflictError(f"There is a channel {self._name!r} in this team already.") from None
