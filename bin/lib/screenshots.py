"""Pictures of the pages: a panel on a throw-away data folder is filled with a fleet, and Chromium looks at it."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.support.browser import context, launch
from tests.support.panel import Panel

IMAGES = Path(__file__).parents[2] / "docs/images"
ALL = IMAGES / "screens"
WIDTHS = {1280: 860, 390: 844}
THEMES = ("light", "dark")
CHECKOUT = "/projects/checkout/environments/production/"
SCREENS = {
    "dashboard": "/",
    "dashboard-failing": "/?state=failing",
    "projects": "/projects/",
    "project": "/projects/checkout/",
    "environment": CHECKOUT,
    "deploy": f"{CHECKOUT}deploy/",
    "plan": f"{CHECKOUT}plan/",
    "variables": f"{CHECKOUT}variables/",
    "history": f"{CHECKOUT}variables/history/",
    "deployments": "/deployments/",
    "failed": "/deployments/{failed}/",
    "rolled-back": "/deployments/{rolled_back}/",
    "running": "/deployments/{running}/",
    "success": "/deployments/{success}/",
    "lines": "/deployments/{failed}/lines/",
    "servers": "/servers/",
    "server": "/servers/fra-web-1/",
    "server-offline": "/servers/hel-web-2/",
    "server-add": "/add/server/",
    "containers": "/servers/fra-web-1/containers/",
    "container": "/servers/fra-web-1/containers/checkout-blue/",
    "containers-stopped": "/servers/fra-web-2/containers/",
    "clean-up": "/servers/fra-web-1/prune/?volumes=yes",
    "disk": "/projects/checkout/disk/",
    "cluster": "/clusters/shops/",
    "proxy": f"{CHECKOUT}proxy/",
    "windows": f"{CHECKOUT}windows/",
    "hooks": f"{CHECKOUT}hooks/",
    "settings": f"{CHECKOUT}settings/",
    "webhook": "/projects/checkout/webhook/",
    "delivery": "/projects/checkout/webhook/{delivery}/",
    "account": "/account/",
    "team": "/team/",
    "tokens": "/tokens/",
    "access": "/projects/checkout/grants/",
    "audit": "/audit/",
    "data": "/data/",
    "channels": "/channels/",
    "channel": "/channels/{channel}/",
}
KEPT = {
    "dashboard-1280-light": "dashboard",
    "running-1280-dark": "deployment",
    "project-1280-light": "project",
    "failed-1280-light": "failure",
}
"""What the docs show, and under which name."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="bin/screenshots", description=__doc__)
    parser.add_argument("screens", nargs="*", choices=[*SCREENS, []], help="all, where none is named")
    wanted = parser.parse_args().screens or list(SCREENS)
    ALL.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="devflow-pictures-") as folder,
        Panel(Path(folder) / "data") as panel,
        sync_playwright() as playwright,
    ):
        command = [sys.executable, "-m", "tests.support.showcase"]
        filled = subprocess.run(command, env=panel.environment, stdout=subprocess.PIPE, text=True, check=True)
        document = json.loads(filled.stdout.splitlines()[-1])
        browser = launch(playwright)
        for screen in wanted:
            address = SCREENS[screen].format(**document["deployments"])
            _take(browser, panel.url, document["session"], screen, address)
        browser.close()
    for picture, name in KEPT.items():
        if (ALL / f"{picture}.png").exists():
            shutil.copy(ALL / f"{picture}.png", IMAGES / f"{name}.png")


def _take(browser: Browser, url: str, session: str, screen: str, address: str) -> None:
    for width, height in WIDTHS.items():
        for theme in THEMES:
            look = {"viewport": {"width": width, "height": height}, "color_scheme": theme, "reduced_motion": "reduce"}
            with context(browser, url, session=session, **look) as opened:
                page = opened.new_page()
                page.goto(address, wait_until="load")
                page.wait_for_timeout(400)  # fonts, and the first window of a log
                path = ALL / f"{screen}-{width}-{theme}.png"
                page.screenshot(path=path, full_page=width < 1000, animations="disabled")
                print(path.relative_to(IMAGES.parents[1]))


if __name__ == "__main__":
    main()
