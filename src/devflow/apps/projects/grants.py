"""Grants: rights of single members beside their role, for a project or one of its environments; protected environments.

What grants and roles come to is decided in apps/accounts/rights.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django_scopes import scope

from devflow.apps.accounts import rights
from devflow.apps.accounts.models import Membership
from devflow.apps.accounts.rights import Actor, Grants
from devflow.apps.audit.services import audit_record
from devflow.apps.projects.models import Environment, Grant, Project
from devflow.core.errors import InvalidError, NotFoundError


@dataclass(frozen=True, slots=True)
class Right:
    """An action that a member is allowed somewhere, and why: by their `role`, or by a grant (`grant`: one that says
    so; `is_wide`: it is for the whole project)."""

    action: str
    role: str = ""
    grant: Grant | None = None

    @property
    def is_wide(self) -> bool:
        return self.grant is not None and self.grant.environment_id is None


@dataclass(frozen=True, slots=True)
class Access:
    """What one member may do in a project: by environment, and (None) in the project as a whole."""

    membership: Membership
    places: tuple[tuple[Environment | None, tuple[Right, ...]], ...]


# --- writes -----------------------------------------------------------------------------------------------------------


def grants_add(
    *, actor: Actor, project: Project, email: str, actions: Iterable[str], environment: Environment | None = None
) -> list[Grant]:
    """Grants a member these actions for the environment, or for the whole project; returns the grants, also those that
    were there before. Raises ForbiddenError, InvalidError."""
    actor.require(rights.MANAGE_PEOPLE, project)
    wanted = _actions(actions)
    with transaction.atomic(), scope(team=actor.team):
        member = _member(email)
        _record(actor, "grant.added", environment or project, member, wanted)
        return [
            Grant.objects.get_or_create(
                membership=member,
                project=project,
                environment=environment,
                action=action,
                defaults={"team": actor.team, "granted_by": actor.user},
            )[0]
            for action in wanted
        ]


def grant_remove(*, actor: Actor, project: Project, grant_id: str) -> Grant:
    """Takes a grant back, and returns what it was; it counts no more from the next request on.

    Raises ForbiddenError, NotFoundError.
    """
    actor.require(rights.MANAGE_PEOPLE, project)
    with transaction.atomic(), scope(team=actor.team):
        found = Grant.objects.select_for_update(of=("self",)).select_related("membership__user", "environment__project")
        found = found.filter(project=project)
        grant = found.filter(pk=grant_id).first() if _is_uuid(grant_id) else None
        if grant is None:
            raise NotFoundError(f"There is no grant {grant_id!r} for this project.")
        _record(actor, "grant.removed", grant.environment or project, grant.membership, [grant.action])
        grant.delete()
    return grant


def environment_protect(*, actor: Actor, environment: Environment, on: bool) -> Environment:
    """In a protected environment the rights of developers do not count, only grants. Raises ForbiddenError.

    It is for who manages people, since it changes what others may.
    """
    actor.require(rights.MANAGE_PEOPLE, environment)
    with transaction.atomic(), scope(team=actor.team):
        environment.is_protected = on
        environment.save(update_fields=["is_protected"])
        _record(actor, "environment.protected" if on else "environment.unprotected", environment)
    return environment


def _record(
    actor: Actor,
    action: str,
    where: Project | Environment,
    member: Membership | None = None,
    actions: list[str] | None = None,
) -> None:
    audit_record(
        team=actor.team,
        actor=actor,
        action=action,
        target=f"{member.user.email} in {where}" if member else str(where),
        target_id=str(member.user_id if member else where.pk),
        project_id=where.place.project_id,
        after={"actions": actions} if actions else None,
    )


# --- reads ------------------------------------------------------------------------------------------------------------


def grants_of(actor: Actor) -> Grants:
    """What the actor was granted in their team (for rights.load_grants_with)."""
    with scope(team=actor.team):
        found = Grant.objects.filter(membership__user=actor.user)
        return frozenset(found.values_list("action", "project_id", "environment_id"))


def grant_list(*, actor: Actor, project: Project) -> list[Grant]:
    """The project's grants, the oldest first, with who has and who gave them."""
    actor.require(rights.READ, project)
    with scope(team=actor.team):
        found = Grant.objects.filter(project=project)
        return list(found.select_related("membership__user", "environment", "granted_by"))


def access_list(*, actor: Actor, project: Project) -> list[Access]:
    """What every member of the team may do in the project and each of its environments, and why."""
    grants = grant_list(actor=actor, project=project)
    with scope(team=actor.team):
        members = list(Membership.objects.select_related("user").order_by("created_at"))
        environments = list(Environment.objects.filter(project=project).order_by("created_at"))
    return [_access(member, project, environments, grants) for member in members]


def _access(member: Membership, project: Project, environments: list[Environment], grants: list[Grant]) -> Access:
    ours = [grant for grant in grants if grant.membership_id == member.pk]
    places: list[tuple[Environment | None, tuple[Right, ...]]] = [(None, _rights(member, project, ours))]
    return Access(member, (*places, *((each, _rights(member, each, ours)) for each in environments)))


def _rights(member: Membership, where: Project | Environment, grants: list[Grant]) -> tuple[Right, ...]:
    """Every action that is allowed there, once: a role's before a grant's."""
    here = where.place
    by_role = rights.role_rights(member.role, here)
    near = [grant for grant in grants if grant.environment_id in (None, here.environment_id)]
    found = []
    for action in (rights.READ, *rights.GRANTABLE):
        grant = next((grant for grant in near if grant.action == action), None)
        if action in by_role:
            found.append(Right(action, role=member.role))
        elif grant is not None:
            found.append(Right(action, grant=grant))
    return tuple(found)


def _actions(given: Iterable[str]) -> list[str]:
    wanted = list(dict.fromkeys(given))
    if not wanted or any(action not in rights.GRANTABLE for action in wanted):
        message = f"Choose one or more of: {', '.join(rights.GRANTABLE)}."
        raise InvalidError(message, {"actions": message})
    return wanted


def _member(email: str) -> Membership:
    """Nobody learns whether an address is known to the panel: a stranger and another team's member are answered
    alike."""
    address = email.strip()
    member = None
    if address.isprintable():
        member = Membership.objects.select_for_update().filter(user__email__iexact=address).first()
    if member is None:
        message = "No member of this team has this address. Invite them first."
        raise InvalidError(message, {"email": message})
    return member


def _is_uuid(value: Any) -> bool:
    try:
        UUID(str(value))
    except ValueError:
        return False
    return True
