"""Browsers that their people are told through by push, wherever they are: added, listed, removed.

A browser gives an address of its maker's push service, which is as hostile as anything that is typed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from devflow.apps import outgoing
from devflow.apps.accounts import sessions
from devflow.apps.accounts.models import User
from devflow.apps.accounts.rights import Actor
from devflow.apps.audit.services import audit_record
from devflow.apps.notifications.models import PushDevice, PushKey
from devflow.core import webpush
from devflow.core.errors import ConflictError, InvalidError, NotFoundError

MOST: Final = 10
"""Devices of a person in a team."""
UNSEEN_DAYS: Final = 90
"""Who has not been at the panel with a device for so long is not told through it any more."""
SESSION_DEVICES: Final = "push_devices"
"""Key under which a session keeps the ids of the devices that are the browser it is of."""
_LONGEST_ADDRESS: Final = 1000


def push_key() -> PushKey:
    """The panel's keys for push services, made when they are first asked for."""
    known = PushKey.objects.filter(pk=1).first()
    if known is None:
        private, public = webpush.generate()
        made = PushKey(pk=1, public=public)
        made.private = private
        PushKey.objects.bulk_create([made], ignore_conflicts=True)  # another process may be first
        known = PushKey.objects.get(pk=1)
    return known


def device_add(
    *, actor: Actor, session_key: str, agent: str, endpoint: str, p256dh: str, auth: str
) -> tuple[PushDevice, bool]:
    """Has this browser told of the actor's team; True with a device that was not there before.

    What somebody else had it told before is forgotten: it is in other hands. Raises InvalidError, ConflictError.
    """
    address = _address(endpoint, p256dh, auth)
    digest = _digest(endpoint)
    with _one_person(), transaction.atomic(), scopes_disabled():
        User.objects.select_for_update(no_key=True).get(pk=actor.user.pk)
        PushDevice.objects.filter(digest=digest).exclude(user=actor.user).delete()
        own = PushDevice.objects.filter(user=actor.user, team=actor.team)
        device = own.filter(digest=digest).first()
        is_new = device is None
        if device is None:
            if own.count() >= MOST:
                raise ConflictError(f"You have {MOST} devices in this team already. Remove one first.")
            device = PushDevice(team=actor.team, user=actor.user, digest=digest)
        _put(device, address, session_key, agent)
        device.save()
        if is_new:
            _record(device, "push_device.added", actor)
    return device, is_new


def device_renew(*, user: User, session_key: str, known: Iterable[str], agent: str, **given: str) -> list[PushDevice]:
    """The browser says under which address (`endpoint`, `p256dh`, `auth`) it is told now: its devices get that, and
    belong to this session from now on. `known` are those that the session knows it by.

    None where it is not told of anything, or is told for somebody else. Raises InvalidError, ConflictError.
    """
    address = _address(**given)
    digest = _digest(given["endpoint"])
    with _one_person(), transaction.atomic(), scopes_disabled():
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        own = PushDevice.objects.filter(user=user)
        if PushDevice.objects.filter(digest=digest).exclude(user=user).exists():
            return []
        found = {device.team_id: device for device in own.filter(pk__in=_ids(known))}
        found |= {device.team_id: device for device in own.filter(digest=digest)}
        for device in found.values():
            device.digest = digest
            _put(device, address, session_key, agent)
            device.save()
    return list(found.values())


def device_list(*, user: User) -> list[PushDevice]:
    """The person's devices in all their teams, the newest first; those of sessions that were ended are forgotten."""
    with scopes_disabled():
        members = PushDevice.objects.filter(user=user, team__memberships__user=user).select_related("team", "user")
        found = list(members)
        gone = [device for device in found if not is_told(device)]
        PushDevice.objects.filter(pk__in=[device.pk for device in gone]).delete()
    return [device for device in found if device not in gone]


def device_get(*, user: User, device_id: UUID) -> PushDevice:
    """Raises NotFoundError."""
    with scopes_disabled():
        found = PushDevice.objects.filter(user=user, pk=device_id).select_related("team", "user").first()
    if found is None:
        raise NotFoundError("There is no such device (any more).")
    return found


def device_remove(*, user: User, device_id: UUID) -> None:
    """The device is told nothing any more. Raises NotFoundError."""
    device = device_get(user=user, device_id=device_id)
    with transaction.atomic(), scope(team=device.team):
        if PushDevice.objects.filter(pk=device.pk).delete()[0]:
            _record(device, "push_device.removed")


def devices_seen(*, user: User, device_ids: Iterable[str], session_key: str) -> None:
    """The person is here, in the browser that these devices are: the session may have another key by now."""
    with scopes_disabled():
        found = PushDevice.objects.filter(user=user, pk__in=_ids(device_ids))
        found.update(session_key=session_key, seen_at=timezone.now())


def is_told(device: PushDevice) -> bool:
    """Whether the device still belongs to a log-in of an account that is in use."""
    is_seen = device.seen_at > timezone.now() - timedelta(days=UNSEEN_DAYS)
    return is_seen and device.user.is_active and sessions.session_holds(user=device.user, key=device.session_key)


@contextmanager
def _one_person() -> Iterator[None]:
    """Two people who have the same browser told at the same moment: one of them is asked to do it again."""
    try:
        yield
    except IntegrityError as error:
        if "push_device_once" in str(error):
            raise ConflictError("Somebody else has had this browser told just now. Try again.") from None
        raise


def _put(device: PushDevice, address: dict[str, str], session_key: str, agent: str) -> None:
    device.address = json.dumps(address)
    device.host = urlsplit(address["endpoint"]).hostname or ""
    device.name = sessions.device(agent)
    device.session_key, device.seen_at, device.problem = session_key, timezone.now(), ""


def _record(device: PushDevice, action: str, actor: Actor | None = None) -> None:
    told: dict[str, Any] = {"target": device.name, "target_id": str(device.pk), "after": {"service": device.host}}
    audit_record(team=device.team, actor=actor, user=device.user, action=action, **told)


def _address(endpoint: str, p256dh: str, auth: str) -> dict[str, str]:
    """What a browser gave, where it can be what a browser gives. Raises InvalidError."""
    if problem := _endpoint_problem(endpoint):
        raise InvalidError(problem, {"endpoint": problem})
    try:
        webpush.public_point(p256dh)
        webpush.shared_secret(auth)
    except ValueError:
        message = "These are not the keys of a browser."
        raise InvalidError(message, {"p256dh": message}) from None
    return {"endpoint": endpoint, "p256dh": p256dh, "auth": auth}


def _endpoint_problem(endpoint: str) -> str:
    is_plain = endpoint.isascii() and endpoint.isprintable() and " " not in endpoint
    try:
        parts = urlsplit(endpoint)
        is_right = is_plain and parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return "This is not the address of a push service."
    if not is_right or parts.username is not None or parts.password is not None or len(endpoint) > _LONGEST_ADDRESS:
        return "This is not the address of a push service."
    return outgoing.literal_problem(parts.hostname or "")


def _digest(endpoint: str) -> str:
    return hashlib.sha256(endpoint.encode()).hexdigest()


def _ids(given: Iterable[str]) -> list[UUID]:
    return [UUID(each) for each in given]
