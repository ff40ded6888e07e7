"""Deployments outside their environment's windows wait, visibly, and begin when one opens."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from django_scopes import scope

from devflow.apps.accounts.models import Role
from devflow.apps.deployments import jobs, selectors, services
from devflow.apps.deployments.models import Deployment, Release, Status, Trigger
from devflow.apps.projects import services as projects
from devflow.apps.projects import windows
from devflow.core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from tests.support.shop import Shop, at_once

EVERY_DAY = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def request(shop: Shop, role: str = Role.OWNER, **settings: str) -> Deployment:
    return services.deployment_request(actor=shop.actor(role), environment=shop.environment, **settings)


def freeze(shop: Shop, *, hours: int | None = None, reason: str = "Christmas") -> datetime | None:
    """Freezes from now on; returns until when."""
    ends = (timezone.now() + timedelta(hours=hours)).replace(microsecond=0) if hours else None
    windows.environment_freeze(
        actor=shop.actor(), environment=shop.environment, reason=reason, ends=ends.isoformat() if ends else ""
    )
    return ends


def waiting(shop: Shop, status: str = "waiting", **fields: Any) -> list[Deployment]:
    with scope(team=shop.team):
        return list(Deployment.objects.filter(status=status, **fields))


def jobs_of(deployment: Deployment) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM procrastinate_jobs WHERE args->>'deployment_id' = %s AND status = 'todo'",
            [str(deployment.pk)],
        )
        return int(cursor.fetchone()[0])


def begins(shop: Shop, deployment: Deployment) -> bool:
    """Whether a worker that takes it up now may begin."""
    with scope(team=shop.team):
        return jobs._begin(shop.deployment(deployment), uuid.uuid4())


def log_of(shop: Shop, deployment: Deployment) -> str:
    return b"".join(selectors.log_read(actor=shop.actor(), deployment=deployment)).decode()


def test_outside_it_waits_with_the_time_of_the_next_opening(shop: Shop) -> None:
    until = freeze(shop, hours=3)
    made = shop.deployment(request(shop))
    assert (made.status, made.waiting_for, made.due_at) == ("waiting", "window", until)
    assert jobs_of(made) == 0
    assert "Frozen: Christmas. It begins on " in log_of(shop, made)
    events = selectors.event_list(deployment_id=made.pk, after_seq=0)
    assert [event.kind for event in events] == ["deployment.log", "deployment.status"]
    assert until is not None
    assert events[1].data == {"status": "waiting", "waiting_for": "window", "due_at": until.isoformat()}
    shown = selectors.deployment_document(made)
    assert (shown["waiting_for"], shown["waiting_reason"]) == ("window", "Frozen: Christmas")
    assert datetime.fromisoformat(shown["due_at"]) == until


def test_outside_a_window_of_the_week(shop: Shop) -> None:
    there = timezone.now().astimezone(UTC)
    tomorrow = EVERY_DAY[(there.weekday() + 2) % 7]
    projects.environment_update(
        actor=shop.actor(),
        environment=shop.environment,
        windows=[{"days": [tomorrow], "from": "10:00", "to": "11:00"}],
    )
    made = shop.deployment(request(shop))
    assert made.due_at == (there + timedelta(days=2)).replace(hour=10, minute=0, second=0, microsecond=0)
    assert selectors.deployment_document(made)["waiting_reason"] == "Outside its deployment windows"


def test_inside_it_is_queued_as_ever(shop: Shop) -> None:
    projects.environment_update(
        actor=shop.actor(), environment=shop.environment, windows=[{"days": EVERY_DAY, "from": "00:00", "to": "24:00"}]
    )
    made = request(shop)
    assert (made.status, jobs_of(made)) == ("queued", 1)
    assert selectors.deployment_document(made)["waiting_reason"] is None


def test_it_is_queued_when_the_time_has_come(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    until = freeze(shop, hours=3)
    made = request(shop)
    services.deployments_adopt()
    assert (shop.deployment(made).status, jobs_of(made)) == ("waiting", 0)
    assert until is not None
    monkeypatch.setattr(timezone, "now", lambda: until)
    services.deployments_adopt()
    services.deployments_adopt()
    now = shop.deployment(made)
    assert (now.status, now.waiting_for, now.due_at, jobs_of(made)) == ("queued", "", None, 1)
    assert log_of(shop, made).endswith("Its window is open.\n")


def test_a_freeze_without_end_waits_until_it_is_lifted(shop: Shop) -> None:
    freeze(shop)
    made = request(shop)
    assert shop.deployment(made).due_at is None
    assert "It waits until that is lifted." in log_of(shop, made)
    services.deployments_adopt()
    assert shop.deployment(made).status == "waiting"
    assert windows.environment_unfreeze(actor=shop.actor(), environment=shop.environment) == ["in force"]
    services.deployments_adopt()
    assert shop.deployment(made).status == "queued"


def test_changed_windows_change_the_time(shop: Shop) -> None:
    freeze(shop, hours=1)
    made = request(shop)
    later = freeze(shop, hours=5, reason="Fair")
    services.deployments_adopt()
    services.deployments_adopt()
    assert shop.deployment(made).due_at == later
    assert log_of(shop, made).count("Frozen: Fair") == 1
    projects.environment_update(actor=shop.actor(), environment=shop.environment, freezes=[])
    services.deployments_adopt()
    assert shop.deployment(made).status == "queued"


def test_a_newer_request_supersedes_the_waiting_one(shop: Shop) -> None:
    freeze(shop)
    older, newer = request(shop), request(shop, trigger=Trigger.WEBHOOK)
    assert [it.pk for it in waiting(shop)] == [newer.pk]
    assert shop.deployment(older).error.startswith(f"Superseded by {newer.pk}")


def test_of_many_requests_at_once_one_waits(open_for_many: Shop) -> None:
    shop = open_for_many
    freeze(shop)
    made = at_once(8, lambda _: request(shop))
    assert not [result for result in made if isinstance(result, Exception)]
    assert (len(waiting(shop)), len(waiting(shop, "superseded"))) == (1, 7)


def test_two_workers_release_it_once(open_for_many: Shop) -> None:
    shop = open_for_many
    freeze(shop)
    made = request(shop)
    windows.environment_unfreeze(actor=shop.actor(), environment=shop.environment)
    assert not [result for result in at_once(4, lambda _: services.deployments_adopt()) if result is not None]
    assert (shop.deployment(made).status, log_of(shop, made).count("Its window is open")) == ("queued", 1)


def test_it_can_be_cancelled(shop: Shop) -> None:
    freeze(shop)
    made = request(shop)
    services.deployment_cancel(actor=shop.actor(Role.DEVELOPER), deployment=made)
    services.deployments_adopt()
    assert shop.deployment(made).status == "cancelled"


def test_going_back_is_never_held(shop: Shop) -> None:
    with scope(team=shop.team):
        for name in ("r1", "r2"):
            deployment = Deployment.objects.create(
                team=shop.team, project=shop.project, environment=shop.environment, release=name,
                status=Status.SUCCESS, trigger=Trigger.MANUAL, strategy="atomic",
            )  # fmt: skip
            Release.objects.create(
                team=shop.team,
                environment=shop.environment,
                deployment=deployment,
                name=name,
                is_current=name == "r2",
            )
    freeze(shop)
    waits = request(shop)
    back = services.deployment_rollback(actor=shop.actor(Role.DEVELOPER), environment=shop.environment)
    assert (back.status, jobs_of(back)) == ("queued", 1)
    assert shop.deployment(waits).status == "superseded"
    with scope(team=shop.team):
        assert not services.deployment_hold(shop.deployment(back))


def test_what_was_queued_in_time_is_held_when_its_turn_comes_too_late(shop: Shop) -> None:
    made = request(shop)
    freeze(shop)
    assert not begins(shop, made)
    assert shop.deployment(made).status == "waiting"
    windows.environment_unfreeze(actor=shop.actor(), environment=shop.environment)
    services.deployments_adopt()
    assert begins(shop, made)
    assert shop.deployment(made).status == "running"


def test_what_runs_is_not_held(shop: Shop) -> None:
    made = request(shop)
    with scope(team=shop.team):
        Deployment.objects.filter(pk=made.pk).update(status=Status.RUNNING, claim=uuid.uuid4())
    freeze(shop)
    services.deployments_adopt()
    assert shop.deployment(made).status == "running"


# --- overriding -------------------------------------------------------------------------------------------------------


def test_an_admin_overrides_with_a_reason(shop: Shop) -> None:
    freeze(shop)
    made = request(shop, Role.DEVELOPER)
    services.deployment_override(actor=shop.actor(Role.ADMIN), deployment=made, reason="Fixes the checkout")
    now = shop.deployment(made)
    assert (now.status, now.override_reason, jobs_of(made)) == ("queued", "Fixes the checkout", 1)
    assert "admin@example.test has it begin outside the windows: Fixes the checkout" in log_of(shop, made)
    assert selectors.deployment_document(now)["override_reason"] == "Fixes the checkout"
    assert begins(shop, made)
    assert shop.deployment(made).status == "running"


def test_a_request_with_a_reason_does_not_wait(shop: Shop) -> None:
    freeze(shop)
    made = request(shop, Role.ADMIN, override_reason="Fixes the checkout")
    assert (made.status, made.override_reason, jobs_of(made)) == ("queued", "Fixes the checkout", 1)
    assert "admin@example.test" in log_of(shop, made)
    assert "Fixes the checkout" in log_of(shop, made)


@pytest.mark.parametrize(("role", "scopes"), [(Role.DEVELOPER, None), (Role.VIEWER, None), (Role.OWNER, ("deploy",))])
def test_who_may_not_override(shop: Shop, role: str, scopes: tuple[str, ...] | None) -> None:
    freeze(shop)
    made = request(shop)
    actor = shop.actor(role, scopes=scopes)
    with pytest.raises(ForbiddenError):
        services.deployment_override(actor=actor, deployment=made, reason="I want to")
    with pytest.raises(ForbiddenError):
        services.deployment_request(actor=actor, environment=shop.environment, override_reason="I want to")
    assert shop.deployment(made).status == "waiting"


@pytest.mark.parametrize("reason", ["", " ", "two\nlines", "x" * 501])
def test_a_reason_is_one_line(shop: Shop, reason: str) -> None:
    freeze(shop)
    made = request(shop)
    with pytest.raises(InvalidError):
        services.deployment_override(actor=shop.actor(), deployment=made, reason=reason)


def test_only_what_waits_is_overridden(shop: Shop) -> None:
    made = request(shop)
    with pytest.raises(ConflictError, match="does not wait for a window"):
        services.deployment_override(actor=shop.actor(), deployment=made, reason="x")
    with pytest.raises(NotFoundError):
        services.deployment_override(actor=shop.actor("stranger"), deployment=made, reason="x")


# --- freezes ----------------------------------------------------------------------------------------------------------


def test_freezes_are_listed_with_their_state(shop: Shop) -> None:
    projects.environment_update(
        actor=shop.actor(),
        environment=shop.environment,
        time_zone="Europe/Berlin",
        freezes=[
            {"from": "2020-12-20T00:00", "to": "2021-01-02T00:00", "reason": "Long ago"},
            {"from": "2020-12-20T00:00", "to": None, "reason": "Since then"},
            {"from": "2150-01-01T00:00", "to": None, "reason": "One day"},
        ],
    )
    listed = windows.freeze_list(shop.environment)
    assert [(each["number"], each["state"]) for each in listed] == [(1, "over"), (2, "in force"), (3, "to come")]
    assert listed[0]["ends"] == "Sat 2021-01-02 00:00 CET"
    assert windows.environment_unfreeze(actor=shop.actor(), environment=shop.environment) == ["in force"]
    assert [each["reason"] for each in windows.freeze_list(shop.environment)] == ["Long ago", "One day"]
    windows.environment_unfreeze(actor=shop.actor(), environment=shop.environment, number=1)
    assert [each["reason"] for each in windows.freeze_list(shop.environment)] == ["One day"]
    for number in (None, 7):
        with pytest.raises(NotFoundError):
            windows.environment_unfreeze(actor=shop.actor(), environment=shop.environment, number=number)


def test_who_may_not_freeze(shop: Shop) -> None:
    actor = shop.actor(Role.DEVELOPER)
    with pytest.raises(ForbiddenError):
        windows.environment_freeze(actor=actor, environment=shop.environment, reason="x")
    with pytest.raises(ForbiddenError):
        windows.environment_unfreeze(actor=actor, environment=shop.environment)


@pytest.mark.parametrize(
    "wrong", [{"windows": [{"days": ["mon"]}]}, {"freezes": [{"reason": "x"}]}, {"time_zone": "Atlantis"}]
)
def test_wrong_settings_are_named(shop: Shop, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidError) as refused:
        projects.environment_update(actor=shop.actor(), environment=shop.environment, **wrong)
    assert set(refused.value.errors) == set(wrong)


def test_freezes_added_at_once_are_all_kept(open_for_many: Shop) -> None:
    shop = open_for_many
    at_once(
        4,
        lambda number: windows.environment_freeze(
            actor=shop.actor(), environment=shop.environment, reason=f"reason {number}"
        ),
    )
    environment = shop.deployment(request(shop)).environment
    assert {each["reason"] for each in environment.freezes} == {f"reason {number}" for number in range(4)}
