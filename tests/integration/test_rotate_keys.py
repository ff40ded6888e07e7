"""`devflow admin rotate-keys` on a panel that runs: killed at any moment, while variables are written and read."""

from __future__ import annotations

import base64
import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from devflow.core.crypto import Vault, read_key_file
from tests.support.hooked_site import HookedSite
from tests.support.panel import Panel

pytestmark = pytest.mark.timeout(400)

COUNT = 2_000
SEALED = """
    SELECT format('SELECT %L, count(*) FROM %I WHERE length(%I) > 0 AND substring(%I, 1, 9) <> $1',
                  table_name || '.' || column_name, table_name, column_name, column_name)
      FROM information_schema.columns WHERE table_schema = 'public' AND column_name LIKE '%\\_sealed'
"""


@pytest.fixture
def panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Panel]:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with Panel(tmp_path / "data", DEVFLOW_API_LIMIT="0") as running:
        yield running


@pytest.fixture
def site(panel: Panel, tmp_path: Path) -> Iterator[HookedSite]:
    made = HookedSite.add(panel, tmp_path)
    yield made
    made.close()


class Visitor:
    """Somebody who writes and reads variables all the time, and notes whatever is not as it should be."""

    def __init__(self, site: HookedSite) -> None:
        self.faults: list[str] = []
        self.rounds = 0
        self.values: dict[str, str] = {}
        self._site = site
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Visitor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(60)

    def _run(self) -> None:
        with httpx.Client(base_url=self._site.api.base_url, headers=self._site.api.headers, timeout=60) as client:
            while not self._over.is_set():
                self.rounds += 1
                key, value = f"MOVING_{self.rounds % 7}", f"value {self.rounds}"
                address = f"projects/{self._site.slug}/environments/production"
                answer = client.post(f"{address}/variables", json={"values": {key: value}})
                if answer.status_code != 201:
                    self.faults.append(f"{answer.status_code} {answer.text}")
                    continue
                self.values[key] = value
                read = client.get(f"{address}/dotenv")
                if read.status_code != 200 or value not in read.text:
                    self.faults.append(f"{read.status_code} {read.text[:300]}")


def rotate(panel: Panel, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        panel.command("admin", "rotate-keys", *words),
        env=panel.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def not_sealed_with(panel: Panel, key: bytes) -> dict[str, int]:
    """How many values of each column another key has sealed."""
    url = (panel.data_dir / "postgres.url").read_text().strip()
    with psycopg.connect(url) as database:
        queries = [row[0] for row in database.execute(SEALED)]
        assert len(queries) > 8
        head = "\\x" + Vault(key).head.hex()
        counts = dict(database.execute(query.replace("$1", f"'{head}'::bytea")).fetchone() for query in queries)
    return {column: count for column, count in counts.items() if count}


def left(panel: Panel) -> int:
    """How many values of variables another key than the one in use has sealed."""
    counts = not_sealed_with(panel, read_key_file(panel.data_dir / "master.key")[0])
    return counts.get("projects_variable.value_sealed", 0)


def exported(site: HookedSite) -> dict[str, str]:
    text = site.api.get(f"projects/{site.slug}/environments/production/dotenv").text
    lines = [line.partition(" # devflow")[0] for line in text.splitlines() if "=" in line]
    return {key: value.strip("\"'") for key, _, value in (line.partition("=") for line in lines)}


def fill(site: HookedSite) -> dict[str, str]:
    values = {f"FIXED_{number}": f"secret-{number}-{os.urandom(8).hex()}" for number in range(COUNT)}
    answer = site.api.post(f"projects/{site.slug}/environments/production/variables", json={"values": values})
    assert answer.status_code == 201, answer.text[:500]
    return values


def test_killed_again_and_again_while_the_panel_works(panel: Panel, site: HookedSite) -> None:
    values = fill(site)
    key_file = panel.data_dir / "master.key"
    (old,) = read_key_file(key_file)
    web, worker = panel.child("web"), panel.child("worker")
    kills = halfway = 0
    dice = random.Random(7)
    with Visitor(site) as visitor:
        for attempt in range(8):
            process = subprocess.Popen(
                panel.command("admin", "rotate-keys"),
                env=panel.environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            while attempt > 1 and process.poll() is None and not 0 < left(panel) < COUNT:
                time.sleep(0.01)  # until it is in the middle of it
            time.sleep(dice.uniform(0, 0.2 if attempt > 1 else 2))
            process.kill()
            kills += process.wait() == -9
            halfway += 0 < left(panel) < COUNT
            assert exported(site).items() >= values.items()
        ended = rotate(panel)
        assert ended.returncode == 0, ended.stderr
        new, *older = read_key_file(key_file)
        assert (new not in older, old in older) == (True, True)
        before = visitor.rounds
        while visitor.rounds < before + 5:
            time.sleep(0.05)
        assert not not_sealed_with(panel, new)
    assert visitor.faults == []
    assert (kills > 3, halfway > 1) == (True, True), (kills, halfway)
    assert exported(site).items() >= (values | visitor.values).items()
    finished = rotate(panel, "--finish")
    assert finished.returncode == 0, finished.stderr
    assert read_key_file(key_file) == (new,)
    assert (panel.child("web"), panel.child("worker")) == (web, worker)  # nobody was restarted for it
    assert exported(site).items() >= (values | visitor.values).items()
    commit = site.commit("sealed anew")
    assert site.wait_ended(site.tell(commit).json()["deployment"])["status"] == "success"  # the worker knows it too
    assert panel.stop() == 0
    panel.start()
    assert exported(site).items() >= (values | visitor.values).items()


def test_a_deployment_is_carried_on_after_rotation_and_restart(panel: Panel, site: HookedSite) -> None:
    """What a run prints is told from what only looks like it, whichever key there is by now."""
    gate = site.root.parent / "gate"
    commands = {"prepare": [f"while [ ! -e {gate} ]; do sleep 0.1; done"]}
    changed = site.api.patch(f"projects/{site.slug}/environments/production", json={"phase_commands": commands})
    assert changed.is_success, changed.text
    deployment = site.tell(site.commit("first")).json()["deployment"]
    deadline = time.monotonic() + 30
    while not list((Path(os.environ["HOME"]) / ".devflow/runs").glob("*/pgid")) and time.monotonic() < deadline:
        time.sleep(0.05)
    for words in ((), ("--finish",)):
        done = rotate(panel, *words)
        assert done.returncode == 0, done.stderr
    assert panel.stop() == 0
    panel.start()
    gate.touch()
    ended = site.wait_ended(deployment)
    assert ended["status"] == "success", ended["error"]


def test_a_key_from_the_environment(tmp_path: Path) -> None:
    first, second = (base64.b64encode(os.urandom(32)).decode() for _ in range(2))
    panel = Panel(tmp_path / "data", DEVFLOW_MASTER_KEY=first)
    with panel:
        assert not (panel.data_dir / "master.key").exists()
        email = ("--email", "ada@example.test")
        assert panel.run("admin", "create-user", *email).returncode == 0
        told = rotate(panel)
        assert told.returncode == 1
        assert "openssl rand -base64 32" in told.stderr
        for pid in (panel.child("web"), panel.child("worker"), panel.child("postgres")):
            assert first not in Path(f"/proc/{pid}/cmdline").read_text()
        assert first.encode() not in Path(f"/proc/{panel.child('postgres')}/environ").read_bytes()
    panel.settings["DEVFLOW_MASTER_KEY"] = f"{second} {first}"
    with panel:
        done = rotate(panel)
        assert done.returncode == 0, done.stderr
        assert "Take the older one out" in done.stdout
    panel.settings["DEVFLOW_MASTER_KEY"] = second
    with panel:
        assert panel.run("doctor").returncode == 0
    panel.settings["DEVFLOW_MASTER_KEY"] = first
    refused = panel.run("up")
    assert refused.returncode == 1
    assert "DEVFLOW_MASTER_KEY is not the one" in refused.stderr
    assert "Traceback" not in refused.stderr + panel.output()
    assert first not in refused.stderr + panel.output()
