"""What waits on a channel is sent: in order, again after what is for now, never again after what is for good."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone
from django_scopes import scope
from procrastinate.contrib.django.models import ProcrastinateJob
from pytest_django.fixtures import Settings

from devflow.apps.deployments import services as deployments
from devflow.apps.notifications import jobs, services
from devflow.apps.notifications.channels.webhook import Webhook
from devflow.apps.notifications.messages import Message
from devflow.apps.notifications.models import HOLDS_UP_ATTEMPTS, Channel, Notification
from devflow.core.errors import ConflictError
from devflow.worker.app import app
from tests.apps.notifications.conftest import FULL, Channels, run
from tests.support.receivers import CLOSES, Receiver, receiver
from tests.support.shop import at_once


@pytest.fixture
def service() -> Any:
    with receiver() as state:
        yield state


@pytest.fixture
def channel(channels: Channels, service: Receiver) -> Channel:
    return channels.add("webhook", settings={"url": service.url, "secret": "0123456789abcdef"})


def titles(service: Receiver) -> list[str]:
    return [json.loads(got.body)["title"] for got in service.got]


def test_a_message_is_sent_and_signed(channels: Channels, channel: Channel, service: Receiver) -> None:
    services.notify(team=channels.shop.team, project_id=None, event="deployment.failed", subject="0198", message=FULL)
    channels.send(channel)
    [got] = service.got
    # as a receiver verifies it, by the words of the guide
    signed = got.headers["x-devflow-timestamp"].encode() + b"." + got.body
    expected = "sha256=" + hmac.new(b"0123456789abcdef", signed, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(expected, got.headers["x-devflow-signature"])
    assert abs(int(got.headers["x-devflow-timestamp"]) - timezone.now().timestamp()) < 60
    row = channels.row(channel)
    assert got.headers["x-devflow-delivery"] == json.loads(got.body)["id"] == str(row.pk)
    assert got.headers["x-devflow-event"] == json.loads(got.body)["event"] == "deployment.failed"
    assert got.headers["content-type"] == "application/json"
    assert (row.status, row.attempts, row.response_status, row.error) == ("sent", 1, 200, "")
    assert row.finished_at is not None


def test_languages_of_channels_do_not_mix(channels: Channels, service: Receiver) -> None:
    """Two are sent at a time, by one worker; what machines read of a message stays as it is."""
    settings = {"url": service.url}
    german = channels.add("webhook", "german", settings=settings, language="de")
    english = channels.add("webhook", "english", settings=settings)
    slack = channels.add("slack", settings=settings, language="de")
    channels.tell("Deployment of shop to production failed", status="failed", trigger="manual", url="/x")

    async def both() -> None:
        await asyncio.gather(*(jobs.send(channel_id=str(each.pk)) for each in (german, english, slack)))

    run(both())
    told = [json.loads(got.body) for got in service.got]
    [buttons] = [each["attachments"][0]["blocks"][-1]["elements"] for each in told if "attachments" in each]
    assert buttons[0]["text"]["text"] == "In DevFlow öffnen"
    assert {(each["title"], each["status"], each["trigger"]) for each in told if "title" in each} == {
        ("Deployment von shop nach production ist fehlgeschlagen", "failed", "manual"),
        ("Deployment of shop to production failed", "failed", "manual"),
    }


def test_only_channels_that_want_it_are_told(channels: Channels, service: Receiver) -> None:
    blog = channels.shop.add_environment("blog")  # of the same project
    settings = {"url": service.url}
    of_shop = channels.add("slack", "of the shop", settings=settings, project_id=channels.shop.project.pk)
    starts = channels.add("slack", "starts", settings=settings, events=["deployment.started"])
    off = channels.add("slack", "off", settings=settings)
    services.channel_update(actor=channels.shop.actor(), channel=off, is_enabled=False)
    team_wide = channels.add("slack", "team", settings=settings)
    assert blog.project_id == channels.shop.project.pk
    assert channels.tell() == 2
    assert [len(channels.rows(each)) for each in (of_shop, team_wide, starts, off)] == [1, 1, 0, 0]
    services.notify(
        team=channels.shop.team, project_id=None, event="server.offline", subject="1", message=Message(title="Off")
    )
    assert [len(channels.rows(each)) for each in (of_shop, team_wide)] == [1, 2]


def test_nothing_is_told_when_what_is_told_of_is_taken_back(channels: Channels, channel: Channel) -> None:
    with transaction.atomic():
        assert channels.tell() == 1
        transaction.set_rollback(True)
    assert channels.rows(channel) == []
    assert due_jobs(channel) == 0


def test_telling_many_channels_takes_few_statements(channels: Channels, service: Receiver) -> None:
    for number in range(5):
        channels.add("slack", f"channel {number}", settings={"url": service.url})
    with CaptureCount() as captured:
        assert channels.tell() == 5
    assert captured.count <= 3  # the channels, the rows, the jobs
    assert service.got == []


class CaptureCount:
    """Counts the statements of a block."""

    def __enter__(self) -> CaptureCount:
        self.count = 0
        self._wrapper = connection.execute_wrapper(self._counted)
        self._wrapper.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._wrapper.__exit__(*error)

    def _counted(self, execute: Any, *arguments: Any) -> Any:
        self.count += 1
        return execute(*arguments)


@pytest.mark.usefixtures("no_jitter")
def test_what_failed_for_now_is_sent_later(channels: Channels, channel: Channel, service: Receiver) -> None:
    service.answer(500, 200)
    channels.tell()
    before = timezone.now()
    channels.send(channel)
    row = channels.row(channel)
    assert (row.status, row.attempts, row.response_status) == ("pending", 1, 500)
    assert "127.0.0.1 answered 500 Internal Server Error: said so" in row.error
    assert row.next_attempt_at is not None
    waits = (row.next_attempt_at - before).total_seconds()
    assert jobs.WAITS_SECONDS[0] <= waits < jobs.WAITS_SECONDS[0] + 15
    channels.send(channel)
    assert len(service.got) == 1, "it waits for its time"
    channels.make_due(channel)
    channels.send(channel)
    row = channels.row(channel)
    assert (row.status, row.attempts, row.response_status, row.error) == ("sent", 2, 200, "")
    first, second = service.got
    assert first.headers["x-devflow-delivery"] == second.headers["x-devflow-delivery"], "a repeat can be known"


@pytest.mark.usefixtures("no_jitter")
def test_the_waits_grow_until_it_is_given_up(channels: Channels, channel: Channel, service: Receiver) -> None:
    service.answer(CLOSES)
    channels.tell()
    waits = []
    for _ in range(20):
        channels.make_due(channel)
        before = timezone.now()
        channels.send(channel)
        row = channels.row(channel)
        if row.finished_at is not None:
            break
        assert row.next_attempt_at is not None
        waits.append((row.next_attempt_at - before).total_seconds())
    assert [round(wait / 15) for wait in waits] == [round(each / 15) for each in jobs.WAITS_SECONDS]
    assert timedelta(hours=20) < timedelta(seconds=sum(waits)) < timedelta(hours=28)
    assert (row.status, row.attempts) == ("failed", 8)
    assert "broke the connection" in row.error
    assert channels.channel(channel).problem == "", "the address may be right"


def test_waits_are_jittered() -> None:
    waits = {jobs._wait_seconds(2, None) for _ in range(50)}
    assert len(waits) > 10
    assert all(0.8 * 60 <= wait <= 1.2 * 60 for wait in waits)
    assert jobs._wait_seconds(1, 600) == 600
    assert jobs._wait_seconds(1, 1e9) == jobs.LONGEST_RETRY_AFTER_SECONDS


def test_retry_after_is_obeyed(channels: Channels, channel: Channel, service: Receiver) -> None:
    service.answer((429, {"Retry-After": "120"}, b""))
    channels.tell()
    before = timezone.now()
    channels.send(channel)
    row = channels.row(channel)
    assert row.next_attempt_at is not None
    assert 119 <= (row.next_attempt_at - before).total_seconds() < 150


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 302])
def test_what_is_refused_for_good_is_shown(
    channels: Channels, channel: Channel, service: Receiver, status: int
) -> None:
    service.answer(status, 200)
    channels.tell("first")
    channels.tell("second")
    channels.send(channel)
    first, second = channels.rows(channel)
    assert (first.status, first.attempts, first.response_status) == ("failed", 1, status)
    assert str(status) in first.error
    assert second.status == "sent", "a message that was refused holds up none"
    assert channels.channel(channel).problem == "", "the service takes messages again"
    service.answer(status)
    channels.tell("third")
    channels.send(channel)
    assert str(status) in channels.channel(channel).problem
    assert "secret-part" not in channels.channel(channel).problem


def test_messages_come_in_order(channels: Channels, channel: Channel, service: Receiver) -> None:
    service.answer(200, 503, 200)
    for number in range(5):
        channels.tell(f"{number}")
    channels.send(channel)
    assert titles(service) == ["0", "1"]
    channels.send(channel)
    assert titles(service) == ["0", "1"], "the first that waits holds up the others"
    channels.make_due(channel)
    channels.send(channel)
    assert titles(service) == ["0", "1", "1", "2", "3", "4"]


def test_a_message_that_fails_again_and_again_steps_aside(
    channels: Channels, channel: Channel, service: Receiver
) -> None:
    service.answer(500, 500, 500, 200)
    channels.tell("bad")
    channels.tell("good")
    for _ in range(HOLDS_UP_ATTEMPTS):
        channels.make_due(channel)
        channels.send(channel)
    channels.send(channel)
    assert titles(service) == ["bad", "bad", "bad", "good"]
    bad, good = channels.rows(channel)
    assert (bad.status, good.status) == ("pending", "sent")


def test_many_workers_send_each_message_once(channels: Channels, channel: Channel, service: Receiver) -> None:
    for number in range(10):
        channels.tell(f"{number}")
    results = at_once(4, lambda _: run(jobs.send(channel_id=str(channel.pk))))
    channels.send(channel)
    assert not [each for each in results if isinstance(each, Exception)]
    assert titles(service) == [str(number) for number in range(10)]


def test_what_a_dead_worker_was_sending_is_sent_again(channels: Channels, channel: Channel, service: Receiver) -> None:
    """It cannot be known whether it came, so it is sent again, with the same id."""
    channels.tell()
    assert jobs._claim(str(channel.pk)) is not None
    channels.send(channel)
    assert service.got == [], "perhaps it is only slow"
    assert channels.row(channel).status == "sending"
    services.notifications_adopt()
    assert due_jobs(channel) == 1, "the one of notify"
    channels.make_due(channel)
    channels.send(channel)
    row = channels.row(channel)
    assert (row.status, row.attempts, len(service.got)) == ("sent", 2, 1)


def test_a_frozen_worker_writes_nothing_when_it_comes_back(
    channels: Channels, channel: Channel, service: Receiver
) -> None:
    channels.tell()
    frozen = jobs._claim(str(channel.pk))
    assert frozen is not None
    channels.make_due(channel)
    channels.send(channel)
    service.answer(404)
    run(jobs._attempt(frozen))
    row = channels.row(channel)
    assert (row.status, row.attempts, row.response_status) == ("sent", 2, 200)
    assert channels.channel(channel).problem == ""


def due_jobs(channel: Channel) -> int:
    jobs_ = ProcrastinateJob.objects.filter(task_name="notifications.send", status="todo")
    return sum(job.args["channel_id"] == str(channel.pk) for job in jobs_)


def test_what_no_job_carries_is_adopted(channels: Channels, channel: Channel, service: Receiver) -> None:
    service.answer(503)
    channels.tell("first")
    channels.tell("held up by it")
    channels.send(channel)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_jobs")
    services.notifications_adopt()
    assert due_jobs(channel) == 0, "its time has not come"
    channels.make_due(channel)
    services.notifications_adopt()
    services.notifications_adopt()
    assert due_jobs(channel) == 1


def test_a_worker_sends_by_its_own_task(channels: Channels, channel: Channel, service: Receiver) -> None:
    channels.tell()
    assert due_jobs(channel) == 1
    task = app.tasks["notifications.send"]
    run(task.func(channel_id=str(channel.pk)))
    assert channels.row(channel).status == "sent"


def test_hanging_services_leave_room_for_others(channels: Channels, channel: Channel, service: Receiver) -> None:
    channels.tell()

    async def work() -> None:
        jobs._places[0] = 0
        try:
            await asyncio.wait_for(jobs.send(channel_id=str(channel.pk)), 5)
        finally:
            jobs._places[0] = jobs.MOST_AT_ONCE

    run(work())
    assert service.got == []
    channels.send(channel)
    assert len(service.got) == 1
    assert jobs._places == [jobs.MOST_AT_ONCE]


def test_a_fault_of_the_panel_is_told_and_not_tried_for_ever(
    channels: Channels, channel: Channel, service: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise KeyError("oh")

    channels.tell()
    with monkeypatch.context() as patch:
        patch.setattr(Webhook, "send", broken)
        channels.send(channel)
    row = channels.row(channel)
    assert (row.status, row.error[:35]) == ("failed", "The panel had a fault of its own (K")


def test_a_private_address_is_refused_with_advice(
    channels: Channels, channel: Channel, service: Receiver, settings: Settings
) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = ()
    channels.tell()
    channels.send(channel)
    assert service.got == []
    row = channels.row(channel)
    assert row.status == "failed"
    assert "DEVFLOW_ALLOW_PRIVATE_ADDRESSES" in row.error
    assert "DEVFLOW_ALLOW_PRIVATE_ADDRESSES" in channels.channel(channel).problem


def test_what_waited_on_a_channel_that_was_switched_off_is_dropped(
    channels: Channels, channel: Channel, service: Receiver
) -> None:
    channels.tell()
    services.channel_update(actor=channels.shop.actor(), channel=channel, is_enabled=False)
    test = services.channel_test(actor=channels.shop.actor(), channel=channel)
    channels.send(channel)
    row, tested = channels.rows(channel)
    assert (row.status, row.error) == ("failed", "The channel is switched off.")
    assert (tested.pk, tested.status) == (test.pk, "sent")


def test_a_removed_channel_is_no_fault(channels: Channels, channel: Channel) -> None:
    channels.tell()
    services.channel_remove(actor=channels.shop.actor(), channel=channel)
    channels.send(channel)


def test_a_test_goes_first_and_is_tried_once(channels: Channels, channel: Channel, service: Receiver) -> None:
    service.answer(503)
    channels.tell("waits")
    channels.send(channel)
    services.channel_test(actor=channels.shop.actor(), channel=channel)
    channels.send(channel)
    waits, test = channels.rows(channel)
    assert (waits.status, waits.attempts) == ("pending", 1)
    assert (test.status, test.attempts, test.response_status) == ("failed", 1, 503)
    assert json.loads(service.got[1].body)["event"] == "test"


def test_a_failed_delivery_is_tried_again_by_hand(channels: Channels, channel: Channel, service: Receiver) -> None:
    service.answer(410, 200)
    channels.tell()
    channels.send(channel)
    row = channels.row(channel)
    services.notification_retry(actor=channels.shop.actor(), notification=row)
    assert (row.status, row.attempts) == ("pending", 0)
    channels.send(channel)
    assert channels.row(channel).status == "sent"
    with pytest.raises(ConflictError):
        services.notification_retry(actor=channels.shop.actor(), notification=row)


def test_old_deliveries_are_forgotten_in_passing(channels: Channels, channel: Channel) -> None:
    def age(title: str, days: float) -> None:
        with scope(team=channels.shop.team):
            Notification.objects.filter(message__title=title).update(created_at=timezone.now() - timedelta(days=days))

    for title in ("old", "kept", "new"):
        channels.tell(title)
    channels.send(channel)
    age("old", 31)
    age("kept", 29)
    channels.tell("next")
    channels.send(channel)
    assert len(channels.rows(channel)) == 4, "it was looked for a moment ago"
    jobs._forgot_at.clear()
    channels.send(channel)
    assert [row.message["title"] for row in channels.rows(channel)] == ["kept", "new", "next"]


def test_secrets_are_sealed_and_never_shown(channels: Channels, channel: Channel, service: Receiver) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(c)::text FROM notifications_channel c")
        [(stored,)] = cursor.fetchall()
    assert "secret-part" not in stored
    assert "0123456789abcdef" not in stored
    assert channel.address == "127.0.0.1"
    service.answer(400)
    channels.tell()
    channels.send(channel)
    assert "secret-part" not in channels.row(channel).error


# --- what is told of --------------------------------------------------------------------------------------------------


def test_a_cancelled_deployment_is_told_and_a_superseded_one_is_not(channels: Channels, service: Receiver) -> None:
    shop = channels.shop
    channel = channels.add("webhook", settings={"url": service.url}, events=["deployment.cancelled"])
    deployments.deployment_request(actor=shop.actor(), environment=shop.environment)
    second = deployments.deployment_request(actor=shop.actor(), environment=shop.environment)
    assert channels.rows(channel) == []
    deployments.deployment_cancel(actor=shop.actor(), deployment=second)
    row = channels.row(channel)
    assert (row.event, row.subject) == ("deployment.cancelled", str(second.pk))
    assert row.message["title"] == "Deployment of shop to production was cancelled"
    assert row.message["error"] == "Cancelled by owner@example.test."
    assert row.message["url"].endswith(f"/deployments/{second.pk}/")
    assert datetime.fromisoformat(row.message["occurred_at"]).tzinfo is not None
