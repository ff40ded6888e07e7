"""From a figure of the dashboard to the failure, its cause, another commit and back, at a desk and on a phone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import DESKTOP, PHONE, context, sideways, violations, watched
from tests.support.panel import Panel

NOTE_WHEN_SHOWN = """
  const look = () => {
    const row = document.querySelector('.row:has(.no[href="#L100000"])');
    if (!window.shownAt && row?.textContent.includes("of many")) window.shownAt = performance.now();
  };
  new MutationObserver(look).observe(document, {subtree: true, childList: true, characterData: true});
"""
"""When the last line was there, in milliseconds since the page was asked for."""
NOTE_SHIFTS = """
  window.shifts = [];
  new PerformanceObserver((list) => list.getEntries().forEach((shift) =>
    window.shifts.push([shift.value, ...shift.sources.map((source) => source.node?.outerHTML?.slice(0, 200))])
  )).observe({type: "layout-shift", buffered: true});
"""
IS_IN_THE_LIST = """
  (step) => step.getBoundingClientRect().bottom <= step.closest(".timeline").getBoundingClientRect().bottom
"""


@pytest.fixture(scope="module")
def fleet(panel: Panel) -> dict[str, Any]:
    """A panel with a project that fails and one that is being deployed."""
    command = [sys.executable, "-m", "tests.support.showcase", "--projects", "2"]
    done = subprocess.run(command, env=panel.environment, stdout=subprocess.PIPE, text=True, check=True, timeout=120)
    document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return document


@pytest.mark.parametrize(("window", "theme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desk", "phone"])
def test_from_the_dashboard_to_the_cause(
    browser: Browser, panel: Panel, fleet: dict[str, Any], window: dict[str, int], theme: str
) -> None:
    look = {"viewport": window, "color_scheme": theme, "reduced_motion": "reduce"}
    with context(browser, panel.url, session=fleet["session"], **look) as opened, watched(opened) as page:
        page.goto("/")
        expect(page.locator(".running-list")).to_contain_text("npm ci")
        page.get_by_role("link", name=re.compile("^Failing")).click()
        expect(page).to_have_url(re.compile("state=failing"))
        expect(page.locator(".card")).to_have_count(1)
        assert violations(page) == []
        page.get_by_role("heading", name="Checkout").get_by_role("link").click()

        production = page.get_by_role("article", name="production")
        expect(production.get_by_role("link", name="Commit…")).to_be_visible()
        refused = opened.new_page()  # the browser complains of the 422
        refused.goto("/projects/checkout/environments/production/deploy/")
        refused.get_by_label("Or another commit").fill("main")
        refused.get_by_role("button", name="Deploy", exact=True).click()
        expect(refused.get_by_text("needs another look")).to_be_visible()
        expect(refused.get_by_label("Or another commit")).to_have_value("main")
        assert violations(refused) == []
        refused.close()

        page.goto(f"/deployments/{fleet['deployments']['failed']}/")
        failure = page.get_by_role("alert")
        expect(failure).to_contain_text("Node.js ran out of its heap")
        expect(failure).to_contain_text("NODE_OPTIONS")
        expect(page.locator(".row").last).to_contain_text("Aborted (core dumped)")
        assert page.locator("#timeline [data-status=failed]").first.evaluate(IS_IN_THE_LIST), "the list begins there"
        page.get_by_role("button", name="Show in the log").click()
        expect(page.locator(".row.is-linked")).to_contain_text("FATAL ERROR")
        page.get_by_label("Search in the log").fill("modules")
        expect(page.get_by_text(re.compile("no hits|1 of"))).to_be_visible()
        assert violations(page) == []
        assert sideways(page) == 0


@pytest.mark.parametrize("window", [DESKTOP, PHONE], ids=["desk", "phone"])
def test_nothing_moves_while_a_page_comes(
    browser: Browser, panel: Panel, fleet: dict[str, Any], window: dict[str, int]
) -> None:
    pages = ["/", "/projects/checkout/", "/deployments/", f"/deployments/{fleet['deployments']['failed']}/"]
    with context(browser, panel.url, session=fleet["session"], viewport=window) as opened, watched(opened) as page:
        page.add_init_script(NOTE_SHIFTS)
        page.goto("/servers/")  # fonts come with the first page, and are used from the next one on
        for address in pages:
            page.goto(address, wait_until="load")
            page.wait_for_timeout(700)  # scripts fill what they fill
            assert page.evaluate("window.shifts") == [], address
        page.clock.set_fixed_time(datetime.now(UTC))  # a figure that grows by a digit while it is looked at may move
        page.goto(f"/deployments/{fleet['deployments']['running']}/", wait_until="load")
        page.wait_for_timeout(700)
        assert page.evaluate("window.shifts") == []


def test_going_back_to_what_served_before(browser: Browser, panel: Panel, fleet: dict[str, Any]) -> None:
    """It is queued as a deployment of its own; the servers of the fleet are nowhere."""
    with context(browser, panel.url, session=fleet["session"]) as opened, watched(opened) as page:
        page.goto(f"/deployments/{fleet['deployments']['failed']}/")
        kept = page.locator("#releases li").filter(has=page.get_by_role("button", name="Roll back")).first
        kept.get_by_role("button", name="Roll back").first.click()
        kept.get_by_role("dialog").get_by_role("button", name="Roll back").click()
        expect(page.locator("#head")).to_contain_text("rollback by")
        page.get_by_role("button", name="Cancel deployment").first.click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel deployment").click()
        expect(page.locator("#head")).to_contain_text(re.compile("Cancel"))


@pytest.mark.alone
def test_the_log_opens_at_its_end(browser: Browser, panel: Panel, fleet: dict[str, Any]) -> None:
    """100,000 lines are there in less than a second, of which only a window was sent."""
    with panel.writer() as writer:
        writer.ask(lines=100_000, text="line {n} of many")
        with context(browser, panel.url, session=writer.session) as opened, watched(opened) as page:
            sent: list[int] = []
            page.on("response", lambda answer: "/lines/" in answer.url and sent.append(1))
            page.goto("/deployments/")
            page.add_init_script(NOTE_WHEN_SHOWN)
            page.goto(f"/deployments/{writer.deployment}/")
            expect(page.locator(".row", has_text="line 100000 of many")).to_be_visible()
            took = page.evaluate("() => window.shownAt")
            assert took < 1000, f"{took:.0f} ms"
            assert 1 <= len(sent) <= 3
