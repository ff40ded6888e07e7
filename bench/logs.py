"""2, 5, 10 and 20 deployments that print 1,000 lines a second each, seen by a viewer each: is all there, how soon?"""

from __future__ import annotations

import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench import work
from bench.common import Result, measured
from bench.many import begin_and_watch, needs
from bench.ours import OurPanel
from bench.work import Work
from tests.support.docker_engine import ensure_engine
from tests.support.vps import Vps
from tests.support.vps_image import ensure_image

AT_ONCE = (2, 5, 10, 20)
SERVERS = 5
LINES_PER_SECOND = 1000
SECONDS = 15
GOAL_SECONDS = 0.25
TIMEOUT_SECONDS = 300

# Twenty lines at a time, each with the time at which it is printed; what was late is made good.
PRINT = (
    "perl -MTime::HiRes=time,sleep -e '$| = 1; my $began = time; my $n = 0;"
    f" while ($n < {LINES_PER_SECOND * SECONDS}) {{"
    ' my $text = ""; $text .= sprintf("%.6f Compiled module %d of the application\\n", time, ++$n) for 1 .. 20;'
    f" print $text; my $rest = $began + $n / {LINES_PER_SECOND} - time; sleep $rest if $rest > 0; }}'"
)


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="devflow-bench-")))
        engine = ensure_engine()
        image = ensure_image(engine)
        fleet = [stack.enter_context(Vps(engine, image)) for _ in range(SERVERS)]
        panel = stack.enter_context(OurPanel(folder, DEVFLOW_API_LIMIT="0"))
        there = Work(fleet, folder / "work")
        servers = [panel.add_server(f"server-{number}", vps, vps.port) for number, vps in enumerate(fleet)]
        sites = [f"site-{number}" for number in range(max(AT_ONCE))]
        for number, site in enumerate(sites):
            root, vps = f"/srv/www/{site}", fleet[number % SERVERS]
            vps.put("APP_ENV=production\n", f"{root}/shared/{work.SHARED_FILE}", mode="600")
            name = servers[number % SERVERS]
            panel.add_site(site, there.path, root, [name], work.RECIPE, phase_commands={"prepare": [PRINT]})
        for number in AT_ONCE:
            report(panel, sites[:number])


def report(panel: OurPanel, sites: list[str]) -> None:
    with needs(panel.panel) as needed, measured() as watch:
        seen = begin_and_watch(panel, sites, TIMEOUT_SECONDS)
    assert [each.status for each in seen] == ["success"] * len(sites), [each.status for each in seen]
    lost = LINES_PER_SECOND * SECONDS * len(sites) - sum(each.lines for each in seen)
    assert lost == 0, f"{lost} lines did not arrive"
    (need,) = needed
    ages = [age for each in seen for age in each.line_ages]
    p95 = statistics.quantiles(ages, n=20)[-1]
    case, number = f"{len(sites)} at {LINES_PER_SECOND} lines/s", len(sites)
    goal = f"goal {GOAL_SECONDS} s"
    Result(
        "logs", f"{case}, all delivered, p95", "s", round(p95, 4), len(ages), goal, round(p95 / GOAL_SECONDS, 3)
    ).print()
    for name, seconds in need.cpu.items():
        percent = seconds / watch.seconds * 100
        Result("logs", f"{case}, processor of {name}", "% of a core", round(percent, 1), number).print()
    for name, size in need.memory.items():
        Result("logs", f"{case}, memory of {name}", "MB", round(size / 1e6, 1), number).print()
