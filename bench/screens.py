"""Every page of a panel with 200 projects: what the server takes for it, and what people see of it in Chromium.

Largest contentful paint and layout shift are those of the browser itself (https://www.w3.org/TR/largest-contentful-paint/,
https://wicg.github.io/layout-instability/), of the page with what it needs kept by the browser (as for who was there
before), and the bytes those of a first visit.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from playwright.sync_api import Page, sync_playwright

from bench.common import Result, speed
from bench.filled import Size, filling
from bench.sizes import Cost, ask
from tests.support.addresses import PAGES, SELDOM
from tests.support.browser import DESKTOP, PHONE, context, launch
from tests.support.docker_engine import install_packages
from tests.support.panel import Panel

SIZE = Size(projects=200, servers=10, deployments=4_000)
SERVER_MS, PAINT_MS, FIRST_LOAD_BYTES = 100, 1_000, 100_000
ASKED, OPENED = 10, 2
SETTLED_MS = 700
"""After which parts that come by themselves have come."""
OBSERVED = """
window.seen = {paint: 0, shift: 0};
new PerformanceObserver((list) => { for (const each of list.getEntries()) seen.paint = each.startTime; })
  .observe({type: "largest-contentful-paint", buffered: true});
const shifted = (each) => { if (!each.hadRecentInput) seen.shift += each.value; };
new PerformanceObserver((list) => list.getEntries().forEach(shifted)).observe({type: "layout-shift", buffered: true});
"""
BYTES = """() => performance.getEntries().reduce((sum, each) => sum + (each.encodedBodySize ?? 0), 0)"""


def main() -> None:
    if not shutil.which("chromium"):
        install_packages("chromium", "fonts-dejavu-core")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="devflow-bench-")))
        panel = stack.enter_context(Panel(folder / "data", DEVFLOW_API_LIMIT="0"))
        session, addresses = _filled(panel)
        cookies = {"devflow_session": session}
        client = stack.enter_context(httpx.Client(base_url=panel.url, timeout=60, cookies=cookies))
        assert panel.process is not None
        speed("screens").print()
        for address in addresses:
            _print_server(address, ask(client, address, panel.process.pid, asked=ASKED))
        browser = launch(stack.enter_context(sync_playwright()))
        stack.callback(browser.close)
        for name, window in (("desk", DESKTOP), ("phone", PHONE)):
            for address in addresses:
                with context(browser, panel.url, session=session, viewport=window, reduced_motion="reduce") as opened:
                    opened.add_init_script(OBSERVED)
                    _print_seen(f"{name}, {address}", opened.new_page(), address)


def _filled(panel: Panel) -> tuple[str, list[str]]:
    """The owner's session, and the addresses of all pages, of a team with something on each of them."""
    command = [sys.executable, "-m", "tests.support.page_world"]
    done = subprocess.run(command, env=panel.environment, stdout=subprocess.PIPE, text=True, check=True)
    world = json.loads(done.stdout.splitlines()[-1])
    with filling(panel.environment, "owner@example.test") as filler:
        filler.fill(SIZE)
    return world["session"], [*PAGES, *(address.format(**world, **world["deployments"]) for address in SELDOM)]


def _print_server(address: str, cost: Cost) -> None:
    ratio = round(cost.median_ms / SERVER_MS, 3)
    case = f"server, {address}"
    Result("screens", f"{case}, median", "ms", round(cost.median_ms, 1), ASKED, f"{SERVER_MS} ms", ratio).print()
    Result("screens", f"{case}, processor", "ms", round(cost.processor_ms, 1), ASKED).print()


def _print_seen(case: str, page: Page, address: str) -> None:
    page.goto(address, wait_until="load")
    size = page.evaluate(BYTES)
    _print_goal(f"{case}, first load", "bytes", size, 1, FIRST_LOAD_BYTES)
    seen = [_seen(page, address) for _ in range(OPENED)]
    _print_goal(
        f"{case}, largest contentful paint", "ms", statistics.median(paint for paint, _ in seen), OPENED, PAINT_MS
    )
    Result("screens", f"{case}, layout shift", "score", round(max(shift for _, shift in seen), 4), OPENED).print()


def _seen(page: Page, address: str) -> tuple[float, float]:
    """Raises AssertionError where another page came, as when the log-in has become too old."""
    page.goto(address, wait_until="load")
    page.wait_for_timeout(SETTLED_MS)
    assert urlsplit(page.url).path == urlsplit(address).path, page.url
    seen = page.evaluate("() => window.seen")
    assert seen["paint"] > 0, address
    return seen["paint"], seen["shift"]


def _print_goal(case: str, unit: str, value: float, runs: int, goal: float) -> None:
    Result("screens", case, unit, round(value, 1), runs, f"{goal} {unit}", round(value / goal, 3)).print()
