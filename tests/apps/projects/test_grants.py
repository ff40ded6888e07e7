"""Grants: they add to a role for one project or environment, and are all that counts in a protected one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django_scopes import scope

from devflow.apps.accounts import rights
from devflow.apps.accounts.models import Membership, Role
from devflow.apps.accounts.rights import GRANTABLE, MANAGE, READ, SEE_SECRETS
from devflow.apps.deployments.services import deployment_override, deployment_request
from devflow.apps.projects import services as projects
from devflow.apps.projects import variables
from devflow.apps.projects.grants import access_list, environment_protect, grant_list, grant_remove, grants_add
from devflow.apps.projects.models import Environment, Grant, Project
from devflow.apps.projects.windows import environment_freeze
from devflow.apps.servers import services as servers
from devflow.core.errors import ForbiddenError, InvalidError, NotFoundError
from tests.support.shop import Shop


@pytest.fixture
def staging(shop: Shop) -> Environment:
    return shop.add_environment("staging", on=("web2",))


def grant(shop: Shop, role: str, *actions: str, environment: Environment | None = None) -> list[Grant]:
    return grants_add(
        actor=shop.actor(),
        project=shop.project,
        email=shop.people[role].email,
        actions=actions,
        environment=environment,
    )


@pytest.mark.parametrize("action", GRANTABLE)
def test_a_grant_counts_for_its_environment_only(shop: Shop, staging: Environment, action: str) -> None:
    grant(shop, Role.VIEWER, action, environment=staging)
    vera = shop.actor(Role.VIEWER)
    assert vera.can(action, staging)
    assert not vera.can(action, shop.environment)
    assert not vera.can(action, shop.project)
    assert not vera.can(action)
    assert vera.can_somewhere(action)
    assert not shop.actor(Role.DEVELOPER).can(MANAGE, staging)


@pytest.mark.parametrize("action", GRANTABLE)
def test_a_grant_for_a_project_counts_in_all_of_it(shop: Shop, staging: Environment, action: str) -> None:
    other = projects.project_add(actor=shop.actor(), slug="blog", repository="/srv/git/blog.git")
    grant(shop, Role.VIEWER, action)
    vera = shop.actor(Role.VIEWER)
    assert all(vera.can(action, place) for place in (shop.project, shop.environment, staging))
    assert not vera.can(action, other)


def test_in_a_protected_environment_grants_are_what_counts(shop: Shop) -> None:
    environment_protect(actor=shop.actor(), environment=shop.environment, on=True)
    with pytest.raises(ForbiddenError, match="protected"):
        deployment_request(actor=shop.actor(Role.DEVELOPER), environment=shop.environment)
    grant(shop, Role.DEVELOPER, "deploy", environment=shop.environment)
    deployment_request(actor=shop.actor(Role.DEVELOPER), environment=shop.environment)
    deployment_request(actor=shop.actor(Role.ADMIN), environment=shop.environment)


def test_a_viewer_with_a_grant_deploys_there_and_nowhere_else(shop: Shop, staging: Environment) -> None:
    grant(shop, Role.VIEWER, "deploy", environment=staging)
    deployment_request(actor=shop.actor(Role.VIEWER), environment=staging)
    with pytest.raises(ForbiddenError):
        deployment_request(actor=shop.actor(Role.VIEWER), environment=shop.environment)


def test_to_approve_can_be_granted(shop: Shop) -> None:
    environment_freeze(actor=shop.actor(), environment=shop.environment, reason="Fair")
    waiting = deployment_request(actor=shop.actor(Role.DEVELOPER), environment=shop.environment)
    with pytest.raises(ForbiddenError, match="outside their window"):
        deployment_override(actor=shop.actor(Role.DEVELOPER), deployment=waiting, reason="Now")
    grant(shop, Role.DEVELOPER, "approve", environment=shop.environment)
    deployment_override(actor=shop.actor(Role.DEVELOPER), deployment=waiting, reason="Now")


@pytest.mark.parametrize("read", [variables.variable_values, variables.variables_export])
def test_values_are_told_to_those_who_may_see_secrets(shop: Shop, read: Callable[..., Any]) -> None:
    variables.variables_set(actor=shop.actor(), environment=shop.environment, values={"APP_KEY": "hunter2-hunter2"})
    grant(shop, Role.DEVELOPER, MANAGE, environment=shop.environment)
    with pytest.raises(ForbiddenError, match="values of variables"):
        read(actor=shop.actor(Role.DEVELOPER), environment=shop.environment)
    grant(shop, Role.DEVELOPER, SEE_SECRETS, environment=shop.environment)
    assert "hunter2-hunter2" in str(read(actor=shop.actor(Role.DEVELOPER), environment=shop.environment))
    with pytest.raises(ForbiddenError):
        read(actor=shop.actor(Role.DEVELOPER), project=shop.project)


def test_who_manages_an_environment_changes_no_other_and_not_the_project(shop: Shop, staging: Environment) -> None:
    grant(shop, Role.DEVELOPER, MANAGE, environment=staging)
    dev = shop.actor(Role.DEVELOPER)
    projects.environment_update(actor=dev, environment=staging, keep=9)
    refused: list[Callable[[], object]] = [
        lambda: projects.environment_update(actor=dev, environment=shop.environment, keep=9),
        lambda: projects.environment_remove(actor=dev, environment=shop.environment),
        lambda: projects.environment_add(actor=dev, project=shop.project, name="x", branch="main", servers=["web2"]),
        lambda: projects.project_update(actor=dev, project=shop.project, name="Mine"),
        lambda: projects.project_remove(actor=dev, project=shop.project),
        lambda: variables.variables_set(actor=dev, project=shop.project, values={"A": "b"}),
        lambda: servers.server_remove(actor=dev, server=shop.server("web2")),
        lambda: environment_protect(actor=dev, environment=staging, on=True),
        lambda: grants_add(actor=dev, project=shop.project, email="dev@example.test", actions=["deploy"]),
    ]
    for act in refused:
        with pytest.raises(ForbiddenError):
            act()


def test_a_granted_manager_cannot_deploy_to_a_server_of_others(shop: Shop, staging: Environment) -> None:
    grant(shop, Role.DEVELOPER, MANAGE, environment=staging)
    with pytest.raises(ForbiddenError, match="not web1"):
        projects.environment_update(actor=shop.actor(Role.DEVELOPER), environment=staging, servers=["web2", "web1"])
    projects.environment_update(actor=shop.actor(Role.DEVELOPER), environment=staging, servers=["web2"])
    projects.environment_update(actor=shop.actor(Role.ADMIN), environment=staging, servers=["web1"])


def test_a_token_narrows_a_grant_too(shop: Shop, staging: Environment) -> None:
    grant(shop, Role.VIEWER, "deploy", environment=staging)
    assert shop.actor(Role.VIEWER, scopes=("deploy",)).can("deploy", staging)
    assert not shop.actor(Role.VIEWER, scopes=("read",)).can("deploy", staging)
    assert not shop.actor(Role.VIEWER, scopes=("read",)).can_somewhere("deploy")
    elsewhere = replace(shop.actor(Role.VIEWER, scopes=("deploy",)), projects=frozenset({shop.team.pk}))
    assert not elsewhere.can("deploy", staging)


def test_a_grant_that_is_taken_back_counts_no_more(shop: Shop, staging: Environment) -> None:
    (made,) = grant(shop, Role.VIEWER, "deploy", environment=staging)
    assert shop.actor(Role.VIEWER).can("deploy", staging)
    grant_remove(actor=shop.actor(), project=shop.project, grant_id=str(made.pk))
    assert not shop.actor(Role.VIEWER).can("deploy", staging)
    with pytest.raises(NotFoundError):
        grant_remove(actor=shop.actor(), project=shop.project, grant_id=str(made.pk))
    with pytest.raises(NotFoundError):
        grant_remove(actor=shop.actor(), project=shop.project, grant_id="nonsense")


def test_grants_go_with_the_membership_and_do_not_come_back(shop: Shop) -> None:
    grant(shop, Role.VIEWER, "deploy")
    vera = shop.people[Role.VIEWER]
    with scope(team=shop.team):
        Membership.objects.filter(user=vera).delete()
        Membership.objects.create(team=shop.team, user=vera, role=Role.VIEWER)
    assert not shop.actor(Role.VIEWER).can("deploy", shop.environment)


def test_the_same_is_granted_once(shop: Shop, staging: Environment) -> None:
    (first,) = grant(shop, Role.VIEWER, "deploy", environment=staging)
    again = grant(shop, Role.VIEWER, "deploy", "deploy", "shell", environment=staging)
    assert [(made.pk == first.pk, made.action) for made in again] == [(True, "deploy"), (False, "shell")]
    grant(shop, Role.VIEWER, "deploy")
    grant(shop, Role.VIEWER, "deploy")
    assert len(grant_list(actor=shop.actor(), project=shop.project)) == 3


@pytest.mark.parametrize("actions", [[], ["read"], ["own"], ["manage_people"], ["deploy", "x"], ["DEPLOY"], ["a\x00"]])
def test_what_cannot_be_granted_is_refused(shop: Shop, actions: list[str]) -> None:
    with pytest.raises(InvalidError, match="Choose one or more of: deploy, approve"):
        grant(shop, Role.VIEWER, *actions)


@pytest.mark.parametrize("email", ["stranger@example.test", "nobody@example.test", "", "x" * 5000, "a\x00b"])
def test_strangers_are_answered_like_nobody(shop: Shop, email: str) -> None:
    with pytest.raises(InvalidError) as refused:
        grants_add(actor=shop.actor(), project=shop.project, email=email, actions=["deploy"])
    assert refused.value.errors == {"email": "No member of this team has this address. Invite them first."}


def test_a_stranger_grants_and_sees_nothing(shop: Shop) -> None:
    stranger = shop.actor("stranger")
    with pytest.raises(NotFoundError):
        grants_add(actor=stranger, project=shop.project, email="stranger@example.test", actions=["manage"])
    with pytest.raises(NotFoundError):
        environment_protect(actor=stranger, environment=shop.environment, on=True)
    with pytest.raises(NotFoundError):
        access_list(actor=stranger, project=shop.project)


def test_the_list_tells_who_may_what_and_why(shop: Shop, staging: Environment) -> None:
    environment_protect(actor=shop.actor(), environment=shop.environment, on=True)
    (wide,) = grant(shop, Role.VIEWER, "see_secrets")
    (near,) = grant(shop, Role.VIEWER, "deploy", environment=staging)
    told = {access.membership.role: access for access in access_list(actor=shop.actor(), project=shop.project)}
    shown = {
        role: {
            where.name if where else "": [
                (right.action, right.grant.pk if right.grant else right.role) for right in found
            ]
            for where, found in access.places
        }
        for role, access in told.items()
    }
    assert shown[Role.VIEWER] == {
        "": [("read", "viewer"), ("see_secrets", wide.pk)],
        "production": [("read", "viewer"), ("see_secrets", wide.pk)],
        "staging": [("read", "viewer"), ("deploy", near.pk), ("see_secrets", wide.pk)],
    }
    assert shown[Role.DEVELOPER] == {
        "": [("read", "developer"), ("deploy", "developer")],
        "production": [("read", "developer")],
        "staging": [("read", "developer"), ("deploy", "developer")],
    }
    assert shown[Role.ADMIN]["production"] == [(action, "admin") for action in ("read", *GRANTABLE)]


def test_what_is_told_is_what_is_decided(shop: Shop, staging: Environment) -> None:
    environment_protect(actor=shop.actor(), environment=shop.environment, on=True)
    grant(shop, Role.VIEWER, "see_secrets")
    grant(shop, Role.DEVELOPER, "manage", environment=staging)
    for access in access_list(actor=shop.actor(), project=shop.project):
        actor = shop.actor(access.membership.role)
        for where, found in access.places:
            place: Project | Environment = where or shop.project
            allowed = [action for action in (READ, *GRANTABLE) if actor.can(action, place)]
            assert [right.action for right in found] == allowed, (access.membership.role, where)


def test_owners_and_admins_cost_no_query(shop: Shop, django_assert_num_queries: Any) -> None:
    owner, vera = shop.actor(), shop.actor(Role.VIEWER)
    with django_assert_num_queries(0):
        assert owner.can(rights.MANAGE, shop.environment)
    with django_assert_num_queries(1):
        assert not vera.can(rights.MANAGE, shop.environment)
        assert not vera.can(rights.DEPLOY, shop.environment)
