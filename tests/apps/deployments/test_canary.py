"""What a person wants of a canary, and its figures."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django_scopes import scope

from devflow.apps.accounts.models import Role
from devflow.apps.deployments import selectors, services
from devflow.apps.deployments.canary import canary_shares
from devflow.apps.deployments.models import Deployment, Status
from devflow.core.errors import ConflictError, ForbiddenError, InvalidError
from tests.support.shop import Shop

LINES = {
    "25": "good 120 1 31 360 0 30 12 25",
    "5": "passed 50 0 30 950 2 31 300 5",
    "50": "held 70 0 20 70 0 20 40 1795255200 1795341600 50",
    "99": "a line that nobody understands",
}


@pytest.fixture
def canary(shop: Shop) -> Deployment:
    """One that runs."""
    made = services.deployment_request(actor=shop.actor(Role.OWNER), environment=shop.environment)
    return change(shop, made, strategy="canary", status=Status.RUNNING, observed={"canary": LINES})


def change(shop: Shop, deployment: Deployment, **values: object) -> Deployment:
    with scope(team=shop.team):
        Deployment.objects.filter(pk=deployment.pk).update(**values)
        return Deployment.objects.get(pk=deployment.pk)


def steer(shop: Shop, deployment: Deployment, action: str, role: str = Role.DEVELOPER) -> Deployment:
    return services.deployment_steer(actor=shop.actor(role), deployment=deployment, action=action)


def test_the_worker_hears_what_was_wanted_last(shop: Shop, canary: Deployment) -> None:
    assert services.steering_of(canary.pk) == ""
    for action in ("hold", "resume", "hold", "promote"):
        steer(shop, canary, action)
        assert services.steering_of(canary.pk) == action
    log = b"".join(selectors.log_read(actor=shop.actor(Role.OWNER), deployment=change(shop, canary))).decode()
    assert log.count("wants the canary to hold") == 2


@pytest.mark.parametrize("last", ["promote", "abort"])
def test_after_the_last_word_there_is_no_other(shop: Shop, canary: Deployment, last: str) -> None:
    steer(shop, canary, last)
    with pytest.raises(ConflictError, match=f"told to {last} already"):
        steer(shop, canary, "hold")


@pytest.mark.parametrize(
    "values",
    [{"status": Status.QUEUED}, {"status": Status.SUCCESS}, {"strategy": "blue-green"}, {"ending": "failed"}],
)
def test_only_a_canary_that_runs(shop: Shop, canary: Deployment, values: dict[str, object]) -> None:
    change(shop, canary, **values)
    with pytest.raises(ConflictError, match="no canary that runs"):
        steer(shop, canary, "abort")


def test_a_viewer_may_not_and_there_are_four_words(shop: Shop, canary: Deployment) -> None:
    with pytest.raises(ForbiddenError):
        steer(shop, canary, "hold", Role.VIEWER)
    with pytest.raises(InvalidError, match="There is no action"):
        steer(shop, canary, "stop")


def test_figures_by_share(shop: Shop, canary: Deployment) -> None:
    first, second, third = canary_shares(actor=shop.actor(Role.VIEWER), deployment=canary)
    assert (first.percent, first.told, first.seconds) == (5, "passed", 300)
    assert (first.stable.requests, first.stable.failed, first.stable.error_percent) == (950, 2, 0.21)
    assert (second.percent, second.state, second.new.requests, second.new.p95_ms) == (25, "good", 120, 31)
    assert (second.held_since, second.held_until) == (None, None)
    assert (third.told, third.held_since) == ("held", datetime(2026, 11, 21, 10, tzinfo=UTC))
    assert third.held_until == datetime(2026, 11, 22, 10, tzinfo=UTC)
