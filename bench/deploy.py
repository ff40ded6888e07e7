"""One deployment to one server: the panel against a hand-written script and Capistrano, near and 30 ms away."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench import by_hand, work
from bench.capistrano import Capistrano
from bench.common import compare, take_turns
from bench.ours import OurPanel
from bench.work import Work
from tests.support.delay_proxy import DelayProxy
from tests.support.docker_engine import ensure_engine
from tests.support.vps import Vps
from tests.support.vps_image import ensure_image

ROUND_TRIP_SECONDS = 0.03
OURS, OURS_DETECTING, SCRIPT, CAPISTRANO = "devflow", "devflow-detecting-recipe", "script-cold-ssh", "capistrano"


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="devflow-bench-")))
        engine = ensure_engine()
        vps = stack.enter_context(Vps(engine, ensure_image(engine)))
        panel = stack.enter_context(OurPanel(folder))
        there = Work([vps], folder / "work")
        near(panel, vps, there, folder / "capistrano")
        with DelayProxy(vps.host, vps.port, round_trip_seconds=ROUND_TRIP_SECONDS) as proxy:
            far(panel, vps, there, proxy.port)


def near(panel: OurPanel, vps: Vps, there: Work, folder: Path) -> None:
    """All on loopback."""
    at = [(vps, vps.port)]
    roots = {name: f"/srv/www/{name}" for name in (OURS, OURS_DETECTING, SCRIPT, CAPISTRANO)}
    panel.add_project("near", there.path, roots[OURS], at, work.RECIPE)
    panel.add_project("detecting", there.path, roots[OURS_DETECTING], at, "")
    capistrano = Capistrano(vps, folder, roots[CAPISTRANO], there.path)
    contestants: dict[str, Callable[[], float]] = {
        OURS: partial(panel.deploy, "near"),
        OURS_DETECTING: partial(panel.deploy, "detecting"),
        SCRIPT: partial(by_hand.deploy, at, roots[SCRIPT], there.path),
        CAPISTRANO: capistrano.deploy,
    }
    turns = {name: there.turn(roots[name], deploy) for name, deploy in contestants.items()}
    for result in compare("deploy", "1 server", take_turns(turns), ours=OURS):
        result.print()


def far(panel: OurPanel, vps: Vps, there: Work, port: int) -> None:
    """The panel and the script, both through the proxy on `port`."""
    at = [(vps, port)]
    roots = {name: f"/srv/www/far-{name}" for name in (OURS, SCRIPT)}
    panel.add_project("far", there.path, roots[OURS], at, work.RECIPE)
    turns = {
        OURS: there.turn(roots[OURS], partial(panel.deploy, "far")),
        SCRIPT: there.turn(roots[SCRIPT], partial(by_hand.deploy, at, roots[SCRIPT], there.path)),
    }
    case = f"1 server, {ROUND_TRIP_SECONDS * 1000:.0f} ms round trip"
    for result in compare("deploy", case, take_turns(turns), ours=OURS):
        result.print()
