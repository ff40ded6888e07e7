"""Gives events their place in the chain, and checks a chain.

Who records an event only inserts it: transactions of a team never wait for each other because of the log. A worker's
sweep numbers and hashes afterwards what was committed, one at a time for each chain (the chain's row is locked), in the
order in which events were made; whoever reads a chain as a whole (export, verify) seals first. A row that the panel has
not recorded gets its place, too, with a hash that tells so: what somebody wrote into the table cannot be taken back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django_scopes import scopes_disabled

from devflow.apps.audit import chain
from devflow.apps.audit.models import Chain, Event
from devflow.apps.audit.services import event_document, is_stamped
from devflow.core.errors import DevflowError

AT_ONCE: Final = 1_000
PANEL: Final = UUID(chain.PANEL)


def seal_all() -> None:
    """Seals what is new in every chain. Costs one look into an empty index when there is nothing."""
    with scopes_disabled():
        waiting = Event.objects.filter(seq=None).order_by().values_list("team_id", flat=True).distinct()
        for team_id in list(waiting):
            seal(team_id)


def seal(team_id: UUID | None) -> None:
    """Seals what is new in the chain of the team, or of the panel (None)."""
    while _seal_some(team_id) == AT_ONCE:
        pass


def verify(team_id: UUID | None) -> chain.Verdict:
    """Recomputes the chain of the team, or of the panel (None), to its end as the panel remembers it."""
    seal(team_id)
    with transaction.atomic(), scopes_disabled():
        head = Chain.objects.select_for_update().filter(pk=team_id or PANEL).first()
        found = chain.verify(map(event_document, _in_order(team_id)))
        _verify_head(found, head)
    return found


def _seal_some(team_id: UUID | None) -> int:
    with transaction.atomic(), scopes_disabled():
        head = _head_locked(team_id)
        rows = list(_of(team_id).filter(seq=None).order_by("id")[:AT_ONCE])
        if not rows:
            return 0
        seq, previous = _read_head(head)
        for row in rows:
            seq += 1
            row.seq, row.previous = seq, previous
            document = event_document(row)
            row.hash = previous = chain.event_hash(document, is_foreign=not is_stamped(row, document))
        Event.objects.bulk_update(rows, ["seq", "previous", "hash"], batch_size=200)
        head.head = f"{seq} {previous}"
        head.save(update_fields=["head_sealed"])
    return len(rows)


def _head_locked(team_id: UUID | None) -> Chain:
    key = team_id or PANEL
    Chain.objects.bulk_create([Chain(pk=key)], ignore_conflicts=True)
    return Chain.objects.select_for_update().get(pk=key)


def _read_head(head: Chain) -> tuple[int, str]:
    """Raises DevflowError where somebody put another end there: going on from it would hide that."""
    try:
        number, _, last = (head.head or f"0 {chain.FIRST}").partition(" ")
    except Exception as error:
        raise DevflowError(f"The end of the audit chain {head.pk} was tampered with: it does not open.") from error
    return int(number), last


def _verify_head(found: chain.Verdict, head: Chain | None) -> None:
    try:
        seq, last = _read_head(head) if head else (0, chain.FIRST)
    except DevflowError as error:
        found.note(str(error))
        return
    if (seq, last) != (found.last_seq, found.last_hash):
        found.note(f"The chain ends with event {found.last_seq}; the last one that the panel sealed is {seq}.")


def _of(team_id: UUID | None) -> QuerySet[Event]:
    return Event.objects.filter(team_id=team_id) if team_id else Event.objects.filter(team=None)


def _in_order(team_id: UUID | None) -> Iterator[Event]:
    """Read by number, a part at a time: a chain may be long."""
    after = 0
    rows = _of(team_id).exclude(seq=None).order_by("seq")
    while part := list(rows.filter(seq__gt=after)[:AT_ONCE]):
        yield from part
        if part[-1].seq is None or part[-1].seq <= after:
            return
        after = part[-1].seq
