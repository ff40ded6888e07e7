"""The test Laravel application with a Vite build: first deployment, same dependencies, changed ones, only PHP changed.

The panel as it is, the panel asked for a clean deployment, and a script by hand that installs everything each time. The
packages of Composer come from the server itself, those of npm from its registry.
"""

from __future__ import annotations

import base64
import json
import shlex
import statistics
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from bench import work
from bench.common import Result, compare, measured, take_turns
from bench.ours import OurPanel
from tests.support.apps import commit_laravel
from tests.support.docker_engine import ensure_engine
from tests.support.gitrepo import GitRepository
from tests.support.vps import Vps
from tests.support.vps_image import ensure_image

OURS, CLEAN, SCRIPT = "devflow", "devflow-clean", "script-installs-each-time"
COLD_RUNS, RUNS = 2, 3
GOAL_SECONDS = {"cold": 30.0, "unchanged dependencies": 5.0, "only PHP changed": 5.0}
BUILD_INPUTS = "resources package.json vite.config.js"
BY_HAND = Path(__file__).with_name("laravel.sh")
REPOSITORY = "/home/deploy/shop.git"
PACKAGE: dict[str, Any] = {
    "name": "shop",
    "version": "1.0.0",
    "private": True,
    "type": "module",
    "scripts": {"build": "vite build"},
    "devDependencies": {
        "@tailwindcss/vite": "^4.0.0",
        "laravel-vite-plugin": "^1.2.0",
        "tailwindcss": "^4.0.0",
        "vite": "^6.2.0",
    },
}
VITE = """\
import { defineConfig } from "vite";
import laravel from "laravel-vite-plugin";
import tailwindcss from "@tailwindcss/vite";

export default defineConfig({
  plugins: [laravel({ input: ["resources/css/app.css", "resources/js/app.js"] }), tailwindcss()],
});
"""


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="devflow-bench-")))
        engine = ensure_engine()
        vps = stack.enter_context(Vps(engine, ensure_image(engine)))
        panel = stack.enter_context(OurPanel(folder))
        there = Shop(vps, folder / "work")
        cold(panel, vps, there)
        warm(panel, vps, there)


def cold(panel: OurPanel, vps: Vps, there: Shop) -> None:
    """Each into a folder of its own, with nothing in the caches of Composer and npm."""
    seconds: dict[str, list[float]] = {OURS: [], SCRIPT: []}
    processor: dict[str, list[float]] = {OURS: [], SCRIPT: []}
    for number in range(COLD_RUNS):
        for name in seconds:
            root = f"/srv/www/cold-{name}-{number}"
            deploy = partial(by_hand, vps, root)
            if name == OURS:
                add(panel, vps, f"cold{number}", root)
                deploy = partial(panel.deploy, f"cold{number}")
            vps.run("rm -rf ~/.npm ~/.cache/composer ~/.composer/cache")
            seconds[name].append(there.turn(root, deploy, there.page)())
            processor[name] += there.processor[root]
    tell("cold", seconds, processor)


def warm(panel: OurPanel, vps: Vps, there: Shop) -> None:
    """Commits that follow: a page and a script, the lock files, a class."""
    roots = {name: f"/srv/www/{name}" for name in (OURS, CLEAN, SCRIPT)}
    for number, name in enumerate((OURS, CLEAN)):
        add(panel, vps, f"warm{number}", roots[name])
    deploys: dict[str, Callable[[], float]] = {
        OURS: partial(panel.deploy, "warm0"),
        CLEAN: partial(panel.deploy, "warm1", clean=True),
        SCRIPT: partial(by_hand, vps, roots[SCRIPT]),
    }
    for case, change in (
        ("unchanged dependencies", there.page),
        ("changed dependencies", there.locks),
        ("only PHP changed", there.code),
    ):
        turns = {name: there.turn(roots[name], deploy, change) for name, deploy in deploys.items()}
        seconds = take_turns(turns, runs=RUNS)
        tell(case, seconds, {name: there.processor[root][-RUNS:] for name, root in roots.items()})


def tell(case: str, seconds: dict[str, list[float]], processor: dict[str, list[float]]) -> None:
    """Seconds until it was done, and those that the server's processor worked for it: load changes the former only."""
    for result in compare("laravel", case, seconds, ours=OURS):
        result.print()
    for result in compare("laravel", f"{case}, processor time of the server", processor, ours=OURS):
        result.print()
    if goal := GOAL_SECONDS.get(case):
        median = statistics.median(seconds[OURS])
        ratio = round(median / goal, 3)
        Result("laravel", case, "s", round(median, 4), len(seconds[OURS]), f"goal {goal:g} s", ratio).print()


def add(panel: OurPanel, vps: Vps, name: str, root: str) -> None:
    settings: dict[str, Any] = {"shared_files": [], "shared_folders": [], "phase_commands": {}}
    options = {"build_inputs": BUILD_INPUTS}
    panel.add_project(name, REPOSITORY, root, [(vps, vps.port)], "laravel", recipe_options=options, **settings)


def by_hand(vps: Vps, root: str) -> float:
    """The script on the server, through one cold `ssh`."""
    command = shlex.join(["sh", "-s", "--", root, REPOSITORY, work.BRANCH, str(work.KEEP)])
    with measured() as watch:
        vps.run(command, stdin=BY_HAND.read_text(), timeout_seconds=600)
    return watch.seconds


def processor_seconds(vps: Vps) -> float:
    """What the processor has worked for the server since it was started (control groups of version 1 or 2)."""
    one, two = "/sys/fs/cgroup/cpuacct/cpuacct.usage", "/sys/fs/cgroup/cpu.stat"
    return float(vps.run(f"cat {one} 2>/dev/null || awk '/^usage_usec/ {{print $2 * 1000}}' {two}").stdout) / 1e9


class Shop:
    """The repository, with a page, scripts, styles and the lock files of both package managers."""

    def __init__(self, vps: Vps, folder: Path) -> None:
        self._vps, self._number, self._shown = vps, 0, 0
        self.processor: dict[str, list[float]] = {}
        self._repository = GitRepository.on_server(vps, REPOSITORY, folder)
        commit_laravel(self._repository, vps)
        self._composer = json.loads((folder / "composer.json").read_text())
        made = vps.run("mktemp -d").stdout.strip()
        vps.put(json.dumps(PACKAGE), f"{made}/package.json")
        vps.run(f"cd {made} && npm install --package-lock-only --ignore-scripts --silent", timeout_seconds=300)
        self._lock = json.loads(vps.run(f"cat {made}/package-lock.json && rm -r {made}").stdout)
        self._files({"vite.config.js": VITE, "resources/css/app.css": '@import "tailwindcss";\n'})
        self.locks()

    def turn(self, root: str, deploy: Callable[[], float], change: Callable[[], str]) -> Callable[[], float]:
        """A run of a contestant: the change, the deployment, and a look whether the site is whole."""
        key = base64.b64encode(bytes(32)).decode()
        database = f"{root}/shared/storage/database.sqlite"
        self._vps.put(f"APP_KEY=base64:{key}\nDB_DATABASE={database}\n", f"{root}/shared/.env", mode="600")
        self._vps.put("", database)

        def run() -> float:
            commit = change()
            before = processor_seconds(self._vps)
            seconds = deploy()
            self.processor.setdefault(root, []).append(processor_seconds(self._vps) - before)
            self._verify(root, commit)
            return seconds

        return run

    def page(self) -> str:
        """A commit that changes a page and a script."""
        self._number = self._shown = self._number + 1
        return self._files(
            {
                "resources/views/about.blade.php": f"<p class='p-{self._number % 90}'>{self._number}</p>",
                "resources/js/app.js": f"document.title = 'Shop {self._number}';\n",
            }
        )

    def code(self) -> str:
        """A commit that changes a class."""
        self._number += 1
        return self._files({"app/Number.php": f"<?php namespace App; class Number {{ const VALUE = {self._number}; }}"})

    def locks(self) -> str:
        """The same, and both package managers must install again."""
        version = f"1.0.{self._number + 1}"
        self._lock["version"] = self._lock["packages"][""]["version"] = version
        composer = {**self._composer, "description": version}
        self._files(
            {
                "package.json": json.dumps({**PACKAGE, "version": version}, indent=2),
                "package-lock.json": json.dumps(self._lock, indent=2),
                "composer.json": json.dumps(composer, indent=4),
            }
        )
        return self.page()

    def _files(self, files: dict[str, str]) -> str:
        return self._repository.commit(files)

    def _verify(self, root: str, commit: str) -> None:
        """Raises AssertionError unless the site serves this commit, with its packages and its build."""
        parts: Iterable[str] = (
            "cat REVISION",
            "grep -c assets/app- public/build/manifest.json",
            f'grep -l "Shop {self._shown}[^0-9]" public/build/assets/*.js | wc -l',
            "php artisan --version",
        )
        found = self._vps.run(f"cd {root}/current/ && {' && '.join(parts)}").stdout.splitlines()
        assert found[0] == commit, f"{root} serves {found}"
        assert int(found[1]) >= 2, f"{root} has no build: {found}"
        assert found[2] == "1", f"{root} has an old build: {found}"
        assert found[3].startswith("Laravel Framework"), found
