"""Channels are added, changed and removed by those who manage the team; their secrets stay the panel's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from devflow.apps.accounts.models import Role
from devflow.apps.notifications import selectors, services
from devflow.apps.notifications.channels import CHANNELS
from devflow.apps.notifications.events import EVENTS, default_events
from devflow.apps.notifications.models import Channel
from devflow.core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from tests.support.shop import Shop

SLACK = {"url": "https://hooks.slack.com/services/T0/B0/secret-part"}
MAIL = {
    "to": "ada@example.com, bob@example.com",
    "host": "smtp.example.com",
    "user": "u",
    "password": "hunter2-hunter2",
}


def add(shop: Shop, kind: str = "slack", name: str = "mine", **given: Any) -> Channel:
    settings = given.pop("settings", SLACK)
    channel, _ = services.channel_add(actor=shop.actor(), kind=kind, name=name, settings=settings, **given)
    return channel


def stored(shop: Shop, channel: Channel) -> dict[str, Any]:
    found = selectors.channel_get(actor=shop.actor(), channel_id=str(channel.pk))
    return dict(json.loads(found.settings))


def test_a_channel_is_told_of_the_usual_events(shop: Shop) -> None:
    channel = add(shop)
    assert channel.events == default_events()
    assert {"deployment.failed", "deployment.rolled_back", "server.offline"} <= set(channel.events)
    assert "deployment.started" not in channel.events
    assert channel.address == "hooks.slack.com"
    assert stored(shop, channel) == SLACK


def test_settings_get_their_types_and_defaults(shop: Shop) -> None:
    channel = add(shop, "email", settings=MAIL)
    assert stored(shop, channel) == {
        "to": ["ada@example.com", "bob@example.com"],
        "host": "smtp.example.com",
        "port": 587,
        "encryption": "starttls",
        "user": "u",
        "password": "hunter2-hunter2",
        "sender": "",
    }
    assert channel.address == "ada@example.com and 1 more"


def test_a_secret_is_made_where_none_is_given(shop: Shop) -> None:
    settings = {"url": "https://example.com/hook"}
    channel, made = services.channel_add(actor=shop.actor(), kind="webhook", name="w", settings=settings)
    assert len(made["secret"]) >= 32
    assert stored(shop, channel)["secret"] == made["secret"]
    own = {**settings, "secret": "0123456789abcdef"}
    _, made = services.channel_add(actor=shop.actor(), kind="webhook", name="x", settings=own)
    assert made == {}


@pytest.mark.parametrize(
    ("kind", "settings", "field"),
    [
        ("slack", {}, "url"),
        ("slack", {"url": ""}, "url"),
        ("slack", {"url": "hooks.slack.com/x"}, "url"),
        ("slack", {"url": "ftp://example.com"}, "url"),
        ("slack", {"url": "https://user:pw@example.com/"}, "url"),
        ("slack", {"url": "https://exa mple.com/"}, "url"),
        ("slack", {"url": "https://example.com:99999/"}, "url"),
        ("slack", {"url": "https://[::1"}, "url"),
        ("slack", {"url": 5}, "url"),
        ("slack", {"url": "https://example.com/" + "x" * 3000}, "url"),
        ("slack", {"url": "https://example.com/\x00"}, "url"),
        ("slack", {**SLACK, "token": "x"}, "token"),
        ("webhook", {"url": "https://example.com", "secret": "short"}, "secret"),
        ("email", {}, "to"),
        ("email", {**MAIL, "to": "not an address"}, "to"),
        ("email", {**MAIL, "to": ["a@b.c\nBcc: d@e.f"]}, "to"),
        ("email", {**MAIL, "to": [{"a": 1}]}, "to"),
        ("email", {**MAIL, "to": 7}, "to"),
        ("email", {**MAIL, "to": [f"a{number}@example.com" for number in range(51)]}, "to"),
        ("email", {**MAIL, "port": "99999"}, "port"),
        ("email", {**MAIL, "port": "²"}, "port"),
        ("email", {**MAIL, "port": True}, "port"),
        ("email", {**MAIL, "encryption": "rot13"}, "encryption"),
        ("email", {**MAIL, "encryption": "none"}, "encryption"),
        ("email", {**MAIL, "sender": "Ada <ada@example.com>"}, "sender"),
        ("email", {"to": "ada@example.com", "user": "u"}, "host"),
    ],
)
def test_wrong_settings_are_refused_at_their_field(shop: Shop, kind: str, settings: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidError) as caught:
        add(shop, kind, settings=settings)
    assert list(caught.value.errors) == [f"settings.{field}"]
    assert "hunter2" not in str(caught.value)
    assert "secret-part" not in str(caught.value)


def test_what_else_is_wrong_is_refused(shop: Shop) -> None:
    for given, field in (
        ({"kind": "pager"}, "kind"),
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"events": ["deployment.exploded"]}, "events"),
    ):
        with pytest.raises(InvalidError) as caught:
            add(shop, **given)
        assert field in caught.value.errors
    add(shop)
    with pytest.raises(ConflictError, match="'mine'"):
        add(shop)
    other = add(shop, name="other")
    with pytest.raises(ConflictError, match="'mine'"):
        services.channel_update(actor=shop.actor(), channel=other, name="mine")
    strangers = shop.actor("stranger")
    services.channel_add(actor=strangers, kind="slack", name="mine", settings=SLACK)


def test_a_change_keeps_what_is_not_given(shop: Shop) -> None:
    channel = add(shop, "email", settings=MAIL)
    changed = services.channel_update(
        actor=shop.actor(), channel=channel, settings={"to": "eve@example.com", "password": ""}, events=[]
    )
    assert changed.address == "eve@example.com"
    assert changed.events == []
    assert stored(shop, channel) == {**stored(shop, channel), "password": "hunter2-hunter2", "host": "smtp.example.com"}
    services.channel_update(actor=shop.actor(), channel=channel, name="renamed", project_id=shop.project.pk)
    found = selectors.channel_get(actor=shop.actor(), channel_id="renamed")
    assert (found.pk, found.project_id) == (channel.pk, shop.project.pk)
    services.channel_update(actor=shop.actor(), channel=channel, project_id=None)
    assert selectors.channel_get(actor=shop.actor(), channel_id="renamed").project is None


def test_a_password_does_not_follow_to_another_host(shop: Shop) -> None:
    channel = add(shop, "email", settings=MAIL)
    for password in ({}, {"password": ""}):
        with pytest.raises(InvalidError, match="give it again") as caught:
            services.channel_update(
                actor=shop.actor(), channel=channel, settings={"host": "mine.example.org", **password}
            )
        assert list(caught.value.errors) == ["settings.password"]
    assert stored(shop, channel)["host"] == "smtp.example.com"
    services.channel_update(actor=shop.actor(), channel=channel, settings={"host": "smtp.example.com", "port": 465})
    assert stored(shop, channel)["password"] == "hunter2-hunter2"
    given = {"host": "mine.example.org", "password": "another"}
    services.channel_update(actor=shop.actor(), channel=channel, settings=given)
    assert stored(shop, channel).items() >= given.items()
    without = add(shop, "email", name="without", settings={**MAIL, "user": "", "password": ""})
    services.channel_update(actor=shop.actor(), channel=without, settings={"host": "mine.example.org"})


@pytest.mark.parametrize("given", [{"user": ""}, {"password": None}, {"host": "mine.example.org", "user": ""}])
def test_a_password_is_forgotten(shop: Shop, given: dict[str, str | None]) -> None:
    channel = add(shop, "email", settings=MAIL)
    services.channel_update(actor=shop.actor(), channel=channel, settings=given)
    assert stored(shop, channel)["password"] == ""


@pytest.mark.parametrize(
    ("kind", "settings", "field"),
    [
        ("webhook", {"url": "http://10.1.2.3/x"}, "url"),
        ("slack", {"url": "https://[fd00::1]/x"}, "url"),
        ("email", {**MAIL, "host": "192.168.0.7"}, "host"),
    ],
)
def test_a_literal_private_address_is_refused_when_it_is_saved(
    shop: Shop, kind: str, settings: dict[str, str], field: str
) -> None:
    with pytest.raises(InvalidError, match="is a private address") as caught:
        add(shop, kind, settings=settings)
    assert list(caught.value.errors) == [f"settings.{field}"]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.DEVELOPER])
def test_only_who_manages_changes_channels(shop: Shop, role: str) -> None:
    channel = add(shop)
    row = services.channel_test(actor=shop.actor(), channel=channel)
    weak = shop.actor(role)
    for refused in (
        lambda: services.channel_add(actor=weak, kind="slack", name="x", settings=SLACK),
        lambda: services.channel_update(actor=weak, channel=channel, name="x"),
        lambda: services.channel_test(actor=weak, channel=channel),
        lambda: services.notification_retry(actor=weak, notification=row),
        lambda: services.channel_remove(actor=weak, channel=channel),
    ):
        with pytest.raises(ForbiddenError):
            refused()
    assert selectors.channel_list(actor=weak) == [channel]


def test_another_team_sees_and_is_told_nothing(shop: Shop) -> None:
    channel = add(shop)
    row = services.channel_test(actor=shop.actor(), channel=channel)
    stranger = shop.actor("stranger")
    assert selectors.channel_list(actor=stranger) == []
    for key in (str(channel.pk), channel.name):
        with pytest.raises(NotFoundError):
            selectors.channel_get(actor=stranger, channel_id=key)
    assert selectors.notification_list(actor=stranger, channel=channel) == []
    with pytest.raises(NotFoundError):
        selectors.notification_get(actor=stranger, channel=channel, notification_id=str(row.pk))


def test_every_kind_says_what_it_is() -> None:
    for name, kind in CHANNELS.items():
        assert kind.name == name
        assert kind.title
        assert kind.summary.endswith(".")
        assert all(field.label for field in kind.fields)
        # what is secret never has a default, and is a text
        assert all(field.default == "" for field in kind.fields if field.is_secret)
    assert all(each.title for each in EVENTS.values())
