"""What was done is said on the next page, with a form that takes it back where that is possible."""

from __future__ import annotations

from django.contrib.messages import constants
from django.contrib.messages.storage.base import Message
from django.test import Client
from django_scopes import scope

from devflow.apps.accounts.models import Membership, Role, Team, User
from devflow.apps.accounts.selectors import actor_get
from devflow.apps.audit.models import Event
from devflow.apps.containers.models import Budget
from devflow.apps.notifications.models import Channel
from devflow.apps.projects.hooks import hook_list
from devflow.apps.projects.models import Environment, Grant, Variable
from devflow.apps.servers.models import Server
from devflow.web.replies import undo_read
from tests.support.second_factor import app_of
from tests.web.walk import Form, forms_of
from tests.web.world import World

ENVIRONMENT = "/projects/shop/environments/production/"


def undo_on(client: Client, address: str) -> Form | None:
    """The form in the result that the page shows; None where the result has none."""
    toasts = client.get(address).content.decode().split('id="toasts"')[1].split("<h1")[0]
    assert "data-toast" in toasts
    return next(iter(forms_of(address, toasts)), None)


def take_back(client: Client, address: str) -> None:
    form = undo_on(client, address)
    assert form
    assert client.post(form.address, dict(form.data())).status_code == 302


def _environment(world: World) -> Environment:
    with scope(team=world.team):
        return Environment.objects.get(pk=world.environment.pk)


def _hooks(world: World) -> list[str]:
    return [hook["command"] for hook in _environment(world).hooks]


def test_maintenance_is_taken_back(world: World, owner: Client) -> None:
    owner.post("/servers/web-1/maintenance/", {"on": "yes"})
    take_back(owner, "/servers/web-1/")
    with scope(team=world.team):
        assert Server.objects.get(name="web-1").status == "unknown"


def test_a_variable_comes_back_with_its_value_which_no_page_showed(world: World, owner: Client) -> None:
    page = "/projects/shop/environments/production/variables/"
    owner.post(f"{page}remove/", {"key": "APP_KEY"})
    form = undo_on(owner, page)
    assert form
    assert "s3cret-value" not in str(form)
    owner.post(form.address, dict(form.data()))
    with scope(team=world.team):
        assert Variable.objects.get(key="APP_KEY").value == "s3cret-value"


def test_a_channel_is_switched_back(world: World, owner: Client) -> None:
    page = f"/channels/{world.channel.pk}/"
    owner.post(f"{page}switch/", {"on": "no"})
    take_back(owner, page)
    with scope(team=world.team):
        assert Channel.objects.get(pk=world.channel.pk).is_enabled


def test_a_hook_comes_back_to_its_place_and_one_that_was_added_goes(world: World, owner: Client) -> None:
    page = f"{ENVIRONMENT}hooks/"
    for command in ("one", "two", "three"):
        owner.get(page)  # shows what was said, so that only the last is left
        owner.post(f"{page}add/", {"when": "before", "what": "activate", "command": command, "where": "first"})
    take_back(owner, page)
    assert _hooks(world) == ["one", "two"]
    owner.get(page)
    owner.post(f"{page}remove/", {"mark": hook_list(_environment(world))[0]["mark"]})
    assert _hooks(world) == ["two"]
    take_back(owner, page)
    assert _hooks(world) == ["one", "two"]


def test_a_lifted_freeze_is_put_back_with_its_times(world: World, owner: Client) -> None:
    page = f"{ENVIRONMENT}windows/"
    owner.post(f"{page}freeze/", {"reason": "Fair <1>", "begins": "", "ends": "2099-01-02T06:00"})
    [frozen] = _environment(world).freezes
    owner.get(page)
    owner.post(f"{page}lift/", {"number": "1"})
    assert _environment(world).freezes == []
    take_back(owner, page)
    assert _environment(world).freezes == [frozen]
    take_back(owner, page)  # of what was put back
    assert _environment(world).freezes == []


def test_windows_are_what_they_were(world: World, owner: Client) -> None:
    page = f"{ENVIRONMENT}windows/"
    owner.post(f"{page}set/", {"windows": "mon-fri 08:00-17:00", "time_zone": "Europe/Berlin"})
    owner.get(page)
    before = _environment(world).windows
    owner.post(f"{page}set/", {"windows": "", "time_zone": "UTC"})
    take_back(owner, page)
    assert (_environment(world).windows, _environment(world).time_zone) == (before, "Europe/Berlin")


def test_a_budget_is_what_it_was(world: World, owner: Client) -> None:
    owner.post("/projects/shop/disk/", {"megabytes": "70"})
    owner.get("/projects/shop/disk/")
    owner.post("/projects/shop/disk/", {"megabytes": "30"})
    take_back(owner, "/projects/shop/disk/")
    with scope(team=world.team):
        assert Budget.objects.get(project=world.project).megabytes == 70


def test_single_keys_are_switched_back(world: World, viewer: Client) -> None:
    assert "data-keys" in viewer.get("/").content.decode()
    viewer.post("/account/keys/", {"on": "no"})
    assert "data-keys" not in viewer.get("/").content.decode()
    viewer.post("/account/keys/", {"on": "no"})
    take_back(viewer, "/account/")
    assert User.objects.get(pk=world.people["viewer"].pk).uses_keys


def test_a_role_is_given_back(world: World, owner: Client) -> None:
    with scope(team=world.team):
        viewer = Membership.objects.get(user=world.people[Role.VIEWER])
    page = f"/team/members/{viewer.pk}/role/"
    owner.post(page, {"role": "admin"})
    assert actor_get(user=viewer.user, team=world.team).role == Role.ADMIN
    take_back(owner, "/team/")
    assert actor_get(user=viewer.user, team=world.team).role == Role.VIEWER
    assert undo_on(owner, "/team/")  # of the undoing
    owner.post(page, {"role": "viewer"})  # is it already
    assert undo_on(owner, "/team/") is None
    owner.post(page, {"role": "emperor"})
    assert undo_on(owner, "/team/") is None


def test_who_lowers_their_own_role_cannot_take_it_back(world: World, owner: Client) -> None:
    with scope(team=world.team):
        Membership.objects.filter(user=world.people[Role.ADMIN]).update(role=Role.OWNER)
        own = Membership.objects.get(user=world.people[Role.OWNER])
    owner.post(f"/team/members/{own.pk}/role/", {"role": "developer"})
    assert actor_get(user=own.user, team=world.team).role == Role.DEVELOPER
    assert undo_on(owner, "/team/") is None


def test_what_is_asked_of_the_team_is_taken_back(world: World, owner: Client) -> None:
    app_of(world.people[Role.OWNER])
    owner.post("/team/policy/", {"requires_second_factor": "on"})
    take_back(owner, "/team/")
    assert not Team.objects.get(pk=world.team.pk).requires_second_factor


def test_a_grant_and_protection_are_taken_back(world: World, owner: Client) -> None:
    access = "/projects/shop/grants/"
    given = {"email": "viewer@example.test", "actions": ["deploy"], "environment": "production"}
    owner.post(f"{access}add/", given)
    with scope(team=world.team):
        owner.post(f"{access}remove/", {"grant": str(Grant.objects.get().pk)})
        assert not Grant.objects.exists()
        take_back(owner, access)
        grant = Grant.objects.get()
        assert (grant.action, grant.environment, grant.membership.user.email) == (
            "deploy",
            world.environment,
            "viewer@example.test",
        )
        owner.post("/projects/shop/environments/production/protect/", {"on": "yes"})
        take_back(owner, access)
        assert not Environment.objects.get(pk=world.environment.pk).is_protected


def test_ones_name_is_taken_back(world: World, viewer: Client) -> None:
    person = world.people[Role.VIEWER]
    viewer.post("/account/name/", {"name": "  Ada Lovelace "})
    assert User.objects.get(pk=person.pk).name == "Ada Lovelace"
    take_back(viewer, "/account/")
    assert User.objects.get(pk=person.pk).name == person.name
    with scope(team=world.team):
        told = Event.objects.filter(action="user.renamed").order_by("id")
        assert [event.after["name"] for event in told] == ["Ada Lovelace", person.name]


def test_a_part_of_a_page_takes_no_result_from_the_page_that_is_to_show_it(owner: Client) -> None:
    owner.post("/servers/web-1/maintenance/", {"on": "yes"})
    assert "data-toast" not in owner.get("/servers/", headers={"HX-Request": "true"}).content.decode()
    assert undo_on(owner, "/servers/web-1/")


def test_what_cannot_be_taken_back_has_no_such_form(world: World, owner: Client) -> None:
    owner.post("/servers/web-1/remove/")  # is used: it says so
    assert undo_on(owner, "/servers/") is None


def test_a_message_of_others_is_no_form() -> None:
    assert undo_read(Message(constants.SUCCESS, "Saved", extra_tags="wide").extra_tags) is None
