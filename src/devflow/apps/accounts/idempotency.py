"""Requests that take effect once, however often they are sent: their answers, kept for a day."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone
from django_scopes import scope

from devflow.apps.accounts.models import IdempotencyKey
from devflow.apps.accounts.rights import Actor
from devflow.core.errors import InvalidError

KEPT = timedelta(hours=24)
_KEY = re.compile(r"[\x21-\x7e]{1,200}")


def answer_once(*, actor: Actor, subject: str, key: str, request: str, work: Callable[[], str]) -> str:
    """`work()`, or what it answered when `subject` sent the same `request` with this key before.

    `subject` is a digest of the token, `request` one of all that makes the request what it is. Two at once: the second
    waits for the first. Answer and effect are one transaction, so that a failed attempt leaves neither. Raises
    InvalidError where the key is not valid or came with another request, and whatever `work` raises.
    """
    if not _KEY.fullmatch(key):
        raise _invalid("Give 1 to 200 visible ASCII characters, like a UUID.")
    with transaction.atomic(), scope(team=actor.team):
        IdempotencyKey.objects.filter(created_at__lt=timezone.now() - KEPT).delete()
        record = IdempotencyKey(team=actor.team, subject=subject, key=key, request=request)
        try:
            with transaction.atomic():
                record.save(force_insert=True)
        except IntegrityError:
            return _kept(subject, key, request)
        answer = work()
        record.answer = answer
        record.save(update_fields=["answer_sealed"])
    return answer


def _kept(subject: str, key: str, request: str) -> str:
    record = IdempotencyKey.objects.get(subject=subject, key=key)
    if record.request != request:
        raise _invalid(
            "This key was used for another request. Make a new key for each request that is not a repetition."
        )
    answer: str = record.answer
    return answer


def _invalid(message: str) -> InvalidError:
    return InvalidError(message, {"Idempotency-Key": message})
