"""Who may change whose role, who may go, and that a team always has an owner."""

from __future__ import annotations

import pytest
from django_scopes import scope, scopes_disabled

from devflow.apps.accounts import members, selectors, services
from devflow.apps.accounts.invitations import invitation_create, invitation_find
from devflow.apps.accounts.models import Membership, Role, Team, User
from devflow.apps.accounts.rights import Actor
from devflow.apps.accounts.selectors import actor_get
from devflow.core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from tests.support.shop import Shop, at_once

PASSWORD = "a long enough phrase"


def membership(shop: Shop, role: str) -> str:
    """The id of the membership of the person who began with this role."""
    with scope(team=shop.team):
        return str(Membership.objects.get(user=shop.people[role]).pk)


@pytest.mark.parametrize(
    ("role", "given"),
    [
        (Role.OWNER, ["viewer", "developer", "admin", "owner"]),
        (Role.ADMIN, ["viewer", "developer", "admin"]),
        (Role.DEVELOPER, []),
        (Role.VIEWER, []),
    ],
)
def test_nobody_gives_a_role_above_their_own(shop: Shop, role: str, given: list[str]) -> None:
    assert members.roles_given(shop.actor(role)) == given


def test_a_token_never_makes_owners(shop: Shop) -> None:
    token = shop.actor(Role.OWNER, scopes=("admin",))
    assert members.roles_given(token) == ["viewer", "developer", "admin"]
    with pytest.raises(ForbiddenError, match="may not make anybody owner"):
        members.member_role_set(actor=token, membership_id=membership(shop, Role.VIEWER), role=Role.OWNER)


def test_a_role_is_changed(shop: Shop) -> None:
    members.member_role_set(actor=shop.actor(Role.ADMIN), membership_id=membership(shop, Role.VIEWER), role="developer")
    assert actor_get(user=shop.people[Role.VIEWER]).role == Role.DEVELOPER


def test_an_admin_does_not_touch_owners(shop: Shop) -> None:
    admin, owner = shop.actor(Role.ADMIN), membership(shop, Role.OWNER)
    with pytest.raises(ForbiddenError, match="of an owner"):
        members.member_role_set(actor=admin, membership_id=owner, role=Role.VIEWER)
    with pytest.raises(ForbiddenError, match="may not remove an owner"):
        members.member_remove(actor=admin, membership_id=owner)
    with pytest.raises(ForbiddenError, match="may not make anybody owner"):
        members.member_role_set(actor=admin, membership_id=membership(shop, Role.ADMIN), role=Role.OWNER)


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.VIEWER])
def test_others_manage_nobody(shop: Shop, role: str) -> None:
    with pytest.raises(ForbiddenError):
        members.member_role_set(actor=shop.actor(role), membership_id=membership(shop, role), role=Role.VIEWER)
    with pytest.raises(ForbiddenError):
        members.member_remove(actor=shop.actor(role), membership_id=membership(shop, Role.VIEWER))


def test_of_another_team_nobody_is_found(shop: Shop) -> None:
    for change in (members.member_remove, lambda **who: members.member_role_set(**who, role=Role.VIEWER)):
        with pytest.raises(NotFoundError):
            change(actor=shop.actor("stranger"), membership_id=membership(shop, Role.VIEWER))


def test_no_role(shop: Shop) -> None:
    with pytest.raises(InvalidError, match="owner, admin, developer, viewer"):
        members.member_role_set(actor=shop.actor(), membership_id=membership(shop, Role.VIEWER), role="king")


def test_the_last_owner_stays_and_stays_owner(shop: Shop) -> None:
    owner = membership(shop, Role.OWNER)
    with pytest.raises(ConflictError, match="needs an owner"):
        members.member_role_set(actor=shop.actor(), membership_id=owner, role=Role.ADMIN)
    with pytest.raises(ConflictError, match="needs an owner"):
        members.member_remove(actor=shop.actor(), membership_id=owner)
    with pytest.raises(ConflictError, match="needs an owner"):
        members.member_leave(actor=shop.actor())
    members.member_role_set(actor=shop.actor(), membership_id=membership(shop, Role.ADMIN), role=Role.OWNER)
    members.member_leave(actor=shop.actor())
    with pytest.raises(NotFoundError):
        actor_get(user=shop.people[Role.OWNER], team=shop.team)


def test_a_closed_account_is_no_other_owner(shop: Shop) -> None:
    members.member_role_set(actor=shop.actor(), membership_id=membership(shop, Role.ADMIN), role=Role.OWNER)
    User.objects.filter(pk=shop.people[Role.ADMIN].pk).update(is_active=False)
    with pytest.raises(ConflictError):
        members.member_leave(actor=shop.actor())


@pytest.mark.django_db(transaction=True)
def test_owners_who_leave_at_once_leave_one_behind() -> None:
    people = [services.user_create(email=f"owner{number}@example.test", password=None) for number in range(4)]
    team = services.team_create(name="Acme", owner=people[0])
    for person in people[1:]:
        services.membership_add(team=team, user=person, role=Role.OWNER)
    actors = [actor_get(user=person) for person in people]
    results = at_once(4, lambda number: members.member_leave(actor=actors[number]))
    assert sorted(type(result).__name__ for result in results) == ["ConflictError", *["NoneType"] * 3]
    with scope(team=team):
        assert Membership.objects.filter(role=Role.OWNER).count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_owners_who_demote_each_other_leave_one() -> None:
    people = [services.user_create(email=f"owner{number}@example.test", password=None) for number in range(2)]
    team = services.team_create(name="Acme", owner=people[0])
    services.membership_add(team=team, user=people[1], role=Role.OWNER)
    actors = [actor_get(user=person) for person in people]
    with scope(team=team):
        ids = [str(Membership.objects.get(user=person).pk) for person in people]
    at_once(2, lambda at: members.member_role_set(actor=actors[at], membership_id=ids[1 - at], role=Role.ADMIN))
    with scope(team=team):
        assert Membership.objects.filter(role=Role.OWNER).count() == 1


def test_who_goes_takes_tokens_and_invitations_along(shop: Shop) -> None:
    _, raw = services.token_create(actor=shop.actor(Role.ADMIN), name="ci", scopes=["read"])
    invitation, _ = invitation_create(actor=shop.actor(Role.ADMIN), role=Role.VIEWER)
    members.member_remove(actor=shop.actor(), membership_id=membership(shop, Role.ADMIN))
    assert selectors.token_find(raw, address="127.0.0.1") is None
    with pytest.raises(NotFoundError):
        invitation_find(invitation_id=str(invitation.pk))
    services.membership_add(team=shop.team, user=shop.people[Role.ADMIN], role=Role.VIEWER)
    assert selectors.token_find(raw, address="127.0.0.1") is None


def test_who_may_invite_no_more_has_invited_nobody(shop: Shop) -> None:
    invitation, _ = invitation_create(actor=shop.actor(Role.ADMIN), role=Role.ADMIN)
    members.member_role_set(actor=shop.actor(), membership_id=membership(shop, Role.ADMIN), role=Role.DEVELOPER)
    with pytest.raises(NotFoundError):
        invitation_find(invitation_id=str(invitation.pk))


def test_a_token_does_not_leave_for_its_user(shop: Shop) -> None:
    with pytest.raises(ForbiddenError, match="A token cannot leave"):
        members.member_leave(actor=shop.actor(Role.VIEWER, scopes=("admin",)))


def test_teams_are_added_by_administrators_of_the_panel(shop: Shop) -> None:
    with pytest.raises(ForbiddenError, match="Only the panel's administrators"):
        members.team_add(actor=shop.actor(), name="Mine")
    User.objects.filter(pk=shop.people[Role.OWNER].pk).update(is_superuser=True)
    person = User.objects.get(pk=shop.people[Role.OWNER].pk)
    actor = actor_get(user=person)
    with pytest.raises(ForbiddenError, match="scopes"):
        members.team_add(actor=Actor(person, actor.team, actor.role, scopes=("read",)), name="Mine")
    team = members.team_add(actor=actor, name="Mine")
    assert actor_get(user=person, team=team).role == Role.OWNER
    with scopes_disabled():
        assert Team.objects.filter(name="Mine").count() == 1
