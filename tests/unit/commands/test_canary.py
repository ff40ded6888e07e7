"""Judging a release by nginx's access log, in a real shell."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from devflow.commands import canary
from tests.support.machine import Machine, Ran

NEW, OLD = "127.0.0.1:21001", "127.0.0.1:21000"
SETTINGS = "new_port=21001 old_port=21000 min_requests=10 max_errors=1 latency_factor=2\n"


def line(upstream: str, status: str = "200", seconds: str = "0.010") -> str:
    """As the panel's site files log; the browser's name has quotes in it, as nginx writes them."""
    request = '10.0.0.1 - - [21/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "a \\x22b\\x22"'
    return f'{request} "{upstream}" "{status}" {seconds} 1795255200.000\n'


class Log:
    """The log, and a shell that has read what was in it before."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self._machine, self.path = machine, folder / "site.access.log"
        self.path.write_text(line(NEW, "500") * 50)

    def judge(self, *parts: str) -> Ran:
        """Looks once after each part, shell text that changes the log."""
        place = 'log_file=$(stat -c %i "$log") log_offset=$(stat -c %s "$log")'
        head = f"{canary.FUNCTIONS}{SETTINGS}log={self.path}\n{place}\n"
        look = 'new_lines; sort_lines; judge; echo "$verdict $why"\n'
        return self._machine.run(head + "".join(f"{part}\n{look}" for part in parts))

    def add(self, text: str, name: str = "more") -> str:
        """Shell text that appends this."""
        more = self.path.with_name(name)
        more.write_text(text)
        return f'cat "{more}" >>"$log"'


@pytest.fixture
def log(machine: Machine, tmp_path: Path) -> Log:
    return Log(machine, tmp_path)


def test_what_was_there_before_does_not_count(log: Log) -> None:
    assert log.judge(":").lines == [
        "few 0 requests, 0.00 % failed, p95 0 ms; the release before: 0, 0.00 %, 0 ms",
    ]


def test_as_good_as_the_release_before(log: Log) -> None:
    slowest = line(NEW, seconds="0.900")
    ran = log.judge(log.add(line(OLD) * 100 + line(NEW, seconds="0.015") * 99 + slowest))
    assert ran.lines == ["good 100 requests, 0.00 % failed, p95 15 ms; the release before: 100, 0.00 %, 10 ms"]


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        (line(OLD) * 100 + line(NEW) * 95 + line(NEW, "500") * 5, "bad 100 requests, 5.00 %"),
        (line(OLD) * 100 + line(NEW) * 99 + line(NEW, "503"), "good 100 requests, 1.00 %"),
        (line(OLD) * 95 + line(OLD, "500") * 5 + line(NEW) * 95 + line(NEW, "500") * 5, "good 100 requests, 5.00 %"),
        (line(OLD) * 100 + line(NEW, "404") * 100, "good 100 requests, 0.00 %"),
        (line(OLD) * 100 + line(NEW, "500") * 9, "few 9 requests, 100.00 %"),
        (line(OLD, seconds="0.050") * 100 + line(NEW, seconds="0.101") * 100, "bad 100 requests, 0.00 %"),
        (line(OLD, seconds="0.050") * 100 + line(NEW, seconds="0.100") * 100, "good 100 requests, 0.00 %"),
        (line(OLD, seconds="0.001") * 100 + line(NEW, seconds="0.030") * 100, "good 100 requests, 0.00 %"),
        (line(NEW, seconds="0.900") * 100, "good 100 requests, 0.00 %"),
        (line("127.0.0.1:9000", "500") * 100, "few 0 requests"),
    ],
)
def test_verdicts(log: Log, lines: str, verdict: str) -> None:
    (said,) = log.judge(log.add(lines)).lines
    assert said.startswith(verdict)


def test_what_the_other_release_answered_in_its_place_counts_as_failed(log: Log) -> None:
    (said,) = log.judge(log.add(line(OLD) * 20 + line(f"{NEW}, {OLD}", "502, 200") * 20)).lines
    assert said.startswith("bad 20 requests, 100.00 % failed")
    assert "the release before: 40, 0.00 %" in said


def test_a_line_that_is_half_written_is_read_when_it_is_whole(log: Log) -> None:
    text = line(NEW) * 10
    ran = log.judge(log.add(text[:-40], "one"), log.add(text[-40:], "two"))
    assert [said.split(" ", 2)[1] for said in ran.lines] == ["9", "10"]


@pytest.mark.parametrize(
    "rotate",
    ['mv "$log" "$log.1"; : >"$log"', 'mv "$log" "$log.1"'],
    ids=["a new file at once", "none for a while"],
)
def test_a_rotated_log_loses_nothing(log: Log, rotate: str) -> None:
    ran = log.judge(
        log.add(line(NEW) * 5, "one"),
        f"{log.add(line(NEW) * 3, 'two')}\n{rotate}",
        log.add(line(NEW) * 4, "three"),
    )
    assert [said.split(" ", 2)[1] for said in ran.lines] == ["5", "8", "12"]


def test_a_log_that_is_cut_short_is_read_from_its_beginning(log: Log) -> None:
    ran = log.judge(log.add(line(NEW) * 5, "one"), f': >"$log"\n{log.add(line(NEW) * 2, "two")}')
    assert [said.split(" ", 2)[1] for said in ran.lines] == ["5", "7"]


def held(machine: Machine, tmp_path: Path, *, minutes: int, resumes: bool = False) -> Ran:
    """A release that somebody holds from its first share on; the clock runs a minute at each look."""
    (machine.root / ".devflow").mkdir()
    (tmp_path / "access.log").write_text("")
    stand_ins = f"""\
read_traffic() {{ old_colour=blue old_release=r1 next_colour=green next_release=r2 mode=new; }}
as_colour() {{ port=21000; [ "$1" = blue ] || port=21001; }}
with_colour() {{ :; }}
send() {{ :; }}
sleep() {{ passed=$((passed + 60)); }}
seconds() {{ echo "$passed"; }}
heard() {{ word=hold; if [ {int(resumes)} = 1 ] && [ $((passed / 60 % 3)) = 0 ]; then word=resume; fi; }}
passed=0 log={tmp_path}/access.log strategy_steps='5 50'
step_seconds=600 max_errors=1 latency_factor=2 min_requests=0 hold_minutes={minutes}
"""
    return machine.run(canary.FUNCTIONS + stand_ins + canary.RUN)


def test_one_that_is_held_is_taken_back_when_nobody_comes(machine: Machine, tmp_path: Path) -> None:
    ran = held(machine, tmp_path, minutes=3)
    assert ran.code == 1
    assert "taken back at 5 %: it was held by hand for 3 minutes, and nobody said how to go on" in ran.explained
    assert "Held by hand at 5 %, for 3 minutes at most: then the release is taken back. " in "\n".join(ran.lines)
    first, *_, last = (note.split() for note in ran.notes("canary"))
    assert (first[0], last[0]) == ("held", "overdue")
    assert first[-1] == last[-1] == "5"
    since, until = map(int, first[8:10])
    assert until - since == 180
    assert abs(since - time.time()) < 60


def test_one_that_goes_on_may_be_held_as_long_again(machine: Machine, tmp_path: Path) -> None:
    ran = held(machine, tmp_path, minutes=3, resumes=True)
    assert ran.code == 0, ran
    assert [note.split()[0] for note in ran.notes("canary")][-1] == "passed"
