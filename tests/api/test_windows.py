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
    body = {"environment": "production", "override_reason": "Checkout is broken"}
    assert developer.post("projects/shop/deploy", body).status_code == 403
    made = admin.post("projects/shop/deploy", body).json()
    assert (made["status"], made["override_reason"]) == ("queued", "Checkout is broken")


def test_a_freeze_is_lifted_by_its_number(admin: Caller) -> None:
    for reason in ("Fair", "Holiday"):
        admin.post(f"{ENVIRONMENT}/freezes", {"reason": reason})
    left = admin.delete(f"{ENVIRONMENT}/freezes?number=1").json()
    assert [each["reason"] for each in left["freezes"]] == ["Holiday"]
    assert left["next_opening"] is None
    assert admin.delete(f"{ENVIRONMENT}/freezes?number=9").status_code == 404
    assert admin.delete(f"{ENVIRONMENT}/freezes").json()["is_open"] is True
