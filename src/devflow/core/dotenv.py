"""`.env` files: written for sh, phpdotenv (Laravel) and python-dotenv alike, and read with python-dotenv's rules.

What these do not agree on: python-dotenv expands `${NAME}` even in single quotes, and leaves the backslash of `\\$`,
which sh and PHP need in double quotes; there sh needs one before a backtick too, which PHP refuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from devflow.core import names
from devflow.core.errors import InvalidError

_PLAIN = re.compile(r"[A-Za-z0-9_@%+:,./=-]*")
_ENTRY = re.compile(
    r"""
    [ \t]*(?:export[ \t]+)?(?P<key>[^\s=#]+)[ \t]*=
    (?: [ \t]*(?: '(?P<single>(?>(?:\\['\\]|[^'])*))' | "(?P<double>(?:\\.|[^"\\])*)" )
        [ \t]*(?:\#(?P<comment>[^\r\n]*))?
      | (?![ \t]*['"])(?P<plain>[^\r\n]*)
    )
    (?:\r?\n|$)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT = re.compile(r"\s#")
_BLANK = re.compile(r"[ \t]*(?:\#[^\r\n]*)?(?:\r?\n|$)")
_LINE = re.compile(r"[^\n]*(?:\n|$)")
_NEEDS_DOUBLE = re.compile(r"'|\n|\\\\|\\$")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
_ESCAPED = re.compile(r"\\([\\'\"$`nrt])")
_EXPANSION = re.compile(_ESCAPED.pattern + r"|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
_PLACEHOLDER = re.compile(
    r"""
    <.*> | \{\{.*\}\} | \[.*\] | __.*__ | %.*%
    | (?:your|insert|enter|replace|change|fill|put|set)(?:[-_ ]?(?:me|this|it|in|with))?(?:[-_ ].*)?
    | to-?do | tbd | fixme | placeholder | dummy | x{3,} | \*+ | \.{3,} | \?+ | …
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_MARK = re.compile(r"\s*devflow:\s*([a-z]+)\s*")
_MOST_EXPANDED = 1_000_000
"""How long a value may get when `${NAME}` is replaced in it: each can double the one above."""
_MOST_IN_ALL = 4_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """`value` is as written, without its quotes; `is_literal` where it was in single quotes; `comment` follows it."""

    key: str
    value: str
    is_literal: bool
    comment: str

    @property
    def mark(self) -> str:
        """The kind that an export of ours notes behind a value (`# devflow: file`), '' where there is none."""
        match = _MARK.fullmatch(self.comment)
        return match[1] if match else ""


def render(values: Mapping[str, str], marks: Mapping[str, str] | None = None) -> str:
    """The text of a `.env` file: plain words bare, others in single quotes; in double quotes what these cannot hold for
    all readers: a single quote, several lines or `="` (PHP), two backslashes or one at the end (python-dotenv).

    `marks` are words noted behind values, for `Entry.mark`.
    """
    notes = {key: f" # devflow: {mark}" for key, mark in (marks or {}).items()}
    return "".join(f"{key}={_quoted(value)}{notes.get(key, '')}\n" for key, value in values.items())


def parse(text: str, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """Keys and values of a `.env` text: comments, `export`, quotes, several lines. Raises InvalidError with a line.

    `${NAME}` is replaced as readers do it, by what the text says above, or else `known`; what neither knows stays.
    """
    return {entry.key: value for entry, value in expanded(text, known)}


def expanded(text: str, known: Mapping[str, str] | None = None, *, stays: str = "") -> list[tuple[Entry, str]]:
    """The entries with their values, `${NAME}` replaced; of a key that comes twice the last. Raises InvalidError.

    A value that is `stays` stands for the one that is `known`, also where lines below name it.
    """
    found: dict[str, tuple[Entry, str]] = {}
    for entry, value in _values(text, known or {}, stays=stays):
        found[names.variable(entry.key)] = (entry, value)
    return list(found.values())


def read(text: str) -> dict[str, str]:
    """What a file on a server says, as far as it can be read: what is no entry is passed over, like readers do, and
    `${NAME}` stays where values would get too long."""
    return {entry.key: value for entry, value in _values(text, {}, is_lenient=True)}


def required(text: str) -> list[str]:
    """The keys of a `.env.example` that must be set: those without a value, or with one that only holds its place.

    What has a value there has a default. A comment behind the value says otherwise: `# required`, `# optional`.
    """
    wanted: dict[str, bool] = {}
    for entry in _entries(text, is_lenient=True):
        if not _may_be_set(entry.key):
            continue
        words = set(re.findall(r"[a-z]+", entry.comment.lower()))
        is_open = not entry.value.strip() or bool(_PLACEHOLDER.fullmatch(entry.value.strip()))
        wanted[entry.key] = "required" in words or (is_open and "optional" not in words)
    return [key for key, is_wanted in wanted.items() if is_wanted]


def _values(
    text: str, known: Mapping[str, str], *, stays: str = "", is_lenient: bool = False
) -> Iterator[tuple[Entry, str]]:
    values = dict(known)
    room = _MOST_IN_ALL
    for entry in _entries(text, is_lenient=is_lenient):
        value = entry.value
        if not entry.is_literal:
            try:
                value = _expand(entry, values, min(room, _MOST_EXPANDED))
            except InvalidError:
                if not is_lenient:
                    raise
                value = _unescape(value)
            room -= len(value)
        values[entry.key] = known.get(entry.key, value) if stays and value == stays else value
        yield entry, value


def _entries(text: str, *, is_lenient: bool = False) -> Iterator[Entry]:
    text = text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    position = 0
    while position < len(text):
        if blank := _BLANK.match(text, position):
            position = blank.end()
            continue
        match = _ENTRY.match(text, position)
        if match is not None:
            yield _entry(match)
            position = match.end()
        elif is_lenient:
            line_end = _LINE.match(text, position)
            assert line_end is not None  # it matches anything
            position = line_end.end()
        else:
            line = text.count("\n", 0, position) + 1
            raise InvalidError(
                f"Line {line} is not KEY=value, or a quote is not closed.",
                {"text": f"Line {line} is not KEY=value, or a quote is not closed."},
            )


def _entry(match: re.Match[str]) -> Entry:
    comment = match["comment"] or ""
    if match["single"] is not None:
        return Entry(match["key"], re.sub(r"\\(['\\])", r"\1", match["single"]), True, comment)
    if match["double"] is not None:
        return Entry(match["key"], match["double"], False, comment)
    plain, *after = _COMMENT.split(match["plain"], maxsplit=1)
    return Entry(match["key"], plain.strip().replace("\\", "\\\\"), False, "".join(after))  # no escapes here


def _may_be_set(key: str) -> bool:
    try:
        names.variable(key)
    except InvalidError:
        return False
    return True


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    if not _NEEDS_DOUBLE.search(value) and not _looks_open(value):
        return f"'{value}'"
    escaped = re.sub(r'([\\"$`])', r"\\\1", value)
    return f'"{escaped}"'


def _looks_open(value: str) -> bool:
    """Whether phpdotenv takes the value in single quotes for the first of several lines: at `="` with no other `"`."""
    return '="' in value and len(re.findall(r'(?=[^\\]")', value.replace("\\\\", ""))) < 2


def _expand(entry: Entry, values: Mapping[str, str], room: int) -> str:
    """Escapes as they are in double quotes, and `${NAME}` or `${NAME:-default}`, in one go from the left. Raises
    InvalidError where what is put in makes the value longer than `room`."""
    value = entry.value
    length = len(value)

    def replace(match: re.Match[str]) -> str:
        nonlocal length
        if match["name"] is None:
            return _escaped(match)
        found = values.get(match["name"])
        if match["default"] is not None:
            found = found or match["default"]
        if found is None:
            return match[0]
        length += len(found) - len(match[0])
        if length > room:
            message = f"{entry.key} gets too long when the names in it are replaced."
            raise InvalidError(message, {"text": message})
        return found

    end = value.rfind("}") + 1  # behind it no `${` is closed, and each would be searched to the end
    return _EXPANSION.sub(replace, value[:end]) + _unescape(value[end:])


def _unescape(value: str) -> str:
    return _ESCAPED.sub(_escaped, value)


def _escaped(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[1], match[1])
