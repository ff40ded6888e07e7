"""What is queued for the git provider on a deployment's way."""

from __future__ import annotations

import uuid

import pytest
from django_scopes import scope

from devflow.apps.deployments import announce, jobs, services
from devflow.apps.deployments.models import Deployment, Status
from devflow.apps.deployments.pushes import deliveries_take
from devflow.apps.projects import services as projects
from devflow.apps.projects.windows import environment_freeze
from devflow.apps.sources.models import Report
from devflow.apps.sources.reports import source_update
from devflow.apps.sources.services import Request, webhook_set
from tests.support.payloads import github_push, sent
from tests.support.shop import Shop

COMMIT = "c0ffee" + "0" * 34


@pytest.fixture
def linked(shop: Shop) -> Shop:
    """The shop, with access to GitHub."""
    source = projects.project_source(actor=shop.actor(), project=shop.project)
    webhook_set(actor=shop.actor(), source=source, provider="github")
    source_update(actor=shop.actor(), source=source, access_token="token-0123", repository="acme/shop")
    shop.environment.refresh_from_db()
    return shop


def told(shop: Shop, deployment: Deployment) -> list[tuple[str, str]]:
    with scope(team=shop.team):
        found = Report.objects.filter(deployment_id=deployment.pk).order_by("created_at")
        return list(found.values_list("state", "description"))


def request(shop: Shop, commit: str = COMMIT) -> Deployment:
    return services.deployment_request(actor=shop.actor(), environment=shop.environment, commit=commit)


def test_from_queued_to_superseded(linked: Shop) -> None:
    older, newer = request(linked), request(linked)
    assert told(linked, older) == [
        ("waiting", "Queued for production"),
        ("cancelled", "Superseded by a newer deployment"),
    ]
    with scope(team=linked.team):
        assert jobs._begin(linked.deployment(newer), uuid.uuid4())
        (queued, running) = Report.objects.filter(deployment_id=newer.pk).order_by("created_at")
    assert (queued.state, running.state) == ("waiting", "pending")
    assert running.description == "Deploying to production"
    assert (running.context, running.commit, running.branch) == ("devflow/shop/production", COMMIT, "main")
    assert running.url == announce.deployment_url(newer.pk)


def test_a_cancelled_and_a_waiting_one(linked: Shop) -> None:
    made = request(linked)
    services.deployment_cancel(actor=linked.actor(), deployment=made)
    assert told(linked, made)[-1] == ("cancelled", "Cancelled by owner@example.test.")
    environment_freeze(actor=linked.actor(), environment=linked.environment, reason="Fair")
    assert told(linked, request(linked)) == [("waiting", "Waits to be deployed to production")]


@pytest.mark.parametrize(
    ("status", "state", "description"),
    [
        (Status.SUCCESS, "success", "Deployed to production"),
        (Status.FAILED, "failure", "Not deployed to production: It broke."),
        (Status.ROLLED_BACK, "failure", "Rolled back in production: It broke."),
    ],
)
def test_how_it_ended(linked: Shop, status: str, state: str, description: str) -> None:
    made = request(linked)
    with scope(team=linked.team):
        Deployment.objects.filter(pk=made.pk).update(status=status, error="It broke.\nIn many lines.")
    announce.deployment_changed(deployment_id=made.pk, team_id=linked.team.pk, event=announce.ended_event(status))
    assert told(linked, made)[-1] == (state, description)


def test_the_panels_own_tag_deploys_nothing(linked: Shop) -> None:
    """The provider tells of the tag that a success left: where all tags deploy, that would never end."""
    projects.environment_update(actor=linked.actor(), environment=linked.environment, tag_pattern="*")
    source = projects.project_source(actor=linked.actor(), project=linked.project)
    source_update(actor=linked.actor(), source=source, tag_format="deployed-{environment}-{number}")
    answers = {}
    for tag in ("deployed-production-7", "v1.0"):
        body, headers = sent("github", github_push(COMMIT, ref=f"refs/tags/{tag}"), source.hook_secret)
        (answer,) = deliveries_take(provider="github", token=source.hook_token, requests=[Request(headers, body)])
        answers[tag] = answer.status, answer.document.get("ignored")
    assert answers["deployed-production-7"] == (200, "The panel itself made the tag deployed-production-7.")
    assert answers["v1.0"] == (202, None)


def test_nothing_is_told_before_the_commit_is_known(linked: Shop) -> None:
    assert told(linked, request(linked, commit="")) == []


def test_nothing_without_access(shop: Shop) -> None:
    assert told(shop, request(shop)) == []
