"""Who may do what: one table, asked by services and by every way in.

A right comes from the role in the team, or from a grant for one project or environment. In a protected environment only
grants count, and the roles that stand above them. A token's scopes and projects narrow what its user may.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet

from devflow.apps.accounts.models import ApiToken, Role, Scope, Team, User
from devflow.core.errors import ForbiddenError, NotFoundError

M = TypeVar("M", bound=Model)

READ, DEPLOY, APPROVE, SEE_SECRETS, SHELL, MANAGE = "read", "deploy", "approve", "see_secrets", "shell", "manage"
MANAGE_PEOPLE, AUDIT, OWN = "manage_people", "audit", "own"

ACTIONS: dict[str, str] = {
    READ: "see projects, servers, deployments and their logs",
    DEPLOY: "deploy, roll back, cancel, check servers",
    APPROVE: "let a deployment begin outside its window",
    SEE_SECRETS: "see and export the values of variables",
    SHELL: "open a terminal on the servers (there is none yet)",
    MANAGE: "add, change and remove what is deployed and how: projects, environments, servers, variables, channels",
    MANAGE_PEOPLE: "manage members, invitations, grants, tokens of others and the team's settings",
    AUDIT: "read the audit log",
    OWN: "make owners, hand the team over, delete it",
}
"""Every action, and what it stands for."""
GRANTABLE = (DEPLOY, APPROVE, SEE_SECRETS, SHELL, MANAGE)
"""The actions that can be granted for a project or an environment."""
GRANT_LABELS: dict[str, str] = {
    READ: "look",
    DEPLOY: "deploy",
    APPROVE: "approve",
    SEE_SECRETS: "see secrets",
    SHELL: "shell",
    MANAGE: "manage",
}
"""How an action that counts for a place is called on pages."""

ROLE_RIGHTS: dict[str, frozenset[str]] = {
    Role.OWNER: frozenset(ACTIONS),
    Role.ADMIN: frozenset(ACTIONS) - {OWN},
    Role.DEVELOPER: frozenset({READ, DEPLOY}),
    Role.VIEWER: frozenset({READ}),
}
SCOPE_RIGHTS: dict[str, frozenset[str]] = {
    Scope.READ: frozenset({READ}),
    Scope.DEPLOY: frozenset({READ, DEPLOY}),
    Scope.ADMIN: frozenset(ACTIONS) - {OWN},
}
EVERYWHERE = (Role.OWNER, Role.ADMIN)
"""The roles that keep their rights in a protected environment."""
_WORDS = {
    READ: "see this",
    DEPLOY: "deploy",
    APPROVE: "let deployments begin outside their window",
    SEE_SECRETS: "see the values of variables",
    SHELL: "open a terminal",
    MANAGE: "change this",
    MANAGE_PEOPLE: "manage people and their rights",
    AUDIT: "read the audit log",
    OWN: "do what only an owner may",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object is, as far as rights go: in a team, and in one of its projects and environments."""

    team_id: UUID
    project_id: UUID | None = None
    environment_id: UUID | None = None
    is_protected: bool = False

    @property
    def place(self) -> Place:
        return self


class Placed(Protocol):
    """What rights are asked for: a project, an environment, a deployment … of a team."""

    @property
    def place(self) -> Place: ...


Grants = frozenset[tuple[str, UUID, UUID | None]]
"""What a member was granted: the action, the project, and the environment, or None for the whole project."""

_load_grants: Callable[[Actor], Grants] = lambda actor: frozenset()  # noqa: E731 - until projects says how


def load_grants_with(load: Callable[[Actor], Grants]) -> None:
    """Says how a member's grants are read; whoever keeps them calls this when the program starts."""
    global _load_grants
    _load_grants = load


@dataclass(frozen=True)
class Actor:
    """A member of a team, in person (`scopes` is None) or through an API token with these scopes.

    A token may be for some `projects` (their ids) only; None stands for all of the team's.
    """

    user: User
    team: Team
    role: str
    scopes: tuple[str, ...] | None = None
    projects: frozenset[UUID] | None = None
    token: ApiToken | None = None

    @cached_property
    def grants(self) -> Grants:
        """Read when first asked for, once for each request."""
        return _load_grants(self)

    @property
    def is_everywhere(self) -> bool:
        """Whether the role alone says what may be done, wherever it is."""
        return self.role in EVERYWHERE and self.projects is None

    def can(self, action: str, obj: Placed | None = None) -> bool:
        """Whether the action is allowed on the object; without one, on what is the team's as a whole."""
        place = obj.place if obj is not None else Place(self.team.pk)
        is_here = place.team_id == self.team.pk
        return is_here and self._token_allows(action, place) and self._person_may(action, place)

    def can_somewhere(self, action: str) -> bool:
        """Whether there is anything that the action is allowed on."""
        return self._scopes_allow(action) and (
            action in ROLE_RIGHTS.get(self.role, ()) or any(action == granted for granted, _, _ in self.grants)
        )

    def sees(self, project_id: UUID | None) -> bool:
        """Whether this project is among those that a token is for; what is of no project always is."""
        return self.projects is None or project_id is None or project_id in self.projects

    def narrowed(self, query: QuerySet[M], field: str) -> QuerySet[M]:
        """The query, restricted to the projects that a token is for; `field` leads to the project's id."""
        return query if self.projects is None else query.filter(**{f"{field}__in": self.projects})

    def require(self, action: str, obj: Placed | None = None) -> None:
        """Raises ForbiddenError when neither role nor grant, or not the token, carry the right; NotFoundError for what
        is another team's, or of a project that the token is not for."""
        if self.can(action, obj):
            return
        place = obj.place if obj is not None else Place(self.team.pk)
        if place.team_id != self.team.pk or not self.sees(place.project_id):
            raise NotFoundError("There is no such thing in this team.")
        raise ForbiddenError(self._refusal(action, place))

    def _token_allows(self, action: str, place: Place) -> bool:
        if self.projects is not None and place.project_id not in self.projects:
            return action == READ and place.project_id is None and self._scopes_allow(action)
        return self._scopes_allow(action)

    def _scopes_allow(self, action: str) -> bool:
        return self.scopes is None or any(action in SCOPE_RIGHTS.get(scope, ()) for scope in self.scopes)

    def _person_may(self, action: str, place: Place) -> bool:
        return action in role_rights(self.role, place) or self._is_granted(action, place)

    def _is_granted(self, action: str, place: Place) -> bool:
        if place.project_id is None or action not in GRANTABLE:
            return False
        wanted = {(action, place.project_id, None), (action, place.project_id, place.environment_id)}
        return not wanted.isdisjoint(self.grants)

    def _refusal(self, action: str, place: Place) -> str:
        if not self._scopes_allow(action):
            return f"This token's scopes ({', '.join(self.scopes or ())}) do not allow it to {_WORDS[action]}."
        if not self._token_allows(action, place):
            return f"This token is for single projects; it may not {_WORDS[action]} for the whole team."
        if place.is_protected and action in ROLE_RIGHTS.get(self.role, ()):
            return (
                f"This environment is protected: only those with a grant may {_WORDS[action]} here. "
                "Ask an owner or admin of the team for one."
            )
        return f"Your role in {self.team}, {self.role}, may not {_WORDS[action]}. Ask an owner or admin of the team."


def role_rights(role: str, place: Place) -> frozenset[str]:
    """What the role alone gives there."""
    held = ROLE_RIGHTS.get(role, frozenset())
    return held if role in EVERYWHERE or not place.is_protected else held & {READ}


def can(actor: Actor, action: str, obj: Placed | None = None) -> bool:
    """The same as `actor.can`."""
    return actor.can(action, obj)
