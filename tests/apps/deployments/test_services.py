"""Asking for deployments, cancelling them, going back."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from devflow.apps.accounts.models import Role
from devflow.apps.deployments import selectors, services
from devflow.apps.deployments.models import Deployment, Release, Status, Trigger
from devflow.apps.projects import services as projects
from devflow.apps.projects.models import Environment
from devflow.apps.projects.selectors import environment_get
from devflow.apps.servers import services as servers
from devflow.core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from tests.support.shop import Shop, at_once

COMMIT = "c0ffee" + "0" * 34


def request(shop: Shop, role: str = Role.OWNER, **settings: str) -> Deployment:
    return services.deployment_request(actor=shop.actor(role), environment=shop.environment, **settings)


def jobs() -> list[tuple[str, str, int]]:
    """Deployment, lock and priority of what is queued to be carried."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT args->>'deployment_id', lock, priority FROM procrastinate_jobs"
            " WHERE task_name = 'deployments.advance' AND status = 'todo' ORDER BY id"
        )
        return list(cursor.fetchall())


def statuses(shop: Shop) -> list[str]:
    with scope(team=shop.team):
        return list(Deployment.objects.order_by("id").values_list("status", flat=True))


def kept(shop: Shop, *names: str, current: str, environment: Environment | None = None) -> dict[str, Deployment]:
    """Successful deployments whose releases are kept."""
    made = {}
    with scope(team=shop.team):
        for name in names:
            made[name] = Deployment.objects.create(
                team=shop.team, project=shop.project, environment=environment or shop.environment, release=name,
                status=Status.SUCCESS, trigger=Trigger.MANUAL, strategy="atomic", commit=COMMIT, author="Ada",
            )  # fmt: skip
            Release.objects.create(
                team=shop.team,
                environment=environment or shop.environment,
                deployment=made[name],
                name=name,
                is_current=name == current,
            )
    return made


def went_back(shop: Shop, to: Deployment) -> None:
    """A rollback to the release of `to` that came to a good end."""
    with scope(team=shop.team):
        Deployment.objects.create(
            team=shop.team, project=shop.project, environment=shop.environment, release=to.release, rollback_to=to,
            status=Status.SUCCESS, trigger=Trigger.ROLLBACK, strategy="atomic", commit=COMMIT,
        )  # fmt: skip


# --- asking -----------------------------------------------------------------------------------------------------------


def test_a_request_is_queued_with_its_job(shop: Shop) -> None:
    made = request(shop, Role.DEVELOPER, commit=COMMIT)
    assert (made.status, made.commit, made.branch, made.server_names) == ("queued", COMMIT, "main", ["web1"])
    assert (made.requested_by, made.trigger) == (shop.people[Role.DEVELOPER], "manual")
    assert jobs() == [(str(made.pk), f"deployment:{made.pk}", 10)]


@pytest.mark.parametrize(("role", "scopes"), [(Role.VIEWER, None), (Role.OWNER, ("read",))])
def test_who_may_not_deploy(shop: Shop, role: str, scopes: tuple[str, ...] | None) -> None:
    actor = shop.actor(role, scopes=scopes)
    with pytest.raises(ForbiddenError):
        services.deployment_request(actor=actor, environment=shop.environment)
    with pytest.raises(ForbiddenError):
        services.deployment_rollback(actor=actor, environment=shop.environment)
    with pytest.raises(ForbiddenError):
        services.deployment_cancel(actor=actor, deployment=request(shop))


@pytest.mark.parametrize("commit", ["HEAD", "; rm -rf ~", "abc", "$(id)", "C" * 40, "--upload-pack=id"])
def test_commits_are_whole_ids(shop: Shop, commit: str) -> None:
    with pytest.raises(InvalidError):
        request(shop, commit=commit)
    assert jobs() == []


def test_another_branch_for_once(shop: Shop) -> None:
    made = request(shop, branch="feature/login")
    assert (made.commit, made.branch) == ("", "feature/login")
    assert shop.environment.branch == "main"


@pytest.mark.parametrize("asked", [{"branch": "-x"}, {"branch": "a b"}, {"branch": "other", "commit": COMMIT}])
def test_what_is_no_branch_is_refused(shop: Shop, asked: dict[str, str]) -> None:
    with pytest.raises(InvalidError) as refused:
        request(shop, **asked)
    assert "branch" in refused.value.errors
    assert jobs() == []


def test_a_newer_request_supersedes_the_queued_one(shop: Shop) -> None:
    older, newer = request(shop), request(shop)
    assert statuses(shop) == ["superseded", "queued"]
    assert shop.deployment(older).error == f"Superseded by {newer.pk}."
    assert [event.kind for event in selectors.event_list(deployment_id=older.pk, after_seq=0)] == [
        "deployment.completed"
    ]


def test_a_newer_request_never_touches_the_running_one(shop: Shop) -> None:
    running = request(shop)
    with scope(team=shop.team):
        Deployment.objects.filter(pk=running.pk).update(status=Status.RUNNING)
    request(shop)
    request(shop)
    assert statuses(shop) == ["running", "superseded", "queued"]


def test_one_behind_another_gets_no_job_until_that_has_ended(open_for_many: Shop) -> None:
    shop = open_for_many
    first = request(shop)
    with scope(team=shop.team):
        Deployment.objects.filter(pk=first.pk).update(status=Status.RUNNING)
    behind = request(shop)
    assert [deployment for deployment, _, _ in jobs()] == [str(first.pk)]
    with scope(team=shop.team):
        Deployment.objects.filter(pk=first.pk).update(status=Status.SUCCESS)
    services.deployments_adopt()
    assert [deployment for deployment, _, _ in jobs()] == [str(first.pk), str(behind.pk)]


def test_one_that_is_asked_for_while_the_one_before_ends_does_not_wait_for_the_sweep(open_for_many: Shop) -> None:
    shop = open_for_many
    first = request(shop)
    with scope(team=shop.team):
        Deployment.objects.filter(pk=first.pk).update(status=Status.RUNNING)

    def end(_: int) -> None:
        """What the worker does that carried it."""
        with scope(team=shop.team):
            Deployment.objects.filter(pk=first.pk).update(status=Status.SUCCESS)
        services.deployments_adopt()

    with transaction.atomic():
        behind = request(shop)
        assert at_once(1, end) == [None]
    assert [deployment for deployment, _, _ in jobs()] == [str(first.pk), str(behind.pk)]


def test_other_environments_are_left_alone(shop: Shop) -> None:
    staging = shop.add_environment("staging")
    request(shop)
    services.deployment_request(actor=shop.actor(), environment=staging)
    assert statuses(shop) == ["queued", "queued"]


def test_what_people_ask_for_goes_before_webhooks(shop: Shop) -> None:
    request(shop, trigger=Trigger.WEBHOOK)
    request(shop, trigger=Trigger.API)
    assert [priority for _, _, priority in jobs()] == [0, 10]


def test_a_server_in_maintenance_takes_none(shop: Shop) -> None:
    servers.server_maintenance_set(actor=shop.actor(), server=shop.server("web1"), on=True)
    with pytest.raises(ConflictError, match="In maintenance: web1"):
        request(shop)


def test_an_environment_that_was_removed_meanwhile_takes_none(shop: Shop) -> None:
    environment = shop.add_environment("staging")
    shown = environment_get(actor=shop.actor(), slug="shop", name="staging")
    projects.environment_remove(actor=shop.actor(), environment=environment)
    with pytest.raises(NotFoundError, match="This environment was removed"):
        services.deployment_request(actor=shop.actor(), environment=shown)


def test_nothing_is_queued_when_the_request_fails(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the queue is away")

    monkeypatch.setattr(services, "enqueue", broken)
    with pytest.raises(RuntimeError), transaction.atomic():
        request(shop)
    assert statuses(shop) == []


def test_of_many_requests_at_once_one_is_queued_and_the_others_superseded(open_for_many: Shop) -> None:
    shop = open_for_many
    made = at_once(8, lambda _: request(shop))
    assert not [result for result in made if isinstance(result, Exception)]
    assert sorted(statuses(shop)) == ["queued"] + ["superseded"] * 7
    with scope(team=shop.team):
        (queued,) = Deployment.objects.filter(status=Status.QUEUED)
    assert str(queued.pk) in [deployment for deployment, _, _ in jobs()]


def test_the_database_itself_allows_one_active_and_one_queued(shop: Shop) -> None:
    for status in (Status.RUNNING, Status.QUEUED):
        fields = {"team": shop.team, "project": shop.project, "environment": shop.environment, "status": status}
        with scope(team=shop.team):
            Deployment.objects.create(**fields, trigger="manual", strategy="atomic", release="a")
            with pytest.raises(IntegrityError), transaction.atomic():
                Deployment.objects.create(**fields, trigger="manual", strategy="atomic", release="b")


def test_names_of_releases_sort_by_time(shop: Shop) -> None:
    names = [request(shop).release for _ in range(20)]
    assert names == sorted(names)
    assert len(set(names)) == 20


# --- cancelling -------------------------------------------------------------------------------------------------------


def test_a_queued_one_is_cancelled_at_once(shop: Shop) -> None:
    made = request(shop)
    services.deployment_cancel(actor=shop.actor(Role.DEVELOPER), deployment=made)
    now = shop.deployment(made)
    assert (now.status, now.error, now.is_ended) == ("cancelled", "Cancelled by developer@example.test.", True)
    assert now.finished_at is not None
    with pytest.raises(ConflictError, match="has ended already: cancelled"):
        services.deployment_cancel(actor=shop.actor(), deployment=made)


def test_a_running_one_is_asked_to_stop(shop: Shop) -> None:
    made = request(shop)
    with scope(team=shop.team):
        Deployment.objects.filter(pk=made.pk).update(status=Status.RUNNING)
    services.deployment_cancel(actor=shop.actor(), deployment=made)
    now = shop.deployment(made)
    assert (now.status, now.cancelled_by) == ("running", shop.people[Role.OWNER])
    assert selectors.cancels_among(deployment_ids=[str(made.pk)]) == [str(made.pk)]


def test_another_teams_deployment_cannot_be_cancelled(shop: Shop) -> None:
    made = request(shop)
    with pytest.raises(NotFoundError):
        services.deployment_cancel(actor=shop.actor("stranger"), deployment=made)
    assert shop.deployment(made).status == "queued"


# --- going back -------------------------------------------------------------------------------------------------------


def test_back_to_the_release_before(shop: Shop) -> None:
    made = kept(shop, "r1", "r2", "r3", current="r3")
    back = services.deployment_rollback(actor=shop.actor(Role.DEVELOPER), environment=shop.environment)
    assert (back.release, back.rollback_to, back.trigger) == ("r2", made["r2"], "rollback")
    assert (back.commit, back.author, back.status) == (COMMIT, "Ada", "queued")


def test_back_from_an_older_release(shop: Shop) -> None:
    kept(shop, "r1", "r2", "r3", current="r2")
    assert services.deployment_rollback(actor=shop.actor(), environment=shop.environment).release == "r1"


def test_never_back_to_what_was_gone_back_from(shop: Shop) -> None:
    """r1, r2, back to r1, r3: before r3 it was r1 that served, and r2 was not wanted any more."""
    made = kept(shop, "r1", "r2", current="r1")
    went_back(shop, made["r1"])
    with scope(team=shop.team):
        Release.objects.update(is_current=False)
    kept(shop, "r3", current="r3")
    assert services.deployment_rollback(actor=shop.actor(), environment=shop.environment).release == "r1"


def test_after_going_back_the_one_gone_back_from_is_named(shop: Shop) -> None:
    made = kept(shop, "r1", "r2", current="r1")
    went_back(shop, made["r1"])
    with pytest.raises(ConflictError, match=f"no earlier release.* r2, .*--to {made['r2'].pk}"):
        services.deployment_rollback(actor=shop.actor(), environment=shop.environment)
    back = services.deployment_rollback(actor=shop.actor(), environment=shop.environment, to=made["r2"])
    assert back.release == "r2"


def test_twice_back(shop: Shop) -> None:
    made = kept(shop, "r1", "r2", "r3", current="r2")
    went_back(shop, made["r2"])
    assert services.deployment_rollback(actor=shop.actor(), environment=shop.environment).release == "r1"


def test_to_a_chosen_one_also_forward(shop: Shop) -> None:
    made = kept(shop, "r1", "r2", "r3", current="r1")
    back = services.deployment_rollback(actor=shop.actor(), environment=shop.environment, to=made["r3"])
    assert back.release == "r3"


def test_nothing_to_go_back_to(shop: Shop) -> None:
    with pytest.raises(ConflictError, match="has no earlier release"):
        services.deployment_rollback(actor=shop.actor(), environment=shop.environment)
    made = kept(shop, "r1", current="r1")
    with pytest.raises(ConflictError, match="has no earlier release"):
        services.deployment_rollback(actor=shop.actor(), environment=shop.environment)
    with pytest.raises(ConflictError, match="is the current one already"):
        services.deployment_rollback(actor=shop.actor(), environment=shop.environment, to=made["r1"])


def test_what_is_not_kept_any_more(shop: Shop) -> None:
    made = kept(shop, "r1", "r2", "r3", current="r3")
    with scope(team=shop.team):
        Release.objects.filter(name__in=["r1", "r2"]).update(pruned_at=timezone.now())
    with pytest.raises(ConflictError, match="is not kept any more"):
        services.deployment_rollback(actor=shop.actor(), environment=shop.environment, to=made["r1"])
    with pytest.raises(ConflictError, match="has no earlier release"):
        services.deployment_rollback(actor=shop.actor(), environment=shop.environment)


def test_the_releases_of_another_environment_are_not_taken(shop: Shop) -> None:
    staging = shop.add_environment("staging")
    made = kept(shop, "r1", "r2", current="r2", environment=staging)
    with pytest.raises(ConflictError):
        services.deployment_rollback(actor=shop.actor(), environment=shop.environment, to=made["r1"])


# --- adopting ---------------------------------------------------------------------------------------------------------


def test_what_no_job_carries_gets_one(shop: Shop) -> None:
    made = request(shop)
    services.deployments_adopt()
    assert len(jobs()) == 1
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_jobs WHERE task_name = 'deployments.advance'")
    services.deployments_adopt()
    services.deployments_adopt()
    assert [deployment for deployment, _, _ in jobs()] == [str(made.pk)]


@pytest.mark.parametrize("status", [Status.SUCCESS, Status.FAILED, Status.CANCELLED, Status.SUPERSEDED])
def test_what_has_ended_is_not_adopted(shop: Shop, status: str) -> None:
    made = request(shop)
    with scopes_disabled():
        Deployment.objects.filter(pk=made.pk).update(status=status)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_jobs")
    services.deployments_adopt()
    assert jobs() == []
