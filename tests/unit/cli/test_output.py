"""What reaches a person's terminal."""

from __future__ import annotations

import pytest

from devflow.cli.errors import OF_DEPLOYMENT
from devflow.cli.output import duration, log_text, print_table, shown

COLOURED = "\x1b[1;32mgreen\x1b[0m"


@pytest.mark.parametrize(
    ("text", "coloured", "plain"),
    [
        (COLOURED, COLOURED, "green"),
        ("\x1b]0;title\x07rest", "rest", "rest"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link", "link"),
        ("\x1b[2J\x1b[Hcleared", "cleared", "cleared"),
        ("\x1b[6n", "", ""),
        ("bell\x07 and \x08\x7f\x9b31m", "bell and 31m", "bell and 31m"),
        ("tab\tis kept", "tab\tis kept", "tab\tis kept"),
        ("\x1b", "", ""),
        ("\x1bc\x1b(B", "", ""),
        ("ünïcode ☃", "ünïcode ☃", "ünïcode ☃"),
    ],
)
def test_a_log_may_colour_the_terminal_and_not_command_it(text: str, coloured: str, plain: str) -> None:
    assert log_text(text, colours=True) == coloured
    assert log_text(text, colours=False) == plain


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (None, ""),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        ("two\nlines\x1b[31m\x07", "two lines "),
        (["a", "b"], "a, b"),
        ({"prepare": ["x", "y"]}, "prepare=x, y"),
    ],
)
def test_a_value_is_shown_on_one_line(value: object, line: str) -> None:
    assert shown(value) == line


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, ""), (0.0, "0.00 s"), (0.416, "0.42 s"), (3.21, "3.2 s"), (125, "2 min 5 s")]
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_a_table_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"a": "x", "b": 1}, {"a": "longer", "b": None}], {"a": "A", "b": "B"}, empty="none")
    assert capsys.readouterr().out == "A       B\nx       1\nlonger\n"


def test_an_empty_table_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([], {"a": "A"}, empty="Add one.")
    assert capsys.readouterr() == ("", "Add one.\n")


def test_exit_statuses_are_those_of_the_interface() -> None:
    assert OF_DEPLOYMENT == {"success": 0, "failed": 1, "rolled_back": 3, "cancelled": 4, "superseded": 4, "waiting": 5}
