"""The styleguide: there when the environment says so, and with every part in it."""

from __future__ import annotations

import re

import pytest
from django.conf import LazySettings
from django.template import Context, Template
from django.test import Client

from devflow.web.templatetags.components import Series

pytestmark = pytest.mark.django_db


def test_it_is_not_there_by_default(client: Client) -> None:
    assert client.get("/styleguide").status_code == 404


def test_it_shows_every_part_to_who_is_not_logged_in(client: Client, settings: LazySettings) -> None:
    settings.STYLEGUIDE = True
    answer = client.get("/styleguide")
    page = answer.content.decode()
    assert answer.status_code == 200
    for part in (
        "empty",
        "history",
        "log-excerpt",
        "codeblock",
        "chart",
        "skeleton",
        "popup",
        "stat",
        "grid-table",
        "entries",
        "segments",
    ):
        assert f'class="{part}' in page, part
    assert client.post("/styleguide").status_code == 405


def shown(source: str, **context: object) -> str:
    return Template("{% load panel components %}" + source).render(Context(context))


def test_a_chart_leaves_gaps_and_tells_its_figures() -> None:
    chart = shown('{% chart series "Load" unit="%" %}', series=[Series("web-1", [1, 2, None, 4.25])])
    assert chart.count('class="line') == 2
    assert "<td>4.2 %</td>" in chart
    assert "NaN" not in shown('{% chart series "Load" %}', series=[Series("web-1", [0, 0, 0])])
    assert "Nothing was measured" in shown('{% chart series "Load" %}', series=[Series("web-1", [None])])


def test_what_is_shown_is_escaped() -> None:
    bad = "<script>alert(1)</script>\"'"
    parts = '{% code bad %}{% copy bad bad shown=bad %}{% empty "server" bad bad %}{% stat bad bad %}'
    page = shown(f"{parts}{{% log_excerpt x bad %}}{{% card bad %}}x{{% endcard %}}", bad=bad, x=[bad])
    assert "<script>" not in page
    assert page.count("&lt;script&gt;") >= 8


@pytest.mark.parametrize("text", ["shop", "a.b", "web-1", "x[1]", "a\\b|c(d)"])
def test_a_pattern_is_the_very_text(text: str) -> None:
    pattern = shown("{{ text|as_pattern }}", text=text)
    assert re.fullmatch(pattern, text)
    assert not re.fullmatch(pattern, text + "x")
