"""Reads of deployments, for the team only."""

from __future__ import annotations

from uuid import UUID

import pytest
from django_scopes import scope

from devflow.apps.accounts.models import Role
from devflow.apps.deployments import overview, selectors, services
from devflow.apps.deployments.models import Deployment
from devflow.apps.projects import services as projects
from devflow.core.errors import ConflictError, NotFoundError
from tests.support.shop import Shop


def request(shop: Shop) -> Deployment:
    return services.deployment_request(actor=shop.actor(), environment=shop.environment)


def test_another_team_sees_none_of_it(shop: Shop) -> None:
    made, stranger = request(shop), shop.actor("stranger")
    assert selectors.deployment_list(actor=stranger) == []
    assert overview.deployments_recent(actor=stranger, environments=[shop.environment], each=1) == {}
    assert overview.environment_states(actor=stranger) == []
    assert selectors.step_list(actor=stranger, deployment=made) == []
    assert selectors.release_list(actor=stranger, environment=shop.environment) == []
    with pytest.raises(NotFoundError):
        selectors.deployment_get(actor=stranger, deployment_id=str(made.pk))


@pytest.mark.parametrize("deployment_id", ["", "x", "0" * 32, "; DROP TABLE", "\x00"])
def test_ids_that_are_none(shop: Shop, deployment_id: str) -> None:
    with pytest.raises(NotFoundError):
        selectors.deployment_get(actor=shop.actor(), deployment_id=deployment_id)


def test_lists_go_on_where_they_ended(shop: Shop) -> None:
    made = [str(request(shop).pk) for _ in range(5)]
    first = selectors.deployment_list(actor=shop.actor(Role.VIEWER), limit=2)
    second = selectors.deployment_list(actor=shop.actor(Role.VIEWER), limit=5, before=str(first[-1].pk))
    assert [str(one.pk) for one in [*first, *second]] == made[::-1]


def test_lists_of_some(shop: Shop) -> None:
    staging = shop.add_environment("staging")
    request(shop)
    request(shop)
    services.deployment_request(actor=shop.actor(), environment=staging)
    count = lambda **filters: len(selectors.deployment_list(actor=shop.actor(), **filters))  # noqa: E731
    assert count() == 3
    assert count(environment=staging) == 1
    assert count(status="superseded") == 1
    assert count(project=shop.project, status="queued") == 2


def test_the_latest_of_each_environment(shop: Shop) -> None:
    staging = shop.add_environment("staging")
    older, _superseded, newest = (request(shop) for _ in range(3))
    with scope(team=shop.team):
        Deployment.objects.filter(pk=older.pk).update(status="success")

    def recent_of(each: int) -> dict[UUID, list[UUID]]:
        found = overview.deployments_recent(actor=shop.actor(), environments=[shop.environment, staging], each=each)
        return {pk: [deployment.pk for deployment in recent] for pk, recent in found.items()}

    assert recent_of(1) == {shop.environment.pk: [newest.pk]}
    assert recent_of(9) == {shop.environment.pk: [newest.pk, older.pk]}


def test_due_is_what_runs_and_what_waits_for_nothing_else(shop: Shop) -> None:
    superseded, queued = request(shop), request(shop)
    is_due = services.deployment_is_due
    assert [is_due(str(each.pk)) for each in (superseded, queued)] == [False, True]
    with scope(team=shop.team):
        Deployment.objects.filter(pk=queued.pk).update(status="running")
    following = request(shop)
    assert [is_due(str(each.pk)) for each in (queued, following)] == [True, False]
    with scope(team=shop.team):
        Deployment.objects.filter(pk=queued.pk).update(status="success")
    assert [is_due(str(each.pk)) for each in (queued, following)] == [False, True]


def test_environments_by_the_state_of_their_newest_deployment(shop: Shop) -> None:
    """Only those that need a look: one that nothing was deployed to, and one that went well, do not."""
    shop.add_environment("staging")
    request(shop)
    newest = request(shop)  # supersedes the first
    for status, told in (("queued", True), ("success", False), ("rolled_back", True), ("cancelled", False)):
        with scope(team=shop.team):
            Deployment.objects.filter(pk=newest.pk).update(status=status)
        states = overview.environment_states(actor=shop.actor())
        assert [(state.name, state.status) for state in states] == ([("production", status)] if told else [])


def test_the_plan_shows_everything_and_no_values(shop: Shop) -> None:
    projects.variables_set(actor=shop.actor(), environment=shop.environment, values={"APP_KEY": "s3cret-value"})
    plan = selectors.plan_preview(actor=shop.actor(Role.VIEWER), environment=shop.environment)
    document = selectors.plan_document(plan)
    assert document["variables"] == ["APP_KEY"]
    assert [step["name"] for step in document["steps"]][:4] == ["check server", "lock", "fetch", "release"]
    assert all(step["undo"] for step in document["steps"])
    assert "s3cret-value" not in repr(document)


def test_no_plan_before_the_framework_is_known(shop: Shop) -> None:
    projects.project_update(actor=shop.actor(), project=shop.project, recipe="")
    environment = shop.add_environment("staging")
    with pytest.raises(ConflictError, match="framework is not known yet"):
        selectors.plan_preview(actor=shop.actor(), environment=environment)


def test_a_deployment_as_others_see_it(shop: Shop) -> None:
    made = request(shop)
    document = selectors.deployment_document(made, [])
    assert {
        key: document[key] for key in ("project", "environment", "status", "trigger", "servers", "steps", "is_ended")
    } == {
        "project": "shop",
        "environment": "production",
        "status": "queued",
        "trigger": "manual",
        "servers": ["web1"],
        "steps": [],
        "is_ended": False,
    }
    assert document["commit"] is None
    assert document["duration_seconds"] is None


def test_unscoped_reads_are_errors(shop: Shop) -> None:
    with pytest.raises(Exception, match="scope"):
        Deployment.objects.count()
    with scope(team=shop.team):
        assert Deployment.objects.count() == 0
