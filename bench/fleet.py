"""One deployment to ten servers: the panel against the hand-written script on all of them in parallel.

Each server has a disk of its own, in memory, as ten servers have: on one file system of this machine they would wait
for each other's journal, and for inodes in the order in which the others removed theirs.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench import by_hand, work
from bench.common import compare, take_turns
from bench.deploy import OURS, SCRIPT
from bench.ours import OurPanel
from bench.work import Work
from tests.support.docker_engine import ensure_engine
from tests.support.vps import Vps
from tests.support.vps_image import ensure_image

SERVERS = 10
DISK = {"/srv": "size=400m,uid=1000"}


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="devflow-bench-")))
        engine = ensure_engine()
        image = ensure_image(engine)
        fleet = [stack.enter_context(Vps(engine, image, tmpfs=DISK)) for _ in range(SERVERS)]
        reached = [(vps, vps.port) for vps in fleet]
        panel = stack.enter_context(OurPanel(folder))
        there = Work(fleet, folder / "work")
        roots = {name: f"/srv/www/{name}" for name in (OURS, SCRIPT)}
        panel.add_project("fleet", there.path, roots[OURS], reached, work.RECIPE)
        turns = {
            OURS: there.turn(roots[OURS], partial(panel.deploy, "fleet")),
            SCRIPT: there.turn(roots[SCRIPT], partial(by_hand.deploy, reached, roots[SCRIPT], there.path)),
        }
        for result in compare("fleet", f"{SERVERS} servers", take_turns(turns), ours=OURS):
            result.print()
