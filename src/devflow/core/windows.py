"""When an environment may be deployed: its windows, less its freezes, on the clock of its time zone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from devflow.core.errors import InvalidError
from devflow.core.names import single_line

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WINDOWS_AT_MOST, FREEZES_AT_MOST = 50, 100
_TIME = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_ALIASES = {"begins": "from", "ends": "to"}
_DAY, _MIDNIGHT = timedelta(days=1), time()


@dataclass(frozen=True, slots=True)
class Window:
    """On `days` (0 is Monday) from `opens` until `closes` on the clock; where that is not later, of the next day."""

    days: frozenset[int]
    opens: time
    closes: time

    @property
    def text(self) -> str:
        """`mon-fri 08:00-18:00`."""
        closes = "24:00" if self.closes == _MIDNIGHT else f"{self.closes:%H:%M}"
        return f"{_days_text(self.days)} {self.opens:%H:%M}-{closes}"


@dataclass(frozen=True, slots=True)
class Freeze:
    """No deployment from `begins` until `ends` (None: until it is lifted)."""

    begins: datetime
    ends: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class Closed:
    """Why it is closed, and when it opens next (None: not by itself)."""

    reason: str
    opens_at: datetime | None


@dataclass(frozen=True, slots=True)
class Calendar:
    """The rules of one environment. All moments that are asked and answered are aware; answers are in UTC."""

    windows: tuple[Window, ...]
    freezes: tuple[Freeze, ...]
    zone: ZoneInfo

    def is_open(self, at: datetime) -> bool:
        return self.freeze_at(at) is None and self._is_in_window(at)

    def next_opening(self, at: datetime) -> datetime | None:
        """The first moment from `at` on that is open; None where a freeze has no end."""
        at = at.astimezone(UTC)
        while True:
            freeze = self.freeze_at(at)
            if freeze is not None:
                if freeze.ends is None:
                    return None
                at = freeze.ends
            elif self._is_in_window(at):
                return at
            else:
                at = min(start for start, _ in self._spans(at) if start > at)

    def closed(self, at: datetime) -> Closed | None:
        """None while it is open."""
        freeze = self.freeze_at(at)
        if freeze is None and self._is_in_window(at):
            return None
        reason = f"Frozen: {freeze.reason}" if freeze else "Outside its deployment windows"
        return Closed(reason, self.next_opening(at))

    def freeze_at(self, at: datetime) -> Freeze | None:
        """The freeze that is in force; of several the one that lasts longest."""
        found = [freeze for freeze in self.freezes if freeze.begins <= at and (freeze.ends is None or at < freeze.ends)]
        return max(found, key=lambda freeze: freeze.ends or datetime.max.replace(tzinfo=UTC), default=None)

    def local(self, at: datetime) -> str:
        """`Mon 2026-11-23 08:00 CET`: the moment as people there write it."""
        there = at.astimezone(self.zone)
        day = DAYS[there.weekday()].capitalize()
        return f"{day} {there:%Y-%m-%d %H:%M} {there.tzname() or self.zone.key}"

    def _is_in_window(self, at: datetime) -> bool:
        return not self.windows or any(start <= at < end for start, end in self._spans(at))

    def _spans(self, at: datetime) -> list[tuple[datetime, datetime]]:
        """Every window's beginnings and ends from the day before yesterday to a week and a day ahead."""
        today = at.astimezone(self.zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        spans = []
        for day in (today + number * _DAY for number in range(-2, 10)):
            for window in self.windows:
                if day.weekday() in window.days:
                    end = day if window.closes > window.opens else day + _DAY
                    spans.append(
                        (
                            moment_of(datetime.combine(day, window.opens), self.zone),
                            moment_of(datetime.combine(end, window.closes), self.zone),
                        )
                    )
        return spans


def calendar(windows: Iterable[Mapping[str, Any]], freezes: Iterable[Mapping[str, Any]], time_zone: str) -> Calendar:
    """The calendar of what `check_windows`, `check_freezes` and `check_time_zone` let through."""
    zone = ZoneInfo(time_zone)
    return Calendar(
        windows=tuple(
            Window(
                frozenset(DAYS.index(day) for day in window["days"]),
                time.fromisoformat(window["from"]),
                _MIDNIGHT if window["to"] == "24:00" else time.fromisoformat(window["to"]),
            )
            for window in windows
        ),
        freezes=tuple(
            Freeze(
                _moment(freeze["from"], zone), _moment(freeze["to"], zone) if freeze["to"] else None, freeze["reason"]
            )
            for freeze in freezes
        ),
        zone=zone,
    )


def moment_of(local: datetime, zone: ZoneInfo) -> datetime:
    """When the clock of the zone first shows `local` or later: a time that a change to summer time leaves out is the
    moment of the change, one that a change to winter time shows twice is the first of both."""
    moment = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == local:
        return moment
    low, high = local.replace(tzinfo=zone, fold=1).astimezone(UTC), moment
    while high - low > timedelta(seconds=1):
        middle = (low + (high - low) / 2).replace(microsecond=0)
        low, high = (low, middle) if middle.astimezone(zone).replace(tzinfo=None) >= local else (middle, high)
    return high


def parse_window(text: str) -> dict[str, Any]:
    """A window as people write it, `mon-fri 08:00-18:00`, `sat, sun 22:00-02:00`, `every day 00:00-06:00`, in the form
    that `check_windows` takes; the opposite of `Window.text`. Raises InvalidError."""
    days, _, times = " ".join(text.lower().replace("every day", "mon-sun").split()).rpartition(" ")
    opens, dash, closes = times.partition("-")
    if not days or not dash:
        raise _invalid("windows", f"{text.strip()[:60]!r} is not like mon-fri 08:00-18:00.")
    named: list[str] = []
    for part in days.split(","):
        first, _, last = (each.strip()[:3] for each in part.partition("-"))
        last = last or first
        if first not in DAYS or last not in DAYS:
            raise _invalid("windows", f"{part.strip()[:60]!r} is no day: use {', '.join(DAYS)}, or mon-fri.")
        start, end = DAYS.index(first), DAYS.index(last)
        named += [DAYS[number % 7] for number in range(start, end + 1 if end >= start else end + 8)]
    return check_windows([{"days": named, "from": opens, "to": closes}])[0]


def check_windows(values: Any) -> list[dict[str, Any]]:
    """[{"days": ["mon", …], "from": "08:00", "to": "18:00"}], as they are stored. Raises InvalidError."""
    return [_window(value) for value in _entries(values, "windows", WINDOWS_AT_MOST, {"days", "from", "to"})]


def check_freezes(values: Any) -> list[dict[str, Any]]:
    """[{"from": "2026-12-20T18:00", "to": "2027-01-04T08:00" or None, "reason": "…"}]: date-times on the clock of the
    environment's time zone, or with an offset of their own; `begins` and `ends` are `from` and `to`, too. Raises
    InvalidError."""
    if isinstance(values, list | tuple):
        values = [_renamed(value) if isinstance(value, Mapping) else value for value in values]
    return [_freeze(value) for value in _entries(values, "freezes", FREEZES_AT_MOST, {"from", "to", "reason"})]


def _renamed(value: Mapping[str, Any]) -> dict[str, Any]:
    """With `from` and `to` alone; what is given under both names is refused as unknown under the other."""
    meant = {key: _ALIASES.get(key, key) for key in value}
    return {key if meant[key] in value else meant[key]: each for key, each in value.items()}


def check_time_zone(value: str) -> str:
    """A name of the IANA database, like Europe/Berlin. Raises InvalidError."""
    if value not in _zones():
        raise _invalid("time_zone", f"There is no time zone {value[:60]!r}. Give a name like Europe/Berlin or UTC.")
    return value


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _entries(values: Any, field: str, at_most: int, keys: set[str]) -> list[dict[str, Any]]:
    if not isinstance(values, list | tuple) or len(values) > at_most:
        raise _invalid(field, f"Give a list of at most {at_most} {field}.")
    for value in values:
        if not isinstance(value, Mapping):
            raise _invalid(field, f"Each of the {field} has {', '.join(sorted(keys))}.")
        unknown = [key for key in value if key not in keys]
        if unknown:
            raise _invalid(
                field, f"There is no {str(unknown[0])[:60]!r} in {field}; there are {', '.join(sorted(keys))}."
            )
    return [dict(value) for value in values]


def _window(value: Mapping[str, Any]) -> dict[str, Any]:
    given = value.get("days")
    days = [str(day).strip().lower()[:3] for day in given] if isinstance(given, list | tuple) else []
    unknown = [day for day in days if day not in DAYS]
    if unknown or not days:
        raise _invalid("windows", f"Name the days of each window: {', '.join(DAYS)}.")
    opens, closes = (_clock(value.get(key), is_end=key == "to") for key in ("from", "to"))
    return {"days": [day for day in DAYS if day in days], "from": opens, "to": closes}


def _clock(value: Any, *, is_end: bool) -> str:
    if is_end and value == "24:00":
        return "24:00"
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _invalid("windows", "Give times of windows like 08:00; the end of the day is 24:00.")
    return f"{int(match[1]):02}:{match[2]}"


def _freeze(value: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(value.get("reason"), str) or not value["reason"].strip():
        raise _invalid("freezes", "Say why it is frozen: people who wait read it.")
    reason = single_line(value["reason"], "freezes", 300)
    begins, ends = _date_time(value.get("from")), _date_time(value["to"]) if value.get("to") else None
    if ends is not None:
        if (begins.tzinfo is None) != (ends.tzinfo is None):
            raise _invalid("freezes", "Give both times of a freeze with an offset, or none.")
        if ends <= begins:
            raise _invalid("freezes", "A freeze ends after it begins.")
    return {"from": begins.isoformat(), "to": ends.isoformat() if ends else None, "reason": reason}


def _date_time(value: Any) -> datetime:
    try:
        found = datetime.fromisoformat(value.strip()) if isinstance(value, str) else None
    except ValueError:
        found = None
    if found is None or not 2000 <= found.year <= 2200:
        raise _invalid("freezes", "Give times of freezes like 2026-12-20 18:00.")
    return found


def _moment(text: str, zone: ZoneInfo) -> datetime:
    value = datetime.fromisoformat(text)
    return moment_of(value, zone) if value.tzinfo is None else value.astimezone(UTC)


def _days_text(days: Iterable[int]) -> str:
    """`mon-fri`, `sat, sun`, `mon, wed-fri`, `every day`."""
    ordered = sorted(days)
    if len(ordered) == len(DAYS):
        return "every day"
    runs: list[list[int]] = []
    for day in ordered:
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    names = (f"{DAYS[run[0]]}-{DAYS[run[-1]]}" if len(run) > 2 else ", ".join(DAYS[day] for day in run) for run in runs)
    return ", ".join(names)


def _invalid(field: str, message: str) -> InvalidError:
    return InvalidError(message, {field: message})
