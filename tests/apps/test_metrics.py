"""`/metrics` of a running panel, read as Prometheus reads it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.panel import Panel, free_port, kill_hard, wait_until

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    with Panel(tmp_path_factory.mktemp("panel") / "data") as running:
        running.run("admin", "create-user", "--email", "ada@example.test", "--password-stdin", stdin="lovelace 1815\n")
        yield running


def figures(panel: Panel) -> dict[tuple[str, ...], float]:
    answer = httpx.get(f"{panel.url}/metrics", timeout=10)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_it_tells_the_panels_figures(panel: Panel) -> None:
    found = figures(panel)
    assert found["devflow_info", "0.1.0"] == 1
    assert found["devflow_workers",] == 1
    assert found["devflow_deployments_open", "running"] == 0
    assert found["devflow_deployments_ended_day", "success"] == 0
    assert found["devflow_database_bytes",] > 1_000_000
    assert found["process_resident_memory_bytes",] > 10_000_000


def test_it_counts(panel: Panel) -> None:
    made = panel.run("admin", "create-token", "--email", "ada@example.test", "--scopes", "admin")
    headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
    body = {"name": "away", "host": "127.0.0.1", "port": free_port(), "user": "deploy"}
    assert httpx.post(f"{panel.url}/api/v1/servers", json=body, headers=headers).status_code == 201
    wait_until(lambda: figures(panel).get(("devflow_servers", "offline")) == 1, 30)


def test_a_worker_that_is_gone_is_seen(panel: Panel) -> None:
    kill_hard(panel.child("worker"))
    wait_until(lambda: figures(panel)["devflow_workers",] == 1, 40)  # the new one; the dead one no longer counts


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_who_comes_through_a_proxy_is_not_on_this_machine(panel: Panel, header: str) -> None:
    refused = httpx.get(f"{panel.url}/metrics", headers={header: "127.0.0.1"})
    assert refused.status_code == 401
    assert "DEVFLOW_METRICS_TOKEN" in refused.json()["detail"]


def test_with_a_token_set_nobody_reads_without(panel: Panel) -> None:
    port = free_port()
    environment = panel.environment | {"DEVFLOW_METRICS_TOKEN": "let-me-read"}
    with subprocess.Popen(panel.command("web", f"--port={port}"), env=environment) as process:
        try:
            wait_until(lambda: _status(port, None), 20)
            statuses = [_status(port, token) for token in (None, "wrong", "let-me-read")]
        finally:
            process.terminate()
    assert statuses == [401, 401, 200]


def _status(port: int, token: str | None) -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        return httpx.get(f"http://127.0.0.1:{port}/metrics", headers=headers, timeout=10).status_code
    except httpx.TransportError:
        return 0
