"""Pushes become deployments: which environments a webhook's delivery deploys, and what it is answered."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from uuid import UUID

from django.db import IntegrityError, OperationalError, transaction
from django.db.models import Prefetch
from django_scopes import scope

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.deployments.services import Pushed, deployments_push
from devflow.apps.projects.models import Environment
from devflow.apps.servers.models import Server
from devflow.apps.sources.models import Delivery, Source
from devflow.apps.sources.providers.base import Kind, Push
from devflow.apps.sources.reports import is_own_tag
from devflow.apps.sources.selectors import source_find
from devflow.apps.sources.services import (
    Answer,
    Incoming,
    Request,
    deliveries_known,
    deliveries_save,
    delivery_again,
    refusals_keep,
    refused,
    request_read,
)
from devflow.core import globs
from devflow.core.errors import ConflictError, NotFoundError

SKIP_WORDS = ("[skip deploy]", "[deploy skip]", "[skip ci]", "[ci skip]")
_REASONS = 3
"""So many different reasons are told of one push, which may be of a thousand branches."""
_ANSWERS = {
    Kind.PING: "This was a ping. The webhook works.",
    Kind.CHANGE: "Pull and merge requests deploy nothing; a push to the branch does.",
    Kind.DELETE: "A deleted branch or tag deploys nothing.",
    Kind.OTHER: "Only pushes of branches and tags deploy.",
}


def deliveries_take(*, provider: str, token: str, requests: Sequence[Request]) -> list[Answer]:
    """Takes what came to one webhook's address, in the order of arrival, and answers each.

    Deliveries, deployments and jobs are one transaction: what is answered is kept, and what is not answered left
    nothing. Of several pushes to one environment the last is queued, the others are recorded as superseded. A delivery
    that came before gets its first answer, and changes nothing.
    """
    source = source_find(provider=provider, token=token)
    if source is None:
        return [refused(404, "There is no such webhook.")] * len(requests)
    read = [request_read(source=source, request=request) for request in requests]
    forged = [request for request, each in zip(requests, read, strict=True) if _is_forged(each)]
    refusals_keep(source, forged)
    genuine = [each for each in read if isinstance(each, Incoming)]
    for is_last in (False, False, True):
        try:
            _take(source, genuine)
            break
        except (IntegrityError, OperationalError) as error:
            if is_last or not _is_passing(error):
                raise
    return [_answer(each) if isinstance(each, Incoming) else each for each in read]


def _is_forged(read: Incoming | Answer) -> bool:
    return isinstance(read, Answer) and read.status == HTTPStatus.UNAUTHORIZED


def delivery_redeliver(*, actor: Actor, delivery: Delivery) -> Delivery:
    """Takes what a delivery brought once more, as a new delivery, by the settings of now.

    Who may not deploy each environment that pushes deploy may not do this either.
    Raises ForbiddenError, ConflictError (its payload is not kept any more, the webhook is switched off).
    """
    actor.require(rights.DEPLOY, delivery.source)
    for environment in _following(delivery.source):
        actor.require(rights.DEPLOY, environment)
    again = delivery_again(delivery)
    _take(delivery.source, [again])
    return again.delivery


def _following(source: Source) -> list[Environment]:
    """The environments that a push can deploy."""
    with scope(team=source.team):
        found = Environment.objects.filter(project__source=source)
        return [each for each in found if each.auto_deploy or each.tag_pattern]


def _is_passing(error: Exception) -> bool:
    """Whether another transaction was in the way: one that took the same delivery is known next time."""
    state = getattr(error.__cause__, "sqlstate", "")
    return state in ("23505", "40001", "40P01")  # unique violation, serialization failure, deadlock


def _take(source: Source, incoming: Sequence[Incoming]) -> None:
    with transaction.atomic(), scope(team=source.team):
        new = _first_ones(source, incoming)
        if new:
            _deploy(source, new)
            deliveries_save(source, new)


def _first_ones(source: Source, incoming: Sequence[Incoming]) -> list[Incoming]:
    """Those that did not come before; the others get the answer of the first."""
    known = deliveries_known(source, incoming)
    names_seen: dict[str, Incoming] = {}
    new = []
    for each in incoming:
        names = [name for name in (each.delivery.key, each.delivery.digest) if name]
        before = next((known[name] for name in names if name in known), None)
        each.repeats = next((names_seen[name] for name in names if name in names_seen), None)
        if before is not None:
            each.answer = Answer(before.answer_status, before.answer)
        elif each.repeats is None:
            names_seen |= dict.fromkeys(names, each)
            new.append(each)
    return new


def _deploy(source: Source, incoming: Sequence[Incoming]) -> None:
    """Queues what the pushes ask for, and sets the answers. Environments come in one order, whoever locks them."""
    found = Environment.objects.filter(project__source=source).select_related("project", "team").order_by("pk")
    servers = Server.objects.only("team", "name", "status")
    environments = list(found.prefetch_related(Prefetch("servers", servers)))
    for environment in environments:
        environment.project.source = source
    made: dict[UUID, list[str]] = {each.delivery.pk: [] for each in incoming}
    reasons: dict[UUID, list[str]] = {each.delivery.pk: [] for each in incoming}
    wanted: dict[UUID, list[Pushed]] = {}
    for each in incoming:
        for push in each.pushes:
            chosen, reason = _chosen(source, environments, push)
            reasons[each.delivery.pk] += [reason] if reason else []
            for environment in chosen:
                wanted.setdefault(environment.pk, []).append(_pushed(push, each.delivery))
    for environment in environments:
        pushed = wanted.get(environment.pk, [])
        try:
            deployments = deployments_push(environment=environment, pushed=pushed) if pushed else []
        except (ConflictError, NotFoundError) as error:
            for one in pushed:
                reasons[one.delivery_id].append(str(error))
        else:
            for one, deployment in zip(pushed, deployments, strict=True):
                made[one.delivery_id].append(str(deployment.pk))
    for each in incoming:
        if each.pushes:
            each.answer = _told(made[each.delivery.pk], reasons[each.delivery.pk])


def _chosen(source: Source, environments: Sequence[Environment], push: Push) -> tuple[list[Environment], str]:
    """The environments that a push deploys; why there is none, where there is none."""
    if reason := _ANSWERS.get(push.kind):
        return [], reason
    if word := next((word for word in SKIP_WORDS if word in push.message.lower()), None):
        return [], f"The message of the commit says {word}."
    if push.kind is Kind.TAG:
        if is_own_tag(source, push.name):  # else each deployment would deploy the next
            return [], f"The panel itself made the tag {push.name}."
        tagged = [each for each in environments if each.tag_pattern and globs.matches(each.tag_pattern, push.name)]
        return tagged, "" if tagged else f"No environment is deployed by the tag {push.name}."
    following = [each for each in environments if each.auto_deploy and each.branch == push.name]
    if not following:
        return [], f"No environment is deployed by a push to {push.name}."
    touched = [each for each in following if _is_touched(each, push)]
    return touched, "" if touched else "No file that an environment watches was changed."


def _is_touched(environment: Environment, push: Push) -> bool:
    """A push that does not tell all its files touches everything: rather once too often than never."""
    if not environment.watch_paths or push.changed_paths is None:
        return True
    return globs.any_matches(environment.watch_paths, push.changed_paths)


def _pushed(push: Push, delivery: Delivery) -> Pushed:
    return Pushed(push.commit, push.name, push.message, push.author, delivery.pk)


def _told(deployments: list[str], reasons: list[str]) -> Answer:
    if deployments:
        return Answer(202, {"deployment": deployments[0], "deployments": deployments})
    told = list(dict.fromkeys(reasons))
    more = f"And {len(told) - _REASONS:,} more." if len(told) > _REASONS else ""
    return Answer(200, {"ignored": " ".join([*told[:_REASONS], more]).strip() or "Nothing was pushed."})


def _answer(incoming: Incoming) -> Answer:
    answer = (incoming.repeats or incoming).answer
    assert answer is not None
    return answer
