"""Reads of people, teams and tokens."""

from __future__ import annotations

import hashlib
from collections.abc import MutableMapping
from typing import Any

from django.db.models import Q
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from devflow.apps.accounts.models import ApiToken, Membership, Role, SetupToken, Team, User
from devflow.apps.accounts.rights import Actor
from devflow.core.errors import NotFoundError

TOKEN_PREFIX = "dfp_"
SESSION_TEAM = "team"
"""Key under which a session keeps the id of its current team."""


def digest(raw: str) -> str:
    """How tokens are stored: SHA-256 in hexadecimal (they are long and random, so no salt is needed)."""
    return hashlib.sha256(raw.encode()).hexdigest()


def user_exists() -> bool:
    return User.objects.exists()


def user_find(*, email: str) -> User | None:
    return User.objects.filter(email__iexact=email.strip()).first()


def team_list(*, user: User) -> list[Team]:
    """The user's teams, by name."""
    with scopes_disabled():
        return list(Team.objects.filter(memberships__user=user).order_by("name"))


def actor_get(*, user: User, team: Team | None = None, team_id: str | None = None) -> Actor:
    """The user as a member of the team; of the first team when none is named. Raises NotFoundError for an outsider."""
    wanted = team.pk if team else team_id
    with scopes_disabled():
        memberships = Membership.objects.filter(user=user).select_related("team").order_by("created_at")
        membership = (memberships.filter(team_id=wanted) if wanted else memberships).first()
    if membership is None:
        raise NotFoundError("There is no such team among yours.")
    return Actor(user=user, team=membership.team, role=membership.role)


def actor_of_session(*, user: User, session: MutableMapping[str, Any]) -> Actor:
    """The user in the team of their session; in their first team when it names none, or one they have left."""
    team_id = session.get(SESSION_TEAM)
    if team_id:
        try:
            return actor_get(user=user, team_id=team_id)
        except NotFoundError:
            del session[SESSION_TEAM]
    return actor_get(user=user)


def member_list(*, actor: Actor) -> list[Membership]:
    with scope(team=actor.team):
        return list(Membership.objects.select_related("user").order_by("created_at"))


def token_list(*, actor: Actor) -> list[ApiToken]:
    """The team's tokens that are not revoked: all of them for those who manage the team, one's own for others."""
    with scope(team=actor.team):
        tokens = ApiToken.objects.filter(revoked_at=None).select_related("user").order_by("-created_at")
        return list(tokens if actor.role in (Role.OWNER, Role.ADMIN) else tokens.filter(user=actor.user))


def token_find(raw: str) -> Actor | None:
    """Who a raw API token speaks for; None when it is unknown, revoked, expired or its user is gone from the team."""
    if not raw.startswith(TOKEN_PREFIX):
        return None
    now = timezone.now()
    with scopes_disabled():
        token = (
            ApiToken.objects.filter(digest=digest(raw), revoked_at=None, user__is_active=True)
            .filter(Q(expires_at=None) | Q(expires_at__gt=now))
            .select_related("user", "team")
            .first()
        )
        if token is None:
            return None
        membership = Membership.objects.filter(team=token.team, user=token.user).first()
        if membership is None:
            return None
        if token.last_used_at is None or (now - token.last_used_at).total_seconds() > 60:
            ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return Actor(user=token.user, team=token.team, role=membership.role, scopes=tuple(token.scopes))


def setup_token_valid(*, raw: str) -> bool:
    """True while there is no user yet and this is the token that `devflow up` printed."""
    return not user_exists() and SetupToken.objects.filter(digest=digest(raw)).exists()
