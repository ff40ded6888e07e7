"""How requests reach an environment, by the API: strategy, proxy, domains, ports; the site files on its servers."""

from __future__ import annotations

from typing import Any

import pytest
from django_scopes import scopes_disabled

from devflow.apps.projects.models import Environment
from tests.api.conftest import Caller
from tests.api.routes import ENVIRONMENT

EDITED = {"state": "edited", "sum": "ab", "text": "# Checksum: 0\nserver { listen 81; }\n"}


def put_state(**servers: Any) -> None:
    with scopes_disabled():
        state = {"at": "2026-11-21T10:00:00+00:00", "servers": servers}
        Environment.objects.filter(project__slug="shop", name="production").update(proxy_state=state)


def test_settings_are_taken_and_told(admin: Caller) -> None:
    before = admin.get(ENVIRONMENT).json()
    assert (before["proxy"], before["domains"], before["port"], before["balancer"]) == ("", [], None, "")
    given = {
        "strategy": "blue-green",
        "strategy_options": {"drain_seconds": "60"},
        "proxy": "nginx",
        "domains": ["Shop.example.com"],
        "upload_mb": 200,
        "balancer": "web1",
        "builder": "web1",
    }
    changed = admin.patch(ENVIRONMENT, given).json()
    assert {name: changed[name] for name in given} == {**given, "domains": ["shop.example.com"]}
    assert changed["port"] == 21000
    assert admin.patch(ENVIRONMENT, {"balancer": "", "port": 22000}).json()["port"] == 22000


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"domains": ["shop;"]}, "domains"),
        ({"proxy": "apache"}, "proxy"),
        ({"port": 80}, "port"),
        ({"upload_mb": 0}, "upload_mb"),
        ({"builder": "nobody"}, "builder"),
        ({"strategy": "blue-green", "strategy_options": {"checks": "x"}}, "strategy_options.checks"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(admin: Caller, wrong: dict[str, Any], field: str) -> None:
    answer = admin.patch(ENVIRONMENT, wrong)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_a_site_file_edited_by_hand_is_shown_and_taken_over(admin: Caller) -> None:
    admin.patch(ENVIRONMENT, {"proxy": "nginx", "domains": ["shop.example.com"]})
    assert admin.post(f"{ENVIRONMENT}/proxy/look").status_code == 202
    assert admin.post(f"{ENVIRONMENT}/proxy/replace").status_code == 409
    put_state(**{"web-1": EDITED, "web-2": {"error": "away"}})
    shown = admin.get(f"{ENVIRONMENT}/proxy").json()
    assert "server_name shop.example.com;" in shown["text"]
    assert [(each["server"], each["state"], each["error"]) for each in shown["servers"]] == [
        ("web-1", "edited", None),
        ("web-2", None, "away"),
    ]
    assert admin.post(f"{ENVIRONMENT}/proxy/adopt", {"server": "web-2"}).status_code == 409
    taken = admin.post(f"{ENVIRONMENT}/proxy/adopt", {"server": "web-1"}).json()
    assert taken["text"] == "server { listen 81; }\n"
    assert taken["servers"][0]["is_accepted"]
    assert admin.get(ENVIRONMENT).json()["proxy_template"] == "server { listen 81; }"


def test_replacing_is_for_what_was_seen(admin: Caller) -> None:
    put_state(**{"web-1": EDITED})
    assert admin.post(f"{ENVIRONMENT}/proxy/replace").json()["servers"][0]["is_accepted"]
    put_state(**{"web-1": {**EDITED, "sum": "cd"}})
    assert not admin.get(f"{ENVIRONMENT}/proxy").json()["servers"][0]["is_accepted"]
