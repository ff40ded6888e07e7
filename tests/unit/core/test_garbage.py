"""In a process of its own each: the collector is the whole process's."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from textwrap import dedent

from devflow.core.garbage import SETTLING

CYCLES = """
    import gc, weakref
    from devflow.core.garbage import SETTLING, settle

    class Thing:
        def __init__(self): self.itself = self

    def dropped(): return weakref.ref(Thing())
"""


def _printed(script: str) -> list[str]:
    whole = dedent(CYCLES) + dedent(script)
    return subprocess.run([sys.executable, "-c", whole], check=True, capture_output=True, text=True).stdout.split()


def test_what_is_loaded_and_what_the_first_collections_find_is_not_looked_through_again() -> None:
    counts = _printed("""
        before = gc.get_freeze_count()
        settle()
        print(before, gc.get_freeze_count())
        kept = []
        for _ in range(SETTLING + 2):
            kept.append([[] for _ in range(1000)])
            gc.collect()
            print(gc.get_freeze_count())
    """)
    frozen = [int(count) for count in counts]
    assert frozen[0] == 0 < frozen[1]
    grown = frozen[1 : 2 + SETTLING]
    assert all(later >= sooner + 1000 for sooner, later in pairwise(grown))
    assert len(set(frozen[1 + SETTLING :])) == 1, "what comes later may become garbage"


def test_garbage_made_after_that_is_still_found() -> None:
    assert _printed("""
        settle()
        for _ in range(SETTLING): gc.collect()
        before = dropped()
        gc.collect()
        print(before() is None)
    """) == ["True"]


def test_nothing_is_kept_that_was_garbage_when_a_collection_began() -> None:
    assert _printed("""
        early = dropped()
        settle()
        print(early() is None)
        later = dropped()
        gc.collect()
        print(later() is None)
    """) == ["True", "True"]
