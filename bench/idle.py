"""What everything that `devflow up` starts costs while nothing happens: memory (PSS) and processor time."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import httpx

from bench.common import Result
from tests.support.panel import Panel, descendants

SETTLE_SECONDS = 60
MEASURE_SECONDS = 60
GOAL_MEGABYTES = 250
GOAL_PERCENT = 2.0


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="devflow-bench-") as folder, Panel(Path(folder) / "data") as panel:
        assert panel.process is not None
        use(panel)
        time.sleep(SETTLE_SECONDS)
        before = cpu_seconds(panel.process.pid)
        time.sleep(MEASURE_SECONDS)
        percent = (cpu_seconds(panel.process.pid) - before) / MEASURE_SECONDS * 100
        megabytes = pss_bytes(panel.process.pid) / 1e6
    case = f"after {SETTLE_SECONDS + MEASURE_SECONDS} s"
    for unit, value, goal in (("MB", megabytes, GOAL_MEGABYTES), ("% of a core", percent, GOAL_PERCENT)):
        Result("idle", case, unit, round(value, 2), 1, f"goal {goal:g} {unit}", round(value / goal, 3)).print()


def use(panel: Panel) -> None:
    """Have the web process load what pages and API need, as in a panel that somebody has looked at."""
    for path in ("/accounts/login/", "/api/v1/openapi.json"):
        httpx.get(panel.url + path, timeout=30).raise_for_status()


def pss_bytes(root: int) -> int:
    """Memory of a process and all below it; what they share is counted once."""
    return sum(_pss(pid) for pid in (root, *descendants(root)))


def cpu_seconds(root: int) -> float:
    """Processor time that a process and all below it have used, children that ended included."""
    return sum(_cpu(pid) for pid in (root, *descendants(root)))


def _pss(pid: int) -> int:
    lines = _read(Path(f"/proc/{pid}/smaps_rollup")).splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def _cpu(pid: int) -> float:
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _read(path: Path) -> str:
    """'' of a process that has ended since it was listed; what it used is told of the one that it belonged to."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
