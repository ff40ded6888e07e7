"""The main journey: set up, add a server, add a project, deploy, watch, break it, be saved, roll back by hand.

With a pointer at a desk and on a phone, light and dark; and by keys alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.browser import DESKTOP, PHONE, context, sideways, watched
from tests.support.gitrepo import GitRepository
from tests.support.panel import Panel
from tests.support.vps import Vps

ROOT, REPOSITORY = "/srv/www/site", "/home/deploy/site.git"
DEPLOY_MS = 30_000
MOST_TABS = 200
SLOW_COMMAND = "for n in 1 2 3 4 5 6; do echo warming $n; sleep 0.5; done"


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[Panel]:
    """One that nobody has set up yet."""
    with Panel(tmp_path / "data") as started:
        yield started


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("hand", "window", "theme"),
    [
        ("pointer", DESKTOP, "light"),
        ("pointer", PHONE, "dark"),
        ("keys", DESKTOP, "dark"),
    ],
    ids=["desk", "phone", "keys"],
)
def test_from_set_up_to_roll_back(
    browser: Browser, panel: Panel, vps: Vps, tmp_path: Path, hand: str, window: dict[str, int], theme: str
) -> None:
    vps.run(f"rm -rf {ROOT} {REPOSITORY}", user="root")  # of another journey
    repository = GitRepository.on_server(vps, REPOSITORY, tmp_path / "work")
    repository.commit({"index.html": "first"}, message="First page")
    vps.run(f"mkdir -p {ROOT}")
    vps.serve(f"{ROOT}/current")
    motion = "reduce" if hand == "keys" else "no-preference"
    look = {"viewport": window, "color_scheme": theme, "reduced_motion": motion}
    with context(browser, panel.url, **look) as opened, watched(opened) as page:
        journey = {"pointer": Journey, "keys": JourneyByKeys}[hand](page, vps)
        journey.set_up(panel)
        journey.add_server()
        journey.add_project(repository.path)
        journey.add_environment()
        journey.set_variable("GREETING", "s3cret-hello")

        journey.deploy_and_watch()
        assert vps.get("/").text == "first"

        repository.commit({"index.html": "second"}, message="Second page")
        journey.deploy(ends="Success")
        assert vps.get("/").text == "second"

        repository.commit({"index.html": None, "other.html": "x"}, message="Lose the page")
        journey.deploy(ends="Rolled back")
        journey.see_why("answered 403")
        assert vps.get("/").text == "second"

        journey.roll_back_to("First page")
        assert vps.get("/").text == "first"
        assert sideways(page) == 0


@dataclass
class Journey:
    """What a person does, page by page; each ends where the next begins."""

    page: Page
    vps: Vps

    def set_up(self, panel: Panel) -> None:
        address = re.search(r"http://\S+/setup\?token=\S+", panel.output())
        assert address, panel.output()
        self.page.goto(address[0])
        self._type(
            {"Your name": "Ada", "E-mail": "ada@example.test", "Password": "a long enough phrase", "Team": "Acme"}
        )
        self._press("Set up DevFlow Pro")
        expect(self._heading("Start with a server")).to_be_visible()

    def add_server(self) -> None:
        """With a key that the panel makes: its line is run on the server, as the page says."""
        self._link("Add server")
        self._type({"Name": "web-1", "Host": self.vps.host, "User": self.vps.user, "Port": str(self.vps.port)})
        self._press("Add and check")
        self.vps.run(self.page.locator("#authorize").inner_text())
        expect(self.page.get_by_text("Checking…")).to_be_hidden(timeout=DEPLOY_MS)
        self._press("Check now")
        expect(self.page.locator("#server-state")).to_contain_text("Online", timeout=DEPLOY_MS)
        expect(self.page.locator("#server-state")).to_contain_text("Debian GNU/Linux")
        expect(self.page.get_by_text("SHA256:")).to_be_visible()

    def add_project(self, repository: str) -> None:
        self.page.goto("/")
        self._link("Add project")
        self._type({"Repository": repository, "Name": "site"})
        self._press("Add project")
        expect(self._heading("Where should it go?")).to_be_visible()

    def add_environment(self) -> None:
        self._link("Add environment")
        self._type({"Folder on the servers": ROOT, "Address": "/", "Retries": "1"})
        self._check(self.page.get_by_label("web-1"))
        self._click(self.page.get_by_text("Commands", exact=True))
        self._type({"Prepare": SLOW_COMMAND})
        self._press("Add environment")
        expect(self._heading("Nothing deployed yet")).to_be_visible()

    def set_variable(self, name: str, value: str) -> None:
        self._link("Variables")
        self._type({"Name": name, "Value": value})
        self._press("Set variable")
        expect(self.page.get_by_role("cell", name=name, exact=True)).to_be_visible()
        assert value not in self.page.content()

    def deploy_and_watch(self) -> None:
        """Everything moves by itself: title, steps, log lines one by one; then all is done."""
        self._press("Deploy")
        expect(self.page).to_have_title(re.compile("^● Running: site production"), timeout=DEPLOY_MS)
        expect(self._row("warming 1")).to_be_visible(timeout=DEPLOY_MS)
        assert self.page.get_by_text("warming 6").count() == 0, "lines come while the command runs"
        expect(self._step("prepare command 1")).to_have_attribute("data-status", "running")
        expect(self._row("warming 6")).to_be_visible(timeout=DEPLOY_MS)
        self._ends("Success")
        expect(self._step("prepare command 1")).to_have_attribute("data-status", "success")
        assert self.page.locator("[data-status=pending], [data-status=running]").count() == 0
        expect(self.page.get_by_text("Serving")).to_be_visible()

    def deploy(self, *, ends: str) -> None:
        self.page.goto("/projects/site/environments/production/")
        self._press("Deploy")
        self._ends(ends)

    def see_why(self, words: str) -> None:
        failure = self.page.get_by_role("alert")
        expect(failure).to_contain_text(words)
        expect(failure).to_contain_text("serves again")
        expect(self.page).to_have_title(re.compile("^✕ Rolled back"))
        self._press("Show in the log")
        expect(self.page.locator(".row.is-linked")).to_be_in_viewport()

    def roll_back_to(self, message: str) -> None:
        release = self.page.locator("#releases li", has_text=message)
        self._click(release.get_by_role("button", name="Roll back").first)
        self._click(release.get_by_role("dialog").get_by_role("button", name="Roll back"))
        self._ends("Success")
        expect(self.page.locator("#releases li", has_text=message)).to_contain_text("Serving")

    def _ends(self, status: str) -> None:
        expect(self.page.locator("#head .status-pill")).to_have_text(status, timeout=DEPLOY_MS)

    def _type(self, fields: dict[str, str]) -> None:
        for label, value in fields.items():
            self._fill(self.page.get_by_label(re.compile(f"^{label}(optional)?$")), value)

    def _press(self, name: str) -> None:
        self._click(self.page.get_by_role("button", name=name, exact=True))

    def _link(self, name: str) -> None:
        self._click(self.page.get_by_role("main").get_by_role("link", name=name, exact=True).first)

    def _click(self, wanted: Locator) -> None:
        wanted.click()

    def _fill(self, field: Locator, value: str) -> None:
        field.fill(value)

    def _check(self, box: Locator) -> None:
        box.check()

    def _heading(self, name: str) -> Locator:
        return self.page.get_by_role("heading", name=name)

    def _row(self, text: str) -> Locator:
        return self.page.locator(".row", has_text=re.compile(f"{text}$"))

    def _step(self, name: str) -> Locator:
        return self.page.locator(".step", has_text=name)


class JourneyByKeys(Journey):
    """The same, without a pointer: Tab to what is wanted, then type, Space or Enter."""

    def _click(self, wanted: Locator) -> None:
        self._reach(wanted)
        self.page.keyboard.press("Enter")

    def _fill(self, field: Locator, value: str) -> None:
        self._reach(field)
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(value)

    def _check(self, box: Locator) -> None:
        self._reach(box)
        self.page.keyboard.press("Space")
        expect(box).to_be_checked()

    def _reach(self, wanted: Locator) -> None:
        """From where the focus is, round the page once at most; what has the focus can be seen."""
        expect(wanted).to_be_visible()
        for _ in range(MOST_TABS):
            if wanted.evaluate("(element) => element === document.activeElement"):
                expect(wanted).to_be_in_viewport()
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"Tab does not lead to {wanted}")
