"""Channels by the API: their schema is made from what each kind declares."""

from __future__ import annotations

from typing import Any

import jsonschema

from devflow.api.urls import api
from devflow.apps.notifications.channels import CHANNELS
from tests.api.conftest import Caller
from tests.api.test_routes import assert_problem

SLACK = {"kind": "slack", "name": "#ops", "settings": {"url": "https://hooks.slack.com/services/secret-part"}}


def schema() -> dict[str, Any]:
    properties = api.get_openapi_schema()["components"]["schemas"]["ChannelIn"]["properties"]
    return dict(properties["settings"])


def test_the_schema_knows_each_kind() -> None:
    described = schema()["anyOf"]
    assert len(described) == len(CHANNELS)
    [mail] = [each for each in described if "email" in each["title"]]
    assert mail["required"] == ["to"]
    assert mail["properties"]["encryption"]["enum"] == ["starttls", "tls", "none"]
    assert mail["properties"]["password"]["writeOnly"]
    jsonschema.validate(SLACK["settings"], {"anyOf": described})
    assert not jsonschema.Draft202012Validator({"anyOf": described}).is_valid({"nonsense": 1})


def test_kinds_and_events_are_told(viewer: Caller) -> None:
    told = viewer.get("channel-kinds").json()
    assert [kind["kind"] for kind in told["kinds"]] == list(CHANNELS)
    webhook = next(kind for kind in told["kinds"] if kind["kind"] == "webhook")
    assert [(each["name"], each["is_secret"], each["is_generated"]) for each in webhook["settings"]] == [
        ("url", True, False),
        ("secret", True, True),
    ]
    assert {"event": "deployment.failed", "title": "A deployment failed", "is_default": True} in told["events"]


def test_a_channel_lives(admin: Caller) -> None:
    added = admin.post("channels", SLACK | {"project": "shop", "events": ["deployment.failed"]})
    assert added.status_code == 201, added.content
    channel = added.json()
    assert (channel["address"], channel["project"], channel["generated"]) == ("hooks.slack.com", "shop", {})
    assert "secret-part" not in added.content.decode()
    assert admin.get("channels/%23ops").json()["id"] == channel["id"]
    assert channel["language"] == "en"
    assert admin.patch(f"channels/{channel['id']}", {"language": "de"}).json()["language"] == "de"
    refused = admin.patch(f"channels/{channel['id']}", {"language": "tlh"})
    assert_problem(refused, 422)
    assert "Choose one of: en, de." in refused.content.decode()
    changed = admin.patch(f"channels/{channel['id']}", {"project": None, "is_enabled": False, "events": []}).json()
    assert changed["language"] == "de"
    assert (changed["project"], changed["is_enabled"], changed["events"]) == (None, False, [])
    assert [each["name"] for each in admin.get("channels?project=shop").json()["items"]] == ["#ops"]
    test = admin.post(f"channels/{channel['id']}/test").json()
    assert (test["status"], test["event"], test["attempts"]) == ("pending", "test", 0)
    [delivery] = admin.get(f"channels/{channel['id']}/deliveries").json()["items"]
    assert delivery == test
    assert admin.delete(f"channels/{channel['id']}").status_code == 204
    assert_problem(admin.get(f"channels/{channel['id']}"), 404)


def test_a_made_secret_is_told_once_and_alike_when_asked_again(admin: Caller) -> None:
    body = {"kind": "webhook", "name": "w", "settings": {"url": "https://example.com/"}}
    first, second = (admin.ask("POST", "channels", body, **{"Idempotency-Key": "k1"}) for _ in range(2))
    assert first.json()["generated"]["secret"]
    assert second.json() == first.json()
    assert "generated" not in admin.get("channels/w").json()


def test_what_is_wrong_is_told_at_its_field(admin: Caller) -> None:
    for body, field in (
        (SLACK | {"settings": {"url": "nonsense"}}, "settings.url"),
        (SLACK | {"settings": {}}, "settings.url"),
        (SLACK | {"settings": {"url": "https://example.com", "port": 1}}, "settings.port"),
        (SLACK | {"settings": []}, "settings"),
        (SLACK | {"kind": "pager"}, "kind"),
        (SLACK | {"events": ["nonsense"]}, "events"),
        (SLACK | {"colour": "red"}, "colour"),
    ):
        problem = assert_problem(admin.post("channels", body), 422)
        assert [each["field"] for each in problem["errors"]] == [field]
    assert_problem(admin.post("channels", SLACK | {"project": "nothing"}), 404)


def test_deliveries_page(admin: Caller) -> None:
    channel = admin.post("channels", SLACK).json()["id"]
    sent = [admin.post(f"channels/{channel}/test").json()["id"] for _ in range(5)]
    first = admin.get(f"channels/{channel}/deliveries?limit=3").json()
    second = admin.get(f"channels/{channel}/deliveries?limit=3&cursor={first['next']}").json()
    assert [each["id"] for each in first["items"] + second["items"]] == sent[::-1]
    assert second["next"] is None
