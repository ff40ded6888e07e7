"""What teams are told of deployments and servers, and that telling costs a deployment next to nothing."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django_scopes import scope

from devflow.apps.deployments import announce, services
from devflow.apps.deployments.models import Deployment, Status
from devflow.apps.notifications.events import EVENTS
from devflow.apps.notifications.models import Channel, Notification
from devflow.apps.notifications.services import channel_add
from devflow.apps.projects import services as projects
from devflow.apps.projects.variables import variables_set
from devflow.apps.projects.windows import environment_freeze
from devflow.apps.servers.services import server_maintenance_set
from devflow.core.errors import ConnectError
from tests.apps.deployments.test_jobs import COMMIT, SECRET, Carrier, request
from tests.apps.servers.test_servers import Answering, check
from tests.support.fake_server import Act
from tests.support.shop import Shop


@pytest.fixture
def shop(open_for_many: Shop) -> Shop:
    """Committed: a worker has connections of its own."""
    return open_for_many


@pytest.fixture
def channel(shop: Shop) -> Channel:
    """Told of everything; its service is nowhere."""
    return add(shop, "all")


def add(shop: Shop, name: str) -> Channel:
    settings = {"url": "http://127.0.0.1:9/nowhere"}
    added, _ = channel_add(actor=shop.actor(), kind="slack", name=name, settings=settings, events=list(EVENTS))
    return added


def told(shop: Shop) -> list[tuple[str, dict[str, Any]]]:
    """The events and messages, the oldest first."""
    with scope(team=shop.team):
        return [(row.event, row.message) for row in Notification.objects.order_by("id")]


@pytest.mark.usefixtures("channel")
def test_a_success_is_told_with_all_that_is_known(shop: Shop) -> None:
    made = request(shop)
    done = Carrier(shop, made).run()
    (started, first), (succeeded, last) = told(shop)
    assert (started, succeeded) == ("deployment.started", "deployment.succeeded")
    assert first["title"] == "Deployment of shop to production started"
    assert last["title"] == "shop was deployed to production"
    assert (last["tone"], last["status"]) == ("good", "success")
    assert (last["commit"], last["author"]) == (COMMIT, "Ada <ada@example.test>")
    assert last["duration_seconds"] == done.duration_seconds
    assert last["requested_by"] == "owner@example.test"
    assert last["deployment"] == str(made.pk)
    assert last["url"].endswith(f"/deployments/{made.pk}/")
    assert (last["error"], last["failed_step"]) == ("", "")


@pytest.mark.usefixtures("channel")
def test_a_failure_names_the_step_and_hides_secrets(shop: Shop) -> None:
    variables_set(actor=shop.actor(), environment=shop.environment, values={"APP_KEY": SECRET})
    made = request(shop)
    Carrier(shop, made, release=Act(code=3, explain=f"It failed with {SECRET}.")).run()
    event, message = told(shop)[-1]
    assert event == "deployment.failed"
    assert (message["failed_step"], message["failed_server"]) == ("release", "web1")
    assert message["error"] == "web1, step 'release': It failed with ***."
    assert message["commit_message"] == "Add *** to the shop"
    assert SECRET not in repr(told(shop))


@pytest.mark.usefixtures("channel")
def test_a_release_that_was_taken_back_is_told(shop: Shop) -> None:
    projects.environment_update(actor=shop.actor(), environment=shop.environment, health_url="/up")
    made = request(shop)
    broken = Act(code=1, explain="The health check failed: 500.")
    Carrier(shop, made, health_check=broken, take_back=Act(notes=("took_back r0",))).run()
    event, message = told(shop)[-1]
    assert (event, message["tone"]) == ("deployment.rolled_back", "bad")
    assert message["failed_step"] == "health check"


@pytest.mark.usefixtures("channel")
def test_a_deployment_that_waits_says_until_when(shop: Shop) -> None:
    environment_freeze(actor=shop.actor(), environment=shop.environment, reason="Fair", ends="2099-01-04 08:00")
    request(shop)
    [(event, message)] = told(shop)
    assert (event, message["tone"]) == ("deployment.waiting", "warning")
    assert "Fair" in message["text"]
    assert "2099-01-04 08:00" in message["text"]


@pytest.mark.usefixtures("channel")
def test_a_fault_before_the_engine_is_told(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise KeyError("oh")

    made = request(shop)
    carrier = Carrier(shop, made)
    monkeypatch.setattr("devflow.apps.deployments.jobs.plan_deploy", broken)
    carrier.run()
    assert [event for event, _ in told(shop)] == ["deployment.started", "deployment.failed"]
    assert "a fault of its own" in told(shop)[-1][1]["error"]


def test_a_superseded_deployment_is_not_told_of() -> None:
    assert announce.ended_event(Status.SUPERSEDED) is None


def test_telling_nobody_is_nearly_free(shop: Shop) -> None:
    made = request(shop)
    assert statements(shop, made) <= 3


def test_telling_many_takes_no_more_statements_than_telling_one(shop: Shop) -> None:
    made = request(shop)
    for number in range(5):
        add(shop, f"channel {number}")
    assert statements(shop, made) <= 3 + 4
    assert len(told(shop)) == 5


def statements(shop: Shop, deployment: Deployment) -> int:
    count = 0

    def counted(execute: Any, *arguments: Any) -> Any:
        nonlocal count
        count += 1
        return execute(*arguments)

    with connection.execute_wrapper(counted):
        announce.deployment_changed(deployment_id=deployment.pk, team_id=shop.team.pk, event="deployment.failed")
    return count


@pytest.mark.usefixtures("channel")
def test_a_server_is_told_of_once_when_it_goes_and_when_it_comes_back(shop: Shop) -> None:
    away = ConnectError("web1 does not answer.", transient=True)
    check(shop.server("web2"), away)
    assert told(shop) == [], "who adds a server looks at its page"
    check(shop.server("web1"), Answering())
    check(shop.server("web1"), Answering())
    assert told(shop) == []
    check(shop.server("web1"), away)
    check(shop.server("web1"), away)
    check(shop.server("web1"), Answering())
    check(shop.server("web1"), Answering())
    (offline, gone), (online, back) = told(shop)
    assert (offline, online) == ("server.offline", "server.online")
    assert (gone["title"], gone["error"], gone["server"]) == ("Server web1 is offline", "web1 does not answer.", "web1")
    assert (back["title"], back["tone"]) == ("Server web1 is online again", "good")
    assert gone["url"].endswith("/servers/web1/")


@pytest.mark.usefixtures("channel")
def test_a_server_in_maintenance_is_not_told_of(shop: Shop) -> None:
    check(shop.server("web1"), Answering())
    server_maintenance_set(actor=shop.actor(), server=shop.server("web1"), on=True)
    check(shop.server("web1"), ConnectError("away", transient=True))
    assert told(shop) == []


def test_cancelling_is_told_and_superseding_is_not(shop: Shop) -> None:
    add(shop, "all")
    first, second = request(shop), request(shop)
    services.deployment_cancel(actor=shop.actor(), deployment=second)
    assert shop.deployment(first).status == Status.SUPERSEDED
    assert [(event, message["deployment"]) for event, message in told(shop)] == [
        ("deployment.cancelled", str(second.pk))
    ]
