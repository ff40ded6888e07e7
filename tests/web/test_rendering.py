"""Widgets by plain code: the same HTML as Django's own templates make, whatever is in them."""

from __future__ import annotations

import pytest
from django import forms
from django.forms.renderers import DjangoTemplates
from django.test.html import parse_html
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from devflow.web.forms.rendering import Renderer

ODD = "<b>\"quoted\" & 'odd'</b>\nsecond {{ line }} &amp;"
VALUES = [None, "", "plain", ODD, 0, 7, True, False, mark_safe("&lt;safe&gt;"), gettext_lazy("Name")]
ATTRIBUTES = {"id": "id_x", "class": "a b", "required": True, "disabled": False, "data-odd": ODD, "maxlength": 30}
CHOICES = [("", "All"), ("a", "A"), (ODD, ODD), ("Group & co", [("b", "B"), (3, mark_safe("<i>three</i>"))])]
PLAIN = [
    forms.TextInput, forms.NumberInput, forms.EmailInput, forms.URLInput, forms.HiddenInput, forms.DateInput,
    forms.CheckboxInput, forms.Textarea,
]  # fmt: skip


@pytest.mark.parametrize("made", [*PLAIN, lambda: forms.PasswordInput(render_value=True)])
@pytest.mark.parametrize("value", VALUES)
def test_inputs_are_what_django_makes(made: type[forms.Widget], value: object) -> None:
    _same(made(), value)


@pytest.mark.parametrize("made", [forms.Select, forms.SelectMultiple])
@pytest.mark.parametrize("value", [None, "a", ODD, ["a", 3], "b"])
def test_lists_are_what_django_makes(made: type[forms.ChoiceWidget], value: object) -> None:
    _same(made(choices=CHOICES), value)


@pytest.mark.parametrize("widget", [forms.CheckboxSelectMultiple, forms.RadioSelect])
@pytest.mark.parametrize("is_wrapped", [True, False])
def test_boxes_are_what_django_makes(widget: type[forms.ChoiceWidget], is_wrapped: bool) -> None:
    class Form(forms.Form):
        x = forms.ChoiceField(choices=CHOICES, widget=widget(attrs=ATTRIBUTES))

    boxes, others = ([*Form(renderer=each, initial={"x": "a"})["x"]] for each in (Renderer(), DjangoTemplates()))
    assert len(boxes) == 5
    for box, other in zip(boxes, others, strict=True):
        assert parse_html(box.tag(is_wrapped)) == parse_html(other.tag(is_wrapped))


def test_what_is_not_known_is_left_to_django() -> None:
    _same(forms.SelectDateWidget(years=[2026]), "2026-11-23")
    _same(forms.ClearableFileInput(), None)


def _same(widget: forms.Widget, value: object) -> None:
    made = widget.render("the <name>", value, attrs=ATTRIBUTES, renderer=Renderer())
    assert parse_html(made) == parse_html(
        widget.render("the <name>", value, attrs=ATTRIBUTES, renderer=DjangoTemplates())
    )
