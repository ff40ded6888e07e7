"""The pages of deployments and the dashboard."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone
from django_scopes import scope

from devflow.apps.accounts.models import Role, User
from devflow.apps.deployments import events, services
from devflow.apps.deployments.events import NewEvent
from devflow.apps.deployments.models import Deployment, Release, Step
from devflow.apps.deployments.selectors import deployment_get, deployment_list, plan_preview
from tests.web.nasty import NASTY
from tests.web.world import World

HERE = "/projects/shop/environments/production"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_the_page_shows_steps_and_where_the_events_come_from(viewer: Client, world: World) -> None:
    _change(world, status="running", started_at=timezone.now(), commit=COMMIT, commit_message="Fix <b>prices</b>")
    _step(world, "composer install", "prepare", "running", position=1)
    _step(world, "switch", "activate", "pending", position=2)
    page = viewer.get(_address(world)).content.decode()
    assert f'data-events="/api/v1/deployments/{world.deployment.pk}/events"' in page
    assert 'data-ended="false"' in page
    assert page.index("Prepare") < page.index("composer install") < page.index("Activate") < page.index("switch")
    assert "Fix &lt;b&gt;prices" in page
    assert 'data-state="running"' in page
    assert "Cancel deployment" not in page, "a viewer only looks"


def test_the_head_alone_brings_steps_and_releases_with_it(owner: Client, world: World) -> None:
    part = owner.get(f"{_address(world)}head/").content.decode()
    assert part.lstrip().startswith('<div id="head"')
    assert part.count("hx-swap-oob") == 2
    assert "<html" not in part


def test_a_failure_names_step_cause_and_what_serves(owner: Client, world: World) -> None:
    _change(world, status="failed", error="npm ended with <exit> code 1.\nInstall node.", log_lines=3)
    _step(world, "npm run build", "prepare", "failed", position=1)
    page = owner.get(_address(world)).content.decode()
    assert "Failed at npm run build on web-1" in page
    assert "npm ended with &lt;exit&gt; code 1." in page
    assert "goes on serving" in page
    assert "data-first-error" in page
    assert 'data-state="failed"' in page
    assert "Deploy this commit again" in page


@pytest.mark.parametrize(
    ("status", "word"),
    [("rolled_back", "Rolled back"), ("cancelled", "Cancelled"), ("superseded", "Superseded"), ("success", "Success")],
)
def test_every_ending_has_its_word(owner: Client, world: World, status: str, word: str) -> None:
    _change(world, status=status, error="" if status == "success" else "Because.")
    page = owner.get(_address(world)).content.decode()
    assert word in page
    assert 'data-ended="true"' in page
    assert "Cancel deployment" not in page


def test_the_list_is_filtered_by_what_stands_in_the_address(viewer: Client, world: World) -> None:
    mine = f"/deployments/{world.deployment.pk}/"
    _change(world, status="failed")
    for query in ("", "?status=failed", "?environment=shop/production", "?status=failed&trigger=manual"):
        assert mine in viewer.get(f"/deployments/{query}").content.decode(), query
    for query in ("?status=success", "?trigger=webhook"):
        page = viewer.get(f"/deployments/{query}").content.decode()
        assert mine not in page
        assert "No deployment fits these filters." in page


@pytest.mark.parametrize("query", ["status=bogus", "trigger=bogus", "environment=shop/nowhere"])
def test_a_filter_that_there_is_not_is_told(viewer: Client, world: World, query: str) -> None:
    answer = viewer.get(f"/deployments/?{query}")
    assert answer.status_code == 422
    assert "Select a valid choice" in answer.content.decode()
    assert f"/deployments/{world.deployment.pk}/" not in answer.content.decode()


def test_superseded_ones_are_folded_until_they_are_asked_for(owner: Client, world: World) -> None:
    _change(world, status="success")
    made = [services.deployment_request(actor=world.actor(), environment=world.environment) for _ in range(4)]
    page = owner.get("/deployments/").content.decode()
    assert ">3 superseded</a> before it, in production" in page
    assert f"/deployments/{made[0].pk}/" not in page
    link = re.search(r'href="(/deployments/\?status=superseded[^"]+)"', page)
    assert link
    page = owner.get(link[1].replace("&amp;", "&")).content.decode()
    assert all(f"/deployments/{each.pk}/" in page for each in made[:3])
    assert f"/deployments/{made[3].pk}/" not in page


def test_the_stored_plan_is_shown(viewer: Client, world: World) -> None:
    assert "There is no plan" in viewer.get(f"{_address(world)}plan/").content.decode()
    plan = plan_preview(actor=world.actor(), environment=world.environment, commit=COMMIT)
    _change(world, plan=plan.to_json())
    page = viewer.get(f"{_address(world)}plan/").content.decode()
    assert "composer install --no-dev" in page
    assert COMMIT[:8] in page
    assert f"{_address(world)}plan/" in viewer.get(_address(world)).content.decode()


def test_the_log_is_downloaded_as_it_is(viewer: Client, world: World) -> None:
    _log(world, "one\n\x1b[31mtwo\x1b[0m\n")
    answer = viewer.get(f"{_address(world)}log/")
    assert answer.getvalue() == b"one\n\x1b[31mtwo\x1b[0m\n"
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert re.fullmatch(r'attachment; filename="shop-production-[0-9a-f-]+\.log"', answer["Content-Disposition"])


def test_deploys_the_branch(owner: Client, world: World) -> None:
    answer = owner.post(f"{HERE}/deploy/")
    newest = _newest(world)
    assert answer["Location"] == f"/deployments/{newest.pk}/"
    assert (newest.commit, newest.trigger, newest.status) == ("", "manual", "queued")
    assert _read(world).status == "superseded"


def test_deploys_a_commit(owner: Client, world: World) -> None:
    owner.post(f"{HERE}/deploy/", {"commit": COMMIT})
    assert _newest(world).commit == COMMIT


def test_deploys_another_branch(owner: Client, world: World) -> None:
    owner.post(f"{HERE}/deploy/", {"pick": "head", "branch": "feature/login"})
    assert (_newest(world).commit, _newest(world).branch) == ("", "feature/login")
    assert 'value="feature/login"' not in owner.get(f"{HERE}/deploy/").content.decode()
    with scope(team=world.team):
        Deployment.objects.filter(pk=_newest(world).pk).update(commit=COMMIT)
    assert '<option value="feature/login"></option>' in owner.get(f"{HERE}/deploy/").content.decode()


def test_a_commit_and_a_branch_are_not_both_taken(owner: Client, world: World) -> None:
    page = owner.post(f"{HERE}/deploy/", {"pick": "head", "branch": "other", "commit": COMMIT}).content.decode()
    assert "Choose one: a commit, or a branch." in page
    assert 'value="other"' in page
    assert _newest(world).pk == world.deployment.pk


@pytest.mark.parametrize("commit", [*NASTY.values(), "main", "HEAD", COMMIT[:8], COMMIT.upper()])
def test_what_is_no_commit_is_refused(owner: Client, world: World, commit: str) -> None:
    page = owner.post(f"{HERE}/deploy/", {"commit": commit}, follow=True).content.decode()
    assert "note-error" in page
    assert "<script>alert" not in page
    assert _newest(world).pk == world.deployment.pk


def test_a_server_in_maintenance_is_said(owner: Client, world: World) -> None:
    owner.post("/servers/web-1/maintenance/", {"on": "yes"})
    assert "In maintenance: web-1" in owner.post(f"{HERE}/deploy/", follow=True).content.decode()


def test_rolls_back_to_a_kept_release(owner: Client, world: World) -> None:
    first, _ = _two_releases(world)
    page = owner.get(f"{HERE}/").content.decode()
    assert "Serving" in page
    assert f'value="{first.pk}"' in page
    answer = owner.post(f"{HERE}/rollback/", {"to": str(first.pk)})
    newest = _newest(world)
    assert answer["Location"] == f"/deployments/{newest.pk}/"
    assert (newest.trigger, newest.rollback_to_id) == ("rollback", first.pk)


def test_the_current_release_leads_back_to_the_one_before(owner: Client, world: World) -> None:
    first, second = _two_releases(world)
    page = owner.get(f"/deployments/{second.pk}/").content.decode()
    assert "Roll back to the release before?" in page
    assert f'value="{first.pk}"' in page
    assert "Roll back to this release?" in owner.get(f"/deployments/{first.pk}/").content.decode()


def test_without_an_earlier_release_nothing_is_rolled_back(owner: Client) -> None:
    assert "no earlier release" in owner.post(f"{HERE}/rollback/", follow=True).content.decode()


@pytest.mark.parametrize("to", [*NASTY.values(), "00000000-0000-0000-0000-000000000000"])
def test_what_is_no_deployment_is_not_rolled_back_to(owner: Client, to: str) -> None:
    assert owner.post(f"{HERE}/rollback/", {"to": to}).status_code == 404


def test_is_cancelled(owner: Client, world: World) -> None:
    page = owner.post(f"{_address(world)}cancel/", follow=True).content.decode()
    assert "Cancelled" in page
    assert _read(world).status == "cancelled"
    again = owner.post(f"{_address(world)}cancel/", follow=True).content.decode()
    assert "ended already" in again


def test_a_running_one_is_being_cancelled(owner: Client, world: World) -> None:
    _change(world, status="running", started_at=timezone.now())
    page = owner.post(f"{_address(world)}cancel/", follow=True).content.decode()
    assert "Cancelling…" in page
    assert "Cancel deployment?" not in page


def test_the_dashboard_shows_each_environment(owner: Client, world: World) -> None:
    page = owner.get("/").content.decode()
    assert "Shop" in page
    assert "Queued" in page
    assert 'data-state="running"' in page
    _change(world, status="success", started_at=timezone.now() - timedelta(seconds=9), finished_at=timezone.now())
    page = owner.get("/board/").content.decode()
    assert "<html" not in page
    assert 'data-state="idle"' in page
    assert f"{HERE}/deploy/" in page


def test_a_viewer_gets_no_deploy_button(viewer: Client, world: World) -> None:
    _change(world, status="success")
    for address in ("/", f"{HERE}/", "/projects/shop/", _address(world)):
        assert "/deploy/" not in viewer.get(address).content.decode(), address


def test_the_list_goes_back_page_by_page(owner: Client, world: World) -> None:
    actor = world.actor()
    for _ in range(52):
        services.deployment_request(actor=actor, environment=world.environment)
    with scope(team=world.team):
        Deployment.objects.update(status="cancelled")
    page = owner.get("/deployments/").content.decode()
    assert page.count('data-label="Environment"') == 50
    older = re.search(r'\?before=[0-9a-f-]+"', page)
    assert older
    assert owner.get(f"/deployments/{older[0][:-1]}").content.decode().count('data-label="Environment"') == 3


@pytest.mark.parametrize("before", ["", "x", "' OR 1=1 --", "9" * 400])
def test_nonsense_as_the_place_in_the_list_is_ignored(owner: Client, before: str) -> None:
    assert owner.get("/deployments/", {"before": before}).status_code == 200


@pytest.mark.parametrize("address", ["nothing", "00000000-0000-0000-0000-000000000000", "%24(id)", "x" * 300])
def test_a_deployment_that_is_not_there_is_not_found(owner: Client, address: str) -> None:
    assert owner.get(f"/deployments/{address}/").status_code == 404


def _address(world: World) -> str:
    return f"/deployments/{world.deployment.pk}/"


def _change(world: World, **values: Any) -> None:
    with scope(team=world.team):
        Deployment.objects.filter(pk=world.deployment.pk).update(**values)


def _step(world: World, name: str, phase: str, status: str, *, position: int) -> None:
    started_at = None if status == "pending" else timezone.now()
    with scope(team=world.team):
        Step.objects.create(
            team=world.team,
            deployment=world.deployment,
            server_name="web-1",
            phase=phase,
            name=name,
            position=position,
            status=status,
            started_at=started_at,
        )


def _log(world: World, text: str) -> None:
    event = NewEvent("deployment.log", {"server": "web-1", "step": "1"}, text, text.count("\n"))
    with transaction.atomic():
        events.append(team_id=world.team.pk, deployment_id=world.deployment.pk, events=[event])


def _two_releases(world: World) -> tuple[Deployment, Deployment]:
    """Two deployments that went well: the first one's release is kept, the second one's serves."""
    actor = world.actor()
    second = services.deployment_request(actor=actor, environment=world.environment)
    with scope(team=world.team):
        for number, deployment in enumerate((world.deployment, second)):
            name = f"2026112{number}-101500-abcdef"
            Deployment.objects.filter(pk=deployment.pk).update(status="success", release=name, commit=COMMIT)
            Release.objects.create(
                team=world.team,
                environment=world.environment,
                deployment=deployment,
                name=name,
                is_current=bool(number),
            )
    return world.deployment, second


def _newest(world: World) -> Deployment:
    return deployment_list(actor=world.actor(), limit=1)[0]


def _read(world: World) -> Deployment:
    return deployment_get(actor=world.actor(), deployment_id=str(world.deployment.pk))


def test_a_name_stands_beside_its_address(world: World, owner: Client) -> None:
    for address in ("/deployments/", f"/deployments/{world.deployment.pk}/"):
        assert "Owner (owner@example.test)" in owner.get(address).content.decode()
    User.objects.filter(pk=world.people[Role.OWNER].pk).update(name="")
    page = owner.get("/deployments/").content.decode()
    assert "owner@example.test" in page
    assert "(owner@example.test)" not in page


def test_where_there_are_too_many_environments_to_choose_from_one_is_named(
    owner: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devflow.web.forms.deployments.CHOICES", 0)
    link = f"/deployments/{world.deployment.pk}/"
    assert link in owner.get("/deployments/?environment=shop/production").content.decode()
    for wrong in ("shop/nowhere", "shop", "nothing/production", "%27"):
        answer = owner.get(f"/deployments/?environment={wrong}")
        assert "There is no environment" in answer.content.decode()
        assert link not in answer.content.decode()
