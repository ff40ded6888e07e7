"""Background entry points of sources: states that wait for the provider are sent, webhooks are made there."""

from __future__ import annotations

import logging
import random
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections, transaction
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from devflow.apps.sources import selectors
from devflow.apps.sources.api.base import CANCELLED, SUCCESS, Access, ProviderApi, State
from devflow.apps.sources.models import OPEN_REPORTS, Report, ReportStatus, Source
from devflow.apps.sources.reports import access_of, tag_name
from devflow.core.error_id import fault_text
from devflow.core.errors import DevflowError, OutgoingError
from devflow.core.masking import Masker

log = logging.getLogger(__name__)

WAITS_SECONDS = (10, 30, 120, 600, 1800, 3600, 4 * 3600, 6 * 3600, 10 * 3600)
"""After each attempt that failed for now; with the last it is given up, about a day after the first."""
JITTER = 0.2
LONGEST_RETRY_AFTER_SECONDS = 6 * 3600
LEASE_SECONDS = 120
"""Longer than an attempt takes, which is a few requests: who has not come back by then is dead."""
MOST_AT_ONCE = 10
"""Of a worker's places: providers that hang must leave room for deployments."""

_places = [MOST_AT_ONCE]


@dataclass(slots=True)
class _Claimed:
    """One report that this worker sends. `attempt` is its number: a write under an older one comes too late."""

    source: Source
    row: Report
    attempt: int
    provider_id: str
    number: int


async def report(*, source_id: str) -> None:
    """Sends what is due of the source, oldest first, until nothing is, or the provider fails for now.

    Several at once do no harm. What it leaves is taken up again by `reports.reports_adopt`.
    """
    if not _places[0]:
        return
    _places[0] -= 1
    try:
        while (claimed := await sync_to_async(_claim)(source_id)) is not None:
            if not await _attempt(claimed):
                break
    finally:
        _places[0] += 1


async def create_hook(*, source_id: str) -> None:
    """Makes the webhook of the source at its provider, or sets the one that an earlier attempt made there."""

    def load() -> Source | None:
        close_old_connections()
        with scopes_disabled():
            return Source.objects.select_related("team", "project").filter(pk=source_id).first()

    def keep(source: Source, **values: str) -> None:
        with scope(team=source.team):
            Source.objects.filter(pk=source.pk).update(**values)

    source = await sync_to_async(load)()
    if source is None or (source.hook_id and not source.hook_problem):
        return
    hidden: list[str] = []
    try:
        api, access = access_of(source)
        hidden = [access.token, source.hook_secret]
        made = await api.make_hook(access, selectors.webhook_url(source), source.hook_secret)
    except DevflowError as error:
        await sync_to_async(keep)(source, hook_problem=Masker(hidden).mask(str(error)))
    else:
        await sync_to_async(keep)(source, hook_id=made or "made", hook_problem="")


async def _attempt(claimed: _Claimed) -> bool:
    """True where the next may follow."""
    source, row = claimed.source, claimed.row
    try:
        api, access = access_of(source)
        told = await _tell(api, access, claimed)
    except OutgoingError as error:
        return await sync_to_async(_failed)(claimed, error)
    except DevflowError as error:
        return await sync_to_async(_failed)(claimed, OutgoingError(str(error)))
    except Exception as error:  # a fault of the panel's: not tried for ever, and no reason to stop the others
        log.exception("report %s failed by a fault of the panel", row.pk)
        return await sync_to_async(_failed)(claimed, OutgoingError(fault_text(error)))
    await sync_to_async(_sent)(claimed, told)
    return True


async def _tell(api: ProviderApi, access: Access, claimed: _Claimed) -> dict[str, Any]:
    """Sends one state; what is to be kept of it.

    The status comes first, it is what people look at. What the provider does not let a token do beside it (list
    deployments, make tags) is told with the report and does not make it fail.
    """
    source, row = claimed.source, claimed.row
    state = State(row.commit, row.state, row.context, row.description, row.url, row.environment, row.branch)
    kept: dict[str, Any] = {"provider_id": claimed.provider_id, "error": ""}
    await api.set_status(access, state)
    problems = []
    if api.has_deployments:
        try:
            if not claimed.provider_id:
                made = await api.make_deployment(access, state)
                await sync_to_async(_keep_id)(claimed, made)
                kept["provider_id"] = made
            await api.set_deployment(access, state, claimed.provider_id)
        except OutgoingError as error:
            if error.transient:
                raise
            problems.append(f"The deployment is not listed: {error}")
    if source.tag_format and row.state == SUCCESS:
        name = tag_name(source, row, claimed.number)
        try:
            await api.make_tag(access, name, row.commit, row.description)
            kept["tag"] = name
        except OutgoingError as error:
            if error.transient:
                raise
            problems.append(f"The tag {name} was not made: {error}")
    kept["error"] = " ".join(problems)
    return kept


def _claim(source_id: str) -> _Claimed | None:
    """Takes the next state that is due; None where there is none.

    Of a commit's states only the newest is sent, and never while another of them is under way: so a pending cannot
    come after a success. The row of the source is the turnstile.
    """
    close_old_connections()
    with scopes_disabled():
        found = Source.objects.select_related("team").filter(pk=source_id).first()
    if found is None:
        return None
    with transaction.atomic(), scope(team=found.team):
        locked = Source.objects.select_for_update(of=("self",), no_key=True).select_related("team", "project")
        source = locked.filter(pk=source_id).first()
        if source is None:
            return None
        now = timezone.now()
        due = Report.objects.filter(source=source, status__in=OPEN_REPORTS, next_attempt_at__lte=now)
        for row in due.order_by("created_at", "id"):
            if _is_needless(row):
                Report.objects.filter(pk=row.pk).update(status=ReportStatus.SKIPPED, finished_at=now)
                continue
            same = Report.objects.filter(source=source, context=row.context, commit=row.commit).exclude(pk=row.pk)
            if same.filter(status=ReportStatus.SENDING, next_attempt_at__gt=now).exists():
                continue
            attempt = row.attempts + 1
            until = now + timedelta(seconds=LEASE_SECONDS)
            Report.objects.filter(pk=row.pk).update(
                status=ReportStatus.SENDING, attempts=attempt, next_attempt_at=until
            )
            return _Claimed(source, row, attempt, _provider_id(row), _number(row))
    return None


def _is_needless(row: Report) -> bool:
    """A newer state of the same commit waits or was sent; or it was cancelled before anything was told of it.

    Another deployment that was cancelled says nothing of the commit: what was told before it still holds.
    """
    same = Report.objects.filter(source=row.source_id, context=row.context, commit=row.commit)
    newer = same.filter(created_at__gt=row.created_at).exclude(status__in=(ReportStatus.FAILED, ReportStatus.SKIPPED))
    cancelled = same.filter(state=CANCELLED).exclude(deployment_id=row.deployment_id)
    if newer.exclude(deployment_id__in=cancelled.values("deployment_id")).exists():
        return True
    told = Report.objects.filter(deployment_id=row.deployment_id, created_at__lt=row.created_at)
    was_told = told.filter(status__in=(ReportStatus.SENT, ReportStatus.SENDING)).exists()
    return row.state == CANCELLED and not was_told


def _provider_id(row: Report) -> str:
    """The provider's id of the deployment, where an earlier state of it made it known."""
    earlier = Report.objects.filter(deployment_id=row.deployment_id, source=row.source_id).exclude(provider_id="")
    return earlier.values_list("provider_id", flat=True).first() or ""


def _number(row: Report) -> int:
    """The how manieth success of the environment it is."""
    return Report.objects.filter(
        source=row.source_id, context=row.context, state=SUCCESS, created_at__lte=row.created_at
    ).count()


def _keep_id(claimed: _Claimed, provider_id: str) -> None:
    """At once: a later failure of the same attempt must not make the deployment twice."""
    claimed.provider_id = provider_id
    with scope(team=claimed.source.team):
        Report.objects.filter(pk=claimed.row.pk).update(provider_id=provider_id)


def _sent(claimed: _Claimed, kept: dict[str, Any]) -> None:
    _write(claimed, status=ReportStatus.SENT, finished_at=timezone.now(), **kept)


def _failed(claimed: _Claimed, error: OutgoingError) -> bool:
    """Writes why; tried again later where that may help. True where the next may follow."""
    now = timezone.now()
    told = str(error)
    with suppress(DevflowError):  # sealed with another master key: then it was not sent, either
        told = Masker([claimed.source.access_token]).mask(told)
    if error.transient and claimed.attempt <= len(WAITS_SECONDS):
        wait = WAITS_SECONDS[claimed.attempt - 1] * random.uniform(1 - JITTER, 1 + JITTER)
        asked = min(error.retry_after_seconds or 0, LONGEST_RETRY_AFTER_SECONDS)
        at = now + timedelta(seconds=max(wait, asked))
        _write(claimed, status=ReportStatus.PENDING, next_attempt_at=at, error=told)
        return False
    _write(claimed, status=ReportStatus.FAILED, finished_at=now, error=told)
    log.info("report %s is given up: %s", claimed.row.pk, told)
    return not error.transient


def _write(claimed: _Claimed, **values: Any) -> None:
    """Only while the attempt is still ours: another worker may have taken us for dead."""
    with scope(team=claimed.source.team):
        ours = Report.objects.filter(pk=claimed.row.pk, attempts=claimed.attempt, status=ReportStatus.SENDING)
        ours.update(**values)
