"""`devflow up` as it really runs: processes, files and signals."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.support.panel import Panel, command_line, descendants, is_alive, kill_hard, wait_until

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    """One panel for all tests that leave it running."""
    with Panel(tmp_path_factory.mktemp("panel") / "data", from_nothing=True) as running:
        yield running


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_start_makes_private_files(panel: Panel) -> None:
    assert mode(panel.data_dir) == 0o700
    assert mode(panel.data_dir / "postgres") == 0o700
    assert {mode(panel.data_dir / name) for name in ("master.key", "postgres.url", "postgres.log", "devflow.pid")} == {
        0o600
    }


def test_the_database_listens_on_no_network(panel: Panel) -> None:
    """Everything the panel starts has one port open: the panel's."""
    inodes = {
        link.readlink().name
        for pid in descendants(panel.process.pid)
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if str(link.readlink()).startswith("socket:")
    }
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    listening = {
        int(line[1].rpartition(":")[2], 16) for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in inodes
    }
    assert listening == {panel.port}


def test_no_secret_is_in_a_command_line(panel: Panel) -> None:
    key = (panel.data_dir / "master.key").read_text().strip()
    assert all(key not in command_line(pid) for pid in descendants(panel.process.pid))


def test_a_second_up_is_refused(panel: Panel) -> None:
    second = panel.run("up")
    assert second.returncode == 1
    assert (
        second.stderr == f"devflow: devflow up is running on {panel.data_dir} already (process {panel.process.pid})\n"
    )
    assert panel.is_ready()


def test_a_taken_port_is_told_before_anything_starts(panel: Panel, tmp_path: Path) -> None:
    refused = Panel(tmp_path / "data", panel.port).run("up")
    assert refused.returncode == 1
    assert f"port {panel.port} on 127.0.0.1 is in use" in refused.stderr
    assert not (tmp_path / "data" / "postgres").exists()


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "thesis.txt").touch()
    refused = Panel(tmp_path).run("up")
    assert refused.returncode == 1
    assert "holds other files" in refused.stderr
    assert mode(tmp_path) == 0o755


def test_a_wrong_setting_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "devflow.toml").write_text("prot = 80\n")
    refused = Panel(tmp_path).run("up")
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"devflow: {tmp_path}/devflow.toml: unknown setting prot")
    assert refused.stderr.count("\n") == 1


def test_an_administrator_reaches_the_running_panel(panel: Panel) -> None:
    created = panel.run(
        "admin", "create-user", "--email", "Ada@example.org", "--password-stdin", stdin="lovelace 1815\n"
    )
    assert (created.returncode, created.stdout) == (0, "")
    token = panel.run("admin", "create-token", "--email", "ada@example.org", "--scopes", "read,deploy")
    assert re.fullmatch(r"dfp_[\w-]{40,}\n", token.stdout)
    again = panel.run("admin", "create-user", "--email", "ada@example.org", "--password-stdin", stdin="lovelace 1815\n")
    assert (again.returncode, again.stderr) == (1, "devflow: There is a user ada@example.org already.\n")


def test_the_doctor_finds_nothing_wrong(panel: Panel) -> None:
    examined = panel.run("doctor")
    assert examined.returncode == 0, examined.stdout
    assert "failed" not in examined.stdout


def test_health(panel: Panel) -> None:
    assert httpx.get(f"{panel.url}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{panel.url}/readyz").json() == {"database": "ok", "queue": "ok", "worker": "ok"}


@pytest.mark.parametrize("name", ["web", "worker", "postgres"])
def test_a_killed_child_is_started_again(panel: Panel, name: str) -> None:
    before = panel.child(name)
    kill_hard(before)
    wait_until(lambda: panel.child(name) != before, 15, what=panel.output)
    wait_until(panel.is_ready, 20, what=panel.output)


def test_connections_wait_while_web_restarts(panel: Panel) -> None:
    kill_hard(panel.child("web"))
    assert httpx.get(f"{panel.url}/healthz", timeout=15).status_code == 200


def test_a_request_on_its_way_when_web_stops_is_answered(panel: Panel) -> None:
    """As a proxy sends it: it connects first, and in the moment between web is told to stop."""
    with ExitStack() as stack:
        kept, *_ = connections = [HTTPConnection("127.0.0.1", panel.port, timeout=15) for _ in range(4)]
        for connection in connections:
            connection.connect()
            stack.enter_context(closing(connection))
        kept.request("GET", "/healthz")
        kept.getresponse().read()
        os.kill(panel.child("web"), signal.SIGTERM)
        time.sleep(0.15)  # it looks every 0.1 s whether it is to stop
        for connection in connections:
            connection.request("GET", "/healthz")
        answers = [connection.getresponse() for connection in connections]
        assert [(answer.status, answer.headers["connection"]) for answer in answers] == [(200, "close")] * 4


def test_a_term_signal_ends_all_within_five_seconds(tmp_path: Path) -> None:
    panel = Panel(tmp_path / "data").start()
    processes = descendants(panel.process.pid)
    assert len(processes) >= 3
    begun = time.monotonic()
    assert panel.stop() == 0
    assert time.monotonic() - begun < 5
    assert not any(is_alive(pid) for pid in processes)
    assert not (panel.data_dir / "postgres.url").exists()

    assert panel.output().count("/setup?token=") == 1
    panel.start()  # still without a user: a new link
    assert panel.output().count("/setup?token=") == 2
    panel.run("admin", "create-user", "--email", "ada@example.org", "--password-stdin", stdin="lovelace 1815\n")
    panel.stop()
    panel.start()
    assert panel.output().count("/setup?token=") == 2
    panel.stop()


def test_a_killed_supervisor_leaves_nothing_behind(tmp_path: Path) -> None:
    panel = Panel(tmp_path / "data").start()
    processes = descendants(panel.process.pid)
    kill_hard(panel.process.pid)
    panel.process.wait()
    panel.start()  # at once, while the old database may still be shutting down
    assert not any(is_alive(pid) for pid in processes)
    panel.stop()


def test_the_database_survives_a_crash_of_everything(tmp_path: Path) -> None:
    with Panel(tmp_path / "data") as panel:
        panel.run("admin", "create-user", "--email", "ada@example.org", "--password-stdin", stdin="lovelace 1815\n")
        for pid in (panel.process.pid, *descendants(panel.process.pid)):
            # PostgreSQL's own processes end by themselves when the one above them has gone.
            with suppress(ProcessLookupError):
                kill_hard(pid)
        panel.process.wait()
        panel.start()
        token = panel.run("admin", "create-token", "--email", "ada@example.org", "--scopes", "read")
        assert token.returncode == 0, token.stderr


def test_a_port_of_another_program_does_not_end_the_panel(panel: Panel) -> None:
    """Nobody else can take the panel's port while web restarts."""
    kill_hard(panel.child("web"))
    with socket.socket() as thief, pytest.raises(OSError, match="in use"):
        thief.bind(("127.0.0.1", panel.port))
    wait_until(panel.is_ready, 20, what=panel.output)


def test_a_database_of_ones_own(tmp_path: Path, postgres: str) -> None:
    """`DATABASE_URL`: nothing is embedded, and the database outlives the panel."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE DATABASE panel_of_its_own")
    url = postgres.replace("/devflow?", "/panel_of_its_own?")
    with Panel(tmp_path / "data", DATABASE_URL=url) as panel:
        assert panel.run("doctor").returncode == 0
    assert not (panel.data_dir / "postgres").exists()
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM accounts_user").fetchone() == (0,)


def test_a_database_that_is_not_there_is_told(tmp_path: Path) -> None:
    panel = Panel(tmp_path / "data", DATABASE_URL="postgresql://panel:hunter2@127.0.0.1:1/panel")
    refused = panel.run("up")
    assert refused.returncode == 1
    assert "127.0.0.1" in refused.stderr
    assert "hunter2" not in refused.stderr
    assert "Traceback" not in refused.stderr


DJANGO = "import os, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'devflow.settings.base'; django.setup();"


@pytest.mark.parametrize(
    ("process", "foreign"),
    [
        ("import devflow.supervisor", {"django", "psycopg", "asyncio", "cryptography"}),
        (
            f"{DJANGO} import devflow.worker.main",
            {"ninja", "pydantic", "uvicorn", "typer", "rich", "devflow.web.views"},
        ),
        ("import devflow.server, devflow.asgi, devflow.urls", {"asyncssh", "typer", "rich", "httpx"}),
        ("import devflow.cli.main", {"django", "httpx", "asyncio", "rich"}),
    ],
)
def test_processes_load_only_what_is_theirs(panel: Panel, process: str, foreign: set[str]) -> None:
    """What one process needs must not cost memory or time in the others."""
    script = f"{process}; import sys; print(*sorted({foreign!r} & sys.modules.keys()))"
    loaded = subprocess.run([sys.executable, "-c", script], env=panel.environment, capture_output=True, text=True)
    assert (loaded.stdout.split(), loaded.returncode) == ([], 0), loaded.stderr
