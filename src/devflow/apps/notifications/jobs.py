"""Background entry points of notifications: what waits on a channel is sent, in order."""

from __future__ import annotations

import json
import logging
import random
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.db.models import Case, Q, When
from django.utils import timezone, translation
from django_scopes import scope, scopes_disabled

from devflow.apps.notifications.channels import CHANNELS
from devflow.apps.notifications.channels.base import Delivery, Receipt
from devflow.apps.notifications.events import TEST_EVENT
from devflow.apps.notifications.messages import Message
from devflow.apps.notifications.models import (
    HOLDS_UP_ATTEMPTS,
    OPEN,
    Channel,
    Notification,
    NotificationStatus,
)
from devflow.core.error_id import fault_text
from devflow.core.errors import DevflowError, OutgoingError

log = logging.getLogger(__name__)

WAITS_SECONDS = (15, 60, 300, 1800, 2 * 3600, 6 * 3600, 15 * 3600)
"""After each attempt that failed for now; with the last it is given up, about a day after the first."""
JITTER = 0.2
LONGEST_RETRY_AFTER_SECONDS = 6 * 3600
LEASE_SECONDS = 60
"""Longer than an attempt takes: who has not come back by then is dead."""
MOST_AT_ONCE = 20
"""Of a worker's places: services that hang must leave room for deployments."""
KEEP_DAYS, FORGET_SECONDS = 30, 3600
"""Deliveries are kept so long; what is older is looked for so often."""

_places = [MOST_AT_ONCE]
_forgot_at: dict[str, float] = {}


@dataclass(frozen=True, slots=True)
class _Claimed:
    """One notification that this worker sends. `attempt` is its number: a write under an older one comes too late."""

    channel: Channel
    notification: Notification
    attempt: int


async def send(*, channel_id: str) -> None:
    """Sends what is due on the channel, oldest first, until nothing is, or the service fails for now.

    Several at once do no harm: each message is claimed by one of them. What it leaves is taken up again by
    `services.notifications_adopt`.
    """
    if not _places[0]:
        return
    _places[0] -= 1
    try:
        while (claimed := await sync_to_async(_claim)(channel_id)) is not None:
            if not await _attempt(claimed):
                break
        if time.monotonic() - _forgot_at.get(channel_id, -FORGET_SECONDS) >= FORGET_SECONDS:
            _forgot_at[channel_id] = time.monotonic()
            await sync_to_async(_forget_old)(channel_id)
    finally:
        _places[0] += 1


async def _attempt(claimed: _Claimed) -> bool:
    """True where the next may follow."""
    row = claimed.notification
    try:
        settings = json.loads(claimed.channel.settings)
        with translation.override(claimed.channel.language):
            message = Message.from_json(row.message).in_language()
            delivery = Delivery(str(row.pk), row.event, row.subject, message)
            receipt = await CHANNELS[claimed.channel.kind].send(settings, delivery)
    except OutgoingError as error:
        return await sync_to_async(_failed)(claimed, error)
    except DevflowError as error:
        return await sync_to_async(_failed)(claimed, OutgoingError(str(error)))
    except Exception as error:  # a fault of the panel's: not tried for ever, and no reason to stop the others
        log.exception("notification %s failed by a fault of the panel", row.pk)
        return await sync_to_async(_failed)(claimed, OutgoingError(fault_text(error)))
    await sync_to_async(_sent)(claimed, receipt)
    return True


def _claim(channel_id: str) -> _Claimed | None:
    """Takes the next message that is due; None where there is none, or an earlier one has to go first."""
    close_old_connections()
    with scopes_disabled():
        channel = Channel.objects.select_related("team").filter(pk=channel_id).first()
    if channel is None:
        return None
    with scope(team=channel.team):
        if not channel.is_enabled:
            _drop(channel)
        while (row := _next(channel)) is not None:
            now = timezone.now()
            attempt = row.attempts + 1
            taken = Notification.objects.filter(
                pk=row.pk, status__in=OPEN, attempts=row.attempts, next_attempt_at__lte=now
            ).update(
                status=NotificationStatus.SENDING,
                attempts=attempt,
                next_attempt_at=now + timedelta(seconds=LEASE_SECONDS),
            )
            if taken:
                return _Claimed(channel, row, attempt)
    return None


def _next(channel: Channel) -> Notification | None:
    now = timezone.now()
    stepped_aside = Q(attempts__gte=HOLDS_UP_ATTEMPTS, status=NotificationStatus.PENDING, next_attempt_at__gt=now)
    # a person waits for the result of a test: it goes before the others, and holds up none
    test_under_way = Q(event=TEST_EVENT, next_attempt_at__gt=now)
    waiting = Notification.objects.filter(channel=channel, status__in=OPEN).exclude(stepped_aside | test_under_way)
    first = waiting.order_by(Case(When(event=TEST_EVENT, then=0), default=1), "id").first()
    is_due = first is not None and first.next_attempt_at is not None and first.next_attempt_at <= now
    return first if is_due else None


def _drop(channel: Channel) -> None:
    """What waited when the channel was switched off is not sent any more; tests are."""
    waiting = Notification.objects.filter(channel=channel, status__in=OPEN).exclude(event=TEST_EVENT)
    waiting.update(status=NotificationStatus.FAILED, error="The channel is switched off.", finished_at=timezone.now())


def _sent(claimed: _Claimed, receipt: Receipt) -> None:
    with scope(team=claimed.channel.team):
        is_ours = _write(
            claimed,
            status=NotificationStatus.SENT,
            response_status=receipt.status,
            error=receipt.note,
            finished_at=timezone.now(),
        )
        if is_ours and claimed.channel.problem:
            Channel.objects.filter(pk=claimed.channel.pk).update(problem="")


def _failed(claimed: _Claimed, error: OutgoingError) -> bool:
    """Writes why; tried again later where that may help. True where the next message may follow."""
    now = timezone.now()
    is_test = claimed.notification.event == TEST_EVENT
    is_last = is_test or not error.transient or claimed.attempt > len(WAITS_SECONDS)
    told: dict[str, Any] = {"response_status": error.status, "error": str(error)}
    with scope(team=claimed.channel.team):
        if not is_last:
            wait = _wait_seconds(claimed.attempt, error.retry_after_seconds)
            at = now + timedelta(seconds=wait)
            _write(claimed, status=NotificationStatus.PENDING, next_attempt_at=at, **told)
            return False
        if _write(claimed, status=NotificationStatus.FAILED, finished_at=now, **told) and not error.transient:
            Channel.objects.filter(pk=claimed.channel.pk).update(problem=str(error))
    log.info("notification %s is given up: %s", claimed.notification.pk, error)
    return is_test or not error.transient


def _write(claimed: _Claimed, **values: Any) -> int:
    """Only while the attempt is still ours: another worker may have taken us for dead."""
    ours = Notification.objects.filter(pk=claimed.notification.pk, attempts=claimed.attempt)
    return ours.filter(status=NotificationStatus.SENDING).update(**values)


def _wait_seconds(attempt: int, retry_after_seconds: float | None) -> float:
    wait = WAITS_SECONDS[attempt - 1] * random.uniform(1 - JITTER, 1 + JITTER)
    asked = min(retry_after_seconds or 0, LONGEST_RETRY_AFTER_SECONDS)
    return max(wait, asked)


def _forget_old(channel_id: str) -> None:
    with scopes_disabled():
        old = timezone.now() - timedelta(days=KEEP_DAYS)
        found = Notification.objects.filter(channel_id=channel_id, created_at__lt=old)
        found.exclude(status__in=OPEN).delete()
