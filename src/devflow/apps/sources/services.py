"""Writes of sources: webhooks set up, their deliveries checked, read and remembered."""

from __future__ import annotations

import hashlib
import json
import secrets
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

from django.db import transaction
from django.db.models import F, Q, QuerySet, Window
from django.db.models.functions import RowNumber
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor, Placed
from devflow.apps.audit.services import audit_record
from devflow.apps.sources.models import Delivery, Source
from devflow.apps.sources.providers import PROVIDERS
from devflow.apps.sources.providers.base import Content, MalformedError, Provider, Push
from devflow.apps.sources.reports import access_home, access_of, hook_create, token_forget_elsewhere
from devflow.apps.sources.selectors import source_find
from devflow.core.errors import ConflictError, InvalidError
from devflow.core.names import uuid7
from devflow.core.shell import MASK

KEPT = 200
"""Of so many deliveries of a source, headers and payload are kept."""
REMEMBERED = timedelta(days=90)
"""How long a delivery's id is known, so that a replay changes nothing."""

_NEW_SECRET = "where nobody has it any more, make a new one: devflow webhooks rotate, or New secret on the page"
_AUTO_DEPLOY = (
    "In the panel: switch on “Deploy when the branch is pushed to” in the settings of each environment that a push"
    " shall deploy (devflow environments update PROJECT ENV --auto-deploy)."
)
REFUSED_KEPT = 20
"""So many requests with a wrong signature are told of."""
_REFUSED_SECONDS = 1
"""At most one of them is kept in this time: a stranger who knows the address must not keep the database busy."""
_FORM = "application/x-www-form-urlencoded"
_CLEANED_AT_ONCE = 1_000
_TRIMMED_AT_ONCE = 2_000  # more than come until the next time, a second later (web/webhooks.py)
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


def source_add(*, actor: Actor, of: Placed) -> Source:
    """A source of no provider yet, for a project. Raises ForbiddenError."""
    actor.require(rights.MANAGE, of)
    with scope(team=actor.team):
        return Source.objects.create(team=actor.team, hook_token=secrets.token_urlsafe(24))


def webhook_set(*, actor: Actor, source: Source, provider: str) -> str:
    """Takes webhooks of this provider from now on, '' none; returns the secret where one was made, else ''.

    An access token for another host than the provider's is forgotten. Raises ForbiddenError, InvalidError.
    """
    actor.require(rights.MANAGE, source)
    if provider and provider not in PROVIDERS:
        message = f"Choose one of: {', '.join(PROVIDERS)}."
        raise InvalidError(f"There is no provider {provider!r}. {message}", {"provider": message})
    with transaction.atomic(), scope(team=actor.team):
        row = Source.objects.select_for_update().get(pk=source.pk)
        secret = "" if row.hook_secret or not provider else secrets.token_urlsafe(32)
        home = access_home(row)
        if provider != row.provider:
            row.hook_id = row.hook_problem = ""  # what the panel made was at the provider before
        row.provider = provider
        token_forget_elsewhere(row, home)
        if secret:
            row.hook_secret = secret
        row.save(update_fields=["provider", "hook_secret_sealed", "access_token_sealed", "hook_id", "hook_problem"])
        source_record(actor, row, "webhook.set", {"provider": provider, "has_new_secret": bool(secret)})
    source.provider, source.hook_secret_sealed = row.provider, row.hook_secret_sealed
    source.access_token_sealed = row.access_token_sealed
    source.hook_id, source.hook_problem = row.hook_id, row.hook_problem
    return secret


@dataclass(frozen=True, slots=True)
class Rotated:
    """A new secret of a webhook, and who gives it to the provider: the panel by itself, or (`is_renewed` false) a
    person. `was_made`: the panel made the webhook there, so that there is one to change and none to add."""

    secret: str
    was_made: bool
    is_renewed: bool

    def note(self, title: str) -> str:
        """What is to be done at the provider, which is called `title`."""
        if self.is_renewed:
            return f"The panel gives it to the webhook that it made at {title}; nothing is to be done there."
        if self.was_made:
            return (
                f"The webhook that the panel made at {title} still has the old secret: put the new one there, or give"
                " the panel an access token again and have it do so (devflow sources webhook). Do not add a second one."
            )
        return f"Give it to the webhook at {title} now."


def webhook_rotate(*, actor: Actor, source: Source) -> Rotated:
    """A new secret; the old one is worth nothing from now on. Where the panel made the webhook and can reach it still,
    a worker sets the secret there, too: what comes of it is in `hook_id` or `hook_problem`.

    Raises ForbiddenError, ConflictError (no provider is chosen).
    """
    actor.require(rights.MANAGE, source)
    if not source.provider:
        raise ConflictError("Choose the git provider first: then there is a secret.")
    with transaction.atomic(), scope(team=actor.team):
        row = Source.objects.select_for_update(no_key=True).get(pk=source.pk)
        rotated = Rotated(secrets.token_urlsafe(32), bool(row.hook_id), bool(row.hook_id) and _is_reachable(row))
        row.hook_secret = rotated.secret
        if rotated.was_made and not rotated.is_renewed:
            row.hook_problem = rotated.note(PROVIDERS[row.provider].title)
        row.save(update_fields=["hook_secret_sealed", "hook_problem"])
        source_record(actor, row, "webhook.rotated", {"provider": row.provider})
        if rotated.is_renewed:
            hook_create(actor=actor, source=row)
    source.hook_secret_sealed = row.hook_secret_sealed
    source.hook_id, source.hook_problem = row.hook_id, row.hook_problem
    return rotated


def _is_reachable(source: Source) -> bool:
    try:
        access_of(source)
    except ConflictError:
        return False
    return True


def webhook_steps(source: Source, *, is_secret_shown: bool) -> list[str]:
    """How the webhook is set up at the provider, beside the address (and the secret, where that is shown)."""
    provider = PROVIDERS[source.provider]
    if source.hook_id:
        is_right = f"The panel made this webhook at {provider.title}: nothing is to be done there."
        first = [source.hook_problem or is_right]
    else:
        known = "the secret above" if is_secret_shown else f"the one that was shown when it was made ({_NEW_SECRET})"
        first = [step.replace("{secret}", known) for step in provider.steps]
    return [*first, _AUTO_DEPLOY]


def source_record(actor: Actor, source: Source, action: str, after: Mapping[str, Any]) -> None:
    """Tells the audit log of a change of a project's source."""
    place = source.place
    audit_record(
        team=actor.team,
        actor=actor,
        action=action,
        target=source.provider or "no provider",
        target_id=str(source.pk),
        project_id=place.project_id,
        after=after,
    )


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


def refusals_keep(source: Source, requests: Sequence[Request]) -> None:
    """Keeps a trace of requests with a wrong signature, the newest first: when, which event, who says to have sent it.
    Only of some of them where many come, and nothing of their payloads, which anybody may have made."""
    now = timezone.now()
    last = source.refused[0]["at"] if source.refused else ""
    if not requests or (last and now - datetime.fromisoformat(last) < timedelta(seconds=_REFUSED_SECONDS)):
        return
    headers = requests[-1].headers
    told = {"event": PROVIDERS[source.provider].event(headers, {}), "sender": headers.get("user-agent", "")}
    entry = {"at": now.isoformat(), **{name: _plain(text) for name, text in told.items()}}
    with transaction.atomic(), scope(team=source.team):
        row = Source.objects.select_for_update(no_key=True).only("refused").get(pk=source.pk)
        row.refused = [entry, *row.refused][:REFUSED_KEPT]
        row.save(update_fields=["refused"])


def _plain(text: str) -> str:
    return "".join(char for char in text if char.isprintable())[:100]


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
    """Remembers them with their answers."""
    for each in incoming:
        assert each.answer
        each.delivery.answer_status, each.delivery.answer = each.answer.status, each.answer.document
    Delivery.objects.bulk_create([each.delivery for each in incoming])


def deliveries_trim(provider: str, token: str) -> None:
    """Empties what came to a webhook's address before the last KEPT: who, when and what came of it stays."""
    source = source_find(provider=provider, token=token)
    if source is None:
        return
    with scope(team=source.team):
        newest_first = Delivery.objects.filter(source=source).order_by("-received_at", "-id")
        _empty(newest_first.values("pk")[KEPT : KEPT + _TRIMMED_AT_ONCE])


def deliveries_clean() -> None:
    """Forgets those of every team that are older than REMEMBERED, and empties what `deliveries_trim` has left."""
    with scopes_disabled():
        old = Delivery.objects.filter(received_at__lt=timezone.now() - REMEMBERED).order_by().values("pk")
        while Delivery.objects.filter(pk__in=old[:_CLEANED_AT_ONCE]).only("pk").delete()[0]:
            pass
        place = Window(RowNumber(), partition_by="source", order_by=[F("received_at").desc(), F("id").desc()])
        whole = Delivery.objects.exclude(body=b"").annotate(place=place).order_by()
        while _empty(whole.filter(place__gt=KEPT).values("pk")[:_TRIMMED_AT_ONCE]):
            pass


def _empty(chosen: QuerySet[Delivery, Any]) -> int:
    return Delivery.objects.filter(pk__in=chosen).exclude(body=b"").update(body=b"", headers={})


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
        _describe(delivery, incoming.pushes)
    except MalformedError as error:
        incoming.answer = refused(400, str(error))
    return incoming


def _describe(delivery: Delivery, pushes: Sequence[Push]) -> None:
    """What people recognise it by."""
    push = next((each for each in pushes if each.name), None)
    if push is not None:
        delivery.ref, delivery.commit, delivery.author = push.name[:200], push.commit[:64], push.author[:300]
        delivery.message = next(iter(push.message.splitlines()), "")[:200]


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
