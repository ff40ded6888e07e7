"""The audit log by the API."""

from __future__ import annotations

import json

import pytest

from devflow.apps.audit import access_log, chain
from devflow.apps.audit.services import audit_record
from tests.api.conftest import Caller, World


def test_events_are_paged_without_gap_or_repetition(admin: Caller, world: World) -> None:
    for number in range(7):
        audit_record(team=world.owner.team, who="x", action="thing.done", target=str(number))
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        page = admin.get(f"audit?action=thing.done&limit=3&cursor={cursor}").json()
        seen += [event["target"] for event in page["items"]]
        cursor = page["next"]
    assert seen == ["6", "5", "4", "3", "2", "1", "0"]


def test_an_event_tells_the_token_and_the_address(admin: Caller) -> None:
    made = admin.post("tokens", {"name": "ci", "scopes": ["read"]}).json()
    (event,) = admin.get("audit?action=token.created&text=ci").json()["items"]
    assert (event["who"], event["token"], event["address"]) == ("ada@example.test", "admin", "127.0.0.1")
    assert (event["target"], event["target_id"]) == ("ci", made["id"])
    assert made["token"] not in json.dumps(event)
    assert admin.get(f"audit/{event['id']}").json() == event


@pytest.mark.parametrize("path", ["audit", "audit/export", "audit/verify", "audit/requests"])
def test_only_who_may_read_it(path: str, reader: Caller, developer: Caller, viewer: Caller, nobody: Caller) -> None:
    assert [who.get(path).status_code for who in (reader, developer, viewer, nobody)] == [403, 403, 403, 401]


def test_another_teams_events_are_not_there(admin: Caller, outsider: Caller) -> None:
    event = admin.get("audit").json()["items"][0]
    assert outsider.get(f"audit/{event['id']}").status_code == 404
    assert event["id"] not in json.dumps(outsider.get("audit?limit=200").json())
    assert event["id"] not in b"".join(outsider.get("audit/export").streaming_content).decode()


def test_the_export_verifies_as_the_panel_does(admin: Caller) -> None:
    answer = admin.get("audit/export")
    assert answer["Content-Type"].startswith("application/jsonl")
    verdict = chain.verify(json.loads(line) for line in b"".join(answer.streaming_content).splitlines())
    told = admin.get("audit/verify").json()
    assert told == {
        "is_whole": True,
        "events": verdict.events,
        "erased": 0,
        "head": verdict.last_hash,
        "problems": [],
    }


@pytest.mark.parametrize(
    "query",
    ["since=yesterday", "format=xml", "limit=0", "panel=perhaps", "who=" + "x" * 300, "since=2026-01-01T00:00:00"],
)
def test_bad_filters_are_refused(admin: Caller, query: str) -> None:
    assert admin.get(f"audit/export?{query}" if "format" in query else f"audit?{query}").status_code == 422


@pytest.mark.parametrize(
    ("at", "status"),
    [("0881-06-22T22:01:07-22:26", 200), ("2026-01-01T00:00:00%2B23:59", 200), ("0001-01-01T00:00:00%2B01:00", 422)],
)
def test_times_far_away_and_with_large_offsets(admin: Caller, at: str, status: int) -> None:
    """RFC 3339 allows offsets up to 23:59, PostgreSQL less than 16 hours."""
    assert admin.get(f"audit?since={at}").status_code == status
    assert admin.get(f"audit?until={at}").status_code == status


def test_the_panels_log_is_for_its_administrators(admin: Caller) -> None:
    assert admin.get("audit?panel=true").status_code == 403
    assert admin.get("audit?project=nowhere").status_code == 404
    assert admin.get("audit/not-an-id").status_code == 404


def test_requests_tell_who_and_how_long(admin: Caller, world: World) -> None:
    admin.get("projects/shop")
    admin.get("projects/nowhere")
    access_log.flush()
    missing, found = admin.get("audit/requests?route=projects").json()["items"][:2]  # others' requests are older
    assert (found["method"], found["status"], missing["status"]) == ("GET", 200, 404)
    assert found["route"] == missing["route"]
    assert "shop" not in found["route"]
    assert found["user_id"] == str(world.owner.user.pk)
    assert found["token_id"] is not None
    assert found["duration_ms"] > 0
