"""What benchmarks share: results as JSON lines, and contestants that take turns."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass

RUNS = 9
"""Counted runs of each contestant."""


@dataclass(frozen=True)
class Result:
    """One line of output. `ratio` is our value divided by that of `against`; both are None where there is no other."""

    bench: str
    case: str
    unit: str
    value: float
    runs: int
    against: str | None = None
    ratio: float | None = None

    def print(self) -> None:
        print(json.dumps(asdict(self)), flush=True)


class Stopwatch:
    """`seconds` is set when `measured` is left."""

    seconds = 0.0


@contextmanager
def measured() -> Iterator[Stopwatch]:
    """Measures the block, in seconds of the monotonic clock."""
    watch, began = Stopwatch(), time.perf_counter()
    yield watch
    watch.seconds = time.perf_counter() - began


def speed(bench: str) -> Result:
    """What this machine takes for a loop that is always the same, in processor time: to compare days and machines."""
    began, total = time.process_time(), 0
    for number in range(1_000_000):
        total += number * number
    took = round((time.process_time() - began) * 1000, 1)
    return Result(bench, "a loop of 1,000,000 multiplications in Python, processor", "ms", took, 1)


def take_turns(contestants: Mapping[str, Callable[[], float]], *, runs: int = RUNS) -> dict[str, list[float]]:
    """Seconds of each, in turns, so that a busy moment of the machine meets all; the first round only warms up."""
    rounds = [{name: run() for name, run in contestants.items()} for _ in range(runs + 1)]
    return {name: [turn[name] for turn in rounds[1:]] for name in contestants}


def compare(bench: str, case: str, seconds: Mapping[str, list[float]], *, ours: str) -> Iterator[Result]:
    """The median of `ours` against the median of each other contestant."""
    median = statistics.median(seconds[ours])
    for name, others in seconds.items():
        if name != ours:
            yield Result(
                bench=bench,
                case=case,
                unit="s",
                value=round(median, 4),
                runs=len(others),
                against=name,
                ratio=round(median / statistics.median(others), 3),
            )
