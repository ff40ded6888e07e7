"""Tokens of the team, for single projects, from certain networks; when and from where they were used last."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_scopes import scope

from devflow.apps.accounts import selectors, services
from devflow.apps.accounts.models import ApiToken, Membership, Role, Team, User
from devflow.apps.accounts.rights import Actor
from devflow.apps.accounts.tokens import digest, token_make
from devflow.apps.deployments.selectors import deployment_document
from devflow.apps.deployments.services import deployment_request
from devflow.apps.projects import services as projects
from devflow.apps.projects.selectors import project_get, project_list
from devflow.apps.projects.tokens import project_ids, project_slugs
from devflow.core.errors import ForbiddenError, InvalidError, NotFoundError
from tests.support.shop import Shop

HERE, ELSEWHERE = "192.0.2.7", "198.51.100.9"


def used(raw: str, address: str = HERE) -> Actor:
    actor = selectors.token_find(raw, address=address)
    assert actor is not None
    return actor


def team_token(shop: Shop, *scopes: str, name: str = "ci") -> tuple[ApiToken, str]:
    return services.token_create(actor=shop.actor(Role.ADMIN), name=name, scopes=list(scopes), of_team=True)


# --- of the team ------------------------------------------------------------------------------------------------------


def test_a_token_of_the_team_stays_when_its_maker_leaves(shop: Shop) -> None:
    _, raw = team_token(shop, "deploy")
    with scope(team=shop.team):
        Membership.objects.filter(user=shop.people[Role.ADMIN]).delete()
    shop.people[Role.ADMIN].delete()
    actor = used(raw)
    assert actor.team == shop.team
    assert actor.can("deploy")
    assert not actor.can("manage")


def test_a_deployment_shows_the_tokens_name(shop: Shop) -> None:
    _, raw = team_token(shop, "deploy", name="ci of the shop")
    deployment = shop.deployment(deployment_request(actor=used(raw), environment=shop.environment))
    assert str(deployment.requested_by) == "ci of the shop"
    assert deployment_document(deployment)["requested_by"] == "ci of the shop"


def test_nobody_can_log_in_as_a_token(shop: Shop) -> None:
    token, _ = team_token(shop, "read")
    machine = User.objects.get(pk=token.user_id)
    assert (machine.is_active, machine.has_usable_password()) == (False, False)
    assert selectors.user_find(email=machine.email) is None
    assert machine not in [member.user for member in selectors.member_list(actor=shop.actor())]


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.VIEWER])
def test_only_who_manages_people_makes_tokens_of_the_team(shop: Shop, role: str) -> None:
    with pytest.raises(ForbiddenError):
        services.token_create(actor=shop.actor(role), name="ci", scopes=["read"], of_team=True)
    assert not User.objects.filter(is_machine=True).exists()


def test_a_token_of_the_team_is_no_owner_and_makes_none(shop: Shop) -> None:
    _, raw = team_token(shop, "admin")
    actor = used(raw)
    assert actor.can("manage_people")
    assert not actor.can("own")
    _, reading = team_token(shop, "read")
    with pytest.raises(ForbiddenError):
        services.token_create(actor=used(reading), name="more", scopes=["read"])


def test_tokens_of_the_team_are_listed_and_revoked_by_who_manages_people(shop: Shop) -> None:
    token, raw = team_token(shop, "read")
    assert selectors.token_list(actor=shop.actor(Role.DEVELOPER)) == []
    with pytest.raises(ForbiddenError):
        services.token_revoke(actor=shop.actor(Role.DEVELOPER), token_id=str(token.pk))
    with pytest.raises(NotFoundError):
        services.token_revoke(actor=shop.actor("stranger"), token_id=str(token.pk))
    assert [found.name for found in selectors.token_list(actor=shop.actor())] == ["ci"]
    services.token_revoke(actor=shop.actor(), token_id=str(token.pk))
    assert selectors.token_find(raw, address=HERE) is None


# --- for single projects ----------------------------------------------------------------------------------------------


@pytest.fixture
def narrow(shop: Shop) -> Actor:
    """An owner, through a token that is for the project blog only; there is the project shop too."""
    blog = projects.project_add(
        actor=shop.actor(), slug="blog", repository="https://git.example.test/blog.git", recipe="static"
    )
    ids = project_ids(actor=shop.actor(), slugs=["blog"])
    assert ids == {blog.pk}
    _, raw = services.token_create(actor=shop.actor(), name="blog", scopes=["admin"], projects=ids)
    return used(raw)


def test_a_token_for_one_project_sees_nothing_of_others(narrow: Actor, shop: Shop) -> None:
    assert [project.slug for project in project_list(actor=narrow)] == ["blog"]
    with pytest.raises(NotFoundError):
        project_get(actor=narrow, slug="shop")
    with pytest.raises(NotFoundError):
        deployment_request(actor=narrow, environment=shop.environment)


def test_a_token_for_one_project_adds_none_and_makes_no_tokens(narrow: Actor) -> None:
    with pytest.raises(ForbiddenError):
        projects.project_add(actor=narrow, slug="new", repository="https://git.example.test/n.git", recipe="static")
    for of_team in (True, False):
        with pytest.raises(ForbiddenError):
            services.token_create(actor=narrow, name="wider", scopes=["read"], of_team=of_team)


def test_when_its_project_is_removed_a_token_is_for_nothing(narrow: Actor, shop: Shop) -> None:
    projects.project_remove(actor=shop.actor(), project=project_get(actor=shop.actor(), slug="blog"))
    assert project_list(actor=narrow) == []
    assert narrow.token
    assert project_slugs(actor=shop.actor(), tokens=[narrow.token]) == {narrow.token.pk: []}


def test_no_projects_are_not_all_projects(shop: Shop) -> None:
    with pytest.raises(InvalidError) as refused:
        services.token_create(actor=shop.actor(), name="x", scopes=["read"], projects=[])
    assert list(refused.value.errors) == ["projects"]


def test_projects_of_other_teams_are_not_there(shop: Shop) -> None:
    with pytest.raises(InvalidError, match="There is no project shop"):
        project_ids(actor=shop.actor("stranger"), slugs=["shop"])


# --- use --------------------------------------------------------------------------------------------------------------


def test_the_last_use_is_written_once_a_minute(shop: Shop) -> None:
    token, raw = services.token_create(actor=shop.actor(), name="x", scopes=["read"])
    used(raw)
    token.refresh_from_db()
    assert token.last_used_at
    assert token.last_used_address == HERE
    with CaptureQueriesContext(connection) as queries:
        used(raw, ELSEWHERE)
    assert [query for query in queries if query["sql"].startswith("UPDATE")] == []
    with scope(team=shop.team):
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=timezone.now() - timedelta(seconds=61))
    with CaptureQueriesContext(connection) as queries:
        used(raw, "2001:db8::1")
    assert len([query for query in queries if query["sql"].startswith("UPDATE")]) == 1
    token.refresh_from_db()
    assert token.last_used_address == "2001:db8::1"


def test_a_token_with_a_wrong_checksum_costs_no_query(shop: Shop) -> None:
    raw = token_make()
    with CaptureQueriesContext(connection) as queries:
        assert selectors.token_find(raw[:-1] + ("a" if raw[-1] != "a" else "b"), address=HERE) is None
        assert selectors.token_find("dfp_nothing", address=HERE) is None
    assert len(queries) == 0
    assert selectors.token_find(raw, address=HERE) is None


def test_a_token_is_found_in_one_query(shop: Shop) -> None:
    _, raw = services.token_create(actor=shop.actor(), name="x", scopes=["read"])
    used(raw)
    with CaptureQueriesContext(connection) as queries:
        used(raw)
    assert len(queries) == 1


def test_a_token_from_before_the_checksum_works(shop: Shop) -> None:
    old = "dfp_" + "aB3-_" * 8 + "xyz"
    with scope(team=shop.team):
        ApiToken.objects.create(
            team=shop.team,
            user=shop.people[Role.OWNER],
            name="old",
            prefix=old[:10],
            digest=digest(old),
            scopes=["read"],
        )
    assert used(old).user == shop.people[Role.OWNER]


# --- networks ---------------------------------------------------------------------------------------------------------


def allow(shop: Shop, *networks: str, address: str = HERE, **how: bool) -> Team:
    return services.team_networks_set(actor=shop.actor(), networks=networks, address=address, **how)


def test_a_team_is_reached_from_its_networks_only(shop: Shop) -> None:
    _, raw = services.token_create(actor=shop.actor(), name="x", scopes=["read"])
    allow(shop, "192.0.2.0/24", "2001:db8::/32")
    user = shop.people[Role.OWNER]
    assert selectors.actor_of_session(user=user, session={}, address=HERE).team == shop.team
    assert used(raw, "2001:db8::7").team == shop.team
    for address in (ELSEWHERE, "", "unknown"):
        with pytest.raises(ForbiddenError, match="certain networks only"):
            selectors.actor_of_session(user=user, session={}, address=address)
        with pytest.raises(ForbiddenError, match="certain networks only"):
            selectors.token_find(raw, address=address)
    assert selectors.actors_of_user(user=user, address=ELSEWHERE) == []


def test_nobody_locks_themselves_out_by_mistake(shop: Shop) -> None:
    with pytest.raises(InvalidError, match=r"192\.0\.2\.7") as refused:
        allow(shop, "198.51.100.0/24")
    assert list(refused.value.errors) == ["is_confirmed"]
    assert Team.objects.get(pk=shop.team.pk).allowed_networks == []
    assert allow(shop, "198.51.100.0/24", is_confirmed=True).allowed_networks == ["198.51.100.0/24"]
    assert allow(shop, address=HERE).allowed_networks == []


def test_the_list_is_cleared_on_the_machine(shop: Shop) -> None:
    allow(shop, "198.51.100.0/24", is_confirmed=True)
    services.team_networks_clear(team=Team.objects.get(pk=shop.team.pk), who="devflow admin")
    assert Team.objects.get(pk=shop.team.pk).allowed_networks == []


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.VIEWER])
def test_only_who_manages_people_sets_networks(shop: Shop, role: str) -> None:
    with pytest.raises(ForbiddenError):
        services.team_networks_set(actor=shop.actor(role), networks=[], address=HERE)
