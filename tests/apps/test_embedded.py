"""The embedded PostgreSQL, really started."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from devflow import embedded
from devflow.embedded import EmbeddedPostgres, EmbeddedPostgresError, running_url
from tests.conftest import FAST

SOURCE = Path(__file__).parents[2] / "src"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path, FAST)
    yield server
    server.stop()


def test_start_and_stop(server: EmbeddedPostgres, tmp_path: Path) -> None:
    url = server.start()
    assert running_url(tmp_path) == url
    with psycopg.connect(url) as connection:
        settings = connection.execute("SELECT current_database(), current_setting('server_encoding')").fetchone()
        assert settings == ("devflow", "UTF8")
    server.stop()
    assert running_url(tmp_path) is None


def test_data_outlive_a_restart_and_a_crash(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.start()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    server.stop()
    server.start()
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    with psycopg.connect(server.start()) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)


def test_nobody_else_may_enter(server: EmbeddedPostgres) -> None:
    server.start()
    assert stat.S_IMODE(server.cluster.stat().st_mode) == 0o700
    assert stat.S_IMODE((server.cluster / ".s.PGSQL.5432").stat().st_mode) == 0o700


def test_two_run_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = EmbeddedPostgres(tmp_path / "a", FAST), EmbeddedPostgres(tmp_path / "b", FAST)
    try:
        assert first.start() != second.start()
    finally:
        first.stop()
        second.stop()


def test_a_path_that_is_too_long_for_a_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    server = EmbeddedPostgres(folder, FAST)
    try:
        psycopg.connect(server.start()).close()
        socket_dir = Path(psycopg.conninfo.conninfo_to_dict(server.url)["host"])
        assert stat.S_IMODE(socket_dir.stat().st_mode) == 0o700
    finally:
        server.stop()
    assert not socket_dir.exists()


def test_a_folder_for_sockets_that_somebody_planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "victim").mkdir(mode=0o700)
    monkeypatch.setattr(EmbeddedPostgres, "_socket_dir", tmp_path / "planted")
    (tmp_path / "planted").symlink_to(tmp_path / "victim")
    owner = (tmp_path / "victim").stat().st_uid
    with pytest.raises(EmbeddedPostgresError, match="belongs to somebody else"):
        EmbeddedPostgres(tmp_path, FAST).start()
    assert (tmp_path / "victim").stat().st_uid == owner


def test_a_server_that_was_left_behind_is_ended(server: EmbeddedPostgres, tmp_path: Path) -> None:
    server.start()
    assert server.process is not None
    later = EmbeddedPostgres(tmp_path, FAST)
    try:
        psycopg.connect(later.start()).close()
        assert server.process.wait(5) == 0
    finally:
        later.stop()


def test_a_number_that_another_process_has_by_now(server: EmbeddedPostgres) -> None:
    server.create()
    (server.cluster / "postmaster.pid").write_text(f"{os.getpid()}\n{server.cluster}\n1\n5432\n\n\n\nready\n")
    psycopg.connect(server.start()).close()


def test_a_half_made_cluster_is_made_anew(server: EmbeddedPostgres, tmp_path: Path) -> None:
    (tmp_path / "postgres.new").mkdir(mode=0o700)
    (tmp_path / "postgres.new" / "PG_VERSION").write_text("18\n")
    psycopg.connect(server.start()).close()


def test_a_damaged_cluster_is_told(server: EmbeddedPostgres) -> None:
    server.create()
    (server.cluster / "global" / "pg_control").unlink()
    with pytest.raises(EmbeddedPostgresError, match="pg_control"):
        server.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL under another account")
def test_programs_that_the_account_cannot_reach_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    package = embedded._programs().parents[1]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        hidden = Path(folder) / "hidden" / package.name
        shutil.copytree(package, hidden)
        shutil.copytree(package.with_name(f"{package.name}.libs"), hidden.with_name(f"{package.name}.libs"))
        hidden.parent.chmod(0o700)
        assert not embedded._is_public(hidden)
        monkeypatch.setattr(embedded, "CACHE_DIR", Path(folder) / "cache")
        copy = embedded._copy_to_cache(hidden)
        assert embedded._copy_to_cache(hidden) == copy
        assert embedded._is_public(copy)
        monkeypatch.setattr(embedded, "_programs", lambda: copy / "pginstall" / "bin")
        server = EmbeddedPostgres(Path(folder), FAST)
        try:
            psycopg.connect(server.start()).close()
        finally:
            server.stop()


def test_an_ordinary_user_runs_it_directly() -> None:
    """The rest of these tests ran as root where we are root; this one runs as nobody there."""
    python = "/usr/bin/python3" if os.geteuid() == 0 else sys.executable
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    if not Path(python).exists() or subprocess.run([python, "-c", check], check=False).returncode:
        pytest.skip("there is no Python 3.11 that another user may run")
    script = (
        "import pathlib, sys; from devflow.embedded import EmbeddedPostgres;"
        "server = EmbeddedPostgres(pathlib.Path(sys.argv[1])); print(server.start()); server.stop()"
    )
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() == 0:
            os.chown(folder, 65534, 65534)
        ran = subprocess.run(
            [python, "-c", script, folder],
            env={"PYTHONPATH": f"{SOURCE}:{sysconfig.get_path('purelib')}", "PATH": os.defpath},
            cwd="/",
            user=65534 if os.geteuid() == 0 else None,
            group=65534 if os.geteuid() == 0 else None,
            extra_groups=[] if os.geteuid() == 0 else None,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.stdout.startswith("postgresql://devflow@"), ran.stderr
