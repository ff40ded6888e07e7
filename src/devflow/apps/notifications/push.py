"""Tells people through their browsers: queues a message for each device, and sends it.

A message is a row and a job of its own. Who may know is asked when it is sent, not when it is queued.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import close_old_connections, transaction
from django.db.models import Exists
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from devflow.apps import outgoing
from devflow.apps.accounts.logins import written_for
from devflow.apps.accounts.models import Team, User
from devflow.apps.accounts.second_factor import require_second_factor
from devflow.apps.accounts.selectors import actor_get
from devflow.apps.notifications.devices import UNSEEN_DAYS, device_get, is_told, push_key
from devflow.apps.notifications.messages import Message, cut, one_line
from devflow.apps.notifications.models import PushDevice, PushMessage
from devflow.apps.queue import BACKGROUND, MANUAL, enqueue, enqueue_each
from devflow.apps.told import told
from devflow.core import webpush
from devflow.core.error_id import fault_text
from devflow.core.errors import ConflictError, ForbiddenError, NotFoundError, OutgoingError

log = logging.getLogger(__name__)

WAITS_SECONDS: Final = (15, 60, 300, 1800, 3600)
"""After each attempt that failed for now; then it is given up: nobody needs to be woken by what was hours ago."""
LONGEST_RETRY_AFTER_SECONDS: Final = 3600
TTL_SECONDS: Final = 4 * 3600
"""So long a push service keeps a message for a device that is off."""
SIGNED_SECONDS: Final = 12 * 3600
TIMEOUT_SECONDS: Final = 10.0
MOST_AT_ONCE: Final = 10
"""Of a worker's places: push services that hang must leave room for deployments."""
FULL_SECONDS: Final = 5
_LONGEST_TITLE, _LONGEST_TEXT, _SHORT_TITLE = 120, 300, 60
_SEND: Final = "notifications.push"
_GONE: Final = (404, 410)
_TOO_LARGE: Final = 413

_places = [MOST_AT_ONCE]


# --- queued -----------------------------------------------------------------------------------------------------------


def has_devices(*, team_id: UUID) -> Exists:
    """Whether some device is told of the team, as a part of another query; to be used inside the team's scope."""
    return Exists(PushDevice.objects.filter(team_id=team_id))


def push(
    *,
    team: Team,
    environment_id: UUID,
    right: str,
    title: str,
    text: str,
    url: str,
    subject: str,
    but: UUID | None = None,
) -> int:
    """Queues a message for every device of the team whose person has the right in the environment when it is sent; the
    number of devices. `url` is a path of the panel's, `but` whom it need not be told to.

    Give English texts: each person reads them in the language that they chose for the pages. Give no secrets: it is
    shown on locked screens. Writes rows and jobs in the caller's transaction, and sends nothing. A newer message on the
    same `subject` takes the place of an older one on the device.
    """
    document = {"title": _line(title, _LONGEST_TITLE), "body": _line(text, _LONGEST_TEXT), "url": url, "tag": subject}
    with scope(team=team):
        devices = PushDevice.objects.filter(team=team)
        if but is not None:
            devices = devices.exclude(user_id=but)
        rows = [
            PushMessage(team=team, device=device, environment_id=environment_id, right=right, document=document)
            for device in devices.only("id", "team_id")
        ]
        PushMessage.objects.bulk_create(rows)
        enqueue_each(_SEND, [{"message_id": str(row.pk)} for row in rows], priority=BACKGROUND)
    return len(rows)


def push_test(*, user: User, device_id: UUID) -> None:
    """Has a worker send the person's device a message at once. Raises NotFoundError, ConflictError (one is on its
    way)."""
    device = device_get(user=user, device_id=device_id)
    message = Message(
        title="This is a test",
        text=f"This device is told when a deployment of {device.team} fails or waits for you.",
    )
    document = {"title": message.title, "body": message.text, "url": "/account/#devices", "tag": "test"}
    with transaction.atomic(), scope(team=device.team):
        PushDevice.objects.select_for_update(no_key=True).get(pk=device.pk)
        if PushMessage.objects.filter(device=device, environment=None).exists():
            raise ConflictError("A test is on its way already.")
        row = PushMessage.objects.create(team=device.team, device=device, document=document)
        enqueue(_SEND, priority=MANUAL, message_id=str(row.pk))


def push_clean() -> None:
    """Forgets devices that nobody has been seen with for long, and messages whose job was lost."""
    now = timezone.now()
    with scopes_disabled():
        PushDevice.objects.filter(seen_at__lt=now - timedelta(days=UNSEEN_DAYS)).delete()
        PushMessage.objects.filter(created_at__lt=now - timedelta(days=1)).delete()


# --- sent -------------------------------------------------------------------------------------------------------------


async def send(*, message_id: str) -> None:
    """Sends one message, where its person may still know. What fails for now is tried again by another job."""
    if not _places[0]:
        later = timezone.now() + timedelta(seconds=FULL_SECONDS)
        await sync_to_async(enqueue)(_SEND, priority=BACKGROUND, schedule_at=later, message_id=message_id)
        return
    _places[0] -= 1
    try:
        message = await sync_to_async(_load)(message_id)
        if message is not None:
            await _attempt(message)
    finally:
        _places[0] += 1


async def _attempt(message: PushMessage) -> None:
    try:
        await _post(message)
    except OutgoingError as error:
        await sync_to_async(_failed)(message, error)
    except Exception as error:  # a fault of the panel's: not tried for ever
        log.exception("push message %s failed by a fault of the panel", message.pk)
        await sync_to_async(_failed)(message, OutgoingError(fault_text(error)))
    else:
        await sync_to_async(_sent)(message)


def _load(message_id: str) -> PushMessage | None:
    """The message, with its device; None where it is gone, or where nobody may be told any more."""
    close_old_connections()
    with scopes_disabled():
        found = PushMessage.objects.select_related("device__user", "device__team", "environment__project")
        message = found.filter(pk=message_id).first()
        if message is None:
            return None
        if not is_told(message.device) or not _is_member(message.device):
            PushDevice.objects.filter(pk=message.device_id).delete()  # with its messages
            return None
        if not _may_know(message):
            PushMessage.objects.filter(pk=message.pk).delete()
            return None
    return message


def _is_member(device: PushDevice) -> bool:
    try:
        actor_get(user=device.user, team=device.team)
    except NotFoundError:
        return False
    return True


def _may_know(message: PushMessage) -> bool:
    device = message.device
    with suppress(NotFoundError, ForbiddenError):
        actor = actor_get(user=device.user, team=device.team)
        require_second_factor(device.user, device.team)
        return message.environment is None or actor.can(message.right, message.environment)
    return False


async def _post(message: PushMessage) -> None:
    """Raises OutgoingError."""
    document = _in_language(message)
    answer = await _request(message, document)
    if answer.status == _TOO_LARGE:
        short = {**document, "title": cut(document["title"], _SHORT_TITLE), "body": ""}
        answer = await _request(message, short)
    if not answer.is_success:
        raise OutgoingError(  # what it said is left out: the address is whatever a browser gave
            f"{answer.host} answered {answer.status}.",
            transient=answer.is_transient,
            status=answer.status,
            retry_after_seconds=answer.retry_after_seconds,
        )


def _in_language(message: PushMessage) -> dict[str, Any]:
    place = message.environment
    names = (place.name, place.project.name) if place else (message.device.team.name,)
    with written_for(message.device.user):
        read = {part: told(message.document[part], names=names) for part in ("title", "body")}
    return {**message.document, **read}


async def _request(message: PushMessage, document: dict[str, Any]) -> outgoing.Response:
    key = await sync_to_async(push_key)()
    address = json.loads(message.device.address)
    body = webpush.encrypt(
        json.dumps(document, ensure_ascii=False).encode(),
        receiver=webpush.public_point(address["p256dh"]),
        secret=webpush.shared_secret(address["auth"]),
    )
    endpoint = urlsplit(address["endpoint"])
    sender = webpush.authorization(
        private_key=key.private,
        public_key=key.public,
        audience=f"{endpoint.scheme}://{endpoint.netloc}",
        subject=_contact(),
        expires_at=int(time.time()) + SIGNED_SECONDS,
    )
    headers = {
        "authorization": sender,
        "content-encoding": "aes128gcm",
        "content-type": "application/octet-stream",
        "ttl": str(TTL_SECONDS),
        "urgency": "high",
        "topic": hashlib.sha256(document["tag"].encode()).hexdigest()[:32],  # a newer one replaces one that waits
    }
    return await outgoing.post(address["endpoint"], content=body, headers=headers, timeout_seconds=TIMEOUT_SECONDS)


def _contact() -> str:
    """Where a push service finds who runs the panel: it must be a page by https, or a mailbox."""
    if settings.PUBLIC_URL.startswith("https://"):
        return str(settings.PUBLIC_URL)
    return f"mailto:devflow@{urlsplit(settings.PUBLIC_URL).hostname}"


def _sent(message: PushMessage) -> None:
    with scopes_disabled(), transaction.atomic():
        PushMessage.objects.filter(pk=message.pk).delete()
        PushDevice.objects.filter(pk=message.device_id).update(last_used_at=timezone.now(), problem="")


def _failed(message: PushMessage, error: OutgoingError) -> None:
    """Tried again later where that may help; a device that its push service does not know any more is forgotten."""
    with scopes_disabled(), transaction.atomic():
        if error.status in _GONE:
            PushDevice.objects.filter(pk=message.device_id).delete()
            log.info("push device %s is gone: %s", message.device_id, error)
            return
        attempt = message.attempts + 1
        is_test = message.environment_id is None
        if error.transient and not is_test and attempt <= len(WAITS_SECONDS):
            ours = PushMessage.objects.filter(pk=message.pk, attempts=message.attempts)
            if ours.update(attempts=attempt):  # else another worker has taken us for dead
                at = timezone.now() + timedelta(seconds=_wait_seconds(attempt, error.retry_after_seconds))
                enqueue(_SEND, priority=BACKGROUND, schedule_at=at, message_id=str(message.pk))
            return
        PushMessage.objects.filter(pk=message.pk).delete()
        PushDevice.objects.filter(pk=message.device_id).update(problem=str(error))
    log.info("push message %s is given up: %s", message.pk, error)


def _wait_seconds(attempt: int, retry_after_seconds: float | None) -> float:
    wait = WAITS_SECONDS[attempt - 1] * random.uniform(0.8, 1.2)
    return max(wait, min(retry_after_seconds or 0, LONGEST_RETRY_AFTER_SECONDS))


def _line(text: str, limit: int) -> str:
    return cut(one_line(text), limit)
