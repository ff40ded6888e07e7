"""The ordered record: numbers without gaps, whoever writes at the same time."""

from __future__ import annotations

import json
import uuid

import psycopg
from django.db import connection, transaction
from django_scopes import scope

from devflow.apps.deployments import events, selectors, services
from devflow.apps.deployments.events import NewEvent
from devflow.apps.deployments.models import Deployment
from tests.support.shop import Shop, at_once


def deployment_of(shop: Shop) -> Deployment:
    return services.deployment_request(actor=shop.actor(), environment=shop.environment)


def append(deployment: Deployment, *new: NewEvent, claim: uuid.UUID | None = None) -> bool:
    with transaction.atomic():
        return events.append(team_id=deployment.team_id, deployment_id=deployment.pk, events=list(new), claim=claim)


def log(*lines: str) -> NewEvent:
    return NewEvent(
        "deployment.log", {"server": "web1", "step": None}, "".join(f"{line}\n" for line in lines), len(lines)
    )


def test_events_are_numbered_and_count_the_log(shop: Shop) -> None:
    made = deployment_of(shop)
    append(made, NewEvent("deployment.started"), log("one", "zwei ü"))
    append(made, log("three"))
    found = selectors.event_list(deployment_id=made.pk, after_seq=0)
    assert [(event.seq, event.kind, event.line, event.log_offset) for event in found] == [
        (1, "deployment.started", 1, 0),
        (2, "deployment.log", 1, 0),
        (3, "deployment.log", 3, 12),
    ]
    assert found[1].data == {"server": "web1", "step": None, "line": 1}
    now = shop.deployment(made)
    assert (now.last_seq, now.log_lines, now.log_bytes) == (3, 3, 18)
    assert [event.seq for event in selectors.event_list(deployment_id=made.pk, after_seq=2)] == [3]


def test_text_of_any_kind_is_kept(shop: Shop) -> None:
    made = deployment_of(shop)
    text = "\x1b[31m{\"a\": 'b'}, \\N NULL $$ 日本\t\x1b[0m"
    append(made, log(text))
    assert selectors.event_list(deployment_id=made.pk, after_seq=0)[0].text == f"{text}\n"


def test_who_lost_the_claim_writes_nothing(shop: Shop) -> None:
    made, ours, theirs = deployment_of(shop), uuid.uuid4(), uuid.uuid4()
    with scope(team=shop.team):
        Deployment.objects.filter(pk=made.pk).update(claim=theirs)
    assert not append(made, log("late"), claim=ours)
    assert not append(made, log("nobody's"))
    assert append(made, log("in time"), claim=theirs)
    assert [event.text for event in selectors.event_list(deployment_id=made.pk, after_seq=0)] == ["in time\n"]


def test_no_event_is_no_news_but_says_whether_the_claim_holds(shop: Shop) -> None:
    made = deployment_of(shop)
    assert append(made)
    assert not append(made, claim=uuid.uuid4())
    assert selectors.event_list(deployment_id=made.pk, after_seq=0) == []


def test_writers_at_the_same_time_leave_no_gap_and_nothing_out_of_order(open_for_many: Shop) -> None:
    made = deployment_of(open_for_many)

    def write(writer: int) -> None:
        for number in range(10):
            append(made, log(f"{writer}.{number}"), log("second"))

    assert at_once(6, write) == [None] * 6
    found = selectors.event_list(deployment_id=made.pk, after_seq=0)
    assert [event.seq for event in found] == list(range(1, 121))
    assert [event.line for event in found] == list(range(1, 121))
    offset = 0
    for event in found:
        assert event.log_offset == offset
        offset += len(event.text.encode())
    text = b"".join(selectors.log_read(actor=open_for_many.actor(), deployment=made))
    assert len(text) == open_for_many.deployment(made).log_bytes == offset


def test_what_was_rolled_back_leaves_no_gap(open_for_many: Shop) -> None:
    made = deployment_of(open_for_many)
    append(made, log("one"))
    with transaction.atomic():
        events.append(team_id=made.team_id, deployment_id=made.pk, events=[log("lost")])
        transaction.set_rollback(True)  # as when the worker dies here
    append(made, log("two"))
    assert [(event.seq, event.text) for event in selectors.event_list(deployment_id=made.pk, after_seq=0)] == [
        (1, "one\n"),
        (2, "two\n"),
    ]


def test_news_are_announced_on_commit(open_for_many: Shop) -> None:
    made = deployment_of(open_for_many)
    parameters = {
        key: value
        for key, value in connection.get_connection_params().items()
        if key not in ("cursor_factory", "context")
    }
    with psycopg.connect(**parameters, autocommit=True) as listener:
        listener.execute(f"LISTEN {events.EVENTS_CHANNEL}")
        listener.execute(f"LISTEN {events.CONTROL_CHANNEL}")
        append(made, log("one"), log("two"))
        with transaction.atomic():
            events.announce_cancel(made.pk)
        heard = [(notice.channel, json.loads(notice.payload)) for notice in listener.notifies(timeout=5, stop_after=2)]
    assert heard == [
        ("devflow_events", {"d": str(made.pk), "s": 2}),
        ("devflow_control", {"cancel": str(made.pk)}),
    ]


# --- reading the log --------------------------------------------------------------------------------------------------


def test_the_log_from_any_byte(shop: Shop) -> None:
    made = deployment_of(shop)
    for number in range(250):
        append(made, log(f"line {number}"), NewEvent("deployment.step", {"step": str(number)}))
    whole = "".join(f"line {number}\n" for number in range(250)).encode()
    for offset in (0, 1, 7, 8, 100, len(whole) - 1, len(whole), len(whole) + 5):
        assert b"".join(selectors.log_read(actor=shop.actor(), deployment=made, offset=offset)) == whole[offset:]


def test_the_log_of_another_team_is_empty(shop: Shop) -> None:
    made = deployment_of(shop)
    append(made, log("secret"))
    assert b"".join(selectors.log_read(actor=shop.actor("stranger"), deployment=made)) == b""
