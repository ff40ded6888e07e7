"""Who may do what: by role, by a token's scopes, and by both together."""

from __future__ import annotations

import pytest

from devflow.apps.accounts.models import Role, Scope
from devflow.apps.accounts.rights import DEPLOY, MANAGE, READ
from devflow.core.errors import ForbiddenError
from tests.support.shop import Shop

ALL = {READ, DEPLOY, MANAGE}
BY_ROLE = {Role.OWNER: ALL, Role.ADMIN: ALL, Role.DEVELOPER: {READ, DEPLOY}, Role.VIEWER: {READ}}
BY_SCOPE = {Scope.READ: {READ}, Scope.DEPLOY: {READ, DEPLOY}, Scope.ADMIN: ALL}


@pytest.mark.parametrize("role", Role.values)
@pytest.mark.parametrize("right", sorted(ALL))
def test_a_person_has_the_rights_of_the_role(shop: Shop, role: str, right: str) -> None:
    actor = shop.actor(role)
    assert actor.can(right) is (right in BY_ROLE[Role(role)])
    if not actor.can(right):
        with pytest.raises(ForbiddenError, match=f"Your role in Shopkeepers, {role}, may not"):
            actor.require(right)


@pytest.mark.parametrize("role", Role.values)
@pytest.mark.parametrize("scope", Scope.values)
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
