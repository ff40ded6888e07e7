"""When an environment may be deployed: its calendar, freezing it, lifting a freeze."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone
from django_scopes import scope

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.audit.services import audit_record
from devflow.apps.projects.models import Environment
from devflow.core import windows
from devflow.core.errors import InvalidError, NotFoundError
from devflow.core.windows import Calendar, Closed

_OVER = "over"


def calendar_of(environment: Environment) -> Calendar:
    return windows.calendar(environment.windows, environment.freezes, environment.time_zone)


def closed_now(environment: Environment, at: datetime | None = None) -> Closed | None:
    """Why no deployment of it may begin now, and when one may; None while it is open."""
    return calendar_of(environment).closed(at or timezone.now())


def freeze_list(environment: Environment) -> list[dict[str, Any]]:
    """The freezes as they are stored, with their number, text of both times and `state`: over, in force, to come."""
    calendar, now = calendar_of(environment), timezone.now()
    found = []
    for number, (stored, freeze) in enumerate(zip(environment.freezes, calendar.freezes, strict=True), 1):
        is_over = freeze.ends is not None and freeze.ends <= now
        state = _OVER if is_over else "in force" if freeze.begins <= now else "to come"
        begins = calendar.local(freeze.begins)
        ends = calendar.local(freeze.ends) if freeze.ends else ""
        found.append({**stored, "number": number, "state": state, "begins": begins, "ends": ends})
    return found


def environment_freeze(
    *, actor: Actor, environment: Environment, reason: str, begins: str = "", ends: str = ""
) -> Environment:
    """Adds a freeze, from now and without end where no times are given (on the clock of the environment's zone).

    Raises ForbiddenError, InvalidError.
    """
    actor.require(rights.MANAGE, environment)
    with transaction.atomic(), scope(team=actor.team):
        row = Environment.objects.select_for_update(no_key=True).get(pk=environment.pk)
        start = begins.strip() or _now_there(row, ends.strip())
        added = {"from": start, "to": ends.strip() or None, "reason": reason}
        row.freezes = windows.check_freezes([*row.freezes, added])
        if freeze_list(row)[-1]["state"] == _OVER:
            message = "This time is in the past: the freeze would be over."
            raise InvalidError(message, {"ends": message})
        row.save(update_fields=["freezes"])
        _record(actor, row, "environment.frozen", added)
    environment.freezes = row.freezes
    return environment


def environment_unfreeze(*, actor: Actor, environment: Environment, number: int | None = None) -> list[str]:
    """Lifts the freeze with this number (of `freeze_list`), or all that are in force; returns the state of each.

    Raises ForbiddenError, NotFoundError.
    """
    actor.require(rights.MANAGE, environment)
    with transaction.atomic(), scope(team=actor.team):
        row = Environment.objects.select_for_update(no_key=True).get(pk=environment.pk)
        listed = freeze_list(row)
        chosen = {each["number"] for each in listed if each["number"] == number or (number is None and _is_on(each))}
        if not chosen:
            what = f"no freeze with the number {number}" if number is not None else "no freeze in force"
            raise NotFoundError(f"There is {what} in {row}.")
        lifted = [stored for index, stored in enumerate(row.freezes, 1) if index in chosen]
        row.freezes = [stored for index, stored in enumerate(row.freezes, 1) if index not in chosen]
        row.save(update_fields=["freezes"])
        _record(actor, row, "environment.unfrozen", {"freezes": lifted})
    environment.freezes = row.freezes
    return [each["state"] for each in listed if each["number"] in chosen]


def _record(actor: Actor, environment: Environment, action: str, after: dict[str, Any]) -> None:
    audit_record(
        team=actor.team,
        actor=actor,
        action=action,
        target=str(environment),
        target_id=str(environment.pk),
        project_id=environment.project_id,
        after=after,
    )


def _is_on(freeze: dict[str, Any]) -> bool:
    return bool(freeze["state"] == "in force")


def _now_there(environment: Environment, ends: str) -> str:
    """Now on the clock of the environment, written in the way in which the end is given: with an offset or without."""
    now = timezone.now().astimezone(calendar_of(environment).zone).replace(microsecond=0)
    try:
        has_offset = datetime.fromisoformat(ends).tzinfo is not None
    except ValueError:
        has_offset = False
    return (now if has_offset else now.replace(tzinfo=None)).isoformat()
