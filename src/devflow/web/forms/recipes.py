"""The part of an environment's form that holds the options of its recipe."""

from __future__ import annotations

from collections.abc import Mapping

from django import forms

from devflow.engine.task import LONGEST_OPTION, Option
from devflow.recipes import RECIPES
from devflow.web.forms.base import code_line

PREFIX = "recipe_options."
"""Before an option's name; services name a refused option in the same way."""


def option_fields(recipe: str) -> dict[str, forms.Field]:
    """A field for each option of the recipe, none where it is not known."""
    options = RECIPES[recipe].options if recipe in RECIPES else ()
    return {PREFIX + option.name: _field(option) for option in options}


def option_initial(values: Mapping[str, str]) -> dict[str, str]:
    """What an environment keeps, as the form's first values."""
    return {PREFIX + name: value for name, value in values.items()}


def option_values(cleaned: Mapping[str, str], recipe: str) -> dict[str, str]:
    """What was typed, as the services take it: what is as the recipe has it is not kept."""
    options = RECIPES[recipe].options if recipe in RECIPES else ()
    typed = {option: cleaned[PREFIX + option.name].strip() for option in options}
    return {option.name: value for option, value in typed.items() if value and value != option.default}


def _field(option: Option) -> forms.Field:
    if option.choices:
        choices = [(choice, choice) for choice in option.choices]
        return forms.ChoiceField(
            label=option.title, required=False, choices=choices, initial=option.default, help_text=option.help
        )
    return forms.CharField(
        label=option.title,
        required=False,
        max_length=LONGEST_OPTION,
        widget=code_line(**({"placeholder": option.default} if option.default else {})),
        help_text=option.help,
    )
