"""Which deployments are forgotten, and what goes with them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest
import pytest_django
from django.apps import apps
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_scopes import scopes_disabled
from procrastinate.contrib.django.utils import connector_params

from devflow.apps.deployments import retention
from devflow.apps.deployments.models import ENDED, Deployment, Event, Release, Run, Status, Step
from devflow.apps.projects import services as projects
from devflow.apps.projects.models import Environment
from tests.support.shop import Shop

pytestmark = pytest.mark.django_db

OLD = timedelta(days=400)
_REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'away'; END $$;
CREATE TRIGGER refuse BEFORE DELETE ON deployments_deployment
  FOR EACH ROW WHEN (OLD.id = '{}') EXECUTE FUNCTION refuse()
"""


def add(environment: Environment, *, age: timedelta = OLD, status: str = Status.SUCCESS, **given: Any) -> Deployment:
    with scopes_disabled():
        made = Deployment.objects.create(
            team=environment.team,
            project=environment.project,
            environment=environment,
            status=status,
            trigger="manual",
            strategy="atomic",
            release=f"r-{Deployment.objects.count()}",
            **given,
        )
        Deployment.objects.filter(pk=made.pk).update(created_at=timezone.now() - age)
    return made


def left() -> set[Deployment]:
    with scopes_disabled():
        return set(Deployment.objects.all())


def test_the_newest_of_each_project_stay(shop: Shop, settings: pytest_django.fixtures.SettingsWrapper) -> None:
    settings.KEEP_DEPLOYMENTS = 2
    other = projects.project_add(actor=shop.actor(), slug="other", name="Other", repository="/srv/git/other.git")
    of_other = projects.environment_add(
        actor=shop.actor(), project=other, name="production", branch="main", servers=["web1"], root="/srv/other"
    )
    ages = [timedelta(days=days) for days in (500, 400, 300, 200)]
    gone, also_gone, *kept = [add(shop.environment, age=age) for age in ages]
    alone = add(of_other, age=timedelta(days=900))
    assert retention.deployments_clean() == 2
    assert left() == {*kept, alone}
    assert not {gone, also_gone} & left()
    assert retention.deployments_clean() == 0


def test_all_of_the_last_days_stay(shop: Shop, settings: pytest_django.fixtures.SettingsWrapper) -> None:
    settings.KEEP_DEPLOYMENTS, settings.KEEP_DAYS = 1, 30
    recent = [add(shop.environment, age=timedelta(days=days)) for days in (1, 15, 29)]
    add(shop.environment, age=timedelta(days=31))
    assert retention.deployments_clean() == 1
    assert left() == set(recent)


@pytest.mark.parametrize("status", [status for status in Status.values if status not in ENDED])
def test_what_has_not_ended_stays(shop: Shop, settings: pytest_django.fixtures.SettingsWrapper, status: str) -> None:
    settings.KEEP_DEPLOYMENTS = 0
    waiting = add(shop.environment, status=status)
    assert retention.deployments_clean() == 0
    assert left() == {waiting}


def test_what_can_be_rolled_back_to_stays(shop: Shop, settings: pytest_django.fixtures.SettingsWrapper) -> None:
    settings.KEEP_DEPLOYMENTS = 0
    kept, pruned = add(shop.environment), add(shop.environment)
    with scopes_disabled():
        for deployment in (kept, pruned):
            Release.objects.create(
                team=shop.team,
                environment=shop.environment,
                deployment=deployment,
                name=deployment.release,
                pruned_at=timezone.now() if deployment == pruned else None,
            )
    assert retention.deployments_clean() == 1
    assert left() == {kept}


def test_what_is_being_rolled_back_to_stays(shop: Shop, settings: pytest_django.fixtures.SettingsWrapper) -> None:
    settings.KEEP_DEPLOYMENTS = 0
    target = add(shop.environment)
    going = add(shop.environment, status=Status.RUNNING, rollback_to=target)
    assert retention.deployments_clean() == 0
    with scopes_disabled():
        Deployment.objects.filter(pk=going.pk).update(status=Status.SUCCESS, created_at=timezone.now())
    settings.KEEP_DEPLOYMENTS = 1
    assert retention.deployments_clean() == 1
    with scopes_disabled():
        assert Deployment.objects.get().rollback_to is None


def test_steps_and_log_go_too_and_those_of_others_stay(
    shop: Shop, settings: pytest_django.fixtures.SettingsWrapper
) -> None:
    settings.KEEP_DEPLOYMENTS = 1
    gone, kept = add(shop.environment), add(shop.environment, age=timedelta())
    with scopes_disabled():
        for deployment in (gone, kept):
            same = {"team": shop.team, "deployment": deployment}
            Step.objects.create(**same, server_name="web1", phase="prepare", name="fetch", position=1)
            Run.objects.create(**same, server_name="web1", name="1-forward")
            Event.objects.create(**same, seq=1, kind="deployment.log", text="line\n")
        assert retention.deployments_clean() == 1
        for model in (Step, Run, Event):
            assert list(model.objects.values_list("deployment", flat=True)) == [kept.pk]


def test_more_than_a_batch(
    shop: Shop, settings: pytest_django.fixtures.SettingsWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.KEEP_DEPLOYMENTS = 1
    monkeypatch.setattr(retention, "BATCH", 3)
    for _ in range(8):
        add(shop.environment)
    assert retention.deployments_clean() == 7


def test_a_long_log_goes_in_short_transactions(
    shop: Shop, settings: pytest_django.fixtures.SettingsWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.KEEP_DEPLOYMENTS = 1
    monkeypatch.setattr(retention, "BATCH_EVENTS", 3)
    gone, kept = add(shop.environment), add(shop.environment, age=timedelta())
    log(gone, 10)
    log(kept, 10)
    with CaptureQueriesContext(connection) as captured:
        assert retention.deployments_clean() == 1
    removals = [query for query in captured.captured_queries if "DELETE FROM deployments_event" in query["sql"]]
    assert len(removals) == 5  # 3, 3, 3, 1, and with the deployment none
    with scopes_disabled():
        assert Event.objects.filter(deployment=kept).count() == 10


def test_one_that_is_broken_off_goes_on(
    open_for_many: Shop, settings: pytest_django.fixtures.SettingsWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database refuses in the middle of the second of three batches."""
    settings.KEEP_DEPLOYMENTS = 1
    monkeypatch.setattr(retention, "BATCH", 2)
    monkeypatch.setattr(retention, "BATCH_EVENTS", 3)
    made = [add(open_for_many.environment, age=OLD - timedelta(days=number)) for number in range(7)]
    for deployment in made:
        log(deployment, 4)
    with connection.cursor() as cursor:
        cursor.execute(_REFUSE.format(made[3].pk))
        with pytest.raises(DatabaseError, match="away"):
            retention.deployments_clean()
        assert left() == set(made[2:])
        cursor.execute("DROP FUNCTION refuse() CASCADE")
    assert retention.deployments_clean() == 4
    assert left() == {made[6]}
    with scopes_disabled():
        assert Event.objects.count() == 4


def test_what_somebody_holds_waits_for_the_next_time(
    open_for_many: Shop, settings: pytest_django.fixtures.SettingsWrapper
) -> None:
    settings.KEEP_DEPLOYMENTS = 1
    held, free, _newest = (add(open_for_many.environment, age=timedelta(days=days)) for days in (500, 400, 300))
    with psycopg.connect(**connector_params()) as other:
        other.execute("SELECT FROM deployments_deployment WHERE id = %s FOR UPDATE", [held.pk])
        assert retention.deployments_clean() == 1
        assert held in left()
        assert free not in left()
    assert retention.deployments_clean() == 1


def test_two_at_once(open_for_many: Shop, settings: pytest_django.fixtures.SettingsWrapper) -> None:
    settings.KEEP_DEPLOYMENTS = 1
    for _ in range(30):
        log(add(open_for_many.environment), 2)

    def clean(_: int) -> int:
        try:
            return retention.deployments_clean()
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(clean, range(2))) == 29
    assert len(left()) == 1


def log(deployment: Deployment, events: int) -> None:
    with scopes_disabled():
        Event.objects.bulk_create(
            Event(team=deployment.team, deployment=deployment, seq=seq, kind="deployment.log", text="line\n")
            for seq in range(1, events + 1)
        )


def test_everything_that_hangs_on_a_deployment_is_known() -> None:
    """A new table with a key to deployments must be decided about here."""
    own = Deployment._meta.db_table
    known = {*retention._CHILDREN, own}
    pointing = {
        model._meta.db_table
        for model in apps.get_models()
        for field in model._meta.get_fields()
        if field.is_relation and field.related_model is Deployment and getattr(field, "column", None)
    }
    assert pointing == known
