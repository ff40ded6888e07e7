"""What changes is written by the database itself, whoever changes it; nobody who asks later misses any of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from devflow.apps import replica
from devflow.apps.accounts.invitations import invitation_create, invitation_revoke
from devflow.apps.accounts.models import Membership, Role, Team
from devflow.apps.changes.models import Change
from devflow.apps.changes.selectors import KEPT, Mark, changes_since, mark_now, mark_read
from devflow.apps.changes.services import changes_clean
from devflow.apps.containers.models import Snapshot
from devflow.apps.deployments import services as deployments
from devflow.apps.projects import services as projects
from devflow.apps.projects.grants import environment_protect, grant_remove, grants_add
from devflow.apps.projects.models import Environment
from devflow.apps.servers import services as servers
from devflow.apps.sources.models import Delivery, Source
from tests.support.shop import Shop, at_once


def topics_since(shop: Shop, mark: Mark) -> list[str] | None:
    return changes_since(team_id=shop.team.pk, mark=mark)[0]


def test_a_deployment_is_told_of_by_what_it_is_part_of(shop: Shop) -> None:
    mark = mark_now()
    made = deployments.deployment_request(actor=shop.actor(), environment=shop.environment)
    told = topics_since(shop, mark)
    of = {f"deployment:{made.pk}", f"project:{shop.project.pk}", f"environment:{shop.environment.pk}", "deployment"}
    assert told is not None
    assert of <= set(told)


def test_what_no_page_shows_is_not_told(shop: Shop) -> None:
    deployment = deployments.deployment_request(actor=shop.actor(), environment=shop.environment)
    with scopes_disabled(), connection.cursor() as cursor:
        Change.objects.all().delete()
        cursor.execute("UPDATE deployments_deployment SET last_seq = 7, observed = '{}', status = status")
        assert not Change.objects.exists()
        cursor.execute("UPDATE deployments_deployment SET commit = 'c0ffee'")
        assert f"deployment:{deployment.pk}" in Change.objects.get().topics


def test_every_way_of_changing_servers_projects_and_people_is_told(shop: Shop) -> None:
    mark = mark_now()
    server = shop.server("web1")
    servers.server_maintenance_set(actor=shop.actor(), server=server, on=True)
    shop.add_environment("preview")
    project = projects.project_add(actor=shop.actor(), slug="blog", repository="git@git.example.com:blog.git")
    project_id = project.pk
    projects.project_remove(actor=shop.actor(), project=project)
    with scopes_disabled():
        Membership.objects.filter(user=shop.people[Role.VIEWER]).delete()
    told = set(topics_since(shop, mark) or ())
    assert {"server", f"server:{server.pk}", "environment", "project", f"project:{project_id}", "member"} <= told


def test_what_runs_on_a_server_and_what_an_environment_s_own_pages_show_is_told(shop: Shop) -> None:
    server, environment = shop.server("web1"), shop.environment
    with scope(team=shop.team):
        snapshot = Snapshot.objects.filter(pk=Snapshot.objects.create(team=shop.team, server=server).pk)
        Change.objects.all().delete()
        snapshot.update(asked_at=timezone.now())
        assert not Change.objects.exists()
        snapshot.update(taken_at=timezone.now())
        assert Change.objects.get().topics == [f"container:{server.pk}"]
        Change.objects.all().delete()
        Environment.objects.filter(pk=environment.pk).update(proxy_state={"at": "now"}, hooks=[])
        assert Change.objects.get().topics == [f"environment:{environment.pk}"]


def test_deliveries_that_come_together_are_told_of_once(shop: Shop) -> None:
    with scope(team=shop.team):
        source = Source.objects.create(team=shop.team, provider="github", hook_token="t")
        Change.objects.all().delete()
        made = [Delivery(team=shop.team, source=source, key=str(number)) for number in range(20)]
        Delivery.objects.bulk_create(made)
        assert [change.topics for change in Change.objects.all()] == [[f"source:{source.pk}"]]
        Delivery.objects.filter(source=source).update(answer_status=200)
        assert Change.objects.count() == 1


def test_who_joins_is_granted_and_shut_out_is_told(shop: Shop) -> None:
    actor, mark = shop.actor(), mark_now()
    invitation, _link = invitation_create(actor=actor, role=Role.VIEWER)
    assert "member" in (topics_since(shop, mark) or ())
    with scopes_disabled():
        Change.objects.all().delete()
    invitation_revoke(actor=actor, invitation_id=str(invitation.pk))
    assert "member" in (topics_since(shop, mark) or ())

    person = shop.people[Role.VIEWER].email
    (grant,) = grants_add(actor=actor, project=shop.project, email=person, actions=["deploy"])
    project = f"project:{shop.project.pk}"
    assert project in (topics_since(shop, mark) or ())
    for change in (
        lambda: grant_remove(actor=actor, project=shop.project, grant_id=str(grant.pk)),
        lambda: environment_protect(actor=actor, environment=shop.environment, on=True),
    ):
        with scopes_disabled():
            Change.objects.all().delete()
        change()
        assert project in (topics_since(shop, mark) or ())


def test_another_team_is_told_nothing(shop: Shop) -> None:
    mark = mark_now()
    shop.add_environment("preview")
    with scopes_disabled():
        others = Team.objects.get(name="Strangers")
    told = changes_since(team_id=others.pk, mark=mark)[0] or []
    assert set(told) <= {"member"}  # of its own making, in the same transaction


def test_what_began_before_the_mark_and_ended_after_it_is_told(open_for_many: Shop) -> None:
    """Numbers are taken in one order and committed in another: nothing may fall between."""
    shop = open_for_many
    with transaction.atomic():
        with connection.cursor() as cursor:  # takes its number now
            cursor.execute("UPDATE servers_server SET status = 'offline' WHERE name = 'web1'")

        def meanwhile(_: int) -> Mark:
            with connection.cursor() as cursor:  # a later number, committed first
                cursor.execute("UPDATE projects_project SET name = 'New'")
            return mark_now()

        (mark,) = at_once(1, meanwhile)
    assert isinstance(mark, Mark)
    assert f"server:{shop.server('web1').pk}" in (topics_since(shop, mark) or ())


def test_what_is_taken_back_is_not_told(open_for_many: Shop) -> None:
    with scopes_disabled():
        before = Change.objects.count()
        with transaction.atomic():
            open_for_many.add_environment("preview")
            assert Change.objects.count() > before
            transaction.set_rollback(True)
        assert Change.objects.count() == before


@pytest.mark.parametrize("text", ["", "1", "1.2.3", "-1.2", "x.1", "1.²", "9" * 30 + ".1"])
def test_what_is_no_mark_is_refused(text: str) -> None:
    assert mark_read(text) is None


def test_marks_that_are_too_old_or_of_another_database_tell_that_all_is_unknown(shop: Shop) -> None:
    now = mark_now()
    assert mark_read(str(now)) == now
    assert topics_since(shop, Mark(now.transaction, now.seconds - int(KEPT.total_seconds()))) is None
    assert topics_since(shop, Mark(now.transaction + 1_000_000, now.seconds)) is None


def test_what_a_replica_may_not_have_shown_is_told_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    with scopes_disabled():
        Change.objects.all().delete()
        for topic, seconds in (("late", 5), ("long ago", 60)):
            moment = timezone.now() - timedelta(seconds=seconds)
            Change.objects.create(team=shop.team, topics=[topic], transaction=1, at=moment)
    assert topics_since(shop, mark_now()) == []
    monkeypatch.setattr(replica, "is_configured", lambda: True)
    assert topics_since(shop, mark_now()) == ["late"]


@pytest.mark.parametrize(("headers", "may_be_behind"), [({}, True), ({"HX-Request": "true"}, False)])
def test_parts_of_pages_are_never_read_from_a_replica(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], may_be_behind: bool
) -> None:
    monkeypatch.setattr(replica, "is_configured", lambda: True)
    seen = []
    replica.with_replica(lambda request: seen.append(replica._changes_nothing.get()) or HttpResponse())(
        RequestFactory().get("/servers/", headers=headers)
    )
    assert seen == [may_be_behind]


def test_old_changes_go(shop: Shop) -> None:
    with scopes_disabled():
        kept = Change.objects.count()
        assert kept
        Change.objects.create(
            team=shop.team, topics=["server"], transaction=1, at=timezone.now() - KEPT - timedelta(minutes=1)
        )
        assert changes_clean() == 1
        assert Change.objects.count() == kept


def test_a_team_goes_with_what_changed_in_it(shop: Shop) -> None:
    with scopes_disabled(), connection.cursor() as cursor:
        assert Change.objects.filter(team=shop.team).exists()
        shop.team.delete()
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        assert not Change.objects.filter(team_id=shop.team.pk).exists()
