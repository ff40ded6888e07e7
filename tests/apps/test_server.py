"""`devflow web` by itself, beside a panel whose database it uses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from devflow.embedded import running_url
from tests.support.panel import Panel, descendants, free_port, wait_until

pytestmark = pytest.mark.timeout(90)

PAGE = "/api/v1/openapi.json"
FORWARDED = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7", "Host": "panel.example.org"}


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    with Panel(tmp_path_factory.mktemp("panel") / "data") as running:
        yield running


@contextmanager
def web(panel: Panel, *arguments: str, **environ: str) -> Iterator[httpx.Client]:
    """`devflow web` with these arguments, and a client that talks to it."""
    uds = next((argument.removeprefix("--uds=") for argument in arguments if argument.startswith("--uds=")), None)
    port = next((argument.removeprefix("--port=") for argument in arguments if argument.startswith("--port=")), "")
    environment = panel.environment | {"DEVFLOW_URL": "https://panel.example.org"} | environ
    with (
        subprocess.Popen(panel.command("web", *arguments), env=environment) as process,
        httpx.Client(
            transport=httpx.HTTPTransport(uds=uds), base_url=f"http://127.0.0.1:{port or 80}", timeout=10
        ) as client,
    ):
        try:
            wait_until(lambda: (uds is None or Path(uds).exists()) and answers(client), 15)
            yield client
        finally:
            process.terminate()


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_it_runs_apart(panel: Panel) -> None:
    with web(panel, f"--port={free_port()}") as client:
        assert client.get("/readyz").json()["database"] == "ok"


def test_who_opens_the_socket_is_a_trusted_proxy(panel: Panel, tmp_path: Path) -> None:
    with web(panel, f"--uds={tmp_path / 'web.sock'}") as client:
        answer = client.get(PAGE, headers=FORWARDED)
        assert answer.status_code == 200
        assert "Strict-Transport-Security" in answer.headers


def test_a_proxy_is_believed_only_when_it_is_trusted(panel: Panel) -> None:
    with web(panel, f"--port={free_port()}") as client:
        assert "Strict-Transport-Security" not in client.get(PAGE, headers=FORWARDED).headers
    with web(panel, f"--port={free_port()}", DEVFLOW_TRUSTED_PROXIES="127.0.0.0/8") as client:
        assert "Strict-Transport-Security" in client.get(PAGE, headers=FORWARDED).headers


def test_another_host_name_is_refused(panel: Panel) -> None:
    assert httpx.get(panel.url + PAGE, headers={"Host": "evil.example.org"}).status_code == 400
    for host in ("localhost", "127.0.0.1", f"[::1]:{panel.port}"):
        assert httpx.get(panel.url + PAGE, headers={"Host": host}).status_code == 200


def test_headers_of_every_answer(panel: Panel) -> None:
    headers = httpx.get(panel.url + PAGE).headers
    assert sorted(headers["Content-Security-Policy"].split("; ")) == [
        "base-uri 'none'",
        "connect-src 'self'",
        "default-src 'none'",
        "font-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "img-src 'self' data:",
        "manifest-src 'self'",
        "script-src 'self'",
        "style-src 'self'",
    ]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert "server" not in headers


def test_strange_requests_do_not_end_it(panel: Panel) -> None:
    for path in ("/%00", "/%ff%fe", "/?q=%ff", "//", "/api/v1/deployments//events", "/..%2f..%2fetc/passwd"):
        assert httpx.get(panel.url + path).status_code < 500, path
    assert httpx.request("BREW", panel.url + "/healthz").status_code < 500


def test_it_says_what_it_misses(tmp_path: Path) -> None:
    panel = Panel(tmp_path / "data")
    missing = panel.run("web")
    assert missing.returncode == 1
    assert missing.stderr == (
        f"devflow web: The database of {panel.data_dir} is not running: start `devflow up`, or set DATABASE_URL.\n"
    )
    worker = panel.run("worker")
    assert (worker.returncode, worker.stderr.count("\n")) == (1, 1)


def test_a_master_key_that_others_can_read_is_refused(panel: Panel, tmp_path: Path) -> None:
    key = tmp_path / "master.key"
    key.write_text("00" * 32)
    key.chmod(0o644)
    refused = subprocess.run(
        panel.command("admin", "create-user", "--email", "x@example.org"),
        env=panel.environment | {"DEVFLOW_KEY_FILE": str(key)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert "can be read by others" in refused.stderr


def test_nothing_works_with_another_master_key(panel: Panel, tmp_path: Path) -> None:
    other = Panel(panel.data_dir, free_port(), DEVFLOW_MASTER_KEY="00" * 32)
    told = "The master key in DEVFLOW_MASTER_KEY is not the one that this database's secrets are sealed with."
    for command in (
        ["web", f"--port={other.port}"],
        ["admin", "create-token", "--email", "x@example.test", "--scopes", "read"],
        ["admin", "backup", str(tmp_path / "b"), "--passphrase-stdin"],
    ):
        refused = other.run(*command, stdin="twelve letters\n")
        assert (refused.returncode, told in refused.stderr, refused.stderr.count("\n")) == (1, True, 1), refused.stderr
    assert not list(tmp_path.iterdir())
    findings = json.loads(other.run("doctor", "--json").stdout)
    (found,) = (each["found"] for each in findings if each["check"] == "master key" and each["state"] == "failed")
    assert found.startswith(told)


def test_a_web_starts_before_its_database_and_then_looks_at_its_key(panel: Panel, tmp_path: Path) -> None:
    address = conninfo_to_dict(running_url(panel.data_dir) or "")
    link = f"postgresql://{address['user']}@/{address['dbname']}?host={quote(str(tmp_path / 'sockets'), safe='')}"
    settings = {"DATABASE_URL": link, "DEVFLOW_MASTER_KEY": "00" * 32}
    port = free_port()
    command = panel.command("web", f"--port={port}")
    with subprocess.Popen(command, env=panel.environment | settings, stderr=subprocess.PIPE, text=True) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
                wait_until(lambda: answers(client), 15)
            (tmp_path / "sockets").symlink_to(str(address["host"]))
            _, told = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, "is not the one" in told) == (1, True), told


def test_who_asks_while_the_database_hangs_is_answered(panel: Panel) -> None:
    postgres = panel.child("postgres")
    frozen = [postgres, *descendants(postgres)]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(6) as threads:
            answers = [*threads.map(lambda _: httpx.get(f"{panel.url}/readyz", timeout=15), range(6))]
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    assert [answer.status_code for answer in answers] == [503] * 6
    assert answers[-1].json()["database"] == "no answer in 5 s"
    wait_until(panel.is_ready, 15)


def test_what_the_database_refuses_is_one_line(panel: Panel) -> None:
    url = running_url(panel.data_dir) or ""
    hurried = Panel(panel.data_dir, free_port(), DATABASE_URL=f"{url}&options=-c%20lock_timeout%3D100ms")
    with psycopg.connect(url) as connection:
        connection.execute("LOCK TABLE accounts_user")
        refused = hurried.run("admin", "create-user", "--email", "x@example.test")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), refused.stderr
    assert refused.stderr.startswith("devflow: The database failed: canceling statement due to lock timeout")
