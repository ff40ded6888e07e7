"""What devices are told by push: read by a browser's keys at a push service on loopback, over TLS."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.utils import timezone
from django_scopes import scopes_disabled
from procrastinate.contrib.django.models import ProcrastinateJob
from pytest_django.fixtures import Settings

from devflow.apps.accounts.models import Membership, Role, Team
from devflow.apps.accounts.services import language_choose
from devflow.apps.deployments import announce, services
from devflow.apps.deployments.models import Deployment, Status, Step, StepStatus
from devflow.apps.notifications import devices, push
from devflow.apps.notifications.models import PushDevice, PushKey, PushMessage
from devflow.core.errors import ConflictError, InvalidError, NotFoundError
from devflow.worker.app import app
from tests.apps.notifications.conftest import run
from tests.support.event_writer import log_in
from tests.support.push_service import AGENT, Browser, add_device, claims_of
from tests.support.receivers import HANGS, Got, Receiver, make_authority, receiver
from tests.support.shop import Shop, at_once

SAID = "connection to postgres://shop:hunter2@db refused"


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    authority = make_authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with receiver(authority.context("127.0.0.1")) as state:
        state.answer(201)
        yield state


@dataclass
class Phones:
    """Devices of the shop's people at the push service, and a worker that sends to them."""

    shop: Shop
    service: Receiver
    browsers: dict[str, Browser] = field(default_factory=dict)

    def add(self, role: str = Role.OWNER, *, path: str = "") -> PushDevice:
        browser = self.browsers.setdefault(role, Browser())
        return add_device(self.shop.actor(role), f"https://127.0.0.1:{self.service.port}/push/{path or role}", browser)

    def deployment(self, status: str, **given: Any) -> Deployment:
        """One that has come so far, which nobody was told of yet."""
        row = services.deployment_request(actor=self.shop.actor(), environment=self.shop.environment)
        with scopes_disabled():
            Deployment.objects.filter(pk=row.pk).update(status=status, **given)
            if status == Status.FAILED:
                step = {
                    "position": 3,
                    "name": "after migrate: curl -u shop:hunter2 x",
                    "phase": "migrate",
                    "server_name": "web1",
                }
                Step.objects.create(team=self.shop.team, deployment=row, status=StepStatus.FAILED, **step)
        return row

    def tell(self, status: str = Status.FAILED, event: str = "deployment.failed", **given: Any) -> Deployment:
        row = self.deployment(status, **given)
        announce.deployment_changed(deployment_id=row.pk, team_id=self.shop.team.pk, event=event)
        return row

    def work(self) -> None:
        """What workers do with the jobs that are due."""
        for job in self.jobs():
            ProcrastinateJob.objects.filter(pk=job.pk).delete()
            run(push.send(message_id=job.args["message_id"]))

    def jobs(self) -> list[Any]:
        return list(ProcrastinateJob.objects.filter(task_name="notifications.push").order_by("id"))

    def told(self) -> list[str]:
        """Who was told something, by the address it went to."""
        return sorted(got.path.removeprefix("/push/") for got in self.service.got)

    def got_by(self, role: str) -> Got:
        [got] = [got for got in self.service.got if got.path == f"/push/{role}"]
        return got

    def devices(self) -> list[PushDevice]:
        with scopes_disabled():
            return list(PushDevice.objects.select_related("user").order_by("id"))

    def waiting(self) -> list[PushMessage]:
        with scopes_disabled():
            return list(PushMessage.objects.all())


@pytest.fixture
def phones(open_for_many: Shop, service: Receiver) -> Phones:
    """Committed: jobs run with connections of their own."""
    return Phones(open_for_many, service)


def test_a_failed_deployment_is_told_and_only_the_browser_can_read_it(phones: Phones) -> None:
    device = phones.add()
    row = phones.tell(error=SAID)
    phones.work()
    [got] = phones.service.got
    browser = phones.browsers[Role.OWNER]
    assert browser.message(got.body) == {
        "title": "Deployment of shop to production failed",
        "body": "Failed: after migrate on web1",
        "url": f"/deployments/{row.pk}/",
        "tag": str(row.pk),
    }
    assert b"production" not in got.body
    sent = {name: got.headers[name] for name in ("content-encoding", "ttl", "urgency")}
    assert sent == {"content-encoding": "aes128gcm", "ttl": "14400", "urgency": "high"}
    assert len(got.headers["topic"]) == 32
    claims = claims_of(got.headers["authorization"], devices.push_key().public)
    assert claims["aud"] == f"https://127.0.0.1:{phones.service.port}"
    assert 0 < claims["exp"] - time.time() <= 24 * 3600
    assert claims["sub"].startswith(("mailto:", "https://"))
    assert phones.waiting() == []
    [device] = phones.devices()
    assert device.last_used_at is not None
    assert (device.problem, device.name, device.host) == ("", "Chrome on Android", "127.0.0.1")


def test_what_is_kept_is_sealed_and_the_keys_are_made_once(phones: Phones) -> None:
    results = at_once(4, lambda _: devices.push_key().public)
    assert len({str(each) for each in results}) == 1
    phones.add()
    with connection.cursor() as cursor:
        cursor.execute("SELECT d::text, k::text FROM notifications_pushdevice d, notifications_pushkey k")
        [(device, key)] = cursor.fetchall()
    assert "/push/" not in device
    assert phones.browsers[Role.OWNER].auth not in device
    assert "PRIVATE" not in key
    assert b"PRIVATE" not in bytes(PushKey.objects.get().private_sealed)
    assert PushKey.objects.get().private.startswith("-----BEGIN PRIVATE KEY-----")


def test_who_may_end_a_wait_is_told_of_it(phones: Phones) -> None:
    for role in Role.values:
        phones.add(role)
    phones.tell(Status.WAITING, announce.WAITING, waiting_for="window")
    phones.work()
    assert phones.told() == ["admin", "owner"]
    phones.service.got.clear()
    held = phones.deployment(Status.VERIFYING, strategy="canary")
    services.deployment_steer(actor=phones.shop.actor(Role.ADMIN), deployment=held, action="hold")
    phones.work()
    assert phones.told() == ["developer", "owner"], "who holds it knows, and a viewer has no say"
    told = phones.browsers[Role.DEVELOPER].message(
        next(got.body for got in phones.service.got if got.path.endswith("developer"))
    )
    assert told["body"].startswith("Its canary is on hold: resume, promote or abort it.")
    phones.service.got.clear()
    services.deployment_steer(actor=phones.shop.actor(Role.ADMIN), deployment=held, action="resume")
    for event, status in (("deployment.succeeded", Status.SUCCESS), ("deployment.cancelled", Status.CANCELLED)):
        phones.tell(status, event)
    phones.work()
    assert phones.told() == []


def test_rights_are_asked_for_when_it_is_sent(phones: Phones) -> None:
    left, ended, renamed, inactive, stays = (phones.add(role) for role in (*Role.values, "stranger"))
    assert stays.team_id != left.team_id
    stays = phones.add(Role.OWNER, path="second")
    phones.tell()
    people = phones.shop.people
    with scopes_disabled():
        Session.objects.filter(session_key=left.session_key).delete()
        Membership.objects.filter(user=ended.user).delete()
        renamed.user.set_password("another long phrase")
        renamed.user.save()
        people[Role.VIEWER].is_active = False
        people[Role.VIEWER].save()
    assert len(phones.jobs()) == 5
    phones.work()
    assert phones.told() == ["second"]
    assert {device.pk for device in phones.devices()} == {stays.pk, *stranger_devices(phones)}
    assert inactive.user_id == people[Role.VIEWER].pk


def stranger_devices(phones: Phones) -> set[Any]:
    return {device.pk for device in phones.devices() if device.user == phones.shop.people["stranger"]}


def test_a_team_that_wants_second_factors_tells_nobody_without(phones: Phones) -> None:
    phones.add()
    phones.tell()
    Team.objects.filter(pk=phones.shop.team.pk).update(requires_second_factor=True)
    phones.work()
    assert (phones.told(), phones.waiting(), len(phones.devices())) == ([], [], 1)


def test_each_person_reads_it_in_the_language_of_their_pages(phones: Phones) -> None:
    phones.add()
    phones.add(Role.VIEWER)
    language_choose(user=phones.shop.people[Role.VIEWER], language="de")
    phones.tell()
    phones.work()
    told = {role: browser.message(phones.got_by(role).body) for role, browser in phones.browsers.items()}
    assert {role: (each["title"], each["body"]) for role, each in told.items()} == {
        Role.OWNER: ("Deployment of shop to production failed", "Failed: after migrate on web1"),
        Role.VIEWER: (
            "Deployment von shop nach production ist fehlgeschlagen",
            "Fehlgeschlagen: after migrate auf web1",
        ),
    }


@pytest.mark.parametrize("status", [404, 410])
def test_a_device_that_is_gone_is_forgotten(phones: Phones, status: int) -> None:
    phones.add()
    phones.service.answer(status)
    phones.tell()
    phones.tell()
    phones.work()
    assert (len(phones.service.got), phones.devices(), phones.waiting(), phones.jobs()) == (1, [], [], [])


def test_what_failed_for_now_is_sent_later_and_not_for_ever(phones: Phones) -> None:
    device = phones.add()
    phones.service.answer((429, {"Retry-After": "600"}, b""), 503)
    phones.tell()
    phones.work()
    [job] = phones.jobs()
    assert 590 < (job.scheduled_at - timezone.now()).total_seconds() <= 600
    waits = []
    for _ in push.WAITS_SECONDS:
        phones.work()
        waits += [(job.scheduled_at - timezone.now()).total_seconds() for job in phones.jobs()]
    assert [0.8 * wait - 2 <= real <= 1.2 * wait for wait, real in zip(push.WAITS_SECONDS[1:], waits, strict=True)]
    assert (phones.waiting(), phones.jobs(), len(phones.service.got)) == ([], [], 6)
    [device] = phones.devices()
    assert device.problem == "127.0.0.1 answered 503."
    phones.service.answer(201)
    phones.tell()
    phones.work()
    assert phones.devices()[0].problem == ""


def test_what_is_too_large_is_said_in_short(phones: Phones) -> None:
    phones.add()
    phones.service.answer(413, 201)
    phones.tell()
    phones.work()
    full, short = (phones.browsers[Role.OWNER].message(got.body) for got in phones.service.got)
    assert full["body"] == "Failed: after migrate on web1"
    assert short == {**full, "body": ""}
    phones.service.answer(413)
    phones.tell()
    phones.work()
    assert (phones.devices()[0].problem, phones.jobs()) == ("127.0.0.1 answered 413.", [])


@pytest.mark.parametrize("status", [400, 401, 403, 302, HANGS])
def test_what_is_refused_for_good_is_shown_without_the_words_of_the_service(
    phones: Phones, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(push, "TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(push, "WAITS_SECONDS", ())
    phones.add()
    phones.service.answer((status, {"Location": "https://127.0.0.1:1/"}, b"inner secret of the network"))
    phones.tell()
    phones.work()
    problem = phones.devices()[0].problem
    assert problem.startswith("127.0.0.1 ")
    assert "inner" not in problem
    assert (len(phones.service.got), phones.waiting(), phones.jobs()) == (1, [], [])


def test_an_address_inside_is_not_asked(phones: Phones, settings: Settings) -> None:
    device = phones.add()
    settings.ALLOW_PRIVATE_ADDRESSES = ()
    phones.tell()
    phones.work()
    assert phones.service.got == []
    assert "not a public address" in phones.devices()[0].problem
    with scopes_disabled():
        device.address = json.dumps(
            {**json.loads(device.address), "endpoint": f"https://localhost:{phones.service.port}/"}
        )
        device.save()
    phones.tell()
    phones.work()
    assert phones.service.got == []


def test_it_is_told_with_the_transaction_and_costs_little(phones: Phones) -> None:
    row = phones.deployment(Status.FAILED)
    changed = {"deployment_id": row.pk, "team_id": phones.shop.team.pk, "event": "deployment.failed"}
    statements: list[str] = []

    def count(execute: Any, sql: str, *rest: Any) -> Any:
        statements.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(count):
        announce.deployment_changed(**changed)
    assert len(statements) <= 3, "nobody is to be told"
    for number in range(devices.MOST):
        phones.add(path=f"phone-{number}")
    with pytest.raises(ConflictError, match="10 devices"):
        phones.add(path="one-more")
    with transaction.atomic():
        announce.deployment_changed(**changed)
        assert len(phones.waiting()) == devices.MOST
        transaction.set_rollback(True)
    assert (phones.waiting(), phones.jobs()) == ([], [])


def test_a_test_is_sent_by_the_worker_s_own_task_to_one_s_own_device_alone(phones: Phones) -> None:
    device = phones.add(Role.VIEWER)
    with pytest.raises(NotFoundError):
        push.push_test(user=phones.shop.people[Role.OWNER], device_id=device.pk)
    push.push_test(user=device.user, device_id=device.pk)
    with pytest.raises(ConflictError):
        push.push_test(user=device.user, device_id=device.pk)
    [job] = phones.jobs()
    run(app.tasks["notifications.push"].func(**job.args))
    [got] = phones.service.got
    told = phones.browsers[Role.VIEWER].message(got.body)
    assert (told["title"], told["url"]) == ("This is a test", "/account/#devices")


def test_services_that_hang_leave_room_for_others(phones: Phones) -> None:
    phones.add()
    phones.tell()

    async def work() -> None:
        push._places[0] = 0
        try:
            await push.send(message_id=phones_jobs[0].args["message_id"])
        finally:
            push._places[0] = push.MOST_AT_ONCE

    phones_jobs = phones.jobs()
    run(work())
    assert phones.service.got == []
    assert len(phones.jobs()) == 2, "it is tried soon"


def test_a_browser_in_other_hands_tells_its_new_person_only(phones: Phones) -> None:
    phones.add(Role.OWNER, path="shared")
    renewed = {"endpoint": f"https://127.0.0.1:{phones.service.port}/push/shared"}
    browser = phones.browsers[Role.OWNER]
    given = {**renewed, "p256dh": browser.p256dh, "auth": browser.auth}
    viewer = phones.shop.people[Role.VIEWER]
    assert devices.device_renew(user=viewer, session_key="x", known=[], agent=AGENT, **given) == []
    own = phones.add(Role.VIEWER, path="own")
    taken = devices.device_renew(user=viewer, session_key="x", known=[str(own.pk)], agent=AGENT, **given)
    assert taken == [], "nor can it be taken by its address"
    phones.add(Role.VIEWER, path="shared")
    assert [device.user for device in phones.devices()] == [viewer, viewer]
    results = at_once(4, lambda n: phones.add([Role.OWNER, Role.VIEWER][n % 2], path="raced"))
    assert all(isinstance(each, PushDevice | ConflictError) for each in results), results
    [raced] = [device for device in phones.devices() if json.loads(device.address)["endpoint"].endswith("raced")]
    assert raced.user in (viewer, phones.shop.people[Role.OWNER])


def test_a_browser_may_change_its_address_and_its_session(phones: Phones) -> None:
    device = phones.add()
    user = device.user
    given = {"p256dh": Browser().p256dh, "auth": Browser().auth}
    moved = f"https://127.0.0.1:{phones.service.port}/push/moved"
    stranger = phones.shop.people["stranger"]
    known = [str(device.pk)]
    found = devices.device_renew(user=stranger, session_key="x", known=known, agent=AGENT, endpoint=moved, **given)
    assert found == []
    key = log_in(user).partition(".")[0]
    Session.objects.filter(session_key=device.session_key).delete()
    [found_one] = devices.device_renew(user=user, session_key=key, known=known, agent=AGENT, endpoint=moved, **given)
    assert found_one.pk == device.pk
    assert [each.pk for each in devices.device_list(user=user)] == [device.pk]
    phones.tell()
    phones.work()
    assert phones.told() == ["moved"]


def test_devices_of_ended_sessions_are_not_listed_and_old_ones_are_cleaned_up(phones: Phones) -> None:
    ended, lapsed, unseen = (phones.add(path=each) for each in ("ended", "lapsed", "unseen"))
    Session.objects.filter(session_key=ended.session_key).delete()
    Session.objects.filter(session_key=lapsed.session_key).update(expire_date=timezone.now() - timedelta(days=1))
    phones.tell()
    with scopes_disabled():
        PushMessage.objects.update(created_at=timezone.now() - timedelta(days=2))
        PushDevice.objects.filter(pk=unseen.pk).update(seen_at=timezone.now() - timedelta(days=91))
    push.push_clean()
    assert phones.waiting() == []
    assert [each.pk for each in devices.device_list(user=lapsed.user)] == [lapsed.pk]
    assert [each.pk for each in phones.devices()] == [lapsed.pk]


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "http://push.example/x",
        "https://",
        "https:///x",
        "ftp://push.example/x",
        "javascript:alert(1)",
        "https://user:password@push.example/x",
        "https://@push.example/x",
        "https://push.example/a b",
        "https://push.example/\nHost: x",
        "https://push.example:0/x",
        "https://push.example:99999/x",
        "https://[::1]/x",
        "https://10.0.0.1/x",
        "https://169.254.169.254/latest/",
        "https://[::ffff:10.0.0.1]/x",
        "https://pu\u0455h.example/x",
        "https://push.example/" + "x" * 1000,
    ],
)
def test_only_addresses_of_push_services_are_taken(shop: Shop, endpoint: str) -> None:
    browser = Browser()
    keys = {"p256dh": browser.p256dh, "auth": browser.auth}
    with pytest.raises(InvalidError):
        devices.device_add(actor=shop.actor(), session_key="x", agent="", endpoint=endpoint, **keys)


@pytest.mark.parametrize("keys", [("", ""), ("A" * 87, "A" * 22), ("B" + "A" * 86, "AAAAAAAAAAAAAAAAAAAAAA")])
def test_only_keys_of_browsers_are_taken(shop: Shop, keys: tuple[str, str]) -> None:
    given = {"endpoint": "https://push.example/x", "p256dh": keys[0], "auth": keys[1]}
    with pytest.raises(InvalidError):
        devices.device_add(actor=shop.actor(), session_key="x", agent="", **given)
