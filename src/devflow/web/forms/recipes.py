"""The parts of an environment's form that hold the options of its recipe, and of its strategy."""

from __future__ import annotations

from collections.abc import Mapping

from django import forms

from devflow.apps.told import told
from devflow.engine.task import LONGEST_OPTION, Option
from devflow.recipes import RECIPES
from devflow.strategies import STRATEGIES
from devflow.web.forms.base import code_line, code_select

PREFIX = "recipe_options."
STRATEGY_PREFIX = "strategy_options."
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


def strategy_fields(strategy: str) -> dict[str, forms.Field]:
    """A field for each option of the strategy."""
    return {STRATEGY_PREFIX + option.name: _field(option) for option in _of_strategy(strategy)}


def strategy_initial(values: Mapping[str, str]) -> dict[str, str]:
    """What an environment keeps, as the form's first values."""
    return {STRATEGY_PREFIX + name: value for name, value in values.items()}


def strategy_values(cleaned: Mapping[str, str], strategy: str) -> dict[str, str]:
    """What was typed, as the services take it: what is as the strategy has it is not kept."""
    typed = {option: cleaned.get(STRATEGY_PREFIX + option.name, "").strip() for option in _of_strategy(strategy)}
    return {option.name: value for option, value in typed.items() if value and value != option.default}


def _of_strategy(strategy: str) -> tuple[Option, ...]:
    return STRATEGIES[strategy].OPTIONS if strategy in STRATEGIES else ()


def _field(option: Option) -> forms.Field:
    if option.choices:
        choices = [(choice, choice) for choice in option.choices]
        return forms.ChoiceField(
            label=told(option.title),
            required=False,
            choices=choices,
            widget=code_select(),
            initial=option.default,
            help_text=told(option.help),
        )
    return forms.CharField(
        label=told(option.title),
        required=False,
        max_length=LONGEST_OPTION,
        widget=code_line(**({"placeholder": option.default} if option.default else {})),
        help_text=told(option.help),
    )
