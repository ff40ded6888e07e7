"""A panel that really runs and is broken in one place after the other: what people, the log and Sentry are told."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from devflow.core.crypto import make_key_file
from devflow.embedded import EmbeddedPostgres
from tests.support.panel import Panel, free_port, wait_until
from tests.support.sentry import Sentry

pytestmark = pytest.mark.timeout(120)

CANARY = "canary-7f3a"
INSIDE = ("Traceback", "ProgrammingError", "UndefinedTable", "does not exist", "SELECT", "/src/devflow", ".py")


@dataclass
class Broken:
    """The panel, a client of its owner, and what takes its errors."""

    panel: Panel
    owner: httpx.Client
    session: str
    deployment: str
    sentry: Sentry

    @contextmanager
    def without(self, table: str) -> Iterator[None]:
        """While this is entered, the table is not there."""
        url = (self.panel.data_dir / "postgres.url").read_text().strip()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"ALTER TABLE {table} RENAME TO {table}_away")
            try:
                yield
            finally:
                connection.execute(f"ALTER TABLE {table}_away RENAME TO {table}")

    def execute(self, statement: str) -> None:
        url = (self.panel.data_dir / "postgres.url").read_text().strip()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement)

    def logged(self, error_id: str) -> dict[str, Any]:
        """The line of the log with this id that has the traceback."""
        return wait_until(lambda: find(self.entries(), error_id), 10, what=self.panel.output)

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.panel.output().splitlines() if line.startswith('{"time"')]


def find(entries: list[dict[str, Any]], error_id: str) -> dict[str, Any] | None:
    return next((each for each in entries if each.get("id") == error_id and "exception" in each), None)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broken]:
    with Sentry() as sentry, Panel(tmp_path_factory.mktemp("panel") / "data", SENTRY_DSN=sentry.dsn) as panel:
        command = [sys.executable, "-m", "tests.support.page_world"]
        done = subprocess.run(command, env=panel.environment, stdout=subprocess.PIPE, text=True, check=True, timeout=60)
        filled = json.loads(done.stdout.splitlines()[-1])
        headers = {"X-Canary": CANARY, "User-Agent": CANARY}
        cookies = {"devflow_session": filled["session"], "canary": CANARY}
        with httpx.Client(base_url=panel.url, cookies=cookies, headers=headers, timeout=30) as owner:
            yield Broken(panel, owner, filled["session"], filled["deployments"]["success"], sentry)


def assert_told(broken: Broken, error_id: str, *, process: str = "web") -> None:
    """The log has the traceback, Sentry too, and neither has what the request carried."""
    assert "ProgrammingError" in broken.logged(error_id)["exception"]
    event = broken.sentry.event(error_id)
    assert event["tags"]["process"] == process
    assert event["exception"]["values"][-1]["type"] == "ProgrammingError"
    assert not {"request", "user", "breadcrumbs", "extra"} & event.keys()
    frames = [frame for thrown in event["exception"]["values"] for frame in thrown["stacktrace"]["frames"]]
    assert frames
    assert not any("vars" in frame for frame in frames)
    sent = b"".join(broken.sentry.raw)
    for secret in (CANARY, broken.session, "127.0.0.1", "owner@example.test"):
        assert secret.encode() not in sent, secret


def id_of_page(answer: httpx.Response) -> str:
    assert answer.status_code == 500
    assert answer.headers["content-type"].startswith("text/html")
    assert "Something went wrong here" in answer.text
    assert not [word for word in INSIDE if word in answer.text]
    return re.search(r"<code>([0-9a-f]{12})</code>", answer.text)[1]


def id_of_problem(answer: httpx.Response) -> str:
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert not [word for word in INSIDE if word in answer.text]
    return answer.json()["id"]


def test_in_a_page(broken: Broken) -> None:
    with broken.without("servers_server"):
        answer = broken.owner.get(f"/servers/?q={CANARY}")
    assert_told(broken, id_of_page(answer))


def test_in_an_operation_of_the_api(broken: Broken) -> None:
    with broken.without("servers_server"):
        answer = broken.owner.get(f"/api/v1/servers?x={CANARY}")
    assert_told(broken, id_of_problem(answer))


def test_in_a_middleware(broken: Broken) -> None:
    with broken.without("django_session"):
        page, problem = broken.owner.get("/"), broken.owner.get("/api/v1/servers")
    assert_told(broken, id_of_page(page))
    assert_told(broken, id_of_problem(problem))


def test_before_a_stream(broken: Broken) -> None:
    with broken.without("deployments_deployment"):
        answer = broken.owner.get(f"/api/v1/deployments/{broken.deployment}/events")
    assert_told(broken, id_of_problem(answer))


def test_in_a_stream(broken: Broken) -> None:
    """The answer has begun: the connection is cut, the viewer asks again; the log knows why."""
    begun = len(broken.entries())
    with broken.without("deployments_event"), pytest.raises(httpx.RemoteProtocolError):
        broken.owner.get(f"/api/v1/deployments/{broken.deployment}/events")
    failed = [each for each in broken.entries()[begun:] if "exception" in each]
    assert len(failed) == 1
    assert_told(broken, failed[0]["id"])


def test_in_a_webhook(broken: Broken) -> None:
    with broken.without("sources_source"):
        answer = broken.owner.post("/webhooks/github/wrong", content=CANARY)
    assert (answer.status_code, broken.sentry.events != []) == (500, True)
    assert not [word for word in INSIDE if word in answer.text]
    assert_told(broken, re.search(r"under ([0-9a-f]{12})", answer.text)[1])


def test_in_a_job(broken: Broken) -> None:
    begun = len(broken.entries())
    with broken.without("servers_server"):
        broken.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, args) VALUES "
            """('servers', 'servers.check', '{"server_id": "00000000-0000-0000-0000-000000000007"}')"""
        )

        def failed() -> dict[str, Any] | None:
            told = [each for each in broken.entries()[begun:] if "servers.check" in each["message"]]
            return next((each for each in told if "exception" in each), None)

        entry = wait_until(failed, 20, what=broken.panel.output)
    assert_told(broken, entry["id"], process="worker")


def test_in_what_supervises(tmp_path: Path, broken: Broken) -> None:
    """Before anything runs: the file of the process id is a folder."""
    panel = Panel(tmp_path / "data", SENTRY_DSN=broken.sentry.dsn)
    (tmp_path / "data" / "devflow.pid").mkdir(parents=True)
    assert panel.run("up").returncode == 1
    wait_until(lambda: [each for each in broken.sentry.events if each.get("tags", {}).get("process") == "up"], 10)


def test_a_dsn_that_is_none_is_told_at_the_start(tmp_path: Path) -> None:
    started = Panel(tmp_path / "data", SENTRY_DSN="nonsense").run("up")
    assert started.returncode == 1
    assert started.stderr.startswith("devflow: SENTRY_DSN: must be an address like ")


# --- without a database -----------------------------------------------------------------------------------------------


@contextmanager
def web_on(url: str, data_dir: Path) -> Iterator[tuple[Panel, httpx.Client]]:
    """`devflow web` alone, on this database."""
    panel = Panel(data_dir, free_port(), DATABASE_URL=url)
    log = (data_dir / "web.log").open("ab")
    with log, subprocess.Popen(panel.command("web"), env=panel.environment, stdout=log, stderr=log) as process:
        try:
            with httpx.Client(base_url=panel.url, timeout=30) as client:
                wait_until(lambda: answers(client), 20, what=(data_dir / "web.log").read_text)
                yield panel, client
        finally:
            process.terminate()


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def prepare(panel: Panel) -> None:
    subprocess.run([sys.executable, "-m", "devflow.prepare"], env=panel.environment, check=True, timeout=60)


NEEDS_IT = (
    ("GET", "/setup?token=x"),
    ("GET", "/api/v1/servers"),
    ("GET", "/api/v1/deployments/x/events"),
    ("POST", "/webhooks/github/wrong"),
)


def test_a_database_that_is_behind_or_away_is_told_kindly(tmp_path: Path) -> None:
    (tmp_path / "database").mkdir()
    (tmp_path / "data").mkdir(mode=0o700)
    make_key_file(tmp_path / "data" / "master.key")
    database = EmbeddedPostgres(tmp_path / "database")
    url = database.start()
    try:
        with web_on(url, tmp_path / "data") as (panel, client):
            for method, address in NEEDS_IT:
                assert_unavailable(client.request(method, address), "being upgraded")
            prepare(panel)
            assert client.get("/setup?token=x").status_code == 403
            database.stop()
            for method, address in NEEDS_IT:
                assert_unavailable(client.request(method, address), "cannot be reached")
            assert client.get("/healthz").status_code == 200
            assert client.get("/readyz").status_code == 503
            assert client.get("/static/ninja/favicon.png").status_code == 200
            database.start()
            wait_until(lambda: client.get("/setup?token=x").status_code == 403, 20)
        assert "Traceback" not in (tmp_path / "data" / "web.log").read_text()
    finally:
        database.stop()


def assert_unavailable(answer: httpx.Response, reason: str) -> None:
    assert answer.status_code == 503, (answer.url, answer.text[:300])
    assert reason in answer.text
    assert int(answer.headers["retry-after"]) > 0
    assert not [word for word in INSIDE if word in answer.text], answer.url
