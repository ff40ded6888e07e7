"""5, 10, 25 and 50 deployments at once to ten servers, carried by one worker: how long, memory, processor, latency.

A server takes four at once, as it is set up by itself: of fifty, ten wait for their turn.
"""

from __future__ import annotations

import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench import work
from bench.common import Result, measured
from bench.fleet import DISK, SERVERS
from bench.many import Watched, begin_and_watch, needs
from bench.ours import OurPanel
from bench.work import Work
from tests.support.docker_engine import ensure_engine
from tests.support.vps import Vps
from tests.support.vps_image import ensure_image

AT_ONCE = (5, 10, 25, 50)
TIMEOUT_SECONDS = 600


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="devflow-bench-")))
        engine = ensure_engine()
        image = ensure_image(engine)
        fleet = [stack.enter_context(Vps(engine, image, tmpfs=DISK)) for _ in range(SERVERS)]
        panel = stack.enter_context(OurPanel(folder, DEVFLOW_API_LIMIT="0"))
        there = Work(fleet, folder / "work")
        servers = [panel.add_server(f"server-{number}", vps, vps.port) for number, vps in enumerate(fleet)]
        sites = [f"site-{number}" for number in range(max(AT_ONCE))]
        for number, site in enumerate(sites):
            root, vps = f"/srv/www/{site}", fleet[number % SERVERS]
            vps.put("APP_ENV=production\n", f"{root}/shared/{work.SHARED_FILE}", mode="600")
            panel.add_site(site, there.path, root, [servers[number % SERVERS]], work.RECIPE)
        begin_and_watch(panel, sites[:SERVERS], TIMEOUT_SECONDS)  # connections are open then, as they are later
        for number in AT_ONCE:
            report(panel, sites[:number])


def report(panel: OurPanel, sites: list[str]) -> None:
    with needs(panel.panel) as needed, measured() as watch:
        seen = begin_and_watch(panel, sites, TIMEOUT_SECONDS)
    assert [each.status for each in seen] == ["success"] * len(sites), [each.status for each in seen]
    (need,) = needed
    case, number = f"{len(sites)} at once", len(sites)
    Result("deployments", f"{case}, all have ended after", "s", round(watch.seconds, 3), number).print()
    Result("deployments", f"{case}, p95 of a step's end until it is seen", "s", _p95(seen), number).print()
    for name, seconds in need.cpu.items():
        Result("deployments", f"{case}, processor of {name} each", "s", round(seconds / number, 4), number).print()
    for name, size in need.memory.items():
        Result("deployments", f"{case}, memory of {name}", "MB", round(size / 1e6, 1), number).print()


def _p95(seen: list[Watched]) -> float:
    return round(statistics.quantiles([age for each in seen for age in each.step_ages], n=20)[-1], 4)
