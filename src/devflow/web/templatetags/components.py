"""The parts that pages are made of: {% load components %}. `/styleguide` shows each of them in every state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from devflow.web import looks
from devflow.web.templatetags.panel import figure, icon

register = template.Library()

_WIDTH, _HEIGHT, _ROOM = 320, 80, 4
_DASHES = ("", "5 3", "2 3", "8 3 2 3")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a timeline. `kind` and `state` name its look (web/looks.py); `href` may be empty."""

    kind: str
    state: str
    title: str
    text: str = ""
    href: str = ""
    at: datetime | None = None

    @property
    def look(self) -> Any:
        return looks.look(self.kind, self.state)


@dataclass(frozen=True, slots=True)
class Series:
    """A line of a chart: its name, and its values at equal distances; None where nothing was measured."""

    name: str
    values: Sequence[float | None]


@register.simple_block_tag
def card(
    content: str, title: str, mark: str = "", count: int | None = None, href: str = "", link: str = "", extra: str = ""
) -> SafeString:
    """{% card "Servers" mark="server" count=3 href=all_url link="All" %}…{% endcard %}; `extra` are more classes.

    A card whose header has buttons is written by hand: section.panel > header > h2 + .actions.
    """
    head = format_html("{}<h2>{}</h2>", icon(mark) if mark else "", title)
    if count is not None:
        head = format_html('{}<span class="count">{}</span>', head, count)
    if href:
        head = format_html(
            '{}<div class="actions"><a class="link small" href="{}">{}<span class="sr-only">: {}</span></a></div>',
            head,
            href,
            link or _("All"),
            title,
        )
    return format_html('<section class="panel {}"><header>{}</header>{}</section>', extra, head, SafeString(content))


@register.simple_block_tag
def dialog(content: str, key: str, title: str, button: str, look: str = "btn-quiet", mark: str = "") -> SafeString:
    """A button, and what it opens: {% dialog "scale" "Scale" "Scale…" %}…{% enddialog %}.

    Works without a script. What only asks whether to do something is parts/confirm.html.
    """
    return format_html(
        '<button type="button" class="btn btn-sm {}" popovertarget="{}">{}{}</button>'
        '<div class="popup" popover id="{}" role="dialog" aria-labelledby="{}-title"><h2 id="{}-title">{}</h2>{}</div>',
        look,
        key,
        icon(mark) if mark else "",
        button,
        key,
        key,
        key,
        title,
        SafeString(content),
    )


@register.inclusion_tag("components/empty.html")
def empty(
    mark: str, title: str, text: str, href: str = "", action: str = "", sign: str = "plus", level: int = 2
) -> dict[str, Any]:
    """Nothing is here yet: why, and what to do: {% empty "server" "No servers" "…" href=url action="Add" %}."""
    return {
        **{"mark": mark, "title": title, "text": text, "href": href, "action": action},
        **{"sign": sign, "tag": f"h{level}"},
    }


@register.inclusion_tag("components/timeline.html")
def timeline(entries: Sequence[Entry], label: str = "") -> dict[str, Any]:
    """What happened, in its order: {% timeline entries label="History" %}."""
    return {"entries": entries, "label": label}


@register.inclusion_tag("components/log.html")
def log_excerpt(lines: Sequence[str], label: str, first: int = 1, bad: Sequence[int] = ()) -> dict[str, Any]:
    """A few lines of output with their numbers, from `first` on; those numbered in `bad` are marked.

    A whole log, live, is deployments/log.html with lib/log-panel.js.
    """
    rows = [{"number": number, "text": text, "is_bad": number in bad} for number, text in enumerate(lines, first)]
    return {"rows": rows, "label": label}


@register.inclusion_tag("components/code.html")
def code(text: str, title: str = "", label: str = "") -> dict[str, Any]:
    """Text to read and to copy: {% code script title="On the server" %}."""
    return {"text": text, "title": title, "label": label or title or _("this text")}


@register.inclusion_tag("components/copy.html")
def copy(text: str, label: str, shown: str = "") -> dict[str, Any]:
    """A small button that copies: {% copy deployment.commit "commit" %}; with `shown`, the text stands before it."""
    return {"text": text, "label": label, "shown": shown}


@register.inclusion_tag("components/stat.html")
def stat(label: str, value: Any, note: str = "", tone: str = "", href: str = "") -> dict[str, Any]:
    """A figure: {% stat "Deployments today" 12 note="11 good" %}."""
    return {"label": label, "value": value, "note": note, "tone": tone, "href": href}


@register.inclusion_tag("components/skeleton.html")
def skeleton(lines: int = 3, label: str = "") -> dict[str, Any]:
    """Stands for what is being fetched; it is only seen when that takes longer than 300 ms."""
    return {"lines": range(lines), "label": label or _("Loading…")}


@register.inclusion_tag("components/chart.html")
def chart(
    series: Sequence[Series], label: str, unit: str = "", begins: str = "", ends: str = "", top: float | None = None
) -> dict[str, Any]:
    """Lines over time, drawn by the server: {% chart series "Response time" unit="ms" begins="08:00" ends="now" %}.

    `top` is the value at the upper edge; by default the largest one. The figures are also there as a table, for those
    who do not see the lines.
    """
    known = [value for line in series for value in line.values if value is not None]
    highest = max([top or 0.0, *known], default=0.0) or 1.0
    lines = [
        {
            "name": line.name,
            "paths": _paths(line.values, highest),
            "number": number % len(_DASHES) + 1,
            "dashes": _DASHES[number % len(_DASHES)],
            "last": _figure(next((value for value in reversed(line.values) if value is not None), None)),
            "largest": _figure(max((value for value in line.values if value is not None), default=None)),
            "smallest": _figure(min((value for value in line.values if value is not None), default=None)),
        }
        for number, line in enumerate(series)
    ]
    return {
        **{"lines": lines if known else [], "label": label, "unit": unit, "begins": begins, "ends": ends},
        **{"top": _figure(highest), "width": _WIDTH, "height": _HEIGHT},
    }


@register.filter
def words(text: str) -> list[str]:
    return text.split()


@register.filter
def numbers(text: str) -> list[int]:
    return [int(word) for word in text.split()]


def _paths(values: Sequence[float | None], highest: float) -> list[str]:
    """The line as pieces of an SVG's path, one for each stretch without a gap."""
    step = _WIDTH / max(1, len(values) - 1)
    room = _HEIGHT - 2 * _ROOM
    points = [
        None if value is None else (round(number * step, 1), round(_ROOM + room * (1 - value / highest), 1))
        for number, value in enumerate(values)
    ]
    pieces: list[str] = []
    for before, here in pairwise([None, *points]):
        if here is None:
            continue
        if before is None:
            pieces.append(f"M{here[0]} {here[1]}h.01")
        else:
            pieces[-1] += f"L{here[0]} {here[1]}"
    return pieces


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return figure(value, 0 if value >= 100 or value == int(value) else 1)
