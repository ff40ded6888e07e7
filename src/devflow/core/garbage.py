"""When Python looks for garbage: seldom, and never again among what stays for the life of the process."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any, Final

YOUNG: Final = 10_000
"""So many new objects are looked through at a time; Python's own figure is 700, and a page makes fifty times more."""
SETTLING: Final = 3
"""So many full collections take what is alive then for what stays: templates, addresses and forms come with the first
requests. A later one would keep what only those requests that are being answered have."""


def settle() -> None:
    """To be called when a process has loaded its code.

    A full collection stops every thread: 120 ms in a web process that had answered a few pages, since it looked through
    all code and every template. Now it takes what was made since (25 ms there).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
    left = SETTLING

    def freeze(phase: str, info: Mapping[str, Any]) -> None:
        nonlocal left
        if phase == "stop" and info["generation"] == 2 and left:
            left -= 1
            gc.freeze()

    gc.callbacks.append(freeze)
