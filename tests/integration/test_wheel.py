"""The wheel works by itself: no checkout, no Node.js, nothing on PATH."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.support.vps import free_ports

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the wheel was installed; on PYTHONPATH it comes before the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    python = (sys.executable, "-m")
    subprocess.run([*python, "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*python, "pip", "install", "--quiet", "--no-deps", "--target", folder / "site", wheel], check=True)
    return folder / "site"


@pytest.fixture
def panel(installed: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a panel that runs from the wheel."""
    (port,) = free_ports(1)
    environment = {"PYTHONPATH": str(installed), "PATH": str(tmp_path / "nothing"), "DEVFLOW_PORT": str(port)}
    environment["DEVFLOW_DATA_DIR"] = str(tmp_path / "data")
    command = [sys.executable, "-c", "from devflow.cli.main import run; run()", "up"]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=sys.stderr) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def test_the_wheel_carries_what_is_not_python(installed: Path) -> None:
    run = installed / "devflow/remote/devflow-run.sh"
    assert run.read_text().startswith("#!/bin/sh")
    assert list((installed / "devflow/web/static/build").glob("*.css"))
    assert (installed / "devflow/web/templates/base.html").exists()
    assert {path.name for path in (installed / "devflow/locale/de").rglob("*.?o")} == {"django.mo", "djangojs.mo"}
    assert not list(installed.rglob("node_modules"))


def test_a_panel_from_the_wheel_serves_pages_with_their_styles(panel: str) -> None:
    page = _get_when_ready(panel)
    stylesheet = re.search(r'href="(/[^"]+\.css)"', page)
    assert stylesheet
    with urlopen(panel + stylesheet[1], timeout=5) as answer:
        assert answer.headers["Content-Type"].startswith("text/css")


def _get_when_ready(url: str) -> str:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urlopen(url, timeout=5) as answer:
                text: str = answer.read().decode()
                return text
        except HTTPError:
            raise
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
