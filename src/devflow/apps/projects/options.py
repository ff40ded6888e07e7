"""Values of a recipe's own options, and of a strategy's, as an environment keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devflow.apps.projects.models import Environment
from devflow.core.errors import InvalidError
from devflow.engine.task import Option
from devflow.recipes import RECIPES
from devflow.strategies import STRATEGIES


def recipe_options_check(environment: Environment, value: Mapping[str, Any]) -> dict[str, str]:
    """The values that are set, checked against the environment's recipe; against all of them before it is known.

    An empty value stands for the default and is not kept. Raises InvalidError, with reasons at `recipe_options.<name>`.
    """
    recipe = environment.project.recipe or environment.detected.get("recipe", "")
    known = _options(recipe)
    whose = f"The recipe {recipe}" if recipe in RECIPES else "No recipe"
    return _checked("recipe_options", value, known, whose, "the recipe")


def strategy_options_check(strategy: str, value: Mapping[str, Any]) -> dict[str, str]:
    """As `recipe_options_check`, for the options of a strategy; with reasons at `strategy_options.<name>`."""
    known = {option.name: [option] for option in STRATEGIES[strategy].OPTIONS}
    return _checked("strategy_options", value, known, f"The strategy {strategy}", "the strategy")


def _checked(
    field: str, value: Mapping[str, Any], known: Mapping[str, list[Option]], whose: str, of: str
) -> dict[str, str]:
    errors = {f"{field}.{name}": _problem(name, text, known, whose) for name, text in value.items()}
    errors = {name: message for name, message in errors.items() if message}
    if errors:
        raise InvalidError(f"Not every option of {of} is valid: {' '.join(errors.values())}", errors)
    return {name: text.strip() for name, text in value.items() if text.strip()}


def _options(recipe: str) -> dict[str, list[Option]]:
    """By name; of one recipe, or of all."""
    found: dict[str, list[Option]] = {}
    for each in [RECIPES[recipe]] if recipe in RECIPES else RECIPES.values():
        for option in each.options:
            found.setdefault(option.name, []).append(option)
    return found


def _problem(name: str, value: Any, known: Mapping[str, list[Option]], whose: str) -> str:
    if name not in known:
        verb = "has an" if whose.startswith("No ") else "has no"
        choice = f" Choose from: {', '.join(known)}." if known else ""
        return f"{whose} {verb} option {name[:60]!r}.{choice}"
    if not isinstance(value, str):
        return "Give the value as text."
    problems = [option.problem(value.strip()) for option in known[name]]
    return problems[0] if all(problems) else ""
