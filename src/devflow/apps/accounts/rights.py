"""Who may do what: one table, asked by services and by every way in."""

from __future__ import annotations

from dataclasses import dataclass

from devflow.apps.accounts.models import Role, Scope, Team, User
from devflow.core.errors import ForbiddenError

READ, DEPLOY, MANAGE = "read", "deploy", "manage"

ROLE_RIGHTS: dict[str, frozenset[str]] = {
    Role.OWNER: frozenset({READ, DEPLOY, MANAGE}),
    Role.ADMIN: frozenset({READ, DEPLOY, MANAGE}),
    Role.DEVELOPER: frozenset({READ, DEPLOY}),
    Role.VIEWER: frozenset({READ}),
}
SCOPE_RIGHTS: dict[str, frozenset[str]] = {
    Scope.READ: frozenset({READ}),
    Scope.DEPLOY: frozenset({READ, DEPLOY}),
    Scope.ADMIN: frozenset({READ, DEPLOY, MANAGE}),
}
_WORDS = {READ: "see this", DEPLOY: "deploy", MANAGE: "change this"}


@dataclass(frozen=True, slots=True)
class Actor:
    """A member of a team, in person (`scopes` is None) or through an API token with these scopes."""

    user: User
    team: Team
    role: str
    scopes: tuple[str, ...] | None = None

    def can(self, right: str) -> bool:
        by_scope = self.scopes is None or any(right in SCOPE_RIGHTS.get(scope, ()) for scope in self.scopes)
        return right in ROLE_RIGHTS.get(self.role, ()) and by_scope

    def require(self, right: str) -> None:
        """Raises ForbiddenError when the role or the token's scopes do not carry the right."""
        if self.can(right):
            return
        if right in ROLE_RIGHTS.get(self.role, ()):
            raise ForbiddenError(
                f"This token's scopes ({', '.join(self.scopes or ())}) do not allow it to {_WORDS[right]}."
            )
        raise ForbiddenError(
            f"Your role in {self.team}, {self.role}, may not {_WORDS[right]}. Ask an owner or admin of the team."
        )
