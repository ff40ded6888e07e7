"""What owners are told of: by the team's channels, and by mail."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import LazySettings
from django.core import mail
from django.db import connection
from django.utils import translation
from django_scopes import scopes_disabled

from devflow.apps.accounts.models import Role
from devflow.apps.accounts.services import language_choose, token_create
from devflow.apps.audit import jobs
from devflow.apps.audit.context import request_context
from devflow.apps.audit.devices import device_seen, family_of, network_of
from devflow.apps.audit.models import Event
from devflow.apps.audit.services import audit_record, person_record
from devflow.apps.notifications.models import Notification
from devflow.apps.notifications.services import channel_add
from devflow.apps.told import told as told_in
from tests.support.shop import Shop

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"
CHROME = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"


@pytest.fixture(autouse=True)
def _told(shop: Shop) -> Any:
    settings = {"url": "https://hooks.slack.com/services/secret-part"}
    channel_add(actor=shop.actor(), kind="slack", name="#alerts", settings=settings)
    with scopes_disabled():
        yield


def work() -> None:
    """What a worker does with what was queued."""
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM procrastinate_jobs WHERE task_name IN ('audit.look', 'audit.mail')"
                " RETURNING task_name, args ->> 'event_id'"
            )
            found = cursor.fetchall()
        if not found:
            return
        for task, event_id in found:
            (jobs.look if task == "audit.look" else jobs.mail)(event_id)


def told() -> list[tuple[str, str]]:
    work()
    return list(Notification.objects.order_by("created_at").values_list("event", "message__title"))


def test_a_new_device_is_told_of_and_a_known_one_is_not(shop: Shop) -> None:
    user = shop.people[Role.DEVELOPER]
    for address, agent in [("192.0.2.7", FIREFOX), ("192.0.2.200", FIREFOX)]:
        log_in(user, address, agent)
    assert told() == []
    log_in(user, "192.0.2.7", CHROME)
    log_in(user, "192.0.2.7", CHROME)
    assert told() == [("security.new_device", "developer@example.test logged in with a new device")]


def log_in(user: Any, address: str, agent: str) -> None:
    with request_context(address=address, user_agent=agent):
        family, is_new = device_seen(user=user, user_agent=agent, address=address)
        person_record(team=None, user=user, action="login.succeeded", after={"device": family, "is_new_device": is_new})


def test_failures_are_told_of_once(shop: Shop) -> None:
    for number in range(8):
        with request_context(address="198.51.100.9"):
            audit_record(
                team=None, who="somebody", action="login.failed", target="Owner@example.test", outcome="failed"
            )
        assert len(told()) == (number >= 4), "five make one alert"
    events = Event.objects.filter(team=shop.team, action="login.failed")
    assert events.count() == 8
    assert {(event.address, event.outcome) for event in events} == {("198.51.100.9", "failed")}


def test_failures_of_nobody_are_told_to_nobody(shop: Shop) -> None:
    for _ in range(6):
        audit_record(team=None, who="somebody", action="login.failed", target="nobody@example.test", outcome="failed")
    assert told() == []


@pytest.mark.parametrize(
    ("before", "after", "count"),
    [("viewer", "admin", 1), ("admin", "owner", 1), ("owner", "admin", 0), ("viewer", "developer", 0)],
)
def test_a_raised_role_is_told_of(shop: Shop, before: str, after: str, count: int) -> None:
    audit_record(
        team=shop.team,
        actor=shop.actor(),
        action="member.role_changed",
        target="x@example.test",
        before={"role": before},
        after={"role": after},
    )
    assert told() == [("security.role_raised", f"x@example.test is now {after} of the team")] * count


def test_a_token_is_told_of_by_channel_and_mail(shop: Shop, settings: LazySettings) -> None:
    settings.HAS_MAIL = True
    token_create(actor=shop.actor(Role.DEVELOPER), name="ci", scopes=["read"])
    assert told() == [("security.token_made", "developer@example.test made the API token ci")]
    assert sorted(message.to[0] for message in mail.outbox) == ["developer@example.test", "owner@example.test"]
    assert "/audit/" in mail.outbox[0].body


def test_each_person_is_written_to_in_their_language(shop: Shop, settings: LazySettings) -> None:
    settings.HAS_MAIL = True
    language_choose(user=shop.people[Role.OWNER], language="de")
    with request_context(address="192.0.2.7"):
        token_create(actor=shop.actor(Role.DEVELOPER), name="ci", scopes=["read"])
    work()
    mails = {message.to[0]: message for message in mail.outbox}
    english, german = mails["developer@example.test"], mails["owner@example.test"]
    assert english.subject == "[DevFlow Pro] developer@example.test made the API token ci"
    assert english.body.startswith("developer@example.test made the API token ci.\nIts scopes: read.\n\nTeam: ")
    assert german.subject == "[DevFlow Pro] developer@example.test hat das API-Token ci angelegt"
    assert "Seine Rechte: read." in german.body
    assert "Ändern Sie" in german.body


@pytest.mark.parametrize("address", ["192.0.2.7", ""])
def test_all_of_an_alert_is_in_the_catalogs(shop: Shop, address: str) -> None:
    for agent in (FIREFOX, CHROME):
        log_in(shop.people[Role.DEVELOPER], address, agent)
    with request_context(address=address):
        for _ in range(5):
            audit_record(team=None, who="x", action="login.failed", target="owner@example.test", outcome="failed")
        roles: dict[str, Any] = {"before": {"role": "viewer"}, "after": {"role": "admin"}}
        audit_record(team=shop.team, actor=shop.actor(), action="member.role_changed", target="x@example.test", **roles)
    work()
    token_create(actor=shop.actor(), name="ci", scopes=["read"])
    work()
    messages = list(Notification.objects.values_list("message", flat=True))
    assert len(messages) == 4, messages
    with translation.override("de"):
        for text in (text for each in messages for text in (each["title"], each["text"])):
            assert " from " not in told_in(text), told_in(text)
            assert told_in(text) != text


def test_a_job_that_runs_twice_tells_once(shop: Shop) -> None:
    token_create(actor=shop.actor(), name="ci", scopes=["read"])
    event = Event.objects.get(action="token.created")
    for _ in range(2):
        jobs.look(str(event.pk))
    assert Notification.objects.count() == 1
    assert Event.objects.filter(action="alert.raised").count() == 1


@pytest.mark.parametrize(
    ("agent", "family"),
    [
        (FIREFOX, "Firefox on Linux"),
        (CHROME, "Chrome on Windows"),
        ("curl/8.5.0", "curl"),
        ("", "an unknown program"),
        ("devflow/1.0", "devflow"),
    ],
)
def test_a_browser_is_known_by_its_family(agent: str, family: str) -> None:
    assert family_of(agent) == family


@pytest.mark.parametrize(
    ("address", "network"),
    [("192.0.2.77", "192.0.2.0/24"), ("2001:db8:1:2::3", "2001:db8:1::/48"), ("", ""), ("x", "")],
)
def test_a_network_is_as_coarse_as_it_has_to_be(address: str, network: str) -> None:
    assert network_of(address) == network
