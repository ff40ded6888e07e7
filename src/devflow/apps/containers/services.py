"""Writes of what runs in containers: each asks a worker, and none waits for a server."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.audit.services import audit_record
from devflow.apps.containers.cleaning import chosen_again
from devflow.apps.containers.models import Action, ActionState, Follow, Snapshot
from devflow.apps.containers.owners import Owner
from devflow.apps.containers.selectors import ContainerRow
from devflow.apps.queue import MANUAL, enqueue
from devflow.apps.servers.models import Server
from devflow.core.errors import ConflictError, InvalidError

LOOK_SECONDS, DISK_SECONDS = 4, 60
"""A server is not looked at more often, however many ask; nor what takes how much of its disk."""
DISK_AT_LEAST_SECONDS = 900
GIVEN_UP_SECONDS = 60
"""A look that was asked for so long ago does not keep the next one from being asked for."""
KEPT_DAYS = 7
LONGEST_TAIL = 2000
FOLLOWED_AT_MOST = 3
"""Logs that are followed on one server at once: its connection has few channels, and deployments need them."""
FOLLOWED_BY_ALL = 20
"""The same of the whole panel: each takes one of the things that a worker does at once."""
UNSEEN_SECONDS = 15
KINDS = {"restart": "restarted", "stop": "stopped", "start": "started"}


def look_request(*, actor: Actor, server: Server, with_disk: bool = False) -> None:
    """Has a worker look at the server's containers, unless that was asked for a moment ago. What it finds is in its
    snapshot. Looking changes nothing, so whoever may read may ask."""
    actor.require(rights.READ, server)
    now = timezone.now()
    with transaction.atomic(), scope(team=actor.team):
        snapshot, _ = Snapshot.objects.get_or_create(server=server, defaults={"team": actor.team})
        is_idle = Q(taken_at__gte=F("asked_at")) | Q(asked_at__lt=now - timedelta(seconds=GIVEN_UP_SECONDS))
        is_old = Q(asked_at__lt=now - timedelta(seconds=LOOK_SECONDS)) & is_idle
        rows = Snapshot.objects.filter(Q(asked_at=None) | is_old, pk=snapshot.pk)
        if rows.update(asked_at=now):
            age = (now - snapshot.disk_at).total_seconds() if snapshot.disk_at else DISK_AT_LEAST_SECONDS
            is_due = age >= (DISK_SECONDS if with_disk else DISK_AT_LEAST_SECONDS)
            enqueue("containers.look", priority=MANUAL, server_id=str(server.pk), disk="yes" if is_due else "")


def container_act(*, actor: Actor, row: ContainerRow, kind: str, is_confirmed: bool = False) -> Action:
    """Has a worker restart, stop or start a container; what came of it is in the action.

    Raises ForbiddenError, InvalidError; ConflictError where stopping would take a site off and that is not confirmed.
    """
    row.owner.require(actor)
    if kind not in KINDS:
        message = f"There is no {kind[:40]!r}; there are {', '.join(KINDS)}."
        raise InvalidError(message, {"kind": message})
    if kind == "stop" and row.is_live and not is_confirmed:
        raise ConflictError(
            f"{row.name} serves {row.owner.words} now. Confirm that it is to be stopped, or deploy or roll back."
        )
    with transaction.atomic(), scope(team=actor.team):
        action = Action.objects.create(
            team=actor.team,
            server=row.server,
            environment=row.owner.environment,
            requested_by=actor.user,
            kind=kind,
            container_id=row.id,
            container_name=row.name[:300],
        )
        _forget_old(row.server)
        _record(actor, row, f"container.{KINDS[kind]}", {"live": row.is_live})
        enqueue("containers.act", priority=MANUAL, action_id=str(action.pk))
    return action


def prune_start(*, actor: Actor, server: Server, token: str) -> Action:
    """Has a worker remove what the preview with this token showed, each only if it still may go.

    Raises ForbiddenError, InvalidError; ConflictError where nothing of it may go any more.
    """
    candidates = chosen_again(actor=actor, server=server, token=token)
    if not candidates:
        raise ConflictError("Nothing of what the preview showed may go any more. Look at it again.")
    with transaction.atomic(), scope(team=actor.team):
        action = Action.objects.create(
            team=actor.team,
            server=server,
            requested_by=actor.user,
            kind="prune",
            given=[asdict(candidate) for candidate in candidates],
        )
        _forget_old(server)
        audit_record(
            team=actor.team,
            actor=actor,
            action="server.pruned",
            target=server.name,
            target_id=str(server.pk),
            after={"removed": [f"{each.kind} {' '.join(each.names) or each.id[:19]}" for each in candidates]},
        )
        enqueue("containers.prune", lock=f"prune:{server.pk}", priority=MANUAL, action_id=str(action.pk))
    return action


# --- logs -------------------------------------------------------------------------------------------------------------


def follow_start(*, actor: Actor, row: ContainerRow, tail: int = 200) -> Follow:
    """Has a worker follow the container's log, beginning with its last `tail` lines; of one that is followed already,
    that. It ends when nobody looks. Raises ForbiddenError, InvalidError, ConflictError (too many on this server)."""
    row.owner.require(actor)
    if not 0 <= tail <= LONGEST_TAIL:
        message = f"Give 0 to {LONGEST_TAIL:,} lines."
        raise InvalidError(message, {"tail": message})
    now = timezone.now()
    with transaction.atomic(), scope(team=actor.team):
        Server.objects.select_for_update().get(pk=row.server.pk)
        seen = Follow.objects.filter(seen_at__gt=now - timedelta(seconds=UNSEEN_SECONDS))
        open_ones = list(seen.filter(server=row.server, ended_at=None))
        same = [one for one in open_ones if one.container_id == row.id]
        if same:
            return same[0]
        if len(open_ones) >= FOLLOWED_AT_MOST:
            raise ConflictError(
                f"{FOLLOWED_AT_MOST} logs of {row.server.name} are being followed already. Close one of them first."
            )
        with scopes_disabled():
            since = now - timedelta(seconds=UNSEEN_SECONDS)
            if Follow.objects.filter(ended_at=None, seen_at__gt=since).count() >= FOLLOWED_BY_ALL:
                raise ConflictError("As many logs as the panel can are being followed already. Try again later.")
        follow = Follow.objects.create(
            team=actor.team,
            server=row.server,
            environment=row.owner.environment,
            container_id=row.id,
            container_name=row.name[:300],
            tail=tail,
            seen_at=now,
        )
        _forget_old(row.server)
        _record(actor, row, "container.log_followed")
        enqueue("containers.follow", priority=MANUAL, follow_id=str(follow.pk))
    return follow


def follow_seen(*, follow_id: str) -> None:
    """Somebody looks at it, so that it goes on. The caller has checked that they may."""
    with scopes_disabled():
        Follow.objects.filter(pk=follow_id, ended_at=None).update(seen_at=timezone.now())


def _forget_old(server: Server) -> None:
    """Within the team's scope."""
    old = timezone.now() - timedelta(days=KEPT_DAYS)
    ended = (ActionState.DONE, ActionState.FAILED)
    Action.objects.filter(server=server, created_at__lt=old, state__in=ended).delete()
    Follow.objects.filter(server=server, seen_at__lt=timezone.now() - timedelta(hours=1)).delete()


def _record(actor: Actor, row: ContainerRow, action: str, after: dict[str, object] | None = None) -> None:
    owner: Owner = row.owner
    audit_record(
        team=actor.team,
        actor=actor,
        action=action,
        target=f"{row.name} on {row.server.name}",
        target_id=row.id,
        project_id=owner.project_id,
        after=after,
    )
