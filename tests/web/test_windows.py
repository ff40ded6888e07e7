"""The page of windows and freezes, and deployments that wait."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from django_scopes import scope

from devflow.apps.accounts.models import Role
from devflow.apps.deployments.models import Deployment
from devflow.apps.deployments.services import deployment_request
from devflow.apps.projects.models import Environment
from devflow.apps.projects.selectors import environment_get
from devflow.apps.projects.services import environment_update
from devflow.apps.projects.windows import environment_freeze
from tests.web.world import World

HERE = "/projects/shop/environments/production/"


def environment(world: World) -> Environment:
    return environment_get(actor=world.actor(), slug="shop", name="production")


def page(client: Client, path: str = HERE + "windows/") -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def waiting(world: World, **freeze: str) -> Deployment:
    """A deployment that waits, since the environment is frozen."""
    environment_freeze(actor=world.actor(), environment=world.environment, reason="Fair <1>", **freeze)
    return deployment_request(actor=world.actor(), environment=environment(world))


def now_of(world: World, deployment: Deployment) -> Deployment:
    with scope(team=world.team):
        return Deployment.objects.get(pk=deployment.pk)


def test_windows_are_set_as_people_write_them(owner: Client, world: World) -> None:
    assert "Open now" in page(owner)
    typed = {"windows": "mon-fri 08:00-18:00\r\nsat, sun 22:00-02:00", "time_zone": "Europe/Berlin"}
    assert owner.post(HERE + "windows/set/", typed)["Location"] == HERE + "windows/"
    made = environment(world)
    assert [window["from"] for window in made.windows] == ["08:00", "22:00"]
    assert made.time_zone == "Europe/Berlin"
    shown = page(owner)
    assert "mon-fri 08:00-18:00\nsat, sun 22:00-02:00</textarea>" in shown
    assert '<option value="Europe/Berlin" selected>' in shown
    assert "Windows</a></dt>" in page(owner, HERE)
    owner.post(HERE + "windows/set/", {"windows": "", "time_zone": "UTC"})
    assert environment(world).windows == []


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"windows": "whenever", "time_zone": "UTC"}, "&#x27;whenever&#x27; is not like mon-fri 08:00-18:00."),
        ({"windows": "mon 8:00-25:00", "time_zone": "UTC"}, "Give times of windows like 08:00"),
        ({"windows": "", "time_zone": "Atlantis"}, "Atlantis"),
    ],
)
def test_wrong_windows_are_shown_again_with_the_reason(
    owner: Client, world: World, typed: dict[str, str], said: str
) -> None:
    answer = owner.post(HERE + "windows/set/", typed)
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert environment(world).windows == []


def test_a_freeze_is_added_shown_and_lifted(owner: Client, world: World) -> None:
    until = (timezone.now() + timedelta(days=3)).strftime("%Y-%m-%dT%H:%M")
    owner.post(HERE + "windows/freeze/", {"reason": "Fair <1>", "begins": "", "ends": until})
    shown = page(owner)
    assert "Fair &lt;1&gt;" in shown
    assert "Closed now" in shown
    assert "In force" in shown
    assert "Closed now" in page(owner, HERE)
    owner.post(HERE + "windows/lift/", {"number": "1"})
    assert "Open now" in page(owner)
    again = owner.post(HERE + "windows/lift/", {"number": "1"}, follow=True)
    assert "no freeze with the number 1" in again.content.decode()
    over = {"from": "2020-12-20T00:00", "to": "2021-01-02T00:00", "reason": "Long ago"}
    environment_update(actor=world.actor(), environment=world.environment, freezes=[over])
    told = owner.post(HERE + "windows/lift/", {"number": "1"}, follow=True).content.decode()
    assert "was over already" in told


@pytest.mark.parametrize(
    "typed",
    [{"reason": ""}, {"reason": "x", "begins": "soon"}, {"reason": "x", "begins": "2030-01-02", "ends": "2030-01-01"}],
)
def test_a_wrong_freeze_is_refused(owner: Client, world: World, typed: dict[str, str]) -> None:
    assert owner.post(HERE + "windows/freeze/", typed).status_code == 422
    assert environment(world).freezes == []


def test_a_viewer_sees_and_changes_nothing(world: World) -> None:
    environment_freeze(actor=world.actor(), environment=world.environment, reason="Fair")
    shown = page(world.client(Role.VIEWER))
    assert "Frozen: Fair" in shown
    assert "<textarea" not in shown
    assert "windows/lift/" not in shown


def test_a_waiting_deployment_says_why_and_until_when(world: World) -> None:
    until = (timezone.now() + timedelta(days=3)).replace(microsecond=0)
    deployment = waiting(world, ends=until.isoformat())
    shown = page(world.client(Role.DEVELOPER), f"/deployments/{deployment.pk}/")
    assert "Frozen: Fair &lt;1&gt;" in shown
    assert f"It begins by itself on {until:%a %Y-%m-%d %H:%M} UTC." in shown
    assert "override_reason" not in shown  # for admins only
    assert "Deploy now" in page(world.client(Role.ADMIN), f"/deployments/{deployment.pk}/")


def test_an_admin_has_it_begin_with_a_reason(world: World) -> None:
    deployment = waiting(world)
    admin = world.client(Role.ADMIN)
    address = f"/deployments/{deployment.pk}/override/"
    admin.post(address, {"override_reason": ""})
    assert now_of(world, deployment).status == "waiting"
    admin.post(address, {"override_reason": "Checkout is <broken>"})
    assert now_of(world, deployment).status == "queued"
    assert "Checkout is &lt;broken&gt;" in page(admin, f"/deployments/{deployment.pk}/")
    again = admin.post(address, {"override_reason": "again"}, follow=True)
    assert "does not wait for a window" in again.content.decode()


def test_the_deploy_form_offers_the_reason_only_where_it_is_needed(world: World) -> None:
    admin, developer = world.client(Role.ADMIN), world.client(Role.DEVELOPER)
    assert "override_reason" not in page(admin, HERE + "deploy/")
    environment_freeze(actor=world.actor(), environment=world.environment, reason="Fair")
    assert "override_reason" in page(admin, HERE + "deploy/")
    assert "override_reason" not in page(developer, HERE + "deploy/")
    assert developer.post(HERE + "deploy/", {"override_reason": "I want to"}).status_code == 403
    answer = admin.post(HERE + "deploy/", {"override_reason": "Checkout is broken"}, follow=True)
    assert "Begun without waiting for a window: Checkout is broken" in answer.content.decode()
