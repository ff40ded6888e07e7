"""Chromium as the tests drive it, and axe-core, which finds what keeps people with assistive technology out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright

CHROMIUM = Path("/usr/bin/chromium")
AXE = Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js"
# --no-sandbox: tests may run as root. The rest keeps the browser from calling home.
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 780}


def launch(playwright: Playwright) -> Browser:
    return playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)


@contextmanager
def context(browser: Browser, url: str, *, session: str = "", **options: Any) -> Iterator[BrowserContext]:
    """A fresh profile for the panel at `url`; logged in where the key of a session is given."""
    made = browser.new_context(base_url=url, **{"viewport": DESKTOP, **options})
    if session:
        made.add_cookies([{"name": "devflow_session", "value": session, "url": url}])
    try:
        yield made
    finally:
        made.close()


@contextmanager
def watched(opened: BrowserContext) -> Iterator[Page]:
    """A page whose scripts may not fail, and which may break no security policy, while this is entered."""
    page = opened.new_page()
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(f"{message.text} ({message.location.get('url')})")

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    assert not complaints, complaints


def violations(page: Page) -> list[str]:
    """What axe finds on the page, once colours have changed to what they are to be: `rule: first place`."""
    developer = page.context.new_cdp_session(page)  # not bound by the page's security policy
    developer.send("Runtime.evaluate", {"expression": AXE.read_text("utf-8")})
    ending = "document.getAnimations().filter((each) => each.effect.getComputedTiming().endTime !== Infinity)"
    run = (
        f"Promise.allSettled({ending}.map((each) => each.finished))"
        ".then(() => axe.run(document, {resultTypes: ['violations']}))"
        ".then((found) => JSON.stringify(found.violations))"
    )
    answer = developer.send("Runtime.evaluate", {"expression": run, "awaitPromise": True, "returnByValue": True})
    found: list[dict[str, Any]] = json.loads(answer["result"]["value"])
    return [f"{rule['id']}: {rule['nodes'][0]['html'][:200]}" for rule in found]


def sideways(page: Page) -> int:
    """By how many pixels the page is wider than its window: 0, or people scroll sideways."""
    wider: int = page.evaluate("() => Math.max(0, document.documentElement.scrollWidth - window.innerWidth)")
    return wider
