"""Words of a shell command line. Everything from outside passes through `quote` before it becomes shell text."""

from __future__ import annotations

import shlex

MASK = "***"
"""What is shown in the place of a secret."""


def quote(value: str) -> str:
    """One word for a POSIX shell, whatever is in it (but NUL, which no word can hold)."""
    return shlex.quote(value)
