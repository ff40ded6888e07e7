"""What hooks can be put before and after. Without the database: the command line asks it too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from devflow.engine import hooks
from devflow.engine.plan import HealthCheck, Site, Target
from devflow.recipes import RECIPES
from devflow.strategies import STRATEGIES

_TRAFFIC: dict[str, Any] = {
    "targets": (Target("", "server"),),
    "proxy": "nginx",
    "domains": ("example.com",),
    "port": 21000,
}
"""What strategies ask for that move traffic."""


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
    if strategy != "atomic":
        site = replace(site, **_TRAFFIC)
    if STRATEGIES[strategy].problem(site, chosen):  # as when the recipe is not known yet
        strategy = "atomic"
    return hooks.places([*STRATEGIES[strategy].deploy(site, chosen), *tasks])
