"""Promoting: the commit that serves in one environment is deployed to another."""

from __future__ import annotations

import pytest
from django_scopes import scope

from devflow.apps.accounts.models import Role
from devflow.apps.accounts.rights import Actor
from devflow.apps.audit.selectors import Filters, event_list
from devflow.apps.deployments.models import Deployment, Release
from devflow.apps.deployments.services import deployment_promote, deployment_request
from devflow.apps.projects import services as projects
from devflow.apps.projects.models import Environment
from devflow.apps.projects.windows import environment_freeze
from devflow.core.errors import ConflictError, ForbiddenError, InvalidError
from tests.web.world import World, make_world

COMMIT, OTHER = "0123456789abcdef0123456789abcdef01234567", "89abcdef0123456789abcdef0123456789abcdef"


@pytest.fixture
def world(db: None) -> World:
    return make_world()


@pytest.fixture
def staging(world: World) -> Environment:
    """It serves COMMIT of its branch."""
    actor = world.actor()
    made = projects.environment_add(
        actor=actor, project=world.project, name="staging", branch="next", servers=["web-1"]
    )
    serve(actor, made, COMMIT)
    return made


def test_what_serves_is_deployed_there(world: World, staging: Environment) -> None:
    made = deployment_promote(actor=world.actor(), source=staging, target=world.environment)
    assert (made.environment_id, made.trigger, made.commit) == (world.environment.pk, "promotion", COMMIT)
    assert (made.branch, made.author, made.commit_message) == ("next", "Grace", "Show prices")
    assert made.requested_by == world.people[Role.OWNER]
    world.deployment.refresh_from_db()
    assert world.deployment.status == "superseded", "it takes its turn like any other"
    assert event_list(actor=world.actor(), filters=Filters())[0].action == "deployment.promoted"


def test_it_waits_for_the_window_of_where_it_comes_to(world: World, staging: Environment) -> None:
    environment_freeze(actor=world.actor(), environment=world.environment, reason="Fair")
    made = deployment_promote(actor=world.actor(), source=staging, target=world.environment)
    assert made.status == "waiting"
    made = deployment_promote(
        actor=world.actor(), source=staging, target=world.environment, override_reason="The till is down"
    )
    assert (made.status, made.override_reason) == ("queued", "The till is down")


def test_the_same_commit_is_not_promoted_again(world: World, staging: Environment) -> None:
    serve(world.actor(), world.environment, COMMIT)
    with pytest.raises(ConflictError, match="serves 01234567 already"):
        deployment_promote(actor=world.actor(), source=staging, target=world.environment)


def test_nothing_is_taken_from_where_nothing_serves(world: World, staging: Environment) -> None:
    with pytest.raises(ConflictError, match="serves no commit yet"):
        deployment_promote(actor=world.actor(), source=world.environment, target=staging)


def test_only_within_a_project_and_to_another_environment(world: World, staging: Environment) -> None:
    other = projects.project_add(actor=world.actor(), slug="blog", repository="/srv/git/blog.git")
    foreign = projects.environment_add(
        actor=world.actor(), project=other, name="live", branch="main", servers=["web-1"]
    )
    for source in (foreign, world.environment):
        with pytest.raises(InvalidError, match="two environments of shop"):
            deployment_promote(actor=world.actor(), source=source, target=world.environment)


def test_who_may_not_deploy_there_may_not_promote(world: World, staging: Environment) -> None:
    with pytest.raises(ForbiddenError):
        deployment_promote(actor=world.actor(Role.VIEWER), source=staging, target=world.environment)
    with pytest.raises(ForbiddenError):
        deployment_promote(
            actor=world.actor(Role.DEVELOPER), source=staging, target=world.environment, override_reason="Now"
        )


def serve(actor: Actor, environment: Environment, commit: str) -> Deployment:
    """As if a deployment of this commit had gone well there."""
    made = deployment_request(actor=actor, environment=environment, commit=commit)
    with scope(team=actor.team):
        known = {"commit_message": "Show prices", "author": "Grace", "status": "success"}
        Deployment.objects.filter(pk=made.pk).update(**known)
        Release.objects.filter(environment=environment).update(is_current=False)
        Release.objects.create(
            team=actor.team, environment=environment, deployment=made, name=made.release, is_current=True
        )
    return made
