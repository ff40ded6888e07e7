"""What the clean-up of a large database does to it, and to those who ask it meanwhile.

100 projects with 1,000 deployments each of two years, of which the panel keeps half a year: three of four go.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psycopg

from bench.common import Result, measured
from bench.filled import Filler, Size, filling
from devflow.embedded import running_url
from tests.support.panel import Panel

SIZES = tuple(Size(projects=100, servers=10, deployments=number) for number in (10_000, 100_000))
QUIET_SECONDS = 10
TABLES = ("deployment", "step", "event", "release")
GOAL_SECONDS = 1.0
"""The longest that anybody is held up."""


def main() -> None:
    for size in SIZES:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="devflow-bench-")))
            panel = stack.enter_context(Panel(folder / "data", DEVFLOW_API_LIMIT="0"))
            filler = stack.enter_context(filling(panel.environment))
            filler.fill(size)
            database = stack.enter_context(psycopg.connect(running_url(panel.data_dir) or "", autocommit=True))
            headers = {"Authorization": f"Bearer {filler.token}"}
            client = stack.enter_context(httpx.Client(base_url=panel.url, headers=headers, timeout=120))
            measure(panel, database, client, filler, size)


def measure(panel: Panel, database: psycopg.Connection[Any], client: httpx.Client, filler: Filler, size: Size) -> None:
    case = f"{size.deployments} deployments"
    rows, on_disk = count(database), _size(database)
    quiet = ask_while(client, lambda: time.sleep(QUIET_SECONDS))
    longest: list[float] = []
    with measured() as watch:
        asked = ask_while(client, lambda: longest.append(clean(panel, database)))
    left = count(database)
    for table in TABLES:
        ratio = round(left[table] / rows[table], 3)
        Result("retention", f"{case}, rows of {table} left", "rows", left[table], 1, "before", ratio).print()
    Result("retention", f"{case}, clean-up", "s", round(watch.seconds, 1), 1).print()
    ratio = round(longest[0] / GOAL_SECONDS, 3)
    Result("retention", f"{case}, longest transaction", "s", round(longest[0], 3), 1, "goal 1 s", ratio).print()
    for name, of in (("p95", lambda all_of: statistics.quantiles(all_of, n=20)[-1]), ("at most", max)):
        now, before = of(asked), of(quiet)
        told = f"{case}, others' requests meanwhile, {name}"
        Result("retention", told, "s", round(now, 3), len(asked), "at rest", round(now / before, 3)).print()
    after = _size(database)
    Result("retention", f"{case}, on disk", "MB", round(after / 1e6), 1, "before", round(after / on_disk, 3)).print()
    database.execute("VACUUM")
    filler.fill(size)
    again = _size(database)
    told = f"{case}, on disk with as many rows again"
    Result("retention", told, "MB", round(again / 1e6), 1, "before", round(again / on_disk, 3)).print()


def clean(panel: Panel, database: psycopg.Connection[Any]) -> float:
    """Has all cleaned up, as a worker does it every hour; returns the seconds of its longest transaction."""
    command = [sys.executable, "-m", "bench.retention"]
    longest = 0.0
    with subprocess.Popen(command, env=panel.environment) as process:
        while process.poll() is None:
            found = database.execute(
                "SELECT extract(epoch FROM max(clock_timestamp() - xact_start))::float8 FROM pg_stat_activity"
                " WHERE query ~ '^(DELETE|UPDATE|SELECT id FROM) ?.*deployments_' AND pid <> pg_backend_pid()"
            ).fetchone()
            longest = max(longest, found[0] or 0.0 if found else 0.0)
            time.sleep(0.01)
        assert process.returncode == 0
    return longest


def ask_while(client: httpx.Client, work: Callable[[], object]) -> list[float]:
    """Seconds of the requests for the newest deployments, one after the other, that were answered while `work` went
    on."""
    seconds, is_over = [], threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            with measured() as watch:
                client.get("/api/v1/deployments?limit=10").raise_for_status()
            seconds.append(watch.seconds)
            time.sleep(0.05)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    try:
        work()
    finally:
        is_over.set()
        asking.join()
    return seconds


def count(database: psycopg.Connection[Any]) -> dict[str, int]:
    return {table: _number(database, f"SELECT count(*) FROM deployments_{table}") for table in TABLES}


def _size(database: psycopg.Connection[Any]) -> int:
    return _number(database, "SELECT pg_database_size(current_database())")


def _number(database: psycopg.Connection[Any], query: str) -> int:
    found = database.execute(query).fetchone()  # type: ignore[call-overload]
    return int(found[0])


def _clean_here() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "devflow.settings.base")
    django.setup()

    from devflow.apps.deployments.retention import deployments_clean

    deployments_clean()


if __name__ == "__main__":
    _clean_here()
