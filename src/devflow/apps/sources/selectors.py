"""Reads of sources and of their webhooks' deliveries."""

from __future__ import annotations

import zlib
from uuid import UUID

from django.conf import settings
from django_scopes import scope, scopes_disabled

from devflow.apps import replica
from devflow.apps.accounts.rights import Actor
from devflow.apps.sources.models import Delivery, Source
from devflow.apps.sources.providers import PROVIDERS
from devflow.core.errors import NotFoundError


def source_find(*, provider: str, token: str) -> Source | None:
    """The source that this webhook's address names, with its team; None where there is none."""
    if provider not in PROVIDERS or not token.isascii() or not token.isprintable():
        return None
    with scopes_disabled():
        return Source.objects.select_related("team").filter(hook_token=token, provider=provider).first()


def webhook_url(source: Source) -> str:
    """The full address that the provider is to be given; '' while the webhook is off."""
    return f"{settings.PUBLIC_URL}/webhooks/{source.provider}/{source.hook_token}" if source.provider else ""


@replica.listed
def delivery_list(*, actor: Actor, source: Source | None, before: str = "", limit: int = 50) -> list[Delivery]:
    """The last ones, the newest first, without their payloads; `before` is the id of the last one seen."""
    if source is None:
        return []
    with scope(team=actor.team):
        found = Delivery.objects.filter(source=source).order_by("-pk").defer("body", "headers")
        if _is_uuid(before):
            found = found.filter(pk__lt=before)
        return list(found[:limit])


def delivery_get(*, actor: Actor, source: Source | None, delivery_id: str) -> Delivery:
    """Raises NotFoundError."""
    found = None
    if source is not None and _is_uuid(delivery_id):
        with scope(team=actor.team):
            found = Delivery.objects.select_related("source").filter(pk=delivery_id, source=source).first()
    if found is None:
        raise NotFoundError(f"There is no delivery {delivery_id!r} of this webhook.")
    return found


def payload(delivery: Delivery) -> str:
    """The body of the delivery as text; '' where it is not kept any more."""
    return zlib.decompress(bytes(delivery.body)).decode("utf-8", "replace") if delivery.body else ""


def _is_uuid(text: str) -> bool:
    try:
        UUID(str(text))
    except ValueError:
        return False
    return True
