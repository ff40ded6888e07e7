"""Reads of people, teams and tokens."""

from __future__ import annotations

from collections.abc import MutableMapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models import OuterRef, Q, Subquery
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from devflow.apps.accounts.addresses import is_within, networks
from devflow.apps.accounts.models import ApiToken, Membership, Role, SetupToken, Team, User
from devflow.apps.accounts.rights import MANAGE_PEOPLE, Actor
from devflow.apps.accounts.second_factor import require_second_factor
from devflow.apps.accounts.tokens import digest, may_be_token
from devflow.core.errors import ForbiddenError, NotFoundError

USE_REMEMBERED = timedelta(minutes=1)
"""A token's last use is written this often at most."""
SESSION_TEAM = "team"
"""Key under which a session keeps the id of its current team."""


def user_exists() -> bool:
    return User.objects.exists()


def user_find(*, email: str) -> User | None:
    return User.objects.filter(email__iexact=email.strip(), is_machine=False).first()


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


def actor_of_session(*, user: User, session: MutableMapping[str, Any], address: str) -> Actor:
    """The user in the team of their session; in their first team when it names none, or one they have left.

    Raises NotFoundError for who is in no team, ForbiddenError where the team does not let this address in, and
    SecondFactorError where it wants a second factor that the user has not.
    """
    team_id = session.get(SESSION_TEAM)
    if team_id:
        try:
            return _let_in(actor_get(user=user, team_id=team_id), address)
        except NotFoundError:
            del session[SESSION_TEAM]
    return _let_in(actor_get(user=user), address)


def actors_of_user(*, user: User, address: str) -> list[Actor]:
    """The user as a member of each of their teams that lets them in from this address."""
    with scopes_disabled():
        memberships = list(Membership.objects.filter(user=user).select_related("team").order_by("created_at"))
    actors = [Actor(user=user, team=membership.team, role=membership.role) for membership in memberships]
    return [actor for actor in actors if _is_let_in(actor, address)]


def member_list(*, actor: Actor) -> list[Membership]:
    with scope(team=actor.team):
        return list(Membership.objects.select_related("user").order_by("created_at"))


def member_get(*, actor: Actor, membership_id: str) -> Membership:
    """Raises NotFoundError."""
    with scope(team=actor.team):
        found = Membership.objects.select_related("user").filter(pk=membership_id, user__is_machine=False).first()
    if found is None:
        raise NotFoundError("There is no such member.")
    return found


def token_list(*, actor: Actor) -> list[ApiToken]:
    """The team's tokens that are not revoked: all of them for those who manage people, one's own for others."""
    with scope(team=actor.team):
        tokens = ApiToken.objects.filter(revoked_at=None).select_related("user", "made_by").order_by("-created_at")
        return list(tokens if actor.can(MANAGE_PEOPLE) else tokens.filter(user=actor.user))


def token_find(raw: str, *, address: str) -> Actor | None:
    """Who a raw API token speaks for; None when it is unknown, revoked, expired or its user is gone from the team.

    A team's token acts as an admin, as far as its scopes go. Raises ForbiddenError where the team does not let this
    address in.
    """
    if not may_be_token(raw):
        return None
    now = timezone.now()
    with scopes_disabled():
        memberships = Membership.objects.filter(team=OuterRef("team"), user=OuterRef("user"))
        token = (
            ApiToken.objects.filter(digest=digest(raw), revoked_at=None)
            .filter(Q(user__is_active=True) | Q(user__is_machine=True), Q(expires_at=None) | Q(expires_at__gt=now))
            .annotate(member_role=Subquery(memberships.values("role")[:1]))
            .select_related("user", "team")
            .first()
        )
        role = (Role.ADMIN if token.user.is_machine else token.member_role) if token else None
        if token is None or role is None:
            return None
        projects = None if token.projects is None else frozenset(token.projects)
        actor = Actor(token.user, token.team, role, scopes=tuple(token.scopes), projects=projects, token=token)
        _let_in(actor, address)
        _remember_use(token, now, address)
    return actor


def _remember_use(token: ApiToken, now: datetime, address: str) -> None:
    """Once a minute at most, whichever process is first."""
    before = now - USE_REMEMBERED
    if token.last_used_at is None or token.last_used_at < before:
        unused = Q(last_used_at=None) | Q(last_used_at__lt=before)
        ApiToken.objects.filter(unused, pk=token.pk).update(last_used_at=now, last_used_address=address or None)


def team_admits(*, team: Team, address: str) -> bool:
    """Whether the team lets this address in."""
    return not team.allowed_networks or is_within(address, networks(team.allowed_networks))


def _is_let_in(actor: Actor, address: str) -> bool:
    try:
        _let_in(actor, address)
    except ForbiddenError:
        return False
    return True


def _let_in(actor: Actor, address: str) -> Actor:
    if not team_admits(team=actor.team, address=address):
        raise ForbiddenError(f"The team {actor.team} may be reached from certain networks only: not from {address}.")
    require_second_factor(actor.user, actor.team)
    return actor


def setup_token_valid(*, raw: str) -> bool:
    """True while there is no user yet and this is the token that `devflow up` printed."""
    return not user_exists() and SetupToken.objects.filter(digest=digest(raw)).exists()
