"""What hooks can be put before and after. Without the database: the command line asks it too."""

from __future__ import annotations

from devflow.engine import hooks
from devflow.engine.plan import HealthCheck, Site
from devflow.recipes import RECIPES
from devflow.strategies import STRATEGIES


def places_of(recipe: str, strategy: str = "atomic") -> tuple[str, ...]:
    """The phases and steps that take hooks in a deployment with this recipe, '' for what all have."""
    tasks = RECIPES[recipe].tasks if recipe in RECIPES else ()
    chosen = RECIPES.get(recipe, RECIPES["static"])
    site = Site(
        *("", "", "", "", "", "", 1, ()),
        shared_folders=("shared",),
        variable_keys=("KEY",),
        health=HealthCheck("/"),
    )
    return hooks.places([*STRATEGIES[strategy].deploy(site, chosen), *tasks])
