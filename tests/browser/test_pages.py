"""Every page in Chromium, both themes, desk and phone: axe finds nothing, nothing scrolls sideways, no script fails."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass

import pytest
from django.urls import resolve
from playwright.sync_api import Browser, Page, expect

from tests.support.addresses import ENTRANCES, PAGES, SELDOM
from tests.support.browser import DESKTOP, PHONE, context, sideways, violations, watched
from tests.support.panel import Panel
from tests.web.walk import pages

ELSEWHERE = {
    "dashboard-board": "a part of a page, fetched again",
    "deployment-head": "a part of a page, fetched again",
    "environment-head": "a part of a page, fetched again",
    "palette": "a part of each page, looked at in test_frame.py",
    "account-archive": "a file",
    "data-archive": "a file",
    "audit-export": "a file",
    "deployment-log": "a file",
    "devflow-schema": "a file",
    "service-worker": "a script",
    "join-link": "leads to the page join",
    "styleguide": "in test_frame.py, whose panel shows it",
    "offline": "in test_webapp.py, without a network",
    "mfa_index": "leads to the account's page",
    "mfa_list_webauthn": "leads to the account's page",
    "second-factor-wanted": "leads on where no team wants a second factor",
    "mfa_authenticate": "in test_people.py, in the midst of a log-in",
    "mfa_view_recovery_codes": "in test_people.py, of who has some",
    "mfa_deactivate_totp": "in test_people.py, of who has one",
    "mfa_edit_webauthn": "in test_people.py, of who has one",
    "mfa_remove_webauthn": "in test_people.py, of who has one",
    "mfa_reauthenticate": "in test_people.py, of who has a second factor",
    "mfa_reauthenticate_webauthn": "in test_people.py, of who has a second factor",
    "mfa_login_webauthn": "for a script",
}
"""What is not looked at here, and why. Parts that are fetched again end in `-state`."""

seen_everywhere = pytest.mark.parametrize("theme", ["light", "dark"])
seen_on = pytest.mark.parametrize("window", [DESKTOP, PHONE], ids=["desk", "phone"])


@dataclass(frozen=True)
class Filled:
    """A panel with something on every page."""

    url: str
    session: str
    ids: dict[str, str]
    """Of deployments by their status, of other things by what they are."""


@pytest.fixture(scope="module")
def filled(panel: Panel) -> Filled:
    command = [sys.executable, "-m", "tests.support.page_world"]
    done = subprocess.run(command, env=panel.environment, stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    document = json.loads(done.stdout.splitlines()[-1])
    return Filled(panel.url, document.pop("session"), {**document.pop("deployments"), **document})


def test_every_page_is_looked_at() -> None:
    some_id = defaultdict(lambda: "0190aaaa-0000-7000-8000-000000000000")
    addresses = [*PAGES, *ENTRANCES, *(address.format_map(some_id) for address in SELDOM)]
    seen = {resolve(address.split("?")[0]).url_name for address in addresses}
    shown = {page.name for page in pages() if page.methods is None or "GET" in page.methods}
    assert {name for name in shown - seen - set(ELSEWHERE) if not name.endswith("-state")} == set()
    assert set(ELSEWHERE) - (shown - seen) == set()


@seen_everywhere
@seen_on
def test_pages(browser: Browser, filled: Filled, theme: str, window: dict[str, int]) -> None:
    look = {"color_scheme": theme, "viewport": window, "reduced_motion": "reduce"}
    with context(browser, filled.url, session=filled.session, **look) as opened, watched(opened) as page:
        assert _complaints(page, PAGES) == {}


@seen_everywhere
@seen_on
def test_seldom_opened_pages(browser: Browser, filled: Filled, theme: str, window: dict[str, int]) -> None:
    addresses = [address.format(**filled.ids) for address in SELDOM]
    look = {"color_scheme": theme, "viewport": window, "reduced_motion": "reduce"}
    with context(browser, filled.url, session=filled.session, **look) as opened, watched(opened) as page:
        assert _complaints(page, addresses) == {}


@seen_everywhere
@seen_on
def test_pages_before_the_login(browser: Browser, filled: Filled, theme: str, window: dict[str, int]) -> None:
    with context(browser, filled.url, color_scheme=theme, viewport=window) as opened:
        assert _complaints(opened.new_page(), ENTRANCES) == {}


def test_open_menus_and_questions(browser: Browser, filled: Filled) -> None:
    with context(browser, filled.url, session=filled.session) as opened, watched(opened) as page:
        page.goto("/servers/web-1/")
        page.get_by_role("button", name="Remove", exact=True).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert violations(page) == []
        page.keyboard.press("Escape")
        page.locator("summary", has_text="Acme").click()
        expect(page.get_by_role("link", name="API tokens")).to_be_visible()
        assert violations(page) == []
        page.keyboard.press("Escape")
        expect(page.get_by_role("link", name="API tokens")).to_be_hidden()


def test_the_theme_changes_at_once_and_is_kept(browser: Browser, filled: Filled) -> None:
    with context(browser, filled.url, session=filled.session, color_scheme="light") as opened, watched(opened) as page:
        page.goto("/")
        light = _background(page)
        page.locator("summary[aria-label=Theme]").click()
        with page.expect_response("**/theme/"):
            page.get_by_role("button", name="Dark").click()
        dark = _background(page)
        assert dark != light
        page.goto("/servers/")
        assert _background(page) == dark


def test_the_tab_tells_of_a_failure(browser: Browser, filled: Filled) -> None:
    with context(browser, filled.url, session=filled.session) as opened, watched(opened) as page:
        page.goto(f"/deployments/{filled.ids['failed']}/")
        expect(page).to_have_title("✕ Failed: Shop production")
        assert "favicon-failed" in str(page.locator("link[rel=icon]").get_attribute("href"))
        page.goto(f"/deployments/{filled.ids['waiting']}/")
        expect(page).to_have_title("● Waiting: Shop production")
        assert "favicon-running" in str(page.locator("link[rel=icon]").get_attribute("href"))


def test_without_scripts_the_pages_work(browser: Browser, filled: Filled) -> None:
    with context(browser, filled.url, session=filled.session, java_script_enabled=False) as opened:
        page = opened.new_page()
        page.goto(f"/deployments/{filled.ids['failed']}/")
        expect(page.get_by_text("Failed at npm run build on web-1")).to_be_visible()
        expect(page.get_by_role("link", name="Download")).to_have_attribute(
            "href", f"{page.url.replace(filled.url, '')}log/"
        )
        page.goto("/servers/web-1/")
        page.get_by_role("button", name="Maintenance").click()
        expect(page.get_by_role("button", name="End maintenance")).to_be_visible()
        page.get_by_role("button", name="End maintenance").click()
        page.get_by_role("button", name="Remove", exact=True).click()
        page.get_by_label("Type web-1 to go on").fill("web-1")
        page.get_by_role("button", name="Remove server").click()
        expect(page.get_by_text("is used by: shop production")).to_be_visible()


def _complaints(page: Page, addresses: list[str]) -> dict[str, list[str]]:
    """What is wrong, by address."""
    found = {}
    for address in addresses:
        page.goto(address, wait_until="load")
        wrong = violations(page) + [f"scrolls sideways by {wider} px" for wider in [sideways(page)] if wider]
        if wrong:
            found[address] = wrong
    return found


def _background(page: Page) -> str:
    colour: str = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    return colour
