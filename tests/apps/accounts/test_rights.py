"""Who may do what: by role, by a token's scopes and projects, and by all together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from devflow.apps.accounts import rights
from devflow.apps.accounts.models import Role, Scope
from devflow.apps.accounts.rights import (
    ACTIONS,
    APPROVE,
    AUDIT,
    DEPLOY,
    GRANTABLE,
    MANAGE,
    MANAGE_PEOPLE,
    OWN,
    READ,
    SEE_SECRETS,
    SHELL,
)
from devflow.core.errors import ForbiddenError, NotFoundError
from tests.support.shop import Shop

ALL = {READ, DEPLOY, APPROVE, SEE_SECRETS, SHELL, MANAGE, MANAGE_PEOPLE, AUDIT, OWN}
BY_ROLE = {Role.OWNER: ALL, Role.ADMIN: ALL - {OWN}, Role.DEVELOPER: {READ, DEPLOY}, Role.VIEWER: {READ}}
BY_SCOPE = {Scope.READ: {READ}, Scope.DEPLOY: {READ, DEPLOY}, Scope.ADMIN: ALL - {OWN}}


def test_every_action_is_tested_and_told() -> None:
    assert set(ACTIONS) == ALL
    assert set(rights.ROLE_RIGHTS) == set(Role.values)
    assert set(GRANTABLE) < ALL
    assert {action: label for action, label in rights.GRANT_LABELS.items() if not label} == {}
    assert set(rights.GRANT_LABELS) == {READ, *GRANTABLE}


@pytest.mark.parametrize("role", Role.values)
@pytest.mark.parametrize("right", sorted(ALL))
def test_a_person_has_the_rights_of_the_role(shop: Shop, role: str, right: str) -> None:
    actor = shop.actor(role)
    assert actor.can(right) is rights.can(actor, right) is (right in BY_ROLE[Role(role)])
    if not actor.can(right):
        with pytest.raises(ForbiddenError, match=f"Your role in Shopkeepers, {role}, may not"):
            actor.require(right)


@pytest.mark.parametrize("role", Role.values)
@pytest.mark.parametrize("scope", BY_SCOPE)
@pytest.mark.parametrize("right", sorted(ALL))
def test_a_token_has_what_role_and_scope_both_give(shop: Shop, role: str, scope: str, right: str) -> None:
    actor = shop.actor(role, scopes=(scope,))
    assert actor.can(right) is (right in BY_ROLE[Role(role)] & BY_SCOPE[Scope(scope)])


def test_a_scope_that_is_too_small_is_named(shop: Shop) -> None:
    with pytest.raises(ForbiddenError, match=r"This token's scopes \(read\) do not allow it to deploy"):
        shop.actor(Role.OWNER, scopes=("read",)).require(DEPLOY)


def test_no_scopes_and_unknown_ones_give_nothing(shop: Shop) -> None:
    assert not shop.actor(scopes=()).can(READ)
    assert not shop.actor(scopes=("everything",)).can(READ)


def test_an_unknown_action_is_allowed_to_nobody(shop: Shop) -> None:
    assert not shop.actor(Role.OWNER).can("everything")


@pytest.mark.parametrize("right", sorted(ALL))
def test_what_is_another_teams_is_not_there(shop: Shop, right: str) -> None:
    stranger = shop.actor("stranger")
    assert stranger.role == Role.OWNER
    for thing in (shop.project, shop.environment, shop.server("web1")):
        assert not stranger.can(right, thing)
        with pytest.raises(NotFoundError):
            stranger.require(right, thing)


@pytest.mark.parametrize("right", sorted(set(GRANTABLE)))
@pytest.mark.parametrize("role", Role.values)
def test_only_owners_and_admins_keep_their_rights_where_it_is_protected(shop: Shop, role: str, right: str) -> None:
    shop.environment.is_protected = True
    allowed = role in (Role.OWNER, Role.ADMIN)
    assert shop.actor(role).can(right, shop.environment) is allowed
    assert shop.actor(role).can(READ, shop.environment)


def test_who_is_refused_in_a_protected_environment_is_told_why(shop: Shop) -> None:
    shop.environment.is_protected = True
    with pytest.raises(ForbiddenError, match="protected: only those with a grant may deploy here"):
        shop.actor(Role.DEVELOPER).require(DEPLOY, shop.environment)


def test_a_token_for_a_project_does_nothing_elsewhere(shop: Shop) -> None:
    owner = replace(shop.actor(Role.OWNER, scopes=("admin",)), projects=frozenset({shop.project.pk}))
    assert owner.can(MANAGE, shop.project)
    assert owner.can(DEPLOY, shop.environment)
    assert owner.can(READ)
    assert not owner.can(MANAGE)
    assert not owner.can(DEPLOY, shop.server("web1"))
    with pytest.raises(ForbiddenError, match="This token is for single projects"):
        owner.require(MANAGE)

    elsewhere = replace(owner, projects=frozenset({shop.team.pk}))
    assert not elsewhere.can(READ, shop.project)
    with pytest.raises(NotFoundError):
        elsewhere.require(READ, shop.environment)
