"""Writes of sources: webhooks set up, their deliveries checked, read and remembered."""

from __future__ import annotations

import hashlib
import json
import secrets
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django_scopes import scope

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.sources.models import Delivery, Source
from devflow.apps.sources.providers import PROVIDERS
from devflow.apps.sources.providers.base import Content, MalformedError, Provider, Push
from devflow.core.errors import ConflictError, InvalidError
from devflow.core.names import uuid7
from devflow.core.shell import MASK

KEPT = 200
"""Of so many deliveries of a source, headers and payload are kept."""
REMEMBERED = timedelta(days=90)
"""How long a delivery's id is known, so that a replay changes nothing."""

_FORM = "application/x-www-form-urlencoded"
_NOT_KEPT = ("authorization", "proxy-authorization", "cookie")
_LONGEST_KEY = 200


@dataclass(frozen=True, slots=True)
class Request:
    """A webhook's request: its headers, by names in lower case, and its body as it came."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered: a status of HTTP and a JSON document."""

    status: int
    document: dict[str, Any]


@dataclass(slots=True)
class Incoming:
    """A genuine delivery, which is not saved yet, and what it tells: nothing where it is malformed.

    `answer` is set as soon as it is known; one that came twice at a time `repeats` the first.
    """

    delivery: Delivery
    is_dated: bool = False
    pushes: list[Push] = field(default_factory=list)
    answer: Answer | None = None
    repeats: Incoming | None = None


def refused(status: int, reason: str) -> Answer:
    return Answer(status, {"error": reason})


def source_add(*, actor: Actor) -> Source:
    """A source of no provider yet. Raises ForbiddenError."""
    actor.require(rights.MANAGE)
    with scope(team=actor.team):
        return Source.objects.create(team=actor.team, hook_token=secrets.token_urlsafe(24))


def webhook_set(*, actor: Actor, source: Source, provider: str) -> str:
    """Takes webhooks of this provider from now on, '' none; returns the secret where one was made, else ''.

    Raises ForbiddenError, InvalidError.
    """
    actor.require(rights.MANAGE)
    if provider and provider not in PROVIDERS:
        message = f"Choose one of: {', '.join(PROVIDERS)}."
        raise InvalidError(f"There is no provider {provider!r}. {message}", {"provider": message})
    with transaction.atomic(), scope(team=actor.team):
        row = Source.objects.select_for_update().get(pk=source.pk)
        secret = "" if row.hook_secret or not provider else secrets.token_urlsafe(32)
        row.provider = provider
        if secret:
            row.hook_secret = secret
        row.save(update_fields=["provider", "hook_secret_sealed"])
    source.provider, source.hook_secret_sealed = row.provider, row.hook_secret_sealed
    return secret


def webhook_rotate(*, actor: Actor, source: Source) -> str:
    """A new secret, which is returned; the old one is worth nothing from now on, also in a webhook that we made.

    Raises ForbiddenError, ConflictError (no provider is chosen).
    """
    actor.require(rights.MANAGE)
    if not source.provider:
        raise ConflictError("Choose the git provider first: then there is a secret.")
    secret = secrets.token_urlsafe(32)
    source.hook_secret, source.hook_id = secret, ""
    with scope(team=actor.team):
        source.save(update_fields=["hook_secret_sealed", "hook_id"])
    return secret


def request_read(*, source: Source, request: Request) -> Incoming | Answer:
    """What a request tells, when who sent it knows the secret; else the answer that refuses it."""
    provider, secret = PROVIDERS[source.provider], source.hook_secret
    content = _content(request)
    if not secret or not provider.is_genuine(secret, request.headers, content):
        return refused(401, "The signature is not right. Compare the secret here and at the provider.")
    if not _is_possible(request.headers):
        return refused(415, "Send application/json, or a form with the field payload.")
    digest = hashlib.sha256(request.body).hexdigest()
    incoming = _incoming(source, _shown(provider, request.headers), content)
    delivery = incoming.delivery
    delivery.body = _kept(request.body, secret)
    delivery.key = _key(provider.delivery_id(request.headers, digest))
    delivery.digest = digest if incoming.is_dated else ""
    return incoming


def delivery_again(delivery: Delivery) -> Incoming:
    """A kept delivery, to be taken as a new one. Raises ConflictError where its payload is not kept any more."""
    if not delivery.body:
        raise ConflictError(f"The payload of this delivery is not kept any more; only those of the last {KEPT} are.")
    source = delivery.source
    if source.provider not in PROVIDERS:
        raise ConflictError("The webhook is switched off.")
    request = Request(delivery.headers, zlib.decompress(bytes(delivery.body)))
    incoming = _incoming(source, dict(delivery.headers), _content(request))
    again = incoming.delivery
    again.body, again.redelivery_of = bytes(delivery.body), delivery
    again.key = f"redelivery:{again.pk}"
    return incoming


def deliveries_known(source: Source, incoming: Sequence[Incoming]) -> dict[str, Delivery]:
    """Those that came before, by key and by digest, without their payloads."""
    keys = [each.delivery.key for each in incoming]
    digests = [each.delivery.digest for each in incoming if each.delivery.digest]
    found = Delivery.objects.filter(Q(key__in=keys) | Q(digest__in=digests), source=source)
    known: dict[str, Delivery] = {}
    for delivery in found.only("key", "digest", "answer_status", "answer"):
        known |= {name: delivery for name in (delivery.key, delivery.digest) if name}
    return known


def deliveries_save(source: Source, incoming: Sequence[Incoming]) -> None:
    """Remembers them with their answers, and forgets what is too old."""
    for each in incoming:
        assert each.answer
        each.delivery.answer_status, each.delivery.answer = each.answer.status, each.answer.document
    Delivery.objects.bulk_create([each.delivery for each in incoming])
    ours = Delivery.objects.filter(source=source).order_by("-received_at", "-id")
    # what was beyond them before this was emptied then, so only the next ones have to be looked at
    beyond = ours.values_list("pk", flat=True)[KEPT : KEPT + 2 * len(incoming) + 10]
    Delivery.objects.filter(pk__in=list(beyond)).exclude(body=b"").update(body=b"", headers={})
    Delivery.objects.filter(source=source, received_at__lt=timezone.now() - REMEMBERED).delete()


def _incoming(source: Source, headers: dict[str, str], content: Content) -> Incoming:
    provider = PROVIDERS[source.provider]
    delivery = Delivery(pk=uuid7(), team_id=source.team_id, source=source, headers=headers)
    delivery.event = provider.event(headers, {})[:100]
    incoming = Incoming(delivery)
    try:
        document = _document(content)
        delivery.event = provider.event(headers, document)[:100]
        incoming.is_dated = provider.is_dated(document)
        incoming.pushes = provider.read(delivery.event, document)
    except MalformedError as error:
        incoming.answer = refused(400, str(error))
    return incoming


def _content(request: Request) -> Content:
    """A form's bytes come through as they were: what cannot be text is refused where it is read."""
    if _type(request.headers) != _FORM:
        return Content(request.body, request.body)
    try:
        fields = parse_qsl(request.body.decode("utf-8", "surrogateescape"), errors="surrogateescape", max_num_fields=10)
    except ValueError:
        fields = []
    payload = next((value for name, value in fields if name == "payload"), "")
    return Content(request.body, payload.encode("utf-8", "surrogateescape"))


def _document(content: Content) -> Mapping[str, Any]:
    """Raises MalformedError."""
    try:
        document = json.loads(content.text)
    except RecursionError:
        raise MalformedError("The payload is nested too deeply.") from None
    except ValueError:
        what = "The body is empty." if not content.body else "The payload is not JSON."
        raise MalformedError(what) from None
    if not isinstance(document, dict):
        raise MalformedError("The payload is not a JSON object.")
    return document


def _is_possible(headers: Mapping[str, str]) -> bool:
    kind = _type(headers)
    return kind in ("", "application/json", _FORM) or kind.endswith("+json")


def _type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _shown(provider: Provider, headers: Mapping[str, str]) -> dict[str, str]:
    """The headers as people may see them."""
    masked = {*provider.secret_headers, *_NOT_KEPT}
    return {name: MASK if name in masked else value.replace("\x00", "") for name, value in headers.items()}


def _kept(body: bytes, secret: str) -> bytes:
    """Old versions of Gitea send the secret in the payload, too."""
    return zlib.compress(body.replace(secret.encode(), MASK.encode()), 1)


def _key(given: str) -> str:
    text = given.replace("\x00", "")
    return text if len(text) <= _LONGEST_KEY else hashlib.sha256(text.encode()).hexdigest()
