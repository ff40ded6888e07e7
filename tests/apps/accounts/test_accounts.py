"""People, teams, tokens and the set-up page's token."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from devflow.apps.accounts import selectors, services
from devflow.apps.accounts.models import ApiToken, Membership, Role, SetupToken, Team, User
from devflow.core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from tests.support.shop import Shop, at_once

PASSWORD = "a long enough phrase"


# --- people and teams -------------------------------------------------------------------------------------------------


def test_an_address_is_one_person_however_it_is_written(db: None) -> None:
    made = services.user_create(email="  Ada@Example.TEST ", password=PASSWORD)
    assert (made.email, selectors.user_find(email="ADA@example.test")) == ("ada@example.test", made)
    with pytest.raises(ConflictError, match=r"There is a user ada@example\.test already"):
        services.user_create(email="ada@example.test", password=PASSWORD)


@pytest.mark.parametrize("email", ["", "ada", "ada@", "@example.test", "a b@example.test", "ada@example.test\n"])
def test_no_address(db: None, email: str) -> None:
    if email.strip() == "ada@example.test":
        assert services.user_create(email=email, password=None).email == "ada@example.test"
        return
    with pytest.raises(InvalidError) as refused:
        services.user_create(email=email, password=PASSWORD)
    assert list(refused.value.errors) == ["email"]


@pytest.mark.parametrize(
    "password", ["", "short", "password123", "ada@example.test", " " * 12, "  aaaaaaaaaaaa ", "abcabcabcabc"]
)
def test_bad_passwords(db: None, password: str) -> None:
    with pytest.raises(InvalidError) as refused:
        services.user_create(email="ada@example.test", password=password)
    assert list(refused.value.errors) == ["password"]
    assert not User.objects.exists()


def test_without_a_password_nobody_logs_in_by_one(db: None) -> None:
    made = services.user_create(email="ada@example.test", password=None)
    assert not made.has_usable_password()


def test_a_new_password_is_checked_and_takes_the_old_ones_place(shop: Shop) -> None:
    user = shop.people[Role.VIEWER]
    services.password_set(user=user, password=PASSWORD)
    with pytest.raises(InvalidError, match="too short"):
        services.password_set(user=user, password="short")
    assert User.objects.get(pk=user.pk).check_password(PASSWORD)


def test_a_person_joins_a_team_once_with_one_of_its_roles(shop: Shop) -> None:
    stranger = shop.people["stranger"]
    with pytest.raises(InvalidError, match="owner, admin, developer, viewer"):
        services.membership_add(team=shop.team, user=stranger, role="king")
    services.membership_add(team=shop.team, user=stranger, role=Role.VIEWER)
    assert selectors.actor_get(user=stranger, team=shop.team).role == Role.VIEWER
    with pytest.raises(ConflictError, match="already, as viewer"):
        services.membership_add(team=shop.team, user=stranger, role=Role.OWNER)


def test_teams_of_one_name_are_told_apart(shop: Shop) -> None:
    made = [services.team_create(name="Shopkeepers", owner=shop.people[Role.OWNER]) for _ in range(2)]
    assert [team.slug for team in made] == ["shopkeepers-2", "shopkeepers-3"]
    assert services.team_create(name="日本", owner=shop.people[Role.OWNER]).slug == "team"


def test_a_person_acts_in_their_own_teams_only(shop: Shop) -> None:
    stranger = shop.people["stranger"]
    assert selectors.actor_get(user=stranger).team.name == "Strangers"
    with pytest.raises(NotFoundError):
        selectors.actor_get(user=stranger, team=shop.team)
    assert [team.name for team in selectors.team_list(user=stranger)] == ["Strangers"]


def test_members_are_those_of_the_own_team(shop: Shop) -> None:
    assert {member.role for member in selectors.member_list(actor=shop.actor())} == set(Role.values)
    assert len(selectors.member_list(actor=shop.actor("stranger"))) == 1


def test_a_query_without_a_team_is_an_error(shop: Shop) -> None:
    with pytest.raises(Exception, match="scope"):
        list(Membership.objects.all())


# --- set-up -----------------------------------------------------------------------------------------------------------


def test_set_up_happens_once(db: None) -> None:
    older, token = services.setup_token_create(), services.setup_token_create()
    assert older
    assert token
    assert not selectors.setup_token_valid(raw=older)
    user = services.setup_complete(token=token, email="ada@example.test", password=PASSWORD, team_name="Acme")
    assert user.is_superuser
    assert selectors.actor_get(user=user).role == Role.OWNER
    assert services.setup_token_create() is None
    assert not SetupToken.objects.exists()
    with pytest.raises(ForbiddenError):
        services.setup_complete(token=token, email="eve@example.test", password=PASSWORD, team_name="Evil")


def test_a_bad_field_leaves_the_token_usable(db: None) -> None:
    token = services.setup_token_create() or ""
    with pytest.raises(InvalidError):
        services.setup_complete(token=token, email="ada@example.test", password="short", team_name="Acme")
    assert selectors.setup_token_valid(raw=token)


def test_of_many_who_set_up_at_once_one_does(transactional_db: None) -> None:
    token = services.setup_token_create() or ""
    made = at_once(
        4,
        lambda number: services.setup_complete(
            token=token, email=f"person{number}@example.test", password=PASSWORD, team_name="Acme"
        ),
    )
    assert sorted(type(result).__name__ for result in made) == ["ForbiddenError"] * 3 + ["User"]
    assert (User.objects.count(), Team.objects.count()) == (1, 1)


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_a_token_is_shown_once_and_kept_as_a_digest(shop: Shop) -> None:
    token, raw = services.token_create(actor=shop.actor(Role.DEVELOPER), name="laptop", scopes=["deploy", "read"])
    actor = selectors.token_find(raw, address="192.0.2.7")
    assert actor is not None
    assert (actor.user, actor.team, actor.role) == (shop.people[Role.DEVELOPER], shop.team, Role.DEVELOPER)
    assert set(actor.scopes or ()) == {"read", "deploy"}
    kept = [str(getattr(token, field.name)) for field in ApiToken._meta.concrete_fields]
    assert not [value for value in kept if raw in value]
    assert raw.startswith(token.prefix)


@pytest.mark.parametrize("raw", ["", "dfp_", "dfp_wrong", "wrong", "dfp_\x00", "dfp_" + "x" * 10_000])
def test_no_token(shop: Shop, raw: str) -> None:
    assert selectors.token_find(raw, address="192.0.2.7") is None


def test_unknown_scopes_are_answered_with_those_there_are(shop: Shop) -> None:
    with pytest.raises(InvalidError, match="read, deploy, admin"):
        services.token_create(actor=shop.actor(), name="x", scopes=["foo"])


def test_an_expiry_is_within_ten_years(shop: Shop) -> None:
    now = timezone.now()
    services.token_create(actor=shop.actor(), name="x", scopes=["read"], expires_at=now + timedelta(days=3650))
    for expires_at in (now, now + timedelta(days=3660), datetime.max.replace(tzinfo=UTC)):
        with pytest.raises(InvalidError) as refused:
            services.token_create(actor=shop.actor(), name="x", scopes=["read"], expires_at=expires_at)
        assert list(refused.value.errors) == ["expires_at"]


def test_a_token_ends_with_its_time_its_user_and_its_membership(shop: Shop) -> None:
    developer = shop.people[Role.DEVELOPER]
    later = timezone.now() + timedelta(hours=1)
    token, raw = services.token_create(actor=shop.actor(Role.DEVELOPER), name="x", scopes=["read"], expires_at=later)
    assert selectors.token_find(raw, address="192.0.2.7")
    with scope(team=shop.team):
        ApiToken.objects.filter(pk=token.pk).update(expires_at=timezone.now())
        assert selectors.token_find(raw, address="192.0.2.7") is None
        ApiToken.objects.filter(pk=token.pk).update(expires_at=None)
    User.objects.filter(pk=developer.pk).update(is_active=False)
    assert selectors.token_find(raw, address="192.0.2.7") is None
    User.objects.filter(pk=developer.pk).update(is_active=True)
    with scope(team=shop.team):
        Membership.objects.filter(user=developer).delete()
    assert selectors.token_find(raw, address="192.0.2.7") is None


def test_a_token_follows_the_role_of_its_user(shop: Shop) -> None:
    _, raw = services.token_create(actor=shop.actor(Role.ADMIN), name="x", scopes=["admin"])
    with scope(team=shop.team):
        Membership.objects.filter(user=shop.people[Role.ADMIN]).update(role=Role.VIEWER)
    actor = selectors.token_find(raw, address="192.0.2.7")
    assert actor is not None
    assert not actor.can("deploy")


@pytest.mark.parametrize(("role", "scopes"), [(Role.VIEWER, ["deploy"]), (Role.DEVELOPER, ["admin"])])
def test_nobody_makes_a_token_that_gives_more_than_they_have(shop: Shop, role: str, scopes: list[str]) -> None:
    with pytest.raises(ForbiddenError):
        services.token_create(actor=shop.actor(role), name="x", scopes=scopes)


@pytest.mark.parametrize(("scopes", "name"), [([], "x"), (["everything"], "x"), (["read"], ""), (["read"], "a\nb")])
def test_bad_tokens(shop: Shop, scopes: list[str], name: str) -> None:
    with pytest.raises(InvalidError):
        services.token_create(actor=shop.actor(), name=name, scopes=scopes)


def test_an_expiry_in_the_past_is_refused(shop: Shop) -> None:
    with pytest.raises(InvalidError, match="in the past"):
        services.token_create(actor=shop.actor(), name="x", scopes=["read"], expires_at=timezone.now())


def test_who_revokes_which_token(shop: Shop) -> None:
    theirs, raw = services.token_create(actor=shop.actor(Role.DEVELOPER), name="x", scopes=["read"])
    with pytest.raises(NotFoundError):
        services.token_revoke(actor=shop.actor("stranger"), token_id=str(theirs.pk))
    with pytest.raises(ForbiddenError):
        services.token_revoke(actor=shop.actor(Role.VIEWER), token_id=str(theirs.pk))
    services.token_revoke(actor=shop.actor(Role.ADMIN), token_id=str(theirs.pk))
    assert selectors.token_find(raw, address="192.0.2.7") is None
    with pytest.raises(NotFoundError):
        services.token_revoke(actor=shop.actor(Role.DEVELOPER), token_id=str(theirs.pk))


def test_who_sees_which_tokens(shop: Shop) -> None:
    for role in (Role.OWNER, Role.DEVELOPER):
        services.token_create(actor=shop.actor(role), name=role, scopes=["read"])
    seen = {
        role: [token.name for token in selectors.token_list(actor=shop.actor(role))]
        for role in (Role.ADMIN, Role.DEVELOPER, Role.VIEWER, "stranger")
    }
    assert seen == {"admin": ["developer", "owner"], "developer": ["developer"], "viewer": [], "stranger": []}


def test_the_last_use_is_written_at_most_once_a_minute(shop: Shop) -> None:
    token, raw = services.token_create(actor=shop.actor(), name="x", scopes=["read"])

    def last_used() -> object:
        with scopes_disabled():
            return ApiToken.objects.get(pk=token.pk).last_used_at

    selectors.token_find(raw, address="192.0.2.7")
    first = last_used()
    selectors.token_find(raw, address="192.0.2.7")
    assert first is not None
    assert last_used() == first
