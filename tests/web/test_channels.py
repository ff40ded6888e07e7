"""The pages of channels."""

from __future__ import annotations

import json
import re

import pytest
from django.test import Client
from django.utils import timezone
from django_scopes import scope

from devflow.apps.accounts.models import Role
from devflow.apps.notifications import selectors
from devflow.apps.notifications.models import Channel, Notification, NotificationStatus
from devflow.core.names import uuid7
from tests.web.nasty import NASTY
from tests.web.world import World

SLACK = {
    "name": "#deployments",
    "setting_url": "https://hooks.slack.com/services/secret-part",
    "events": ["deployment.failed", "server.offline"],
}


def find(world: World, name: str) -> Channel:
    return selectors.channel_get(actor=world.actor(), channel_id=name)


def test_an_empty_list_says_the_next_step(owner: Client, viewer: Client) -> None:
    page = owner.get("/channels/").content.decode()
    assert "Nobody is told yet" in page
    for kind in ("slack", "discord", "teams", "email", "webhook"):
        assert f"/add/channel/{kind}/" in page
    page = viewer.get("/channels/").content.decode()
    assert "An owner or admin of Acme can add one" in page
    assert "/add/channel/" not in page


def test_a_channel_is_added_and_its_secret_not_shown_again(owner: Client, world: World) -> None:
    answer = owner.post("/add/channel/slack/", SLACK)
    channel = find(world, "#deployments")
    assert (answer.status_code, answer["Location"]) == (302, f"/channels/{channel.pk}/")
    assert channel.events == SLACK["events"]
    for address in ("/channels/", f"/channels/{channel.pk}/", f"/channels/{channel.pk}/change/"):
        page = owner.get(address).content.decode()
        assert "#deployments" in page
        assert "secret-part" not in page
    assert "hooks.slack.com" in owner.get(f"/channels/{channel.pk}/").content.decode()


def test_messages_are_in_the_language_that_is_chosen(owner: Client, world: World) -> None:
    page = owner.get("/add/channel/slack/", headers={"accept-language": "de"}).content.decode()
    assert '<option value="de" selected>Deutsch</option>' in page  # that of who adds it, until they choose another
    owner.post("/add/channel/slack/", SLACK | {"language": "de"})
    channel = find(world, "#deployments")
    assert channel.language == "de"
    owner.post(f"/channels/{channel.pk}/change/", {**SLACK, "setting_url": ""})
    assert find(world, "#deployments").language == "de"
    assert "Deutsch" in owner.get(f"/channels/{channel.pk}/").content.decode()
    refused = owner.post(f"/channels/{channel.pk}/change/", {**SLACK, "setting_url": "", "language": "tlh"})
    assert "tlh is not one of the available choices" in refused.content.decode()


def test_a_change_keeps_the_secret(owner: Client, world: World) -> None:
    owner.post("/add/channel/slack/", SLACK)
    channel = find(world, "#deployments")
    answer = owner.post(f"/channels/{channel.pk}/change/", {**SLACK, "name": "#ops", "setting_url": "", "events": []})
    assert answer.status_code == 302, answer.content.decode()
    changed = find(world, "#ops")
    assert json.loads(changed.settings)["url"] == SLACK["setting_url"]
    assert changed.events == []
    assert "no event is chosen" in owner.get(f"/channels/{channel.pk}/").content.decode()


def test_a_secret_that_the_panel_made_is_shown_once(owner: Client, world: World) -> None:
    answer = owner.post("/add/channel/webhook/", {"name": "mine", "setting_url": "https://example.com/x"})
    secret = json.loads(find(world, "mine").settings)["secret"]
    assert secret in answer.content.decode()
    assert answer["Cache-Control"] == "no-store"
    assert secret not in owner.get(f"/channels/{find(world, 'mine').pk}/change/").content.decode()


def test_a_mail_channel_shows_all_but_the_password(owner: Client, world: World) -> None:
    typed = {
        "name": "mail",
        "setting_to": "ada@example.com bob@example.com",
        "setting_host": "smtp.example.com",
        "setting_port": "465",
        "setting_encryption": "tls",
        "setting_user": "devflow",
        "setting_password": " hunter2 hunter2 ",
    }
    assert owner.post("/add/channel/email/", typed).status_code == 302
    channel = find(world, "mail")
    assert json.loads(channel.settings)["password"] == "hunter2 hunter2"
    page = owner.get(f"/channels/{channel.pk}/change/").content.decode()
    assert "hunter2" not in page
    for shown in ("ada@example.com bob@example.com", "smtp.example.com", "465"):
        assert shown in page
    assert re.search(r'<option value="tls" selected>', page)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ({"setting_url": ""}, "This field is required"),
        ({"setting_url": "nonsense"}, "Give a full address"),
        ({"name": ""}, "This field is required"),
        ({"project": "nothing"}, "nothing is not one of the available choices"),
        ({"events": ["deployment.exploded"]}, "deployment.exploded is not one of the available choices"),
    ],
)
def test_what_is_wrong_is_told_at_its_field(owner: Client, typed: dict[str, str], message: str) -> None:
    answer = owner.post("/add/channel/slack/", {**SLACK, **typed})
    assert answer.status_code == 422
    assert message in answer.content.decode()


def test_a_taken_name_is_told(owner: Client) -> None:
    owner.post("/add/channel/slack/", SLACK)
    answer = owner.post("/add/channel/slack/", SLACK)
    assert answer.status_code == 422
    assert "There is a channel" in answer.content.decode()


def test_an_unknown_kind_is_not_found(owner: Client) -> None:
    assert owner.get("/add/channel/pager/").status_code == 404


def test_a_channel_of_a_project(owner: Client, world: World) -> None:
    assert "/channels/?project=shop" in owner.get("/projects/shop/").content.decode()
    page = owner.get("/channels/?project=shop").content.decode()
    assert "/add/channel/slack/?project=shop" in page
    assert re.search(r'<option value="shop" selected>', owner.get("/add/channel/slack/?project=shop").content.decode())
    owner.post("/add/channel/slack/", {**SLACK, "project": "shop"})
    assert find(world, "#deployments").project == world.project
    assert owner.get("/channels/?project=nothing").status_code == 404


def test_a_test_is_waited_for_and_its_outcome_shown(owner: Client, world: World) -> None:
    address = f"/channels/{world.channel.pk}/"
    answer = owner.post(f"{address}test/")
    assert answer.status_code == 302
    assert answer["Location"].startswith(f"{address}?since=")
    page = owner.get(answer["Location"]).content.decode()
    assert "Sending a test" in page
    assert f'hx-get="{address}state/?since=' in page
    state = answer["Location"].replace(address, f"{address}state/")
    finish(world, status=NotificationStatus.FAILED, error="hooks.slack.com answered 404 Not Found: no_service")
    page = owner.get(state).content.decode()
    assert "The test was not sent. hooks.slack.com answered 404 Not Found: no_service" in page
    assert "hx-get" not in page
    finish(world, status=NotificationStatus.SENT, response_status=200, error="")
    assert "The test was sent: it was answered 200" in owner.get(state).content.decode()
    assert "The test was sent" not in owner.get(address).content.decode()


def finish(world: World, **values: object) -> None:
    with scope(team=world.team):
        Notification.objects.filter(channel=world.channel).update(finished_at=timezone.now(), attempts=1, **values)


def test_deliveries_are_listed_and_tried_again(owner: Client, viewer: Client, world: World) -> None:
    address = f"/channels/{world.channel.pk}/"
    assert "Nothing was sent yet" in owner.get(address).content.decode()
    retry = f"{address}deliveries/{world.notification.pk}/retry/"
    finish(world, status=NotificationStatus.FAILED, error="it was refused")
    page = owner.get(address).content.decode()
    assert "This is a test of the channel #shop" in page
    assert "it was refused" in page
    assert retry in page
    assert retry not in viewer.get(address).content.decode()
    page = owner.post(retry, follow=True).content.decode()
    assert "It is being tried again" in page
    finish(world, status=NotificationStatus.SENT)
    assert "This was sent" in owner.post(retry, follow=True).content.decode()
    assert owner.post(f"{address}deliveries/{uuid7()}/retry/").status_code == 404


def test_a_channel_that_fails_for_now_says_so_in_the_lists(owner: Client, world: World) -> None:
    for tried, error in ((3, "No answer."), (0, "")):
        with scope(team=world.team):
            Notification.objects.create(
                team=world.team, channel=world.channel, event="test", attempts=tried, error=error
            )
    for address in ("/channels/", f"/channels/{world.channel.pk}/"):
        page = owner.get(address).content.decode()
        assert "Failing" in page
        assert "2 pending" in page
    told = owner.get("/api/v1/channels").json()["items"][0]
    assert told["failing_since"]
    assert told["pending"] == 2
    with scope(team=world.team):
        Notification.objects.update(status=NotificationStatus.SENT)
    assert "Failing" not in owner.get("/channels/").content.decode()


def test_a_channel_that_is_refused_warns(owner: Client, world: World) -> None:
    with scope(team=world.team):
        Channel.objects.filter(pk=world.channel.pk).update(problem="hooks.slack.com answered 410 Gone")
    assert "Refused" in owner.get("/channels/").content.decode()
    page = owner.get(f"/channels/{world.channel.pk}/").content.decode()
    assert "The last message was refused for good. hooks.slack.com answered 410 Gone" in page


def test_a_channel_is_switched_off_and_on_and_removed(owner: Client, world: World) -> None:
    address = f"/channels/{world.channel.pk}/"
    owner.post(f"{address}switch/", {"on": "no"})
    assert not find(world, "#shop").is_enabled
    assert "Switch on" in owner.get(address).content.decode()
    owner.post(f"{address}switch/", {"on": "yes"})
    assert find(world, "#shop").is_enabled
    page = owner.post(f"{address}remove/", follow=True).content.decode()
    assert "The channel #shop is removed" in page
    assert owner.get(address).status_code == 404


def test_old_deliveries_page(owner: Client, world: World) -> None:
    with scope(team=world.team):
        Notification.objects.bulk_create(
            Notification(team=world.team, channel=world.channel, event="test", message={"title": f"number {number:02}"})
            for number in range(60)
        )
    address = f"/channels/{world.channel.pk}/"
    page = owner.get(address).content.decode()
    assert page.count("number ") == 50
    older = re.search(r'href="(\?before=[0-9a-f-]+)"', page)
    assert older
    shown = owner.get(address + older[1]).content.decode()
    assert shown.count("number ") == 10
    assert ("data-live" in page, "data-live" in shown) == (True, False), "older ones do not give way to the newest"


@pytest.mark.parametrize("text", NASTY)
def test_nasty_input_breaks_nothing(owner: Client, text: str) -> None:
    for typed in ({"name": text}, {"setting_url": text}, {"events": [text]}, {"project": text}):
        assert owner.post("/add/channel/slack/", {**SLACK, **typed}).status_code in (302, 422)
    for field in ("setting_to", "setting_host", "setting_port", "setting_sender", "setting_user"):
        mail = {"name": "m", "setting_to": "a@example.com", "setting_host": "h", "setting_encryption": "tls"}
        assert owner.post("/add/channel/email/", {**mail, field: text}).status_code in (302, 422)
    assert owner.get("/channels/").status_code == 200


def test_roles(world: World) -> None:
    assert world.client(Role.DEVELOPER).get(f"/channels/{world.channel.pk}/").status_code == 200
    assert "Send test" not in world.client(Role.DEVELOPER).get(f"/channels/{world.channel.pk}/").content.decode()
