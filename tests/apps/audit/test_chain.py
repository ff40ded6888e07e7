"""Events are only added, and stand in a chain that shows what was done to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_django
from django.db import ProgrammingError, connection, transaction
from django_scopes import scopes_disabled

from devflow.apps.accounts.models import Team
from devflow.apps.audit import chain, sealing
from devflow.apps.audit.context import request_context
from devflow.apps.audit.models import Chain, Event
from devflow.apps.audit.services import audit_record, event_document, events_erase
from devflow.core.crypto import make_key_file, new_master_key, replace_key_file
from devflow.core.names import uuid7
from devflow.settings.env import load_config
from devflow.settings.keys import MasterKeys
from tests.support.shop import Shop

SECRET = "correct-horse-battery"


@pytest.fixture(autouse=True)
def _unscoped(shop: Shop) -> Any:
    sealing.seal_all()
    with scopes_disabled():
        yield


def record(shop: Shop, action: str = "project.changed", **more: Any) -> Event:
    return audit_record(team=shop.team, actor=shop.actor(), action=action, **more)


def documents(shop: Shop) -> list[dict[str, Any]]:
    sealing.seal(shop.team.pk)
    # through JSON, as an exported file comes back
    return json.loads(json.dumps([event_document(row) for row in rows(shop)]))


def rows(shop: Shop) -> list[Event]:
    return list(Event.objects.filter(team=shop.team).exclude(seq=None).order_by("seq"))


def execute(statement: str, *values: Any) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, values)


def test_who_what_and_where_from_are_recorded(shop: Shop) -> None:
    with request_context(address="192.0.2.7", user_agent="Mozilla/5.0 Firefox/130", session="abc"):
        row = record(shop, target="Shop", target_id="7", before={"name": "Old"}, after={"name": "Shop", "size": 1.5})
    found = Event.objects.get(pk=row.pk)
    assert (found.who, found.user_id, found.team_id) == (shop.actor().user.email, shop.actor().user.pk, shop.team.pk)
    assert (found.address, found.user_agent, found.session) == ("192.0.2.7", "Mozilla/5.0 Firefox/130", "abc")
    assert (found.target, found.target_id, found.before) == ("Shop", "7", {"name": "Old"})
    assert found.after == {"name": "Shop", "size": "1.5"}


def test_secrets_are_masked_by_their_names_however_deep(shop: Shop) -> None:
    after = {
        "password": SECRET,
        "list": [{"hook_secret": SECRET}],
        "token": SECRET,
        "raw": SECRET.encode(),
        "name": "a",
    }
    found = Event.objects.get(pk=record(shop, after=after).pk)
    assert SECRET not in json.dumps(event_document(found))
    assert found.after["name"] == "a"


def test_a_chain_is_whole_and_begins_at_one(shop: Shop) -> None:
    record(shop)
    record(shop)
    found = documents(shop)
    assert [row["seq"] for row in found] == list(range(1, len(found) + 1))
    verdict = sealing.verify(shop.team.pk)
    assert (verdict.problems, verdict.events) == ([], len(found))
    assert chain.verify(found).problems == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda found: found[1].update(action="nothing.done"), "Event 2 was changed"),
        (lambda found: found[1].update(who="mallory@example.test"), "Event 2 was changed: who did it"),
        (lambda found: found[1].update(after={"name": "Other"}), "Event 2 was changed: what was done"),
        (lambda found: found.pop(1), "After event 1 comes event 3"),
        (lambda found: found.insert(1, found.pop(2)), "After event 1 comes event 3"),
        (lambda found: found[1].update(who="", token="", address="", user_agent="", who_salt=""), "without a trace"),
        (lambda found: found[1].update(who_salt="zz"), "Event 2 was changed: who did it"),
        (lambda found: found[1].pop("hash"), "lacks hash"),
    ],
)
def test_whatever_is_changed_in_a_chain_shows(shop: Shop, change: Callable[[Any], Any], says: str) -> None:
    for number in range(3):
        record(shop, target=f"object {number}", after={"name": "New"})
    found = documents(shop)
    change(found)
    assert any(says in problem for problem in chain.verify(found).problems)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_event SET who = 'mallory'",
        "UPDATE audit_event SET action = 'x'",
        "UPDATE audit_event SET seq = seq + 1000",
        "UPDATE audit_event SET who = '', token = '', address = '', user_agent = '', who_salt = ''",
        "DELETE FROM audit_event",
        "TRUNCATE audit_event",
    ],
)
def test_the_database_refuses_to_change_or_remove_events(shop: Shop, statement: str) -> None:
    execute("ALTER TABLE audit_event ENABLE TRIGGER audit_event_no_truncate")  # taken back with the test
    record(shop)
    documents(shop)
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    with pytest.raises(ProgrammingError, match="append-only"):
        execute(statement)


def test_erasing_erases_only_what_it_may(shop: Shop) -> None:
    record(shop)
    documents(shop)
    for statement in (
        "UPDATE audit_event SET who = '', token = '', address = '', user_agent = 'x', who_salt = ''",
        "UPDATE audit_event SET who = '', token = '', address = '', user_agent = '', who_salt = '', who_digest = ''",
        "DELETE FROM audit_event",
    ):
        with pytest.raises(ProgrammingError, match="append-only"):
            execute(f"SET LOCAL devflow.audit_erasure = 'on'; {statement}")


def test_without_its_triggers_a_change_in_the_database_still_shows(shop: Shop) -> None:
    record(shop)
    record(shop)
    number = len(documents(shop))
    execute("ALTER TABLE audit_event DISABLE TRIGGER USER")
    execute("DELETE FROM audit_event WHERE seq = %s AND team_id = %s", number, shop.team.pk)
    assert any("last one that the panel sealed" in each for each in sealing.verify(shop.team.pk).problems)


def test_a_chain_made_anew_in_the_database_is_not_ours(shop: Shop) -> None:
    record(shop)
    documents(shop)
    Chain.objects.filter(pk=shop.team.pk).update(head_sealed=b"1 " + b"0" * 64)
    assert any("tampered" in each for each in sealing.verify(shop.team.pk).problems)


def forge(row: Event, **changed: Any) -> None:
    """What somebody can do who may write into the database: another event after the model of one."""
    columns = [field.column for field in Event._meta.concrete_fields]
    values = {"id": uuid7(), "seq": None, "previous": "", "hash": ""} | changed
    taken = ", ".join("%s" if column in values else column for column in columns)
    execute(
        f"INSERT INTO audit_event ({', '.join(columns)}) SELECT {taken} FROM audit_event WHERE id = %s",
        *(values[column] for column in columns if column in values),
        row.pk,
    )


@pytest.mark.parametrize("changed", [{}, {"action": "secrets.exported"}, {"stamp": ""}, {"stamp": "0" * 64}])
def test_an_event_that_the_panel_has_not_recorded_is_known_for_ever(shop: Shop, changed: dict[str, str]) -> None:
    forge(record(shop, target="Shop"), **changed)
    record(shop)
    problems = sealing.verify(shop.team.pk).problems
    assert [each for each in problems if "was not recorded by the panel" in each] == problems
    assert len(problems) == 1
    assert chain.verify(documents(shop)).problems == problems, "an exported file tells it too"


def test_erasing_by_hand_and_telling_of_it_by_hand_shows(shop: Shop) -> None:
    row = record(shop, target="Shop", after={"name": "New"})
    record(shop)
    documents(shop)
    execute(
        "SET LOCAL devflow.audit_erasure = 'on'; UPDATE audit_event SET who = '', token = '', address = '',"
        " user_agent = '', who_salt = '', target = '', before = NULL, after = NULL, what_salt = '' WHERE id = %s",
        row.pk,
    )
    after = {"parts": 2}
    salt = "00" * 16
    told = event_document(record(shop)) | {"target": "", "before": None, "after": after}
    forge(
        Event.objects.latest("id"),
        action=chain.ERASED,
        target="",
        after=json.dumps(after),
        what_salt=salt,
        what_digest=chain.details_digest(told, chain.WHAT, salt),
    )
    problems = " ".join(sealing.verify(shop.team.pk).problems)
    assert "without a trace" in problems
    assert "was not recorded by the panel" in problems


def test_a_stamp_cannot_be_changed(shop: Shop) -> None:
    record(shop)
    with pytest.raises(ProgrammingError, match="append-only"):
        execute("UPDATE audit_event SET stamp = '', seq = 1000")


def test_events_recorded_before_the_master_key_was_changed_are_ours(
    shop: Shop, settings: pytest_django.fixtures.SettingsWrapper, tmp_path: Path
) -> None:
    file = tmp_path / "master.key"
    make_key_file(file)
    replace_key_file(file, settings.MASTER_KEYS.now())
    settings.MASTER_KEYS = MasterKeys(replace(load_config(), key_file=file))
    record(shop)
    replace_key_file(file, (new_master_key(), *settings.MASTER_KEYS.now()))
    record(shop)
    assert sealing.verify(shop.team.pk).problems == []


def test_a_person_is_erased_and_the_chain_stays_whole(shop: Shop) -> None:
    email = shop.actor().user.email
    with request_context(address="192.0.2.7", user_agent="Firefox"):
        record(shop, action="project.changed", target="Shop", after={"name": "Shop"})
        audit_record(team=shop.team, who="panel", action="member.added", target=email, after={"of": email.upper()})
    documents(shop)
    assert events_erase(person=(shop.actor().user.pk, email)) > 0
    kept = json.dumps(documents(shop))
    assert email not in kept.lower()
    assert "192.0.2.7" not in json.dumps(
        [row for row in documents(shop) if row["user_id"] == str(shop.actor().user.pk)]
    )
    assert '"Shop"' in kept, "what was done is nobody's personal data"
    assert sealing.verify(shop.team.pk).problems == []
    assert chain.verify(documents(shop)).problems == []


def test_a_team_is_erased_and_leaves_a_stub(shop: Shop) -> None:
    record(shop, target="Shop")
    documents(shop)
    events_erase(team_id=shop.team.pk)
    found = documents(shop)
    assert {row["who"] for row in found[:-1]} == {""}
    assert {row["target"] for row in found} == {""}
    assert sealing.verify(shop.team.pk).problems == []


def test_what_is_erased_twice_is_told_once(shop: Shop) -> None:
    record(shop)
    events_erase(person=(shop.actor().user.pk, shop.actor().user.email))
    assert events_erase(person=(shop.actor().user.pk, shop.actor().user.email)) == 0
    assert sealing.verify(shop.team.pk).problems == []


def test_the_panels_chain_is_one_of_its_own(shop: Shop) -> None:
    audit_record(team=None, who="somebody", action="login.failed", target="eve@example.test")
    verdict = sealing.verify(None)
    assert verdict.problems == []
    assert verdict.events == Event.objects.filter(team=None).count() > 0


class TestTogether:
    """With several connections: what is committed at once is numbered without gaps or forks."""

    @pytest.fixture
    def shop(self, open_for_many: Shop) -> Shop:
        return open_for_many

    def test_many_writers_and_sealers(self, shop: Shop) -> None:
        def work(number: int) -> None:
            try:
                with scopes_disabled():
                    for _ in range(10):
                        record(shop, target=f"writer {number}")
                        if number % 2:
                            sealing.seal(shop.team.pk)
            finally:
                connection.close()

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(work, range(6)))
        found = documents(shop)
        assert [row["seq"] for row in found] == list(range(1, len(found) + 1))
        assert sum(row["target"].startswith("writer") for row in found) == 60
        assert sealing.verify(shop.team.pk).problems == []

    def test_nobody_waits_for_an_open_transaction(self, shop: Shop) -> None:
        def other() -> None:
            try:
                with scopes_disabled():
                    record(shop, target="second")
                    sealing.seal(shop.team.pk)
            finally:
                connection.close()

        with transaction.atomic():
            record(shop, target="first")
            with ThreadPoolExecutor(1) as pool:
                pool.submit(other).result(timeout=10)
        targets = [row["target"] for row in documents(shop)]
        assert targets.index("second") < targets.index("first")
        assert Team.objects.filter(pk=shop.team.pk).exists()
        assert sealing.verify(shop.team.pk).problems == []
