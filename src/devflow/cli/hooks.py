"""Hooks as options of the command line."""

from __future__ import annotations

from devflow.cli.errors import WRONG_USAGE, ClientError

FORM = "WHEN:PLACE=COMMAND, like before:activate='php artisan app:warm' or after:reload@first=./tell.sh"


def parse_hooks(given: list[str] | None) -> list[dict[str, str]] | None:
    """`before:composer install=command` and `after:reload@first=command`; a single '' stands for none at all."""
    if not given:
        return None
    return [] if given == [""] else [_hook(text) for text in given]


def _hook(text: str) -> dict[str, str]:
    place, equals, command = text.partition("=")
    when, colon, what = place.partition(":")
    if not (equals and colon):
        raise ClientError(f"{text!r} is not {FORM}.", WRONG_USAGE)
    is_first = what.endswith("@first")
    where = "first" if is_first else "all"
    return {"when": when, "what": what.removesuffix("@first"), "command": command, "where": where}
