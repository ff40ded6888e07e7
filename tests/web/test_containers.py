"""The pages of containers: lists, one container, its log, cleaning up, disks."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone
from django_scopes import scope
from procrastinate.contrib.django.models import ProcrastinateJob

from devflow.apps.accounts.models import Role
from devflow.apps.containers.models import Action, Follow, Snapshot
from devflow.apps.deployments.services import deployment_cancel
from tests.support.containers import image_of, seen
from tests.web.world import World


def page(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    return answer.content.decode()


@pytest.fixture
def address(world: World) -> str:
    """Of the container that serves production."""
    return f"/servers/web-1/containers/{world.container.id[:12]}/"


def test_containers_are_listed_with_whose_they_are(owner: Client, world: World) -> None:
    seen(world.server, world.environment)
    shown = page(owner, "/servers/web-1/containers/")
    for text in ("shop-blue", "Healthy", "shop production", "live", "on standby", "not ours", "127.0.0.1:18080→80/tcp"):
        assert text in shown
    assert "shop-blue" in page(owner, "/servers/web-1/containers/state/")


def test_to_look_at_the_page_has_the_server_looked_at(viewer: Client) -> None:
    assert "Looking…" in page(viewer, "/servers/web-1/containers/")
    assert ProcrastinateJob.objects.filter(task_name="containers.look").count() == 1


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        ("missing", "apt-get install docker.io"),
        ("denied", "usermod -aG docker deploy"),
        ("stopped", "systemctl start docker"),
        ("unreachable", "What is shown is what was seen last."),
    ],
)
@pytest.mark.parametrize("where", ["containers", "images", "volumes", "networks", "prune"])
def test_what_is_in_the_way_is_told_with_the_next_step(
    owner: Client, world: World, where: str, problem: str, text: str
) -> None:
    with scope(team=world.team):
        Snapshot.objects.create(
            team=world.team, server=world.server, problem=problem, taken_at=timezone.now(), asked_at=timezone.now()
        )
    shown = page(owner, f"/servers/web-1/{where}/")
    assert text in shown


def test_of_a_server_that_was_never_seen_nothing_is_claimed(owner: Client, world: World) -> None:
    now = timezone.now()
    with scope(team=world.team):
        Snapshot.objects.create(team=world.team, server=world.server, problem="unreachable", taken_at=now, asked_at=now)
    shown = page(owner, "/servers/web-1/containers/")
    assert "Not seen yet" in shown
    assert "Docker runs there" not in shown


def test_a_container_is_shown_without_secrets(owner: Client, world: World, address: str) -> None:
    shown = page(owner, address)
    assert image_of(world.environment, 3) in shown
    assert "DB_PASSWORD" in shown
    assert "hunter2" not in shown
    assert "production</td>" in shown
    assert "reboot" in shown, "a label of ours is shown as it is, and escaped"
    assert '"odd"' not in shown


def test_a_developer_sees_names_of_variables_only(world: World, address: str) -> None:
    shown = page(world.client(Role.DEVELOPER), address)
    assert "APP_ENV" in shown
    assert "production</td>" not in shown
    assert "values are hidden from you" in shown


def test_a_viewer_is_offered_no_action(viewer: Client, address: str) -> None:
    shown = page(viewer, address)
    assert "/act/" not in shown
    assert "Follow log" not in shown


def test_what_serves_is_stopped_after_a_question(owner: Client, world: World, address: str) -> None:
    shown = page(owner, address)
    assert "Stop what serves shop production?" in shown
    assert 'name="confirm" value="yes"' in shown
    refused = owner.post(f"{address}act/", {"kind": "stop"}, follow=True).content.decode()
    assert "Confirm that it is to be stopped" in refused
    owner.post(f"{address}act/", {"kind": "stop", "confirm": "yes"})
    with scope(team=world.team):
        assert Action.objects.get().kind == "stop"
    assert "Waiting" in page(owner, f"{address}state/")


def test_an_unknown_action_is_refused(owner: Client, world: World, address: str) -> None:
    shown = owner.post(f"{address}act/", {"kind": "remove"}, follow=True).content.decode()
    assert "There is no" in shown
    with scope(team=world.team):
        assert not Action.objects.exists()


def test_a_container_that_is_gone_is_not_found(owner: Client) -> None:
    assert owner.get("/servers/web-1/containers/abcdef123456/").status_code == 404


def test_a_log_is_followed_from_the_containers_page(owner: Client, world: World, address: str) -> None:
    answer = owner.post(f"{address}logs/")
    with scope(team=world.team):
        follow = Follow.objects.get()
    assert answer["Location"] == f"/servers/web-1/container-logs/{follow.pk}/"
    shown = page(owner, answer["Location"])
    assert f'data-events="/api/v1/container-logs/{follow.pk}/events"' in shown
    assert 'data-ended="false"' in shown


def test_images_volumes_and_networks_are_shown(owner: Client, world: World) -> None:
    seen(world.server, world.environment)
    assert image_of(world.environment, 3) in page(owner, "/servers/web-1/images/")
    assert "shopdata" in page(owner, "/servers/web-1/volumes/")
    assert "172.19.0.0/16" in page(owner, "/servers/web-1/networks/")


def test_a_clean_up_is_previewed_and_then_asked_for(owner: Client, world: World) -> None:
    deployment_cancel(actor=world.actor(), deployment=world.deployment)
    seen(world.server, world.environment, d2=world.deployment.pk.hex)
    shown = page(owner, "/servers/web-1/prune/")
    assert image_of(world.environment, 2) in shown
    assert "devflow-base" not in shown
    token = shown.split('name="token" value="')[1].split('"')[0]
    owner.post("/servers/web-1/prune/start/", {"token": token})
    with scope(team=world.team):
        action = Action.objects.get()
    assert [each["names"] for each in action.given] == [[image_of(world.environment, 2)]]
    assert "clean up" in page(owner, "/servers/web-1/prune/state/")


def test_a_deployment_under_way_keeps_all_of_its_environment(owner: Client, world: World) -> None:
    seen(world.server, world.environment, d2=world.deployment.pk.hex)
    shown = page(owner, "/servers/web-1/prune/")
    assert "a deployment is under way" in shown
    assert "Nothing to remove" in shown


def test_volumes_are_previewed_only_when_asked_for(owner: Client, world: World) -> None:
    deployment_cancel(actor=world.actor(), deployment=world.deployment)
    seen(world.server, world.environment)
    assert "spare" not in page(owner, "/servers/web-1/prune/")
    assert "spare" in page(owner, "/servers/web-1/prune/?volumes=yes")


def test_an_environment_has_a_page_of_its_containers(viewer: Client, world: World) -> None:
    seen(world.server, world.environment)
    shown = page(viewer, "/projects/shop/environments/production/containers/")
    assert "shop-blue" in shown
    assert "theirs" not in shown
    assert "shop-blue" in page(viewer, "/projects/shop/environments/production/containers/state/")


def test_a_budget_is_set_on_the_page_of_disks(owner: Client, viewer: Client, world: World) -> None:
    seen(world.server, world.environment)
    assert "36.8 MB" in page(viewer, "/projects/shop/disk/")
    assert owner.post("/projects/shop/disk/", {"megabytes": "30"}).status_code == 302
    assert "more than its budget of 30.0 MB" in page(owner, "/projects/shop/disk/")
    assert owner.post("/projects/shop/disk/", {"megabytes": "-1"}).status_code == 422
    assert "disk, more than its budget" in page(owner, "/projects/shop/environments/production/plan/")
