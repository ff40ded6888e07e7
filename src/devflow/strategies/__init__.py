"""The strategies: how traffic moves to a release."""

from __future__ import annotations

from types import ModuleType

from devflow.strategies import atomic, blue_green, canary, recreate, rolling, swarm

STRATEGIES: dict[str, ModuleType] = {
    "atomic": atomic,
    "blue-green": blue_green,
    "rolling": rolling,
    "canary": canary,
    "recreate": recreate,
    "swarm": swarm,
}
"""Each has `TITLE`, `HELP`, `OPTIONS` (its settings, in scripts as `$strategy_<name>`), `problem(site, recipe)` (why it
cannot be taken, '' where it can), `deploy(site, recipe)` and `rollback(site, recipe)` (the panel's own tasks). One
where servers go live one after the other has `rounds(site, recipe)` too; one that does not
take a recipe as it is has `fit(recipe)`. Where settings may not go together, or with the servers, `clash(site)` says
which and why: that is refused when they are saved."""
