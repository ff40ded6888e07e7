"""All pages in Chromium as the owner, by their links: none breaks the security policy, no script complains."""

from __future__ import annotations

from urllib.parse import urldefrag, urlsplit

import pytest
from playwright.sync_api import Browser, Page

from tests.support.browser import context, watched
from tests.support.panel import Panel

TELL = """
document.addEventListener("securitypolicyviolation",
  (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
"""
PAGES_AT_LEAST = 35
NO_PAGES = ("/logout/", "/log/", "/api/v1/openapi.json", "/export", ".json")


@pytest.mark.timeout(300)
def test_no_page_breaks_the_policy(browser: Browser, panel: Panel, session: str) -> None:
    with context(browser, panel.url, session=session) as opened, watched(opened) as page:
        opened.add_init_script(TELL)
        waiting = ["/", "/api/v1/docs"]
        for address in waiting:
            answer = page.goto(address, wait_until="load")
            assert answer
            assert answer.status == 200, address
            waiting += [found for found in links(page) if found not in waiting]
    assert len(waiting) >= PAGES_AT_LEAST, waiting


def test_entrances_and_errors_keep_it_too(browser: Browser, panel: Panel) -> None:
    with context(browser, panel.url) as opened, watched(opened) as page:
        opened.add_init_script(TELL)
        for address in ("/accounts/login/", "/accounts/password/reset/"):
            page.goto(address, wait_until="load")
    with context(browser, panel.url) as opened:
        opened.add_init_script(TELL)
        page = opened.new_page()
        told: list[str] = []
        page.on("console", lambda message: told.append(message.text))
        for address in ("/nothing/", "/setup?token=wrong", "/webhooks/a/b"):
            page.goto(address, wait_until="load")
        assert not [text for text in told if "policy" in text.lower()]


def test_what_breaks_the_policy_is_stopped_and_noticed(browser: Browser, panel: Panel, session: str) -> None:
    """The tests above can fail."""
    with context(browser, panel.url, session=session) as opened:
        opened.add_init_script(TELL)
        page = opened.new_page()
        told: list[str] = []
        page.on("console", lambda message: told.append(message.text))
        page.goto("/", wait_until="load")
        for harm in (
            "const s = document.createElement('script'); s.textContent = 'window.harmed = 1'; document.body.append(s)",
            "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.harmed = 1\">')",
            "document.body.insertAdjacentHTML('beforeend', '<iframe src=\"https://evil.example/\"></iframe>')",
            "document.body.insertAdjacentHTML('beforeend', '<p style=\"color:red\">x</p>')",
            "fetch('https://evil.example/').catch(() => 0)",
        ):
            before = len(told)
            page.evaluate(f"() => {{ {harm} }}")
            page.wait_for_timeout(300)
            assert any(text.startswith("policy: ") for text in told[before:]), harm
        assert page.evaluate("() => window.harmed") is None


def links(page: Page) -> list[str]:
    """Addresses of the panel that the page links to."""
    own = urlsplit(page.url).netloc
    found: list[str] = page.evaluate(
        "() => [...document.querySelectorAll('a[href]:not([download])')].map((a) => a.href)"
    )
    split = [urlsplit(urldefrag(each).url) for each in found]
    paths = [each.path + (f"?{each.query}" if each.query else "") for each in split if each.netloc == own]
    return [path for path in dict.fromkeys(paths) if not any(part in path for part in NO_PAGES)]
