"""Who is in a team, as what: changed by those who manage people, and never so that a team has no owner."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone
from django_scopes import scope

from devflow.apps.accounts import events
from devflow.apps.accounts.models import ApiToken, Invitation, Membership, Role, Team
from devflow.apps.accounts.rights import MANAGE_PEOPLE, OWN, Actor
from devflow.apps.accounts.second_factor import has_second_factor
from devflow.apps.accounts.services import team_create
from devflow.core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError

RANKS = {Role.VIEWER: 0, Role.DEVELOPER: 1, Role.ADMIN: 2, Role.OWNER: 3}
_LAST_OWNER = "A team needs an owner: make somebody else one first."


def roles_given(actor: Actor) -> list[str]:
    """The roles that the actor may give, the weakest first: none above their own; owners are made by owners only."""
    if not actor.can(MANAGE_PEOPLE):
        return []
    own = RANKS[Role(actor.role)]
    return [role for role, rank in RANKS.items() if rank <= own and (role != Role.OWNER or actor.can(OWN))]


def require_role(actor: Actor, role: str) -> None:
    """Raises InvalidError for no role, ForbiddenError for one that the actor may not give."""
    actor.require(MANAGE_PEOPLE)
    if role not in Role.values:
        message = f"Choose a role: {', '.join(Role.values)}."
        raise InvalidError(message, {"role": message})
    if role not in roles_given(actor):
        raise ForbiddenError(f"You may not make anybody {role}: that is above what you may give.")


def member_role_set(*, actor: Actor, membership_id: str, role: str) -> Membership:
    """Gives a member another role. Raises NotFoundError, InvalidError, ForbiddenError, ConflictError."""
    require_role(actor, role)
    with transaction.atomic(), scope(team=actor.team):
        membership = _locked(actor, membership_id)
        before = membership.role
        if before not in roles_given(actor):
            raise ForbiddenError(f"You may not change the role of an {before}: ask an owner.")
        if before == role:
            return membership
        if before == Role.OWNER:
            _require_other_owner(membership)
        membership.role = role
        membership.save(update_fields=["role"])
        _invitations_end(membership)
        events.record(
            team=actor.team,
            actor=actor,
            action="member.role_changed",
            target=membership.user.email,
            target_id=str(membership.pk),
            before={"role": before},
            after={"role": role},
        )
    return membership


def member_remove(*, actor: Actor, membership_id: str) -> None:
    """Takes a member out of the team, with their tokens and invitations. Oneself: see `member_leave`.

    Raises NotFoundError, ForbiddenError, ConflictError.
    """
    actor.require(MANAGE_PEOPLE)
    with transaction.atomic(), scope(team=actor.team):
        membership = _locked(actor, membership_id)
        if membership.role not in roles_given(actor):
            raise ForbiddenError(f"You may not remove an {membership.role}: ask an owner.")
        _end(actor, membership)


def member_leave(*, actor: Actor) -> None:
    """The actor leaves the team; in person only. Raises ForbiddenError, ConflictError for the last owner."""
    if actor.scopes is not None:
        raise ForbiddenError("A token cannot leave a team for its user: do it on the page Team.")
    with transaction.atomic(), scope(team=actor.team):
        own = Membership.objects.filter(user=actor.user).values_list("pk", flat=True).first()
        _end(actor, _locked(actor, str(own)))


def team_add(*, actor: Actor, name: str) -> Team:
    """A new team, which the actor owns. Raises ForbiddenError, InvalidError.

    Only the panel's administrators add teams: whoever owns one could take the panel's own machine for a server.
    """
    if not actor.user.is_superuser:
        raise ForbiddenError("Only the panel's administrators add teams: ask one of them.")
    if actor.scopes is not None:
        actor.require(MANAGE_PEOPLE)
    with transaction.atomic():
        team = team_create(name=name, owner=actor.user)
        events.record(team=team, user=actor.user, action="team.added", target=team.name, target_id=str(team.pk))
    return team


def team_policy_set(*, actor: Actor, requires_second_factor: bool) -> Team:
    """Whether all of the team need a second factor, from now on. Raises ForbiddenError, ConflictError.

    Who asks it of others has one: nobody locks themselves out.
    """
    actor.require(OWN)
    if requires_second_factor and not has_second_factor(actor.user):
        raise ConflictError("Set up a second factor of your own first, on the page Account.")
    with transaction.atomic(), scope(team=actor.team):
        team = Team.objects.select_for_update().get(pk=actor.team.pk)
        before = team.requires_second_factor
        team.requires_second_factor = requires_second_factor
        team.save(update_fields=["requires_second_factor"])
        if before != requires_second_factor:
            events.record(
                team=team,
                actor=actor,
                action="team.policy_changed",
                target=team.name,
                target_id=str(team.pk),
                before={"requires_second_factor": before},
                after={"requires_second_factor": requires_second_factor},
            )
    return team


def _locked(actor: Actor, membership_id: str) -> Membership:
    """The membership, while nobody else changes the team's members: two owners must not remove each other at once."""
    Team.objects.select_for_update().get(pk=actor.team.pk)
    membership = Membership.objects.select_related("user").filter(pk=membership_id, user__is_machine=False).first()
    if membership is None:
        raise NotFoundError("There is no such member.")
    return membership


def _end(actor: Actor, membership: Membership) -> None:
    if membership.role == Role.OWNER:
        _require_other_owner(membership)
    now = timezone.now()
    ApiToken.objects.filter(user=membership.user, revoked_at=None).update(revoked_at=now)
    Invitation.objects.filter(inviter=membership.user, accepted_at=None, revoked_at=None).update(revoked_at=now)
    membership_id = str(membership.pk)
    membership.delete()
    events.record(
        team=actor.team,
        actor=actor,
        action="member.removed",
        target=membership.user.email,
        target_id=membership_id,
        before={"role": membership.role},
    )


def _require_other_owner(membership: Membership) -> None:
    others = Membership.objects.filter(role=Role.OWNER, user__is_active=True).exclude(pk=membership.pk)
    if not others.exists():
        raise ConflictError(_LAST_OWNER)


def _invitations_end(membership: Membership) -> None:
    """Ends what the member has offered and may offer no more."""
    too_high = [role for role, rank in RANKS.items() if rank > RANKS[Role(membership.role)]]
    is_manager = RANKS[Role(membership.role)] >= RANKS[Role.ADMIN]
    open_ones = Invitation.objects.filter(inviter=membership.user, accepted_at=None, revoked_at=None)
    (open_ones.filter(role__in=too_high) if is_manager else open_ones).update(revoked_at=timezone.now())
