"""Answers of a panel whose database grows: a hundredth, a tenth and all of its size, asked one after the other.

Beside the time that passes it tells the processor time of everything that the panel is made of, which a busy machine
changes little.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.common import Result, measured, speed
from bench.filled import Filler, Size, filling
from bench.idle import cpu_seconds
from tests.support.panel import Panel

FULL = Size(projects=5_000, servers=100, deployments=100_000)
PARTS = (100, 10, 1)
ASKED = 30
"""Times that each is asked, after three times that only warm up."""
WARM_UP = 3


@dataclass(frozen=True)
class Cost:
    """Of one answer: the median and p95 of the time that passes, and the processor time of the panel."""

    median_ms: float
    p95_ms: float
    processor_ms: float


Addresses = Callable[[httpx.Client, dict[str, Any]], Mapping[str, str]]
"""What is asked for, by what it is called, of the names and ids that there are."""


def measure(bench: str, *, who: Callable[[Filler], dict[str, Any]], addresses: Addresses, goal_ms: int) -> None:
    """Prints median and p95 of each address at each size, and what they are of those at the size before.

    `who` are the arguments of the client that asks; `goal_ms` is for p95 at full size.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="devflow-bench-")))
        panel = stack.enter_context(Panel(folder / "data", DEVFLOW_API_LIMIT="0"))
        filler = stack.enter_context(filling(panel.environment))
        client = stack.enter_context(httpx.Client(base_url=panel.url, timeout=120, **who(filler)))
        assert panel.process is not None
        speed(bench).print()
        before: dict[str, Cost] = {}
        for part in PARTS:
            size = FULL.part(part)
            for name, address in addresses(client, filler.fill(size)).items():
                cost = ask(client, address, panel.process.pid)
                for result in _results(bench, f"{name}, {size.deployments} deployments", cost, goal_ms):
                    result.print()
                if name in before:
                    for result in _growth(bench, name, size, cost, before[name]):
                        result.print()
                before[name] = cost


def ask(client: httpx.Client, address: str, panel: int, *, asked: int = ASKED) -> Cost:
    """What the address costs the process `panel` and those below it. Raises AssertionError where it is no success."""
    seconds = []
    for number in range(WARM_UP + asked):
        if number == WARM_UP:
            used = cpu_seconds(panel)
        with measured() as watch:
            answer = client.get(address)
        assert answer.status_code == 200, f"{address}: {answer.status_code} {answer.text[:500]}"
        seconds.append(watch.seconds)
    counted = seconds[WARM_UP:]
    p95 = statistics.quantiles(counted, n=20)[-1]
    return Cost(statistics.median(counted) * 1000, p95 * 1000, (cpu_seconds(panel) - used) / asked * 1000)


def _results(bench: str, case: str, cost: Cost, goal_ms: int) -> Iterator[Result]:
    yield Result(bench, f"{case}, median", "ms", round(cost.median_ms, 1), ASKED)
    goal = f"goal {goal_ms} ms"
    yield Result(bench, f"{case}, p95", "ms", round(cost.p95_ms, 1), ASKED, goal, round(cost.p95_ms / goal_ms, 3))
    yield Result(bench, f"{case}, processor", "ms", round(cost.processor_ms, 1), ASKED)


def _growth(bench: str, name: str, size: Size, cost: Cost, before: Cost) -> Iterator[Result]:
    """What it costs of what it cost with a tenth of the rows."""
    case, against = f"{name}, {size.deployments} deployments", f"{size.deployments // 10} deployments"
    for what, now, then in (
        ("median", cost.median_ms, before.median_ms),
        ("processor", cost.processor_ms, before.processor_ms),
    ):
        yield Result(
            bench, f"{case}, growth of {what}", "times", round(now / then, 3), ASKED, against, round(now / then, 3)
        )


def pages_deep(client: httpx.Client, address: str, pages: int) -> str:
    """The address of a page of a list of the API so many pages on, or of the last one that there is."""
    found = address
    for cursor in _cursors(client, address, pages):
        found = f"{address}&cursor={cursor}"
    return found


def _cursors(client: httpx.Client, address: str, pages: int) -> Iterator[str]:
    following = ""
    for _ in range(pages):
        answer = client.get(f"{address}&cursor={following}").raise_for_status()
        following = answer.json()["next"]
        if not following:
            return
        yield following
