"""Draws the icons of the installable page from the logo, in Chromium: run it when the logo has changed.

.venv/bin/python bin/lib/icons.py
"""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import sync_playwright

WEB = Path(__file__).parents[2] / "src/devflow/web"
LOGO = (
    (WEB / "templates/parts/logo.svg").read_text("utf-8").replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ')
)
GROUND = re.search(r'<rect[^>]*fill="([^"]+)"[^>]*/>', LOGO)
assert GROUND, "the logo has a ground"
MARK = LOGO.replace(GROUND[0], "")

# A maskable icon is cut to a circle of 80 % by some systems: the ground goes to the edge, the mark stays within.
# iPhones cut the corners by themselves. A badge is a shape: only what is not transparent counts.
_FULL = LOGO.replace(GROUND[0], f'<rect width="32" height="32" fill="{GROUND[1]}"/>')
_SAFE = _FULL.replace("<path", '<g transform="translate(3.2 3.2) scale(.8)"><path').replace("</svg>", "</g></svg>")
ICONS = {
    "icon-192.png": (LOGO, 192),
    "icon-512.png": (LOGO, 512),
    "icon-maskable.png": (_SAFE, 512),
    "touch-icon.png": (_FULL, 180),
    "badge.png": (MARK.replace('viewBox="0 0 32 32"', 'viewBox="4 4 24 24"'), 96),
}


def main() -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for name, (svg, size) in ICONS.items():
            page = browser.new_page(viewport={"width": size, "height": size})
            style = f"<style>body{{margin:0}}svg{{display:block;width:{size}px;height:{size}px}}</style>"
            page.set_content(style + svg)
            page.screenshot(path=WEB / "static/img" / name, omit_background=True)
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
