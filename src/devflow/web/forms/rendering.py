"""Widgets as HTML by plain code: Django renders a template for each, and for each option, which is a third and more of
what a page with a long form costs. The HTML is that of Django's own templates, but for the space between tags; other
widgets are left to those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.forms.renderers import DjangoTemplates
from django.http import HttpRequest
from django.utils.formats import localize
from django.utils.html import conditional_escape
from django.utils.safestring import mark_safe

Widget = Mapping[str, Any]
_FOLDER = "django/forms/widgets"
_INPUTS = ("text", "number", "email", "url", "password", "hidden", "date", "checkbox")


class Renderer(DjangoTemplates):
    """For `FORM_RENDERER`."""

    def render(self, template_name: str, context: dict[str, Any], request: HttpRequest | None = None) -> str:
        made = _MADE.get(template_name)
        # everything that is not a tag of ours went through _escaped
        return mark_safe(made(context["widget"])) if made else super().render(template_name, context, request)  # noqa: S308


def _input(widget: Widget) -> str:
    value = widget["value"]
    given = "" if value is None else f' value="{_escaped(value)}"'
    return f'<input type="{_escaped(widget["type"])}" name="{_escaped(widget["name"])}"{given}{_attributes(widget)}>\n'


def _input_option(widget: Widget) -> str:
    if not widget.get("wrap_label"):
        return _input(widget)
    of = widget["attrs"].get("id")
    opened = f'<label for="{_escaped(of)}">' if of else "<label>"
    return f"{opened}{_input(widget)} {_localized(widget['label'])}</label>\n"


def _textarea(widget: Widget) -> str:
    text = _escaped(widget["value"]) if widget["value"] else ""
    return f'<textarea name="{_escaped(widget["name"])}"{_attributes(widget)}>\n{text}</textarea>\n'


def _select(widget: Widget) -> str:
    parts = []
    for name, options, _ in widget["optgroups"]:
        made = "".join(map(_option, options))
        parts.append(f'<optgroup label="{_localized(name)}">\n{made}</optgroup>\n' if name else made)
    return f'<select name="{_escaped(widget["name"])}"{_attributes(widget)}>\n{"".join(parts)}</select>\n'


def _option(option: Widget) -> str:
    return f'<option value="{_escaped(option["value"])}"{_attributes(option)}>{_localized(option["label"])}</option>\n'


def _attributes(widget: Widget) -> str:
    given = ((_escaped(name), value) for name, value in widget["attrs"].items() if value is not False)
    return "".join(f" {name}" if value is True else f' {name}="{_escaped(value)}"' for name, value in given)


def _escaped(value: object) -> str:
    return conditional_escape(value if isinstance(value, str) else str(value))


def _localized(value: object) -> str:
    """What stands in a page for people to read, as its language writes it."""
    return _escaped(localize(value))


_MADE: dict[str, Callable[[Widget], str]] = {
    **{f"{_FOLDER}/{name}.html": _input for name in _INPUTS},
    f"{_FOLDER}/checkbox_option.html": _input_option,
    f"{_FOLDER}/radio_option.html": _input_option,
    f"{_FOLDER}/textarea.html": _textarea,
    f"{_FOLDER}/select.html": _select,
}
