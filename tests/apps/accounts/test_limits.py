"""How often something may be done, counted by several processes together."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devflow.apps.accounts import limits
from devflow.apps.accounts.limits import address_key, hit
from devflow.apps.accounts.models import RateWindow


@pytest.fixture(autouse=True)
def _nothing_taken() -> Iterator[None]:
    limits.forget_all()
    yield
    limits.forget_all()


def test_so_many_are_allowed_and_no_more(db: None) -> None:
    verdicts = [hit(bucket="t", key="a", limit=3, window_seconds=60) for _ in range(5)]
    assert [verdict.allowed for verdict in verdicts] == [True, True, True, False, False]
    assert [verdict.remaining for verdict in verdicts] == [2, 1, 0, 0, 0]
    assert 1 <= verdicts[-1].retry_after_seconds <= 60
    assert hit(bucket="t", key="b", limit=3, window_seconds=60).allowed
    assert hit(bucket="u", key="a", limit=3, window_seconds=60).allowed


def test_counting_begins_anew_when_the_window_is_over(db: None) -> None:
    assert [hit(bucket="t", key="a", limit=1, window_seconds=1).allowed for _ in range(2)] == [True, False]
    deadline = time.monotonic() + 5
    while not hit(bucket="t", key="a", limit=1, window_seconds=1).allowed:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_two_processes_share_one_count(db: None) -> None:
    """What another process took shows only in the database: here, that one has forgotten what it took."""
    for _ in range(3):
        hit(bucket="t", key="a", limit=5, window_seconds=60)
    limits.forget_all()
    assert [hit(bucket="t", key="a", limit=5, window_seconds=60).allowed for _ in range(3)] == [True, True, False]


def test_a_high_limit_costs_few_statements_and_is_still_exact(db: None) -> None:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        allowed = sum(hit(bucket="t", key="a", limit=1000, window_seconds=60).allowed for _ in range(1500))
    assert allowed == 1000
    assert len([query for query in queries if "ratewindow" in query["sql"]]) < 30


def test_one_who_is_refused_costs_no_statement(db: None) -> None:
    for _ in range(4):
        hit(bucket="t", key="a", limit=3, window_seconds=60)
    with CaptureQueriesContext(connection) as queries:
        assert not any(hit(bucket="t", key="a", limit=3, window_seconds=60).allowed for _ in range(100))
    assert len(queries) == 0


def test_what_is_over_is_deleted(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    hit(bucket="t", key="old", limit=1, window_seconds=0)
    monkeypatch.setattr(limits, "_forget_at", 0.0)
    hit(bucket="t", key="new", limit=1, window_seconds=60)
    assert [window.key for window in RateWindow.objects.filter(key__startswith="t:")] == ["t:new"]


def test_the_memory_is_bounded(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_REMEMBERED", 10)
    for number in range(50):
        hit(bucket="t", key=str(number), limit=3, window_seconds=60)
    assert len(limits._portions) <= 10


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("limit", [30, 400])
def test_threads_never_get_more_than_the_limit(limit: int) -> None:
    counts: list[int] = []

    def ask() -> None:
        try:
            counts.append(sum(hit(bucket="t", key="x", limit=limit, window_seconds=60).allowed for _ in range(limit)))
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == limit


@pytest.mark.django_db(transaction=True)
def test_processes_never_get_more_than_the_limit() -> None:
    """Together at most the limit; what one has taken in advance, a twentieth at most, may be lost to the others."""
    code = """
import sys, django
from django.conf import settings
settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", **eval(sys.argv[1])}},
    INSTALLED_APPS=["django.contrib.contenttypes", "devflow.apps.accounts"],
    AUTH_USER_MODEL="accounts.User", USE_TZ=True)
django.setup()
from devflow.apps.accounts.limits import hit
print(sum(hit(bucket="t", key="p", limit=1000, window_seconds=60).allowed for _ in range(700)))
"""
    given = {name: connection.settings_dict[name] for name in ("NAME", "USER", "PASSWORD", "HOST", "PORT")}
    command = [sys.executable, "-c", code, repr(given)]
    with ExitStack() as stack:
        running = [stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) for _ in range(3)]
        allowed = sum(int(process.communicate(timeout=60)[0]) for process in running)
    assert 900 <= allowed <= 1000


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("", "unknown"),
    ],
)
def test_a_customer_of_ipv6_is_one_however_many_addresses_they_use(address: str, key: str) -> None:
    assert address_key(address) == key
