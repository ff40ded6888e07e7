"""Hooks in a browser: added and removed, and shown in the plan with what devflow.yml has in force."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import context, violations, watched
from tests.support.panel import Panel

HERE = "/projects/shop/environments/production"


@pytest.mark.parametrize("has_scripts", [True, False])
def test_a_hook_is_added_and_removed(browser: Browser, panel: Panel, session: str, has_scripts: bool) -> None:
    with (
        context(browser, panel.url, session=session, java_script_enabled=has_scripts) as opened,
        watched(opened) as page,
    ):
        page.goto(f"{HERE}/hooks/")
        page.get_by_label("When").select_option("after")
        page.get_by_label("Phase or step").select_option("verify")
        page.get_by_label("Command", exact=True).fill("./bin/tell-the-team")
        page.get_by_role("button", name="Add hook").click()
        row = page.get_by_role("row").filter(has_text="./bin/tell-the-team")
        expect(row).to_contain_text("after verify")
        expect(row).to_contain_text("all servers")
        row.get_by_role("button", name="Remove", exact=True).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        if has_scripts:
            assert violations(page) == []
        page.get_by_role("button", name="Remove hook").click()
        expect(row).to_have_count(0)


def test_the_plan_shows_hooks_settings_and_warnings(browser: Browser, panel: Panel, session: str) -> None:
    with context(browser, panel.url, session=session) as opened, watched(opened) as page:
        page.goto(f"{HERE}/plan/")
        expect(page.get_by_role("row").filter(has_text="keep")).to_contain_text("devflow.yml line 1")
        expect(page.get_by_text("The hook before 'nothing' does not run")).to_be_visible()
        expect(page.get_by_text("before activate: php artisan app:warm")).to_be_visible()
        expect(page.get_by_text("after activate: php artisan search:index --all")).to_be_visible()
