"""Pages in Chromium with scripts in every text that the panel keeps: nothing of it becomes part of a page."""

from __future__ import annotations

import json
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page
from playwright.sync_api import Error as PlaywrightError

from tests.support.browser import context
from tests.support.panel import Panel
from tests.support.planted import TAG

pytestmark = pytest.mark.timeout(240)
MOST_PAGES = 90
FOUND = f"document.querySelectorAll('{TAG}, [{TAG}], img[onerror], [onload]').length + (window.{TAG} ? 1 : 0)"


def test_nothing_that_is_kept_becomes_part_of_a_page(browser: Browser, panel: Panel) -> None:
    command = [sys.executable, "-m", "tests.support.planted"]
    done = subprocess.run(command, env=panel.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    session = json.loads(done.stdout.splitlines()[-1])["session"]
    deployments = json.loads(done.stdout.splitlines()[-1])["deployments"]
    starts = ["/", *(f"/deployments/{each}/" for each in deployments.values())]
    with context(browser, panel.url, session=session, reduced_motion="reduce") as opened:
        page = opened.new_page()
        dialogs: list[str] = []
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        shown, planted = _crawl(page, starts)
        print(f"{len(shown)} pages, planted markup is seen as text on {planted}")
        assert dialogs == []
        assert len(shown) > 25
        assert planted > 10


def _crawl(page: Page, starts: list[str]) -> tuple[set[str], int]:
    """Every kind of page that links lead to; on how many of them the markup is seen as text."""
    waiting, kinds, planted = list(starts), set(starts), 0
    shown: set[str] = set()
    while waiting and len(shown) < MOST_PAGES:
        address = waiting.pop(0)
        try:
            answer = page.goto(address, wait_until="load")
        except PlaywrightError as error:
            if "Download is starting" in str(error):
                continue
            raise
        assert answer is not None
        assert answer.status < 500, address
        shown.add(address)
        assert page.evaluate(FOUND) == 0, address
        planted += TAG in page.inner_text("body")
        for link in page.eval_on_selector_all("a[href]", "links => links.map(link => link.href)"):
            parts = urlsplit(link)
            here = f"{parts.scheme}://{parts.netloc}" == f"{urlsplit(page.url).scheme}://{urlsplit(page.url).netloc}"
            if here and parts.path not in kinds and "logout" not in parts.path and "export" not in parts.path:
                kinds.add(parts.path)
                waiting.append(parts.path)
    return shown, planted
