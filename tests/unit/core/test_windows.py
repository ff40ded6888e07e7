"""When an environment is open: windows, freezes, both changes of the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from devflow.core import windows
from devflow.core.errors import InvalidError
from devflow.core.windows import Calendar

BERLIN = ZoneInfo("Europe/Berlin")
WEEKDAYS = {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "08:00", "to": "18:00"}
ALL_DAYS = list(windows.DAYS)


def made(*shown: dict[str, Any], freezes: list[dict[str, Any]] | None = None, zone: str = "Europe/Berlin") -> Calendar:
    return windows.calendar(windows.check_windows(shown), windows.check_freezes(freezes or []), zone)


def berlin(text: str, fold: int = 0) -> datetime:
    """A moment by the clock of Berlin."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).astimezone(UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_without_windows_it_is_always_open() -> None:
    calendar = made()
    at = utc("2026-11-21 03:00")
    assert calendar.is_open(at)
    assert calendar.next_opening(at) == at
    assert calendar.closed(at) is None


@pytest.mark.parametrize(
    ("at", "opens"),
    [
        ("2026-11-23 07:59:59", "2026-11-23 08:00"),  # Monday
        ("2026-11-23 08:00", "2026-11-23 08:00"),
        ("2026-11-23 17:59:59", "2026-11-23 17:59:59"),
        ("2026-11-23 18:00", "2026-11-24 08:00"),
        ("2026-11-27 18:00", "2026-11-30 08:00"),  # over the weekend
        ("2026-11-28 12:00", "2026-11-30 08:00"),
    ],
)
def test_a_window_of_weekdays(at: str, opens: str) -> None:
    calendar = made(WEEKDAYS)
    assert calendar.next_opening(berlin(at)) == berlin(opens)
    assert calendar.is_open(berlin(at)) == (at == opens)


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        ("2026-11-27 21:59", False),  # Friday
        ("2026-11-27 22:00", True),
        ("2026-11-28 03:59", True),
        ("2026-11-28 04:00", False),
        ("2026-11-28 22:00", False),  # Saturday is not among the days
        ("2026-11-27 02:00", False),  # nor was Thursday
    ],
)
def test_a_window_over_midnight_belongs_to_the_day_it_begins_on(at: str, is_open: bool) -> None:
    assert made({"days": ["fri"], "from": "22:00", "to": "04:00"}).is_open(berlin(at)) is is_open


def test_a_whole_day() -> None:
    for to in ("24:00", "00:00"):
        calendar = made({"days": ["sun"], "from": "00:00", "to": to})
        assert [calendar.is_open(berlin(f"2026-11-{day} 12:00")) for day in (21, 22, 23)] == [False, True, False]
        assert calendar.is_open(berlin("2026-11-22 00:00"))
        assert not calendar.is_open(berlin("2026-11-23 00:00"))


def test_once_a_week_is_found_a_week_ahead() -> None:
    calendar = made({"days": ["mon"], "from": "08:00", "to": "08:01"})
    assert calendar.next_opening(berlin("2026-11-23 08:01")) == berlin("2026-11-30 08:00")


def test_several_windows() -> None:
    calendar = made(
        {"days": ALL_DAYS, "from": "08:00", "to": "10:00"}, {"days": ["wed"], "from": "20:00", "to": "21:00"}
    )
    assert calendar.next_opening(berlin("2026-11-25 10:00")) == berlin("2026-11-25 20:00")
    assert calendar.next_opening(berlin("2026-11-26 10:00")) == berlin("2026-11-27 08:00")


# --- the clock is changed ---------------------------------------------------------------------------------------------


def test_the_hours_of_a_window_follow_the_clock_of_the_zone() -> None:
    calendar = made(WEEKDAYS)
    assert calendar.next_opening(utc("2026-03-27 20:00")) == utc("2026-03-30 06:00")  # summer time since the 29th
    assert calendar.next_opening(utc("2026-10-23 20:00")) == utc("2026-10-26 07:00")  # winter time since the 25th


def test_a_time_that_is_left_out_is_the_moment_of_the_change() -> None:
    """2026-03-29 in Berlin: after 01:59:59 comes 03:00."""
    change = utc("2026-03-29 01:00")
    calendar = made({"days": ["sun"], "from": "02:30", "to": "04:00"})
    assert calendar.next_opening(utc("2026-03-28 12:00")) == change
    assert not calendar.is_open(change - timedelta(seconds=1))
    assert calendar.is_open(change)
    assert calendar.is_open(berlin("2026-03-29 03:59"))
    assert not calendar.is_open(berlin("2026-03-29 04:00"))


def test_a_window_that_the_change_leaves_out_as_a_whole_waits_a_week() -> None:
    calendar = made({"days": ["sun"], "from": "02:10", "to": "02:50"})
    assert calendar.next_opening(utc("2026-03-28 12:00")) == berlin("2026-04-05 02:10")


def test_a_time_that_comes_twice_counts_the_first_time() -> None:
    """2026-10-25 in Berlin: after 02:59:59 comes 02:00 again."""
    calendar = made({"days": ["sun"], "from": "02:30", "to": "04:00"})
    assert calendar.next_opening(utc("2026-10-24 12:00")) == utc("2026-10-25 00:30")
    assert calendar.is_open(berlin("2026-10-25 02:10", fold=1))
    assert calendar.is_open(utc("2026-10-25 02:59"))
    assert not calendar.is_open(utc("2026-10-25 03:00"))
    ending = made({"days": ["sun"], "from": "01:00", "to": "02:30"})
    assert ending.is_open(utc("2026-10-25 00:29"))
    assert not ending.is_open(utc("2026-10-25 00:30"))
    assert not ending.is_open(berlin("2026-10-25 02:10", fold=1))


def test_days_of_23_and_25_hours_are_whole() -> None:
    calendar = made({"days": ["sun"], "from": "00:00", "to": "24:00"})
    for begins, hours in (("2026-03-29 00:00", 23), ("2026-10-25 00:00", 25)):
        at = berlin(begins)
        assert not calendar.is_open(at - timedelta(seconds=1))
        assert all(calendar.is_open(at + timedelta(hours=hour)) for hour in range(hours))
        assert not calendar.is_open(at + timedelta(hours=hours))


def test_every_quarter_of_an_hour_of_a_year_agrees_with_the_next_opening() -> None:
    """The answers of both questions fit each other, also around the changes."""
    calendar = made(
        {"days": ["sat", "sun"], "from": "22:45", "to": "02:15"},
        {"days": ["wed"], "from": "02:30", "to": "03:00"},
        freezes=[{"from": "2026-10-24T00:00", "to": "2026-10-25T02:30", "reason": "x"}],
    )
    at, end = utc("2026-03-26 00:00"), utc("2026-04-03 00:00")
    spans = [(at, end), (utc("2026-10-22 00:00"), utc("2026-10-30 00:00"))]
    for at, end in spans:
        last_closed = None
        while at < end:
            opens = calendar.next_opening(at)
            assert opens is not None
            assert calendar.is_open(opens)
            assert calendar.is_open(at) == (opens == at)
            if opens != at:
                assert not calendar.is_open(opens - timedelta(seconds=1)) or opens - timedelta(seconds=1) < at
                assert last_closed in (None, opens)
            last_closed = opens if opens != at else None
            at += timedelta(minutes=15)


# --- freezes ----------------------------------------------------------------------------------------------------------


def test_a_freeze_closes_from_its_first_to_its_last_moment() -> None:
    calendar = made(freezes=[{"from": "2026-12-20T18:00", "to": "2027-01-04T08:00", "reason": "Christmas"}])
    assert calendar.is_open(berlin("2026-12-20 17:59:59"))
    assert not calendar.is_open(berlin("2026-12-20 18:00"))
    assert not calendar.is_open(berlin("2027-01-04 07:59:59"))
    assert calendar.is_open(berlin("2027-01-04 08:00"))
    closed = calendar.closed(berlin("2026-12-24 12:00"))
    assert closed is not None
    assert (closed.reason, closed.opens_at) == ("Frozen: Christmas", berlin("2027-01-04 08:00"))


def test_after_a_freeze_the_windows_count() -> None:
    calendar = made(WEEKDAYS, freezes=[{"from": "2026-11-23T00:00", "to": "2026-11-27T20:00", "reason": "Sale"}])
    assert calendar.next_opening(berlin("2026-11-24 09:00")) == berlin("2026-11-30 08:00")


def test_freezes_that_touch_and_overlap() -> None:
    calendar = made(
        freezes=[
            {"from": "2026-12-01T00:00", "to": "2026-12-05T00:00", "reason": "a"},
            {"from": "2026-12-04T00:00", "to": "2026-12-06T00:00", "reason": "b"},
            {"from": "2026-12-06T00:00", "to": "2026-12-07T00:00", "reason": "c"},
        ]
    )
    assert calendar.next_opening(berlin("2026-12-02 00:00")) == berlin("2026-12-07 00:00")


def test_a_freeze_without_end_opens_never_by_itself() -> None:
    calendar = made(WEEKDAYS, freezes=[{"from": "2026-11-23T00:00", "to": None, "reason": "Incident 12"}])
    assert calendar.next_opening(berlin("2026-11-24 09:00")) is None
    closed = calendar.closed(berlin("2026-11-24 09:00"))
    assert closed is not None
    assert (closed.reason, closed.opens_at) == ("Frozen: Incident 12", None)
    assert calendar.next_opening(berlin("2026-11-20 19:00")) is None  # the next window is frozen by then


def test_times_with_an_offset_of_their_own() -> None:
    calendar = made(freezes=[{"from": "2026-12-01T00:00Z", "to": "2026-12-01T03:00+02:00", "reason": "a"}])
    assert not calendar.is_open(utc("2026-12-01 00:59"))
    assert calendar.is_open(utc("2026-12-01 01:00"))


# --- what is accepted -------------------------------------------------------------------------------------------------


def test_windows_are_stored_in_one_form() -> None:
    given = [{"days": ["Friday", "mon", "MON"], "from": "8:05", "to": "24:00"}]
    assert windows.check_windows(given) == [{"days": ["mon", "fri"], "from": "08:05", "to": "24:00"}]
    assert windows.check_windows(windows.check_windows(given)) == windows.check_windows(given)


@pytest.mark.parametrize(
    "wrong",
    [
        "always",
        ["mon"],
        [{"days": [], "from": "08:00", "to": "18:00"}],
        [{"days": "mon", "from": "08:00", "to": "18:00"}],
        [{"days": ["someday"], "from": "08:00", "to": "18:00"}],
        [{"days": [1], "from": "08:00", "to": "18:00"}],
        [{"days": ["mon"], "from": "24:00", "to": "18:00"}],
        [{"days": ["mon"], "from": "08:60", "to": "18:00"}],
        [{"days": ["mon"], "from": "08:00\n", "to": "18:00"}],
        [{"days": ["mon"], "from": 8, "to": 18}],
        [{"days": ["mon"], "from": "08:00"}],
        [{"days": ["mon"], "from": "08:00", "to": "18:00", "zone": "UTC"}],
        [{"days": ["mon"], "from": "08:00", "to": "18:00"}] * 51,
    ],
)
def test_windows_that_are_refused(wrong: Any) -> None:
    with pytest.raises(InvalidError) as refused:
        windows.check_windows(wrong)
    assert "windows" in refused.value.errors


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        [{"from": "2026-12-20", "to": None, "reason": ""}],
        [{"from": "2026-12-20", "to": None, "reason": "two\nlines"}],
        [{"from": "2026-12-20", "to": None, "reason": 3}],
        [{"from": "20.12.2026", "to": None, "reason": "x"}],
        [{"from": "0001-01-01", "to": None, "reason": "x"}],
        [{"from": None, "to": None, "reason": "x"}],
        [{"from": "2026-12-20T10:00", "to": "2026-12-20T10:00", "reason": "x"}],
        [{"from": "2026-12-20T10:00Z", "to": "2026-12-21T10:00", "reason": "x"}],
        [{"from": "2026-12-20T10:00", "to": "9999-12-21T10:00", "reason": "x"}],
    ],
)
def test_freezes_that_are_refused(wrong: Any) -> None:
    with pytest.raises(InvalidError) as refused:
        windows.check_freezes(wrong)
    assert "freezes" in refused.value.errors


@pytest.mark.parametrize("wrong", ["", "Berlin", "../etc/passwd", "/etc/localtime", "UTC\n", "Mars/Olympus", "x" * 500])
def test_time_zones_that_are_refused(wrong: str) -> None:
    with pytest.raises(InvalidError):
        windows.check_time_zone(wrong)


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (["mon", "tue", "wed", "thu", "fri"], "mon-fri 08:00-24:00"),
        (["sat", "sun"], "sat, sun 08:00-24:00"),
        (["mon", "wed", "thu", "fri"], "mon, wed-fri 08:00-24:00"),
        (ALL_DAYS, "every day 08:00-24:00"),
    ],
)
def test_windows_in_words(days: list[str], text: str) -> None:
    (window,) = made({"days": days, "from": "08:00", "to": "24:00"}).windows
    assert window.text == text


@pytest.mark.parametrize(
    ("text", "days", "times"),
    [
        ("mon-fri 08:00-18:00", WEEKDAYS["days"], ("08:00", "18:00")),
        ("  Sat, SUN  22:00-2:00 ", ["sat", "sun"], ("22:00", "02:00")),
        ("every day 00:00-24:00", ALL_DAYS, ("00:00", "24:00")),
        ("friday-monday 09:00-10:00", ["mon", "fri", "sat", "sun"], ("09:00", "10:00")),
    ],
)
def test_windows_as_people_write_them(text: str, days: list[str], times: tuple[str, str]) -> None:
    stored = windows.parse_window(text)
    assert stored == {"days": days, "from": times[0], "to": times[1]}
    (window,) = made(stored).windows
    assert windows.parse_window(window.text) == stored


@pytest.mark.parametrize(
    "text", ["", "mon", "mon 08:00", "08:00-18:00", "mon- 08:00-18:00x", "xyz 08:00-18:00", "mon 8-9"]
)
def test_what_is_no_window(text: str) -> None:
    with pytest.raises(InvalidError):
        windows.parse_window(text)


def test_moments_in_the_words_of_the_zone() -> None:
    assert made().local(utc("2026-11-23 07:00")) == "Mon 2026-11-23 08:00 CET"
    assert made(zone="Asia/Kathmandu").local(utc("2026-11-23 07:00")) == "Mon 2026-11-23 12:45 +0545"


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "Pacific/Apia", "America/New_York", "Australia/Lord_Howe", "UTC"])
def test_other_zones(zone: str) -> None:
    calendar = made({"days": ["mon"], "from": "09:00", "to": "10:00"}, zone=zone)
    opens = calendar.next_opening(utc("2026-11-25 00:00"))
    assert opens is not None
    there = opens.astimezone(ZoneInfo(zone))
    assert (there.weekday(), there.hour, there.minute) == (0, 9, 0)
