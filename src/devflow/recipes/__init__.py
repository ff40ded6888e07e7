"""The recipes, in the order in which they are tried on a commit's files."""

from __future__ import annotations

from collections.abc import Iterable

from devflow.engine.task import Recipe
from devflow.recipes import laravel, node, php, python, static

RECIPES: dict[str, Recipe] = {module.RECIPE.name: module.RECIPE for module in (laravel, php, python, static, node)}


def detect(files: Iterable[str]) -> Recipe:
    """The first recipe that knows these files (names at the top of the commit); `static` when none does."""
    names = frozenset(files)
    return next((recipe for recipe in RECIPES.values() if recipe.detect(names)), static.RECIPE)
