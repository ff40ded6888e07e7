"""`.env` files: written for sh, phpdotenv (Laravel) and python-dotenv alike, and read with python-dotenv's rules.

What these do not agree on: python-dotenv expands `${NAME}` even in single quotes, and leaves the backslash of `\\$`,
which sh and PHP need in double quotes; there sh needs one before a backtick too, which PHP refuses.
"""

from __future__ import annotations

import re

from devflow.core import names
from devflow.core.errors import InvalidError

_PLAIN = re.compile(r"[A-Za-z0-9_@%+:,./=-]*")
_ENTRY = re.compile(
    r"""
    [ \t]*(?:export[ \t]+)?(?P<key>[^\s=#]+)[ \t]*=[ \t]*
    (?: '(?P<single>(?>(?:\\['\\]|[^'])*))' | "(?P<double>(?:\\.|[^"\\])*)" | (?!['"])(?P<plain>[^\r\n]*?) )
    [ \t]*(?:(?<=[\s'"])\#[^\r\n]*)?(?:\r?\n|$)
    """,
    re.VERBOSE | re.DOTALL,
)
_BLANK = re.compile(r"[ \t]*(?:\#[^\r\n]*)?(?:\r?\n|$)")
_NEEDS_DOUBLE = re.compile(r"'|\n|\\\\|\\$")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def render(values: dict[str, str]) -> str:
    """The text of a `.env` file: plain words bare, others in single quotes; in double quotes what these cannot hold for
    all readers: a single quote, several lines (PHP), two backslashes or one at the end (python-dotenv).
    """
    return "".join(f"{key}={_quoted(value)}\n" for key, value in values.items())


def parse(text: str) -> dict[str, str]:
    """Keys and values of a `.env` text: comments, `export`, quotes, several lines. Raises InvalidError with a line."""
    values: dict[str, str] = {}
    text = text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    position = 0
    while position < len(text):
        if blank := _BLANK.match(text, position):
            position = blank.end()
            continue
        entry = _ENTRY.match(text, position)
        if entry is None:
            line = text.count("\n", 0, position) + 1
            raise InvalidError(
                f"Line {line} is not KEY=value.", {"text": f"Line {line} is not KEY=value, or a quote is not closed."}
            )
        values[names.variable(entry["key"])] = _unquoted(entry)
        position = entry.end()
    return values


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    if not _NEEDS_DOUBLE.search(value):
        return f"'{value}'"
    escaped = re.sub(r'([\\"$`])', r"\\\1", value)
    return f'"{escaped}"'


def _unquoted(entry: re.Match[str]) -> str:
    if entry["single"] is not None:
        return re.sub(r"\\(['\\])", r"\1", entry["single"])
    if entry["double"] is not None:
        return re.sub(r"\\([\\'\"$`nrt])", lambda match: _ESCAPES.get(match[1], match[1]), entry["double"])
    return re.split(r"\s#", entry["plain"], maxsplit=1)[0].strip()
