"""What client commands print: one JSON document, or lines and tables for people. Colours only on a terminal."""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

_COLOURS: Final = re.compile(r"\x1b\[[0-9;:]*m")
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]")


def print_json(document: Any) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False))


def tell(line: str) -> None:
    """A word for people, beside the command's result: on stderr."""
    print(line, file=sys.stderr)


def print_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, empty: str) -> None:
    """One line for each row; `columns` maps a row's keys to headings. `empty` says what to do where there is none."""
    if not rows:
        tell(empty)
        return
    lines = [list(columns.values()), *([shown(row[key]) for key in columns] for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_fields(fields: Mapping[str, Any]) -> None:
    """One line for each field that is not empty."""
    filled = {name: shown(value) for name, value in fields.items() if shown(value)}
    width = max(map(len, filled), default=0)
    for name, value in filled.items():
        print(f"{name.ljust(width)}  {value}")


def shown(value: Any) -> str:
    """A value on one line, without anything that a terminal would obey."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return _CONTROLS.sub(" ", without_escapes(value)).replace("\n", " ").replace("\t", " ")
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={shown(each)}" for key, each in value.items())
    if isinstance(value, Iterable):
        return ", ".join(map(shown, value))
    return str(value)


def moment(text: str | None) -> str:
    """A time of the API in the local time zone: `2026-11-21 10:45`."""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M") if text else ""


def duration(seconds: float | None) -> str:
    """`0.42 s`, `3.2 s`, `2 min 5 s`."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def log_text(text: str, *, colours: bool) -> str:
    """Output of deployed programs: with `colours` their colours are kept, other orders to the terminal never are."""
    if not colours:
        return _CONTROLS.sub("", without_escapes(text))
    parts = _COLOURS.split(text)
    kept = [_CONTROLS.sub("", without_escapes(part)) for part in parts]
    colour_codes = [*_COLOURS.findall(text), ""]
    return "".join(part + code for part, code in zip(kept, colour_codes, strict=True))


def log_line(line: str, *, colours: bool) -> str:
    """A line of a log; of what a carriage return wrote over, the last is left."""
    return log_text(line.rstrip("\r").rpartition("\r")[2], colours=colours)


def without_escapes(text: str) -> str:
    return _ESCAPES.sub("", text).replace("\x1b", "")


def confirm(question: str, *, yes: bool) -> None:
    """Asks a person at a terminal; ends the command with status 1 at a no. Scripts are not asked."""
    if not yes and sys.stdin.isatty():
        typer.confirm(question, abort=True, err=True)
