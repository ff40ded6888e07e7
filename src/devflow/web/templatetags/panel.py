"""Tags and filters of the pages: assets, icons, states, fields, times, amounts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from django import template
from django.conf import settings
from django.contrib.messages.storage.base import Message
from django.core.serializers.json import DjangoJSONEncoder
from django.forms import BoundField
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.html import escape, format_html, json_script
from django.utils.safestring import SafeString
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

from devflow.apps.accounts.models import User
from devflow.apps.deployments.overview import Recent
from devflow.apps.told import ENGLISH
from devflow.apps.told import told as told_in_language
from devflow.web import language, looks
from devflow.web.assets import asset_url
from devflow.web.looks import Look
from devflow.web.replies import undo_read

register = template.Library()

_BAR_STEP = 6  # pixels from one bar of a pulse to the next
_PULSE = (
    '<svg class="pulse hidden sm:block" width="{width}" height="26" viewBox="0 0 {width} 26" role="img"'
    ' aria-label="{summary}">{bars}</svg>'
)
_FIELD_CLASSES = {"textarea": "textarea", "select": "select", "checkbox": "", "radio": ""}


@register.simple_tag
def asset(name: str) -> str:
    """The address of a built file: {% asset "app.css" %}."""
    return asset_url(name)


@register.simple_tag
def script_texts() -> SafeString:
    """What lib/words.js reads: the scripts' texts in the page's language; nothing on an English page."""
    texts = language.script_texts(get_language() or ENGLISH)
    return json_script(texts, "words") if texts else SafeString()


@register.simple_tag
@lru_cache(maxsize=1024, typed=True)
def icon(name: str, extra: str = "") -> SafeString:
    """An icon of parts/icons.svg; it is decoration, a word stands beside it."""
    return format_html('<svg class="icon {}" aria-hidden="true"><use href="#i-{}"/></svg>', extra, name)


@register.simple_tag
def status(kind: str, value: str, extra: str = "") -> SafeString:
    """A state as icon, word and colour: {% status "deployment" deployment.status %}."""
    return _status(kind, value, extra, get_language())


@lru_cache(maxsize=1024, typed=True)
def _status(kind: str, value: str, extra: str, _spoken: str | None) -> SafeString:
    look = looks.look(kind, value)
    return format_html('<span class="status {} {}">{}{}</span>', look.tone, extra, _look_icon(look), look.word)


@register.simple_tag
def look(kind: str, value: str) -> Look:
    """The parts of a state, for markup of its own: {% look "step" step.status as look %}."""
    return looks.look(kind, value)


@register.filter
def word(value: str, kind: str) -> str:
    """The word for a stored value: {{ deployment.trigger|word:"trigger" }}."""
    return looks.word(kind, value)


@register.filter
def told(text: object) -> str:
    """What the layers below say, in the page's language: {{ server.problem|told }}."""
    return told_in_language(str(text)) if text else ""


@register.filter
def person(user: User) -> str:
    """Name and e-mail address: a name is what somebody called themselves."""
    return user.handle if user.handle == str(user) else f"{user} ({user.handle})"


@register.simple_tag(takes_context=True)
def may(context: dict[str, Any], action: str, obj: Any) -> bool:
    """Whether who looks may do it there: {% may "deploy" environment as may_deploy %}."""
    actor = context.get("actor")
    return bool(actor and actor.can(action, obj))


@register.simple_tag
def has_mail() -> bool:
    """Whether the panel can send mail: {% has_mail as is_mailed %}."""
    return bool(settings.HAS_MAIL)


@register.inclusion_tag("parts/field.html")
def field(bound: BoundField, is_bare: bool = False) -> dict[str, Any]:
    """A form field with its label, help and problem; also of forms that are not ours (allauth).

    `is_bare` leaves out that it is optional, where all fields around it are.
    """
    widget = bound.field.widget
    kind = getattr(widget, "input_type", "textarea")
    classes = [_FIELD_CLASSES.get(kind, "input"), widget.attrs.get("class", "")]
    is_group = kind in ("radio", "checkbox") and hasattr(widget, "choices")
    return {
        "field": bound,
        "control": "" if is_group else bound.as_widget(attrs={"class": " ".join(filter(None, classes))}),
        "kind": kind,
        "is_group": is_group,
        "is_bare": is_bare,
    }


@register.simple_tag
def pulse(deployments: Sequence[Recent]) -> SafeString:
    """The last deployments of an environment as bars, the oldest on the left, as high as they were long.

    Made here: a dashboard has hundreds of them, which a template takes ten times as long for.
    """
    oldest_first = list(reversed(deployments))
    longest = max((deployment.duration_seconds or 0 for deployment in oldest_first), default=0)
    bars = [_bar(number, deployment, longest) for number, deployment in enumerate(oldest_first)]
    good = sum(deployment.status == "success" for deployment in oldest_first)
    width = len(bars) * _BAR_STEP
    summary = ngettext(
        "Last %(count)s deployments, %(good)s of them good",
        "Last %(count)s deployments, %(good)s of them good",
        len(bars),
    ) % {"count": len(bars), "good": good}
    return format_html(_PULSE, width=width, summary=summary, bars=SafeString("".join(bars))) if bars else SafeString()


@register.simple_tag
def ago(moment: datetime | None) -> SafeString | str:
    """A time as "3 min ago", which a script keeps true; the time itself is its title."""
    if moment is None:
        return _("never")
    utc = moment.astimezone(UTC)
    exact = _short(utc.replace(second=0, microsecond=0), get_language())
    text = _time_ago((timezone.now() - utc).total_seconds())
    return format_html('<time datetime="{}" title="{} UTC" data-ago>{}</time>', utc.isoformat(), exact, text)


@lru_cache(maxsize=4096)
def _short(minute: datetime, _spoken: str | None) -> str:
    """Date and time in short, kept: a dashboard shows hundreds, of which few are new the next time."""
    return date_format(minute, "SHORT_DATETIME_FORMAT")


def _time_ago(seconds: float) -> str:
    """The same as `ago` in static/js/lib/time.js: else the page would move when the script comes."""
    if seconds < 45:
        return _("just now")
    if seconds < 3600:
        return _("%(count)s min ago") % {"count": max(1, _rounded(seconds / 60))}
    if seconds < 86400:
        return _("%(count)s h ago") % {"count": _rounded(seconds / 3600)}
    days = _rounded(seconds / 86400)
    if days == 1:
        return _("yesterday")
    return ngettext("%(count)s day ago", "%(count)s days ago", days) % {
        "count": number_format(days, force_grouping=True)
    }


def _rounded(value: float) -> int:
    return math.floor(value + 0.5)  # as JavaScript's Math.round


@register.simple_tag
def undo_of(message: Message) -> dict[str, Any] | None:
    """The form that takes back what a message tells of: {% undo_of message as undo %}; None where there is none."""
    return undo_read(message.extra_tags or "")


@register.filter
def as_pattern(text: str) -> str:
    """For an input's `pattern`: this very text."""
    return re.sub(r"[\\^$.*+?()\[\]{}|/]", r"\\\g<0>", text)


@register.filter
def as_json(value: Any) -> str:
    """For an attribute that a script reads: data-options="{{ options|as_json }}"."""
    return json.dumps(value, cls=DjangoJSONEncoder)


@register.filter
def iso(moment: datetime | None) -> str:
    return moment.astimezone(UTC).isoformat() if moment else ""


@register.filter
def elapsed(since: datetime) -> str:
    """How long ago it began; the script counts on from there, by `data-elapsed-since`."""
    return duration(max(0.0, (timezone.now() - since).total_seconds()))


@register.filter
def duration(seconds: float | None) -> str:
    """0.4 s, 12 s, 3 min 05 s, 1 h 02 min; the same as `duration` of lib/time.js."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{figure(seconds, 1)} s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def figure(value: float, digits: int) -> str:
    """Rounded, as the page's language writes numbers: 3.4, in German 3,4."""
    return number_format(f"{value:.{digits}f}", digits)


@register.filter
def short_commit(commit: str) -> str:
    return commit[:8]


@register.filter
def amount(size: float | None) -> str:
    """Bytes for people: 512 B, 3.4 MB, 1.2 GB (powers of 1024)."""
    if size is None:
        return ""
    value, units = float(size), ["B", "kB", "MB", "GB", "TB", "PB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{figure(value, 0 if value >= 100 or units[0] == 'B' else 1)} {units[0]}"


@register.filter
def kilobytes(size: int | None) -> str:
    return amount(size * 1024) if size else ""


def _bar(number: int, deployment: Recent, longest: float) -> str:
    seconds = deployment.duration_seconds
    height = round(5 + 21 * ((seconds or 0) / longest if longest else 0), 1)
    minute = deployment.created_at.replace(second=0, microsecond=0)
    return _drawn_bar(number, deployment.status, height, minute, seconds, get_language())


@lru_cache(maxsize=4096)
def _drawn_bar(
    number: int, status: str, height: float, minute: datetime, seconds: float | None, spoken: str | None
) -> str:
    """As HTML; only the title could have anything to escape. Kept, since a dashboard shows the same ones again."""
    look = looks.look("deployment", status)
    title = escape(f"{look.word}, {_short(minute, spoken)}, {duration(seconds)}".rstrip(", "))
    return (
        f'<g class="status {look.tone}"><title>{title}</title>'
        f'<rect x="{number * _BAR_STEP}" y="{round(26 - height, 1)}" width="4" height="{height}" rx="1.5"/></g>'
    )


def _look_icon(look: Look) -> SafeString:
    return icon(look.icon, "icon-spin" if look.is_moving else "")
