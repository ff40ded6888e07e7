"""Logging in with what only a browser can do: passkeys, by Chromium's own virtual authenticator; and a code by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import DESKTOP, PHONE, context, sideways, violations, watched
from tests.support.panel import Panel
from tests.support.second_factor import App

PASSWORD = "a long enough phrase"
SLOW_MS = 20_000
"""For what a device signs and the panel checks, on a machine that is busy."""


@pytest.fixture
def people(panel: Panel) -> str:
    """The address of the panel under the name `localhost`: passkeys know no numbers. Two people are there."""
    for email in ("ada@example.test", "bob@example.test"):
        panel.run("admin", "create-user", "--email", email, "--password-stdin", stdin=f"{PASSWORD}\n")
    return f"http://localhost:{panel.port}"


@pytest.fixture
def page(browser: Browser, people: str) -> Iterator[Page]:
    with context(browser, people) as opened, watched(opened) as shown:
        yield shown


def log_in(page: Page, email: str) -> None:
    page.goto("/accounts/login/")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()


def look_at(page: Page) -> None:
    """Axe finds nothing, in both themes and on both windows, and nothing scrolls sideways."""
    for theme, window in product(("light", "dark"), (PHONE, DESKTOP)):
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        page.set_viewport_size(window)
        assert violations(page) == [], (theme, window)
        assert sideways(page) == 0, (theme, window)


def add_device(page: Page) -> None:
    """From now on the browser has a device that keeps passkeys, and whose owner touches it whenever it asks."""
    developer = page.context.new_cdp_session(page)
    developer.send("WebAuthn.enable")
    abilities = {"hasResidentKey": True, "hasUserVerification": True, "isUserVerified": True}
    device = {"protocol": "ctap2", "transport": "internal", "automaticPresenceSimulation": True, **abilities}
    developer.send("WebAuthn.addVirtualAuthenticator", {"options": device})


@pytest.mark.timeout(120)
def test_a_passkey_is_made_and_lets_in_without_a_password(page: Page) -> None:
    add_device(page)
    log_in(page, "ada@example.test")
    page.goto("/account/")
    page.get_by_role("link", name="Make a passkey").click()
    page.get_by_label("Name").fill("Ada's laptop")
    page.get_by_role("button", name="Make passkey").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible(timeout=SLOW_MS)
    assert len(re.findall(r"\d{8}", page.locator("#codes").inner_text())) == 10
    look_at(page)
    page.get_by_role("link", name="I have kept them").click()
    expect(page.get_by_role("listitem").filter(has_text="Ada's laptop")).to_contain_text("passkey")

    page.context.clear_cookies()
    page.goto("/servers/")
    page.get_by_role("button", name="Log in with a passkey").click()
    expect(page).to_have_url(re.compile(r"localhost:\d+/servers/$"), timeout=SLOW_MS)
    page.goto("/tokens/")  # a log-in by passkey is as fresh as one by password
    expect(page.get_by_role("heading", name="API tokens")).to_be_visible()

    page.context.clear_cookies()  # after the password the passkey is asked for too
    log_in(page, "ada@example.test")
    expect(page.get_by_role("heading", name="Second step")).to_be_visible()
    page.get_by_role("button", name="Use a passkey").click()
    expect(page).to_have_url(re.compile(r"localhost:\d+/$"), timeout=SLOW_MS)

    page.goto("/accounts/2fa/passkeys/reauthenticate/?next=/tokens/")
    look_at(page)
    page.get_by_role("button", name="Use a passkey").click()
    expect(page).to_have_url(re.compile(r"localhost:\d+/tokens/$"), timeout=SLOW_MS)

    page.goto("/account/")
    page.get_by_role("link", name="Rename Ada's laptop").click()
    expect(page.get_by_label("Name")).to_have_value("Ada's laptop")
    look_at(page)
    page.goto("/account/")
    page.get_by_role("link", name="Remove Ada's laptop").click()
    expect(page.get_by_role("button", name="Remove")).to_be_visible()
    look_at(page)
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("listitem").filter(has_text="Ada's laptop")).to_be_hidden()


@pytest.mark.timeout(120)
def test_a_device_without_a_passkey_is_told_so(page: Page) -> None:
    add_device(page)
    page.goto("/accounts/login/")
    page.get_by_role("button", name="Log in with a passkey").click()
    expect(page.get_by_text("No passkey was used")).to_be_visible(timeout=SLOW_MS)


@pytest.mark.timeout(120)
def test_an_authenticator_app_is_set_up_and_asked_for(page: Page) -> None:
    log_in(page, "bob@example.test")
    page.goto("/account/")
    page.get_by_role("link", name="Set up an authenticator app").click()
    picture = page.get_by_role("img", name="QR code")
    assert picture.evaluate("image => image.naturalWidth") > 0  # the security policy lets it through
    app = App(page.locator("#totp-key").inner_text())
    page.get_by_label("Authenticator code").fill(app.code())
    page.get_by_role("button", name="Set up").click()
    codes = re.findall(r"\d{8}", page.locator("#codes").inner_text())

    page.context.clear_cookies()
    log_in(page, "bob@example.test")
    expect(page.get_by_label("Code")).to_be_visible()
    look_at(page)
    page.get_by_label("Code").fill(app.code(1))
    page.get_by_role("button", name="Log in", exact=True).click()
    expect(page.get_by_role("link", name="Servers").first).to_be_visible()

    page.context.clear_cookies()
    log_in(page, "bob@example.test")
    page.get_by_label("Code").fill(codes[0])
    page.get_by_role("button", name="Log in", exact=True).click()
    page.goto("/account/")
    expect(page.get_by_text("9 left")).to_be_visible()
    page.goto("/accounts/2fa/reauthenticate/")
    look_at(page)
    page.get_by_label("Code").fill(codes[1])
    page.get_by_role("button", name="Confirm").click()
    for address in ("/accounts/2fa/totp/deactivate/", "/accounts/2fa/recovery-codes/"):
        page.goto(address)
        look_at(page)


@pytest.mark.timeout(120)
def test_a_role_is_given_and_taken_back_by_keys_alone(browser: Browser, panel: Panel, session: str) -> None:
    with context(browser, panel.url, session=session, reduced_motion="reduce") as opened, watched(opened) as page:
        page.goto("/team/")
        role, button = (
            page.get_by_label("Role of Viewer", exact=True),
            page.get_by_role("button", name="Set the role of Viewer"),
        )
        expect(button).to_be_hidden()
        role.focus()
        page.keyboard.type("A")
        page.keyboard.press("Tab")
        expect(button).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#toasts")).to_contain_text("Viewer is Admin now.")
        expect(role).to_have_value("admin")
        page.get_by_role("button", name="Undo").focus()
        page.keyboard.press("Enter")
        expect(role).to_have_value("viewer")

        member = page.get_by_role("listitem").filter(has_text="viewer@example.test")
        member.get_by_role("button", name="Remove", exact=True).focus()
        page.keyboard.press("Enter")
        remove = member.get_by_role("button", name="Remove member")
        expect(remove).to_be_disabled()
        page.keyboard.type("viewer@example.test")
        expect(remove).to_be_enabled()
        page.keyboard.press("Enter")
        expect(member).to_have_count(0)
