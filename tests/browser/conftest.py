"""Chromium, and a panel of its own for each module."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.integration.conftest import docker_engine, vps, vps_image
from tests.support.browser import CHROMIUM, launch
from tests.support.panel import Panel

__all__ = ["docker_engine", "vps", "vps_image"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test below this folder needs the browser."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker("browser")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        reason = f"needs Chromium at {CHROMIUM} (apt-get install chromium)"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        started = launch(playwright)
        yield started
        started.close()


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    """`devflow up`, with web, worker and database."""
    with Panel(tmp_path_factory.mktemp("panel") / "data") as started:
        yield started


@pytest.fixture(scope="module")
def session(panel: Panel) -> str:
    """The owner's, of a panel with something on every page."""
    command = [sys.executable, "-m", "tests.support.page_world"]
    filled = subprocess.run(command, env=panel.environment, capture_output=True, text=True, timeout=60)
    assert filled.returncode == 0, filled.stderr
    return str(json.loads(filled.stdout.splitlines()[-1])["session"])
