"""A channel by its pages: added, tested with the outcome shown as it comes, refused; axe finds nothing on them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Browser, Page, expect

from devflow.embedded import running_url
from tests.support.browser import DESKTOP, PHONE, context, sideways, violations, watched
from tests.support.panel import Panel
from tests.support.receivers import Receiver, receiver

pytestmark = pytest.mark.timeout(180)
PICTURES = os.environ.get("DEVFLOW_PICTURES", "")
"""A folder for screenshots, for people who want to look."""


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    with Panel(tmp_path_factory.mktemp("panel") / "data", DEVFLOW_ALLOW_PRIVATE_ADDRESSES="127.0.0.0/8") as started:
        yield started


@pytest.fixture(scope="module")
def session(panel: Panel, session: str) -> str:
    """Of a team that has no channel yet."""
    with psycopg.connect(running_url(panel.data_dir) or "") as database:
        database.execute("DELETE FROM notifications_notification")
        database.execute("DELETE FROM notifications_channel")
    return session


@pytest.fixture
def slack() -> Iterator[Receiver]:
    with receiver() as service:
        yield service


def look(page: Page, name: str) -> None:
    """In both themes, at the desk and on a phone: nothing for axe to find, nothing sideways."""
    page.mouse.move(0, 0)
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        for where, window in (("desk", DESKTOP), ("phone", PHONE)):
            page.set_viewport_size(window)  # type: ignore[arg-type]
            assert sideways(page) == 0, (name, theme, where)
            assert violations(page) == [], (name, theme, where)
            if PICTURES:
                page.screenshot(path=Path(PICTURES) / f"{name}-{theme}-{where}.png", full_page=True)
    page.set_viewport_size(DESKTOP)  # type: ignore[arg-type]


def test_a_channel_is_added_tested_and_refused(browser: Browser, panel: Panel, session: str, slack: Receiver) -> None:
    with context(browser, panel.url, session=session, reduced_motion="reduce") as opened, watched(opened) as page:
        page.goto("/channels/")
        expect(page.get_by_text("Nobody is told yet")).to_be_visible()
        look(page, "empty")
        page.get_by_role("link", name="Add Slack").click()
        look(page, "add")
        page.get_by_label("Name").fill("#deployments")
        page.get_by_label("Webhook address").fill(slack.url)
        page.get_by_role("button", name="Add channel").click()
        expect(page.get_by_text("Nothing was sent yet")).to_be_visible()
        page.get_by_role("button", name="Send test").click()
        expect(page.get_by_text("The test was sent: it was answered 200")).to_be_visible(timeout=30_000)
        slack.answer((404, {}, b"no_service"))
        page.get_by_role("button", name="Send test").click()
        expect(page.get_by_text("The test was not sent.")).to_be_visible(timeout=30_000)
        look(page, "refused")
        page.goto("/channels/")
        expect(page.get_by_text("Refused")).to_be_visible()
        look(page, "list")


def test_a_mail_channel_and_a_made_secret(browser: Browser, panel: Panel, session: str) -> None:
    with context(browser, panel.url, session=session, reduced_motion="reduce") as opened, watched(opened) as page:
        page.goto("/add/channel/email/")
        look(page, "email")
        page.goto("/add/channel/webhook/")
        page.get_by_label("Name").fill("mine")
        page.get_by_label("Address").fill("https://example.com/hook")
        page.get_by_role("button", name="Add channel").click()
        expect(page.get_by_text("shown only this once")).to_be_visible()
        look(page, "made")
