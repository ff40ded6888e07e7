"""The panel as an app: it can be installed, shows what it last knew without a network, forgets it with the session, and
takes messages by push.

A push service is what Chromium without a screen has not: that the panel's messages can be read by a browser is looked
at in tests/apps/notifications/test_push.py; here they are given to the service worker as the browser would.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, expect

from tests.support.browser import PHONE, context, sideways, violations
from tests.support.front import Front, front
from tests.support.panel import Panel, wait_until

pytestmark = pytest.mark.timeout(180)
SIGN = ".kept-sign"
SESSIONS = """
import os
import django
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "devflow.settings.base")
django.setup()
from devflow.apps.accounts.models import User
from devflow.apps.accounts.services import team_create
from tests.support.event_writer import log_in
owner = User.objects.get(email="owner@example.test")
team_create(name="Second", owner=owner)
print(*[log_in(owner) for _ in range(8)])
"""
CACHED = "async () => (await caches.keys()).filter((name) => name.startsWith('devflow-'))"
KEPT = """async () => {
  const pages = (await caches.keys()).filter((name) => name.startsWith('devflow-pages-'));
  const found = {};
  for (const name of pages) {
    const cache = await caches.open(name);
    for (const {url} of await cache.keys()) found[new URL(url).pathname] = await (await cache.match(url)).text();
  }
  return found;
}"""
OTHERS = """async () => {
  const others = (await caches.keys()).filter((name) => !name.startsWith('devflow-pages-'));
  const keys = await Promise.all(others.map(async (name) => (await caches.open(name)).keys()));
  return keys.flat().map((each) => new URL(each.url).pathname);
}"""
SMALL = """() => [...document.querySelectorAll("button, summary, select, .btn, .input, .pick, .choice"),
  ...document.querySelectorAll(".tabs-line a, .tabbar a, .sheet a")]
  .filter((each) => each.checkVisibility({visibilityProperty: true}))
  .map((each) => [each, each.getBoundingClientRect()])
  .filter(([each, {width, height}]) => width && height && (width < 44 || height < 44))
  .map(([each, {width, height}]) => `${each.outerHTML.slice(0, 120)} is ${width} x ${height}`)"""


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    with Panel(tmp_path_factory.mktemp("panel") / "data", DEVFLOW_STYLEGUIDE="yes") as started:
        yield started


@pytest.fixture(scope="module")
def way(panel: Panel) -> Iterator[Front]:
    with front(panel.url) as state:
        yield state


@pytest.fixture
def opened(browser: Browser, way: Front, sessions: list[str]) -> Iterator[BrowserContext]:
    way.is_away = way.is_slow = False
    session = sessions.pop()
    with context(browser, way.url, session=session, viewport=PHONE, has_touch=True, is_mobile=True) as made:
        yield made


@pytest.fixture(scope="module")
def sessions(panel: Panel, session: str) -> list[str]:
    """One for each test: they log out, and change the team."""
    made = subprocess.run(
        [sys.executable, "-c", SESSIONS], env=panel.environment, capture_output=True, text=True, timeout=60
    )
    assert made.returncode == 0, made.stderr
    return made.stdout.split()


@pytest.fixture
def page(opened: BrowserContext) -> Page:
    """Under the service worker's control, with two pages kept."""
    shown = opened.new_page()
    shown.goto("/")
    shown.evaluate("() => navigator.serviceWorker.ready")
    wait_until(lambda: shown.evaluate("() => navigator.serviceWorker.controller !== null"), 20)
    for address in ("/", "/deployments/"):
        shown.goto(address)
    wait_until(lambda: set(kept(shown)) >= {"/", "/deployments/"}, 20)
    return shown


def kept(page: Page) -> dict[str, str]:
    found: dict[str, str] = page.evaluate(KEPT)
    return found


def developer(page: Page) -> CDPSession:
    return page.context.new_cdp_session(page)


def test_it_can_be_installed(page: Page) -> None:
    tools = developer(page)
    told = tools.send("Page.getAppManifest")
    assert told["errors"] == []
    manifest = json.loads(told["data"])
    assert (manifest["name"], manifest["start_url"], manifest["display"]) == ("DevFlow Pro", "/", "standalone")
    assert {each["url"] for each in manifest["shortcuts"]} == {"/deployments/", "/projects/"}
    refused = tools.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert [each["errorId"] for each in refused] in ([], ["in-incognito"])  # every profile of a test's is
    answer = page.request.get(told["url"])
    assert answer.headers["content-type"] == "application/manifest+json"
    assert "immutable" in answer.headers["cache-control"]
    icons = manifest["icons"]
    assert {each["purpose"] for each in icons} == {"any", "maskable"}
    for each in icons:
        shape = page.evaluate(
            "async (src) => { const image = new Image(); image.src = src; await image.decode();"
            " return `${image.naturalWidth}x${image.naturalHeight}`; }",
            f"/static/build/{each['src']}",
        )
        assert shape == each["sizes"]
    light, dark = page.evaluate(
        "() => [...document.querySelectorAll('meta[name=theme-color]')].map((each) => each.media)"
    )
    assert ("light" in light, "dark" in dark) == (True, True)


def test_a_thumb_finds_what_it_needs(page: Page) -> None:
    """Deploying, deciding, going back, reading the log; and all parts that pages are made of."""
    environment = "/projects/shop/environments/production/"
    decisions = ("/", environment, f"{environment}deploy/", "/deployments/")
    for address in (*decisions, "/account/", "/team/", "/add/server/", "/clusters/shops/", "/styleguide"):
        page.goto(address)
        assert page.evaluate(SMALL) == [], address
        assert sideways(page) == 0, address
    page.goto("/deployments/?status=waiting")
    page.locator("td.lead a").first.tap()
    page.get_by_role("button", name="Cancel deployment").tap()
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page.get_by_role("button", name="First error")).to_be_visible()
    assert page.evaluate(SMALL) == []
    page.goto("/projects/shop/")
    page.get_by_label("More of production").tap()
    assert page.evaluate(SMALL) == []


def test_without_a_network_the_last_state_is_shown_with_its_age(page: Page, way: Front) -> None:
    way.is_away = True
    page.goto("/deployments/")
    expect(page.locator(SIGN)).to_have_text(re.compile(r"^Offline: as of \d?\d:\d\d( [AP]M)?, just now$"))
    expect(page.get_by_role("heading", name="Deployments", level=1)).to_be_visible()
    assert page.locator("main form[method=post] button:not([type=button]):enabled").count() == 0
    assert violations(page) == []
    assert sideways(page) == 0
    age(page, minutes=200)
    page.reload()
    expect(page.locator(SIGN)).to_have_text(re.compile(r"^Offline: as of .+, 3 h ago$"))
    page.goto("/servers/web-1/?never=seen")
    expect(page.get_by_role("heading", name="You are offline")).to_be_visible()
    expect(page.get_by_role("link", name="Deployments")).to_be_visible()
    assert violations(page) == []
    assert sideways(page) == 0
    age(page, minutes=8 * 24 * 60)
    page.goto("/deployments/")
    expect(page.get_by_role("heading", name="You are offline")).to_be_visible()
    page.goto("/")
    way.is_away = False
    expect(page.locator(SIGN)).to_have_count(0, timeout=15_000)  # by itself
    expect(page.locator("body[data-events]")).to_have_count(1)


def age(page: Page, *, minutes: int) -> None:
    """As if what is kept had been kept so much earlier."""
    page.evaluate(
        """async (earlier) => {
          for (const name of (await caches.keys()).filter((name) => name.startsWith('devflow-pages-'))) {
            const cache = await caches.open(name);
            const known = await cache.match('/deployments/');
            const headers = new Headers(known.headers);
            headers.set('x-devflow-kept-at', String(Date.now() - earlier));
            await cache.put('/deployments/', new Response(await known.text(), {headers}));
          }
        }""",
        minutes * 60_000,
    )


def test_what_hangs_is_not_waited_for_and_what_is_live_stays_live(page: Page, way: Front) -> None:
    way.asked.clear()
    page.goto("/projects/")
    page.go_back()
    expect(page).to_have_url(re.compile("/deployments/$"))
    expect(page.locator(SIGN)).to_have_count(0)
    wait_until(lambda: "GET /events" in way.asked, 10)
    expect(page.locator("#connection")).to_have_text("")
    assert way.asked.count("GET /deployments/") == 1, "it was asked for anew, once"
    built = [each for each in way.asked if each.startswith("GET /static/build/")]
    assert len(built) == len(set(built)), "no file is asked for twice"
    page.goto(way.url.replace("127.0.0.1", "localhost") + "/accounts/login/")
    page.evaluate("(address) => { location.href = address; }", f"{way.url}/projects/")  # as from a mail or a chat
    expect(page).to_have_url(f"{way.url}/projects/")
    way.is_slow = True
    page.goto("/", wait_until="commit")
    expect(page.locator(SIGN)).to_be_visible(timeout=10_000)
    way.is_slow = False
    expect(page.locator(SIGN)).to_have_count(0, timeout=15_000)


def test_nothing_secret_is_kept(page: Page, way: Front) -> None:
    environment = "/projects/shop/environments/production"
    never = (
        *("/account/", "/tokens/", "/channels/", "/audit/", "/data/", "/team/", "/search/?q=shop", "/add/project/"),
        *(f"{environment}/variables/", f"{environment}/variables/history/", f"{environment}/settings/"),
        *("/projects/shop/webhook/", "/projects/shop/access/", "/api/v1/docs", "/api/v1/projects"),
    )
    for address in never:
        page.goto(address)
    log = page.goto("/projects/shop/") and page.locator("a[href^='/deployments/0']").first.get_attribute("href")
    assert log
    page.goto(log)
    with page.expect_download():
        page.evaluate("(address) => { location.href = address + 'log/'; }", log)
    wait_until(lambda: log in kept(page), 10)
    found = kept(page)
    assert set(found) == {"/", "/deployments/", "/projects/shop/", log}
    tokens = [value for text in found.values() for value in re.findall(r'csrfmiddlewaretoken" value="([^"]*)"', text)]
    assert tokens
    assert set(tokens) == {""}
    others = page.evaluate(OTHERS)
    assert "/offline/" in others
    assert [each for each in others if not each.startswith("/static/build/")] == ["/offline/"]
    page.goto("/projects/shop/environments/gone/", wait_until="commit")
    assert "/projects/shop/" in kept(page), "of other pages nothing is forgotten"


def test_a_new_version_drops_what_the_old_one_kept(page: Page, way: Front) -> None:
    [files] = [name for name in page.evaluate(CACHED) if "-files-" in name]
    version = files.removeprefix("devflow-files-")
    way.worker = (version.encode(), b"00NEW000")
    try:
        page.evaluate("async () => (await navigator.serviceWorker.getRegistration()).update()")
        wait_until(lambda: page.evaluate(CACHED) == ["devflow-files-00NEW000"], 20)
        page.reload()
        wait_until(lambda: set(kept(page)) == {"/deployments/"}, 20)
    finally:
        way.worker = (b"", b"")


def test_messages_are_shown_and_lead_to_what_they_tell_of(page: Page, opened: BrowserContext, way: Front) -> None:
    opened.grant_permissions(["notifications"], origin=way.url)
    page.goto("/account/#devices")
    page.get_by_role("button", name="Switch on").click()
    expect(page.locator("[data-push-note]")).to_contain_text("could not reach its push service")
    tools = developer(page)
    registrations: list[dict[str, Any]] = []
    tools.on("ServiceWorker.workerRegistrationUpdated", lambda told: registrations.extend(told["registrations"]))
    tools.send("ServiceWorker.enable")
    wait_until(lambda: page.wait_for_timeout(50) or registrations, 10)  # it comes while the browser is waited for
    target = {"origin": way.url, "registrationId": registrations[-1]["registrationId"]}
    told = {
        "title": "Deployment of shop to production failed",
        "body": "build on web-1",
        "url": "/servers/",
        "tag": "1",
    }
    for data in (json.dumps(told), "no JSON", json.dumps({"url": "https://evil.example/"})):
        tools.send("ServiceWorker.deliverPushMessage", {**target, "data": data})
    shown = "async () => (await (await navigator.serviceWorker.ready).getNotifications()).map((each) => each.title)"
    wait_until(
        lambda: sorted(page.evaluate(shown)) == ["Deployment of shop to production failed", *["DevFlow Pro"] * 2], 10
    )
    [worker] = opened.service_workers
    click = """async (title) => {
      const shown = (await registration.getNotifications()).filter((each) => each.title === title);
      for (const notification of shown) dispatchEvent(new NotificationEvent("notificationclick", {notification}));
    }"""
    worker.evaluate(click, told["title"])
    expect(page).to_have_url(f"{way.url}/servers/")
    worker.evaluate(click, "DevFlow Pro")
    expect(page).to_have_url(f"{way.url}/")


def test_it_is_forgotten_with_the_team_and_with_the_session(page: Page, opened: BrowserContext, way: Front) -> None:
    page.goto("/")
    page.locator("details.dropmenu summary").last.click()
    page.get_by_role("button", name="Second").click()
    expect(page.get_by_text("Second").first).to_be_attached()
    wait_until(lambda: set(kept(page)) == {"/"}, 10)
    assert "shop" not in kept(page)["/"]
    cookies = opened.cookies()
    opened.clear_cookies()  # as when the session was ended elsewhere
    page.goto("/deployments/")
    expect(page).to_have_url(re.compile("/accounts/login/"))
    wait_until(lambda: kept(page) == {}, 10)
    opened.add_cookies(cookies)  # type: ignore[arg-type]
    page.goto("/")
    wait_until(lambda: set(kept(page)) == {"/"}, 10)
    page.locator("details.dropmenu summary").last.click()
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(re.compile("/accounts/login/"))
    assert kept(page) == {}
    way.is_away = True
    page.goto("/")
    expect(page.get_by_role("heading", name="You are offline")).to_be_visible()
    expect(page.locator("#kept-pages")).to_be_hidden()
