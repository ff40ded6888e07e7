"""`.env` files: what is written is read back by us, by sh and by python-dotenv."""

from __future__ import annotations

import io
import os
import subprocess
import time

import pytest
from dotenv import dotenv_values
from hypothesis import example, given, settings
from hypothesis import strategies as st

from devflow.core import dotenv
from devflow.core.errors import InvalidError

VALUES = st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=40)
NASTY = [
    "; rm -rf ~",
    "$(id)",
    "`id`",
    "it's `id` $(id)",
    'a "b"',
    "a\nb\n",
    "",
    " x ",
    "#x",
    "a #b",
    "\\",
    "a\\\\b",
    "'",
    "\\'",
    "it's $5",
    "-----BEGIN KEY-----\nab/+=\n-----END KEY-----\n",
]


def test_the_plainest_form_that_holds_a_value_is_taken() -> None:
    values = {"A": "plain-1.0", "B": "two words", "C": "it's", "D": "two\nlines", "E": "", "F": "$HOME", "G": "c:\\"}
    assert dotenv.render(values) == (
        'A=plain-1.0\nB=\'two words\'\nC="it\'s"\nD="two\nlines"\nE=\nF=\'$HOME\'\nG="c:\\\\"\n'
    )


@given(values=st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True), VALUES, max_size=5))
@example(values=dict(zip("ABCDEFGHIJKLMNOP", NASTY, strict=True)))
def test_written_and_read_back(values: dict[str, str]) -> None:
    assert dotenv.parse(dotenv.render(values)) == values


@settings(max_examples=40)
@given(values=st.lists(VALUES, max_size=10))
@example(values=NASTY)
def test_sh_reads_the_same_and_executes_nothing(values: list[str]) -> None:
    text = dotenv.render({f"V{number}": value for number, value in enumerate(values)})
    printed = " ".join(f'"$V{number}"' for number in range(len(values)))
    script = f"set -eu\n{text}printf '%s\\0' {printed}\n"
    done = subprocess.run(["sh"], input=script.encode(), capture_output=True, check=True, env={"PATH": os.defpath})
    assert done.stderr == b""
    assert done.stdout.decode().split("\0")[:-1] == values or not values


@given(value=VALUES.filter(lambda value: "${" not in value and "\r" not in value))
@example(value="-----BEGIN KEY-----\nab/+=\n-----END KEY-----\n")
@example(value="a\\\\b")
@example(value="ends with \\")
def test_python_dotenv_reads_the_same(value: str) -> None:
    rendered = dotenv.render({"KEY": value})
    if "\\$" in rendered or "\\`" in rendered:  # see the module: readers differ on these
        return
    assert dotenv_values(stream=io.StringIO(rendered), interpolate=False) == {"KEY": value}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1\n", {"A": "1"}),
        ("A=1", {"A": "1"}),
        ("\n# note\n  # note\nexport A=1 # note\r\nB = two \n", {"A": "1", "B": "two"}),
        ("A='1 # no note' # note\n", {"A": "1 # no note"}),
        ('A="two\\nlines \\$5 \\d"\n', {"A": "two\nlines $5 \\d"}),
        ('A="two\nlines"\nB=1\n', {"A": "two\nlines", "B": "1"}),
        ("A=a#b\n", {"A": "a#b"}),
        ("A=\n", {"A": ""}),
        ("A=1\nA=2\n", {"A": "2"}),
        ("\ufeffA=1\n", {"A": "1"}),
        ("A=base64:abc==\n", {"A": "base64:abc=="}),
        ("", {}),
    ],
)
def test_texts_of_others(text: str, expected: dict[str, str]) -> None:
    assert dotenv.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [("A=1\nnonsense\n", 2), ("A='1\n", 1), ('A=1\n\nB="1\n', 3), ("A='x' y\n", 1)],
)
def test_what_is_no_entry_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(InvalidError, match=f"Line {line} is not KEY=value"):
        dotenv.parse(text)


def test_a_bad_name_is_refused() -> None:
    with pytest.raises(InvalidError, match="is not valid"):
        dotenv.parse("$(id)=1\n")


def test_hostile_texts_take_no_time() -> None:
    begun = time.monotonic()
    for text in ("A='" + "\\" * 5_000, 'A="' + "\\" * 4_999, "A=" + " " * 5_000 + "x", "A=" + "# " * 2_000):
        try:
            dotenv.parse(text)
        except InvalidError:
            continue
    assert time.monotonic() - begun < 5


@given(text=st.text("AB='\"\\#$ \n\rx", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        values = dotenv.parse(text)
    except InvalidError:
        return
    assert dotenv.parse(dotenv.render(values)) == values
