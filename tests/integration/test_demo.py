"""`bin/demo --once`: the way of everybody who tries the panel, from nothing to a deployed site."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.vps import free_ports

ROOT = Path(__file__).parents[2]


@pytest.mark.usefixtures("vps_image")
def test_with_a_server_in_a_container() -> None:
    output = _demo()
    assert "Server  a container; ssh " in output
    assert "Site    http://127.0.0.1:" in output


def test_on_this_machine_where_no_docker_engine_answers() -> None:
    output = _demo(DOCKER_HOST="unix:///nonexistent")
    assert "no Docker engine answers" in output
    assert "Server  this machine" in output


@pytest.mark.parametrize("port", ["x", "0", "65536", "-1", "", "²"])
def test_no_port_is_wrong_usage(port: str, tmp_path: Path) -> None:
    done = _run(PORT=port, TMPDIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"bin/demo: PORT={port!r} is not a port: give a number from 1 to 65535.\n"
    assert not list(tmp_path.iterdir())


def test_a_port_in_use_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = _run(PORT=str(port), TMPDIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr == f"bin/demo: port {port} on 127.0.0.1 is in use: choose another one, like PORT=8081 bin/demo.\n"
    )
    assert not list(tmp_path.iterdir())


def _demo(**environment: str) -> str:
    """What the demo printed; it ended well."""
    (port,) = free_ports(1)
    done = _run(PORT=str(port), **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _run(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "bin/demo", "--once"], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
