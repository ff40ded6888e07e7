"""Windows and freezes by the API."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from tests.api.conftest import Caller, World
from tests.api.routes import ENVIRONMENT

WEEKDAYS = {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "08:00", "to": "18:00"}


def test_windows_are_settings_of_the_environment(admin: Caller) -> None:
    changed = admin.patch(ENVIRONMENT, {"windows": [WEEKDAYS], "time_zone": "Europe/Berlin"}).json()
    assert (changed["windows"], changed["freezes"], changed["time_zone"]) == ([WEEKDAYS], [], "Europe/Berlin")
    shown = admin.get(f"{ENVIRONMENT}/windows").json()
    assert shown["texts"] == ["mon-fri 08:00-18:00"]
    assert shown["time_zone"] == "Europe/Berlin"
    assert shown["next_opening_there"].split()[-1] in ("CET", "CEST")
    assert shown["is_open"] == (shown["reason"] is None)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"windows": [{"days": ["mon"], "from": "8", "to": "9"}]}, "windows"),
        ({"windows": "always"}, "windows"),
        ({"windows": None}, "windows"),
        ({"freezes": [{"from": "today", "to": None, "reason": "x"}]}, "freezes"),
        ({"time_zone": "Atlantis"}, "time_zone"),
    ],
)
def test_wrong_ones_are_refused_by_their_field(admin: Caller, wrong: dict[str, object], field: str) -> None:
    answer = admin.patch(ENVIRONMENT, wrong)
    assert answer.status_code == 422
    assert [error["field"].split(".")[0] for error in answer.json()["errors"]] == [field]


def test_a_deployment_waits_is_shown_and_is_overridden(admin: Caller, developer: Caller, world: World) -> None:
    until = (timezone.now() + timedelta(hours=2)).replace(microsecond=0)
    frozen = admin.post(f"{ENVIRONMENT}/freezes", {"reason": "Fair", "ends": until.isoformat()}).json()
    assert (frozen["is_open"], frozen["reason"]) == (False, "Frozen: Fair")
    assert [(each["number"], each["state"]) for each in frozen["freezes"]] == [(1, "in force")]
    asked = developer.post(f"{ENVIRONMENT}/deployments", {})
    assert asked.status_code == 202
    made = asked.json()
    assert (made["status"], made["waiting_for"], made["waiting_reason"]) == ("waiting", "window", "Frozen: Fair")
    assert datetime.fromisoformat(made["due_at"]) == until
    assert made["is_ended"] is False
    assert [each["id"] for each in developer.get("deployments?status=waiting").json()["items"]] == [made["id"]]
    assert developer.post(f"deployments/{made['id']}/override", {"reason": "x"}).status_code == 403
    assert admin.post(f"deployments/{made['id']}/override", {"reason": ""}).status_code == 422
    now = admin.post(f"deployments/{made['id']}/override", {"reason": "Checkout is broken"}).json()
    assert (now["status"], now["waiting_for"], now["override_reason"]) == ("queued", None, "Checkout is broken")
    assert "Checkout is broken" in admin.get(f"deployments/{made['id']}/log").getvalue().decode()
    assert admin.post(f"deployments/{made['id']}/override", {"reason": "again"}).status_code == 409


def test_a_request_may_override_at_once(admin: Caller, developer: Caller) -> None:
    admin.post(f"{ENVIRONMENT}/freezes", {"reason": "Fair"})
    refused = admin.post("projects/shop/deploy", {"environment": "production", "override_reason": " "})
    assert refused.status_code == 422
    assert [error["field"] for error in refused.json()["errors"]] == ["override_reason"]
    body = {"environment": "production", "override_reason": "Checkout is broken"}
    assert developer.post("projects/shop/deploy", body).status_code == 403
    made = admin.post("projects/shop/deploy", body).json()
    assert (made["status"], made["override_reason"]) == ("queued", "Checkout is broken")


def test_the_times_of_a_freeze_have_the_same_names_everywhere(admin: Caller) -> None:
    """`from` and `to` as in an environment's settings, `begins` and `ends` as where one is added."""
    wanted = {"from": "2199-12-20T18:00:00", "to": "2199-12-31T08:00:00", "reason": "Christmas"}
    for names in (("from", "to"), ("begins", "ends")):
        body = dict(zip(names, ("2199-12-20 18:00", "2199-12-31 08:00"), strict=True)) | {"reason": "Christmas"}
        added = admin.post(f"{ENVIRONMENT}/freezes", body)
        assert added.status_code == 201, added.content
        (freeze,) = added.json()["freezes"]
        assert {name: freeze[name] for name in wanted} == wanted
        assert freeze["begins"] == "Fri 2199-12-20 18:00 UTC"
        assert admin.patch(ENVIRONMENT, {"freezes": []}).status_code == 200
        assert admin.patch(ENVIRONMENT, {"freezes": [body]}).json()["freezes"] == [wanted]
        admin.patch(ENVIRONMENT, {"freezes": []})
    endless = admin.post(f"{ENVIRONMENT}/freezes", {"reason": "Fair", "from": "2199-12-20 18:00", "to": None})
    assert endless.json()["freezes"][0]["to"] is None


def test_who_sends_an_unknown_field_is_told_the_known_ones(admin: Caller) -> None:
    refused = admin.post(f"{ENVIRONMENT}/freezes", {"reason": "Fair", "until": "2199-12-20"})
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert error == {"field": "until", "message": "There is no such field; there are reason, begins, ends."}
    refused = admin.post(f"{ENVIRONMENT}/freezes", {"reason": 5})
    assert refused.json()["errors"] == [{"field": "reason", "message": "Input should be a valid string"}]


def test_a_freeze_that_would_be_over_is_refused(admin: Caller) -> None:
    body = {"reason": "Fair", "begins": "2019-01-01 00:00", "ends": "2020-01-01 00:00"}
    refused = admin.post(f"{ENVIRONMENT}/freezes", body)
    assert refused.status_code == 422
    assert "in the past" in refused.json()["errors"][0]["message"]


def test_a_freeze_is_lifted_by_its_number(admin: Caller) -> None:
    for reason in ("Fair", "Holiday"):
        admin.post(f"{ENVIRONMENT}/freezes", {"reason": reason})
    left = admin.delete(f"{ENVIRONMENT}/freezes?number=1").json()
    assert [each["reason"] for each in left["freezes"]] == ["Holiday"]
    assert left["next_opening"] is None
    assert admin.delete(f"{ENVIRONMENT}/freezes?number=9").status_code == 404
    assert admin.delete(f"{ENVIRONMENT}/freezes").json()["is_open"] is True
