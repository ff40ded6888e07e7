"""The live log with 100,000 lines: all there, quick to scroll, searched, linked, followed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from statistics import median

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.browser import context, watched
from tests.support.panel import Panel, Writer

LINES = 100_000
WAIT_MS = 60_000
FRAMES_PER_SECOND = 50


@pytest.fixture(scope="module")
def writer(panel: Panel) -> Iterator[Writer]:
    with panel.writer() as made:
        made.ask(lines=LINES, text="\x1b[32mline\x1b[0m {n} of <many>")
        yield made


@pytest.fixture
def page(browser: Browser, panel: Panel, writer: Writer) -> Iterator[Page]:
    """The deployment's page, logged in, once all lines have come."""
    with context(browser, panel.url, session=writer.session) as opened, watched(opened) as made:
        made.goto(f"/deployments/{writer.deployment}/")
        expect(made.get_by_text("100,000 lines")).to_be_visible(timeout=WAIT_MS)
        yield made


def test_only_the_visible_rows_exist(page: Page) -> None:
    expect(_row(page, LINES)).to_contain_text("line")  # lines come in windows
    assert page.locator(".row").count() < 100
    assert _row(page, LINES).inner_text().split("\n")[-1] == f"line {LINES} of <many>"


@pytest.mark.alone
def test_scrolling_is_smooth(page: Page) -> None:
    frames = page.evaluate(
        """() => new Promise((done) => {
          const view = document.querySelector(".log-view");
          const times = [];
          let top = 0;
          const step = (now) => {
            times.push(now);
            view.scrollTop = top += 400;
            if (times.length < 120) requestAnimationFrame(step); else done(times);
          };
          requestAnimationFrame(step);
        })"""
    )
    gaps = [later - earlier for earlier, later in pairwise(frames)]
    assert median(gaps) <= 1000 / FRAMES_PER_SECOND


def test_search_counts_and_goes_round(page: Page) -> None:
    page.keyboard.press("/")
    query = page.get_by_label("Search in the log")
    expect(query).to_be_focused()
    query.fill("LINE 777")
    expect(page.get_by_text("1 of 111")).to_be_visible()
    expect(_row(page, 777)).to_have_class("row is-hit is-current")
    query.press("Enter")
    expect(_row(page, 7770)).to_have_class("row is-hit is-current")
    query.press("Shift+Enter")
    query.press("Shift+Enter")
    expect(page.get_by_text("111 of 111")).to_be_visible()
    expect(_row(page, 77799)).to_be_visible()
    query.fill("(no) [such] text")
    expect(page.get_by_text("no hits")).to_be_visible()
    query.press("Escape")
    expect(query).to_have_value("")


def test_a_line_has_an_address(page: Page) -> None:
    page.goto(f"{page.url}#L54321")
    page.reload()
    expect(_row(page, 54321)).to_have_class("row is-linked", timeout=WAIT_MS)
    expect(_row(page, 54321)).to_be_in_viewport()


def test_follow_lets_go_when_one_scrolls_up_and_takes_hold_at_the_end(page: Page, writer: Writer) -> None:
    follow = page.get_by_role("button", name="Follow")
    expect(follow).to_have_attribute("aria-pressed", "true")
    page.locator(".log-view").hover()
    page.mouse.wheel(0, -3000)
    expect(follow).to_have_attribute("aria-pressed", "false")
    shown = page.locator(".row .no").first.inner_text()
    writer.ask(lines=10, text="late line {n}")
    expect(page.get_by_text("100,010 lines")).to_be_visible()
    assert page.locator(".row .no").first.inner_text() == shown, "what is being read does not move"
    page.locator(".log-view").press("End")
    expect(follow).to_have_attribute("aria-pressed", "true")
    expect(_row(page, LINES + 10)).to_be_visible()

    searches: list[str] = []
    page.get_by_label("Search in the log").fill("news")
    expect(page.get_by_text("no hits")).to_be_visible()
    page.on("request", lambda request: searches.append(request.url) if "find=" in request.url else None)
    for _ in range(10):
        writer.ask(lines=1, text="news")
    expect(page.get_by_text("1 of 10")).to_be_visible()
    assert len(searches) <= 5, "those that come are not searched one by one"


def _row(page: Page, number: int) -> Locator:
    return page.locator(".row", has=page.locator(f'.no[href="#L{number}"]'))
