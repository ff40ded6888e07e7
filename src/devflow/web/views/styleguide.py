"""`/styleguide`: every part of the pages in every state. Only there with DEVFLOW_STYLEGUIDE=yes."""

from __future__ import annotations

import re
from datetime import timedelta
from math import sin
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.messages import constants
from django.contrib.messages.storage.base import Message
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils import timezone

from devflow.web.access import public_page
from devflow.web.forms.base import PanelForm, code_area, code_line
from devflow.web.looks import LOOKS
from devflow.web.templatetags.components import Entry, Series

_COLOURS = (
    *("base-100", "base-200", "base-300", "base-content", "primary", "success", "warning", "error"),
    *("muted", "line"),
)
_OUTPUT = """$ npm ci && npm run build
added 412 packages in 3s
vite v7.1.4 building for production…
src/cart.ts:41:7 - error TS2304: Cannot find name 'deliveryDate'.
npm run build ended with exit code 2"""


class ExampleForm(PanelForm):
    """One field of each kind; `styleguide` binds it once with what is refused."""

    name = forms.CharField(help_text="Lower-case letters, digits and dashes.", widget=code_line(), max_length=20)
    branch = forms.CharField(required=False, widget=code_line(placeholder="main"))
    strategy = forms.ChoiceField(choices=[("atomic", "Atomic"), ("blue_green", "Blue-green"), ("rolling", "Rolling")])
    commands = forms.CharField(required=False, widget=code_area(), help_text="One a line.")
    auto_deploy = forms.BooleanField(required=False, label="Deploy each push", help_text="Of this branch.")
    servers = forms.MultipleChoiceField(
        choices=[("web-1", "web-1"), ("web-2", "web-2")], widget=forms.CheckboxSelectMultiple
    )


@public_page("GET")
def styleguide(request: HttpRequest) -> HttpResponse:
    if not settings.STYLEGUIDE:
        raise Http404("The styleguide is not shown here.")
    return render(request, "styleguide/page.html", _parts())


def _parts() -> dict[str, Any]:
    now = timezone.now()
    refused = ExampleForm({"name": "a name that is far too long", "servers": []}, auto_id="refused_%s")
    icons = re.findall(r'id="i-(\w+)"', render_to_string("parts/icons.svg"))
    wave = [round(180 + 60 * sin(n / 4) + (n * 7) % 23, 1) for n in range(48)]
    return {
        "colours": _COLOURS,
        "icons": icons,
        "looks": {kind: list(looks) for kind, looks in LOOKS.items()},
        "form": ExampleForm(auto_id="example_%s"),
        "refused": refused,
        "shown_messages": [
            Message(constants.INFO, "The plan is being made."),
            Message(constants.WARNING, "The disk of web-1 is 86 % full."),
            Message(constants.ERROR, "web-1 is used by: shop production."),
        ],
        "entries": [
            Entry("deployment", "running", "Deploying 0123abcd to production", "Ada, by a push", "#timeline", now),
            Entry("deployment", "waiting", "Waits for its window", at=now - timedelta(minutes=4)),
            Entry("deployment", "success", "Deployed 89efabcd to staging", "12 s", at=now - timedelta(hours=2)),
            Entry("deployment", "failed", "npm run build failed on web-1", at=now - timedelta(days=1)),
            Entry("deployment", "rolled_back", "Rolled back by itself", "Answered 500", at=now - timedelta(days=9)),
        ],
        "output": _OUTPUT.splitlines(),
        "now": now,
        "series": [Series("web-1", wave), Series("web-2", [value * 0.6 for value in wave])],
        "gaps": [Series("web-1", [*wave[:14], *[None] * 8, *wave[22:]])],
        "nothing": [Series("web-1", [])],
        "script": "mkdir -p ~/.ssh && chmod 700 ~/.ssh\necho 'ssh-ed25519 AAAAC3…' >> ~/.ssh/authorized_keys",
    }
