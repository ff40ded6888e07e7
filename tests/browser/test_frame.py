"""All pages: palette, keys, results with undo, typed confirmations, the stream of changes; axe on each part."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from devflow.embedded import running_url
from tests.support.browser import context, violations, watched
from tests.support.panel import Panel, kill_hard, wait_until

pytestmark = pytest.mark.timeout(180)
LARGEST_FIRST_LOAD = 100_000
COMES_MS = 10_000


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    with Panel(tmp_path_factory.mktemp("panel") / "data", DEVFLOW_STYLEGUIDE="yes") as started:
        yield started


@pytest.fixture
def page(browser: Browser, panel: Panel, session: str) -> Iterator[Page]:
    with context(browser, panel.url, session=session, reduced_motion="reduce") as opened, watched(opened) as shown:
        yield shown


@pytest.fixture
def database(panel: Panel) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(running_url(panel.data_dir) or "", autocommit=True) as connection:
        yield connection


def test_axe_finds_nothing_on_any_part(page: Page) -> None:
    page.goto("/styleguide")
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        assert violations(page) == [], theme
    page.get_by_role("button", name="Remove project").first.click()
    assert violations(page) == []


def test_a_page_is_light_at_first_sight(page: Page) -> None:
    page.goto("/", wait_until="load")
    sizes = page.evaluate("() => performance.getEntriesByType('resource').map((each) => each.encodedBodySize)")
    assert 40_000 < sum(sizes) < LARGEST_FIRST_LOAD


def test_the_palette_finds_and_remembers(page: Page) -> None:
    page.goto("/servers/web-1/")
    page.keyboard.press("Control+k")
    field = page.get_by_role("combobox", name="Search projects")
    expect(field).to_be_focused()
    field.fill("shop prod")
    chosen = page.locator("#palette [aria-selected=true]")
    expect(chosen).to_contain_text("Shop production")
    expect(field).to_have_attribute("aria-activedescendant", str(chosen.get_attribute("id")))
    field.press("Backspace")
    field.press("Enter")  # what is chosen was found for other words
    expect(field).to_be_visible()
    expect(chosen).to_contain_text("Shop production")
    assert violations(page) == []
    field.press("Enter")
    expect(page).to_have_url(re.compile("/projects/shop/environments/production/$"))
    page.get_by_role("link", name="Search").click()
    expect(page.get_by_role("group", name="Recent").get_by_role("option")).to_contain_text(["web-1"])
    field.fill("no such thing")
    expect(page.get_by_text("Nothing found.")).to_be_visible()
    field.press("Escape")
    expect(field).to_be_hidden()


def test_single_keys_go_places_until_they_are_switched_off(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("g")
    page.keyboard.press("s")
    page.wait_for_url("**/servers/", wait_until="load")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.closest('tr, [data-row]') !== null")
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.goto("/account/")
    page.get_by_role("button", name="Switch off").click()
    expect(page.get_by_text("Single keys are switched off.")).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keys")).to_be_hidden()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox")).to_be_focused()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Single keys are switched on.")).to_be_visible()


def test_what_was_removed_comes_back_by_undo_and_what_cannot_is_typed_for(page: Page) -> None:
    page.goto("/projects/shop/environments/production/variables/")
    row = page.get_by_role("row").filter(has_text="APP_KEY")
    row.get_by_role("button", name="Remove", exact=True).click()
    page.get_by_role("button", name="Remove variable").click()
    expect(page.get_by_text("APP_KEY is removed")).to_be_visible()
    expect(row).to_have_count(0)
    assert violations(page) == []
    page.get_by_role("button", name="Undo").click()
    expect(row).to_have_count(1)
    page.goto("/projects/shop/settings/")
    page.get_by_role("button", name="Remove project").click()
    remove = page.get_by_role("dialog").get_by_role("button", name="Remove project")
    name = page.get_by_label("Type shop to go on")
    expect(name).to_be_focused()
    expect(remove).to_be_disabled()
    name.fill("shopp")
    expect(remove).to_be_disabled()
    name.fill("shop")
    expect(remove).to_be_enabled()


def test_what_is_not_saved_is_asked_about(page: Page) -> None:
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))  # type: ignore[func-returns-value]
    page.goto("/projects/shop/settings/")
    page.get_by_role("link", name="Cancel").click()
    expect(page).to_have_url(re.compile("/projects/shop/$"))
    assert asked == []
    page.goto("/projects/shop/settings/")
    page.locator("[name=name]").fill("Shop of the year")
    page.get_by_role("link", name="Cancel").click()
    expect(page).to_have_url(re.compile("/projects/shop/$"))
    assert asked == ["beforeunload"]


def test_what_changes_is_shown_after_web_was_killed_and_after_a_time_offline(
    browser: Browser, panel: Panel, session: str, database: psycopg.Connection[Any]
) -> None:
    """The page is never loaded anew; there is one stream."""
    with context(browser, panel.url, session=session) as opened:
        page = opened.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/events") else None)
        page.goto("/servers/")
        page.evaluate("window.isTheSame = true")
        row = page.get_by_role("row").filter(has_text="web-1")

        def rename(host: str) -> None:
            database.execute("UPDATE servers_server SET host = %s WHERE name = 'web-1'", [host])

        rename("198.51.100.1")
        expect(row).to_contain_text("198.51.100.1", timeout=COMES_MS)
        assert len(asked) == 1

        before = panel.child("web")
        kill_hard(before)
        rename("198.51.100.2")  # while nobody could tell
        wait_until(lambda: panel.child("web") != before and panel.is_ready(), 60, what=panel.output)
        expect(row).to_contain_text("198.51.100.2", timeout=2 * COMES_MS)

        opened.set_offline(True)
        sign = page.locator("#connection")
        expect(sign).to_have_text("You are offline", timeout=COMES_MS)
        rename("198.51.100.3")
        opened.set_offline(False)
        expect(row).to_contain_text("198.51.100.3", timeout=COMES_MS)
        expect(sign).to_be_empty()
        assert page.evaluate("window.isTheSame")

        opened.clear_cookies()
        opened.set_offline(True)
        expect(sign).to_have_text("You are offline", timeout=COMES_MS)
        opened.set_offline(False)
        expect(sign).to_have_text("Logged out: load the page again", timeout=2 * COMES_MS)


def test_a_part_is_not_replaced_by_an_error_nor_under_the_hand_nor_by_what_was(
    browser: Browser, panel: Panel, session: str, database: psycopg.Connection[Any]
) -> None:
    with context(browser, panel.url, session=session) as opened:
        page = opened.new_page()
        page.goto("/servers/")
        part = page.locator("#servers")
        row = part.get_by_role("row").filter(has_text="web-1")
        held: list[Route] = []

        def rename(host: str) -> None:
            database.execute("UPDATE servers_server SET host = %s WHERE name = 'web-1'", [host])

        def hold(route: Route) -> None:
            held.append(route)

        def next_request() -> Route:
            wait_until(lambda: page.wait_for_timeout(50) or bool(held), 10, what=lambda: "no part was asked for")
            return held.pop()

        page.route("**/servers/", hold)
        rename("198.51.100.4")
        with page.expect_response("**/servers/"):
            next_request().fulfill(status=502, body="<h1>Bad gateway</h1>")
        expect(row).to_have_count(1)

        rename("198.51.100.5")
        asked = next_request()
        answer = asked.fetch()
        rename("198.51.100.6")
        page.wait_for_timeout(1000)  # it is told
        rename("198.51.100.7")
        page.wait_for_timeout(1000)
        part.hover()
        page.mouse.down()
        with page.expect_response("**/servers/"):
            asked.fulfill(response=answer)
        page.wait_for_timeout(200)
        expect(row).not_to_contain_text("198.51.100.5")
        page.mouse.up()
        next_request().continue_()
        expect(row).to_contain_text("198.51.100.7", timeout=COMES_MS)
        expect(page.get_by_text("Bad gateway")).to_have_count(0)


def test_a_tab_that_nobody_has_seen_takes_no_connection(page: Page) -> None:
    page.add_init_script("Object.defineProperty(document, 'hidden', { get: () => !window.isSeen })")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/events") else None)
    page.goto("/servers/", wait_until="networkidle")
    page.evaluate("dispatchEvent(new Event('online'))")
    page.wait_for_timeout(200)
    assert asked == []
    with page.expect_request("**/events"):
        page.evaluate("() => { window.isSeen = true; document.dispatchEvent(new Event('visibilitychange')) }")


def test_a_part_whose_object_is_gone_is_not_asked_for_any_more(
    browser: Browser, panel: Panel, session: str, database: psycopg.Connection[Any]
) -> None:
    """A check that never ends has its part asked for each second; then the server is renamed."""
    database.execute("UPDATE servers_server SET checked_at = NULL, check_step = 'reach' WHERE name = 'web-1'")
    with context(browser, panel.url, session=session) as opened:
        page = opened.new_page()
        asked: list[int] = []
        page.on("response", lambda answer: asked.append(answer.status) if "/state/" in answer.url else None)
        page.goto(f"/servers/web-1/?since={time.time():.3f}")
        expect(page.locator(".checks")).to_contain_text("Running")
        wait_until(
            lambda: page.wait_for_timeout(50) or 200 in asked, 30, what=lambda: f"no part was asked for: {asked}"
        )
        try:
            database.execute("UPDATE servers_server SET name = 'web-9' WHERE name = 'web-1'")
            expect(page.get_by_text("This is gone: it was removed or renamed.")).to_be_visible(timeout=COMES_MS)
            asked.clear()
            page.wait_for_timeout(2500)
            assert asked == []
            assert violations(page) == []
        finally:
            database.execute("UPDATE servers_server SET name = 'web-1' WHERE name = 'web-9'")


def test_what_containers_do_and_what_is_pushed_is_shown_as_it_comes(
    page: Page, database: psycopg.Connection[Any]
) -> None:
    page.goto("/servers/web-1/containers/")
    page.evaluate("window.isTheSame = true")
    seen_first = page.locator("#containers time").first.get_attribute("datetime")
    database.execute("UPDATE containers_snapshot SET seen_at = now(), taken_at = now()")
    expect(page.locator("#containers time").first).not_to_have_attribute("datetime", str(seen_first), timeout=COMES_MS)
    assert page.evaluate("window.isTheSame")
    page.goto("/projects/shop/webhook/")
    page.evaluate("window.isTheSame = true")
    rows = page.locator("#deliveries tbody tr")
    before = rows.count()
    database.execute(
        "INSERT INTO sources_delivery SELECT (jsonb_populate_record(one, jsonb_build_object("
        "'id', gen_random_uuid(), 'key', 'another', 'digest', '', 'received_at', now()))).*"
        " FROM sources_delivery AS one LIMIT 1"
    )
    expect(rows).to_have_count(before + 1, timeout=COMES_MS)
    assert page.evaluate("window.isTheSame")


def test_a_long_command_of_a_plan_comes_when_its_step_is_opened(page: Page) -> None:
    page.goto("/projects/shop/environments/production/plan/")
    folded = page.locator(".plan-step").filter(has=page.locator("[data-on-open]")).first
    step = page.locator(f"#{folded.get_attribute('id')}")
    step.locator("summary").click()
    expect(step.locator("pre")).to_be_visible()
    expect(step.locator("[data-on-open]")).to_have_count(0)
    assert violations(page) == []
