"""`.env` files: what is written is read back by us, by sh and by python-dotenv."""

from __future__ import annotations

import contextlib
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
    assert dotenv.render({"A": 'a="b', "B": '<a href="x">'}) == 'A="a=\\"b"\nB=\'<a href="x">\'\n'
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


BLANKS = " " * 65_536


@pytest.mark.parametrize(
    "text",
    [
        *(f"A=a{BLANKS}b", f"A=a{BLANKS}\r", f"A={BLANKS}'b", f"A='a'{BLANKS}b", f'A="a"{BLANKS}b', f"A=a #{BLANKS}\r"),
        *(f"A{BLANKS}b", f"{BLANKS}b", f"export{BLANKS}b", f"A=a # devflow:{BLANKS}!"),
        *("A=" + " #" * 32_768, "A=" + "${A:-" * 52_428, "A=' \n" * 13_107, 'A="\n' * 16_384, "A='\nB=\"\n" * 8_192),
    ],
    ids=lambda text: repr(text[:16]),
)
def test_long_texts_take_time_by_their_length_only(text: str) -> None:
    begun = time.monotonic()
    dotenv.read(text)
    dotenv.required(text)
    with contextlib.suppress(InvalidError):
        for entry, _ in dotenv.expanded(text):
            assert entry.mark == ""
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize(
    ("text", "value", "comment"),
    [
        ("A=a  # b # c", "a", " b # c"),
        ("A=a # ", "a", " "),
        ("A= # b", "", " b"),
        ("A=#b", "#b", ""),
        ("A= a\t#b", "a", "b"),
        ("A=a#b #c", "a#b", "c"),
        ("A=a 'b' #c", "a 'b'", "c"),
    ],
)
def test_a_comment_begins_at_the_first_hash_behind_a_blank(text: str, value: str, comment: str) -> None:
    ((entry, read),) = dotenv.expanded(text)
    assert (read, entry.comment) == (value, comment)
    assert dotenv_values(stream=io.StringIO(text)) == {"A": value}


def test_a_blank_before_a_quote_changes_nothing() -> None:
    assert dotenv.read("A= 'x' y\nB= 'open\nC= 'x'\n") == {"C": "x"}
    with pytest.raises(InvalidError, match="Line 1"):
        dotenv.parse("A= 'x' y\n")


@given(text=st.text("AB='\"\\#$ \n\rx", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        values = dotenv.parse(text)
    except InvalidError:
        return
    assert dotenv.parse(dotenv.render(values)) == values


# --- ${NAME} ----------------------------------------------------------------------------------------------------------

KNOWN = {"ZONE": "example.com", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=x\nB=${A}/y\n", "x/y"),
        ('A=x\nB="${A} y"\n', "x y"),
        ("A=x\nB='${A}'\n", "${A}"),
        ('A=x\nB="\\${A}"\n', "${A}"),
        ("B=${ZONE}\n", "example.com"),
        ("ZONE=other\nB=${ZONE}\n", "other"),
        ("B=${NOBODY}\n", "${NOBODY}"),
        ("B=${NOBODY:-8080}\n", "8080"),
        ("B=${EMPTY:-8080}\n", "8080"),
        ("B=${ZONE:-other}\n", "example.com"),
        ("B=$ZONE\n", "$ZONE"),
        ("B=${}\n", "${}"),
        ("B=${ZONE\n", "${ZONE"),
        ("B=a\\b\\n${ZONE}\n", "a\\b\\nexample.com"),
        ("B=${B}\n", "${B}"),
        ("B=x\nB=${B}y\n", "xy"),
    ],
)
def test_names_in_braces_are_replaced_as_readers_do_it(text: str, expected: str) -> None:
    assert dotenv.parse(text, KNOWN)["B"] == expected


@given(
    host=st.text("abc.-/ ", max_size=8),
    rest=st.text("abc/:", max_size=8),
    form=st.sampled_from(["{}", '"{}"']),
    default=st.sampled_from(["", ":-none"]),
)
def test_python_dotenv_replaces_the_same(host: str, rest: str, form: str, default: str) -> None:
    written = form.format(f"https://${{HOST{default}}}/{rest}")
    text = f"HOST='{host}'\nURL={written}\n"
    theirs = dotenv_values(stream=io.StringIO(text))["URL"]
    if not host and default:  # it tells an empty value from one that is not set; a shell's :- does not
        assert theirs == f"https:///{rest}"
        return
    assert dotenv.parse(text)["URL"] == theirs


@given(value=VALUES)
@example(value="${PATH}")
@example(value="it's ${HOME}")
@example(value="two\nlines ${A:-b}")
def test_what_is_written_is_never_replaced_when_it_is_read_back(value: str) -> None:
    known = dict.fromkeys(("PATH", "HOME", "A"), "replaced")
    assert dotenv.parse(dotenv.render({"KEY": value}), known) == {"KEY": value}


def test_what_stands_for_the_present_value_is_never_put_into_another() -> None:
    found = dotenv.expanded("A=***\nB=x${A}y\nC=***\nD=${C}\n", {"A": "old"}, stays="***")
    assert [value for _, value in found] == ["***", "xoldy", "***", "***"]


def test_what_would_get_too_long_is_refused() -> None:
    doubling = "A0=0123456789\n" + "".join(
        f"A{number}=${{A{number - 1}}}${{A{number - 1}}}\n" for number in range(1, 31)
    )
    with pytest.raises(InvalidError, match="A17 gets too long") as raised:  # 10 * 2 ** 17 > 1 MB
        dotenv.parse(doubling)
    assert raised.value.errors["text"] == str(raised.value)
    values = dotenv.read(doubling)
    assert len(values["A16"]) == 10 * 2**16
    assert values["A17"] == "${A16}${A16}"
    assert sum(map(len, values.values())) < 4_000_000


def test_what_would_get_too_long_together_is_refused() -> None:
    known = {"LONG": "x" * 900_000}
    many = "".join(f"A{number}=${{LONG}}\\n\n" for number in range(5))
    assert len(dotenv.parse(many.replace("A4", "#A4"), known)) == 4
    with pytest.raises(InvalidError, match="A4 gets too long"):
        dotenv.parse(many, known)
    values = dotenv.read(f"LONG='{known['LONG']}'\n{many}")
    assert values["A4"] == "${LONG}\\n"


def test_a_long_value_with_nothing_to_replace_is_taken() -> None:
    long = "x" * 5_000_000
    assert dotenv.parse(f"A={long}\nB=${{NOBODY}}\n") == {"A": long, "B": "${NOBODY}"}


# --- kinds noted behind values ----------------------------------------------------------------------------------------


@given(values=st.dictionaries(st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True), VALUES, max_size=5))
def test_a_mark_behind_a_value_does_not_change_it(values: dict[str, str]) -> None:
    text = dotenv.render(values, dict.fromkeys(values, "file"))
    assert dotenv.parse(text) == values
    assert {entry.mark for entry, _ in dotenv.expanded(text)} <= {"file"}
    read = subprocess.run(["sh", "-n"], input=text.encode(), capture_output=True, check=True)
    assert read.stderr == b""


def test_another_comment_is_no_mark() -> None:
    (entry, _), *_ = dotenv.expanded("A=1 # devflow is nice\n")
    assert entry.mark == ""


# --- what .env.example requires ---------------------------------------------------------------------------------------

LARAVEL = """\
APP_NAME=Laravel
APP_ENV=local
APP_KEY=
APP_DEBUG=true
# APP_MAINTENANCE_STORE=database

DB_CONNECTION=sqlite
# DB_HOST=127.0.0.1
DB_PASSWORD=
REDIS_PASSWORD=null
AWS_BUCKET= # optional
MAIL_FROM_ADDRESS="hello@example.com"
MAIL_FROM_NAME="${APP_NAME}"
"""


def test_what_has_no_value_is_required() -> None:
    assert dotenv.required(LARAVEL) == ["APP_KEY", "DB_PASSWORD"]


@pytest.mark.parametrize(
    "value",
    [
        *("", '""', "''", "changeme", "change-me", "CHANGE_ME", "<your key>", "your-secret-key", "your_api_key"),
        *("xxx", "xxxxxxxx", "todo", "TBD", "...", "***", "{{ key }}", "placeholder", "insert_token_here", "__KEY__"),
        "replace this",
    ],
)
def test_what_only_holds_a_place_is_required(value: str) -> None:
    assert dotenv.required(f"KEY={value}\n") == ["KEY"]
    assert dotenv.required(f"KEY={value} # optional\n") == []


@pytest.mark.parametrize(
    "value",
    ["null", "false", "0", "local", "secret", "your", "settings", "changelog", "http://x.test", "a%b", "example"],
)
def test_what_has_a_value_has_a_default(value: str) -> None:
    wanted = ["KEY"] if value in ("your",) else []
    assert dotenv.required(f"KEY={value}\n") == wanted
    assert dotenv.required(f"KEY={value} # required\n") == ["KEY"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("nonsense\nA=\n", ["A"]),
        ("A='open\nB=\n", ["B"]),
        ("PATH=\nHOME=\n1X=\n$(id)=\nA=\n", ["A"]),
        ("A=\nA=1\n", []),
        ("A=1\nA=\n", ["A"]),
        ("export A=\r\nB=\r\n", ["A", "B"]),
        ("\ufeffA=\n", ["A"]),
        ("A= # the key\n", ["A"]),
    ],
)
def test_examples_of_any_kind_are_understood(text: str, expected: list[str]) -> None:
    assert dotenv.required(text) == expected


@given(text=st.text("AB='\"\\#$ \n\rx${}:-", max_size=40))
def test_any_example_and_any_file_is_read(text: str) -> None:
    assert set(dotenv.required(text)) <= set(dotenv.read(text))


def test_a_file_on_a_server_is_read_as_far_as_it_can_be() -> None:
    assert dotenv.read("A=1\nnot a line\nPATH=/bin\nB='open\nC=2\n") == {"A": "1", "PATH": "/bin", "C": "2"}
