"""Patterns of paths and tags: `*`, `?` and `[abc]` within a folder's or file's name, `**` for any folders."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from devflow.core.errors import InvalidError

_LONGEST = 200
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def checked(pattern: str, field: str) -> str:
    """The pattern, without a slash at its beginning or end. Raises InvalidError."""
    clean = pattern.strip().removeprefix("./").strip("/")
    if not clean or len(clean) > _LONGEST or _UNUSABLE.search(clean):
        message = f"Give patterns of at most {_LONGEST} characters, like apps/shop/** or v*."
        raise InvalidError(f"This is no pattern: {pattern[:50]!r}. {message}", {field: message})
    if reason := _never(clean):
        raise InvalidError(f"{pattern[:50]!r} would never match: {reason}", {field: f"This never matches: {reason}"})
    return clean


def _never(pattern: str) -> str:
    """Why nothing can match the pattern; '' where something can."""
    parts = pattern.split("/")
    if {"", ".", ".."} & set(parts):
        return "paths begin at the top of the repository, and have no empty parts, no `.` and no `..`."
    if any("[" in part and "]" not in part[part.index("[") + 2 :] for part in parts):
        return "a `[` needs its `]`, as in [abc]; write [[] for a bracket itself."
    return ""


def matches(pattern: str, path: str) -> bool:
    """Whether the path matches, or a folder that it is in: `apps/shop` is all of that folder, `*.md` only the top's."""
    return _matches(tuple(pattern.split("/")), path.split("/"))


def any_matches(patterns: Iterable[str], paths: Iterable[str]) -> bool:
    split = [path.split("/") for path in paths]
    return any(_matches(tuple(pattern.split("/")), parts) for pattern in patterns for parts in split)


def _matches(pattern: Sequence[str], parts: Sequence[str]) -> bool:
    """`reached` holds how many parts may have been passed by the names of the pattern so far; so no name is tried
    more than once at each part, whatever the pattern."""
    reached = {0}
    for name in pattern:
        if name == "**":
            reached = set(range(min(reached), len(parts) + 1))
        else:
            is_name = _expression(name)
            reached = {place + 1 for place in reached if place < len(parts) and is_name.match(parts[place])}
        if not reached:
            return False
    return True


@lru_cache(maxsize=1000)
def _expression(name: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(name))
