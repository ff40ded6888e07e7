"""The recipes, in the order in which they are tried on a commit's files."""

from __future__ import annotations

from devflow.engine.task import Recipe, Tree
from devflow.recipes import compose, dockerfile, laravel, node, php, python, shopware, static, symfony, tenants

RECIPES: dict[str, Recipe] = {
    module.RECIPE.name: module.RECIPE
    # the more special first
    for module in (compose, dockerfile, tenants, laravel, shopware, symfony, php, python, static, node)
}


IN_CONTAINERS = ("compose", "dockerfile")


def detect(tree: Tree, *, strategy: str = "") -> Recipe:
    """The first recipe that knows this commit; `static` when none does.

    The strategy atomic, which runs nothing in containers, takes such a recipe only where no other knows the commit:
    many an application that is deployed as files has a Dockerfile beside.
    """
    known = [recipe for recipe in RECIPES.values() if recipe.detect(tree)]
    if strategy == "atomic":
        known = [recipe for recipe in known if recipe is not static.RECIPE or static.has_pages(tree)]
        known.sort(key=lambda recipe: recipe.name in IN_CONTAINERS)
    return next(iter(known), static.RECIPE)
