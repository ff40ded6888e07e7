"""The recipes, in the order in which they are tried on a commit's files."""

from __future__ import annotations

from devflow.engine.task import Recipe, Tree
from devflow.recipes import laravel, node, php, python, shopware, static, symfony, tenants

RECIPES: dict[str, Recipe] = {
    module.RECIPE.name: module.RECIPE
    for module in (tenants, laravel, shopware, symfony, php, python, static, node)  # the more special first
}


def detect(tree: Tree) -> Recipe:
    """The first recipe that knows this commit; `static` when none does."""
    return next((recipe for recipe in RECIPES.values() if recipe.detect(tree)), static.RECIPE)
