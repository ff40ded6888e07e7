"""The strategies: how traffic moves to a release."""

from __future__ import annotations

from types import ModuleType

from devflow.strategies import atomic

STRATEGIES: dict[str, ModuleType] = {"atomic": atomic}
"""Each has `TITLE`, `HELP`, `OPTIONS` (its settings, in scripts as `$strategy_<name>`), `problem(site, recipe)` (why it
cannot be taken, '' where it can), `deploy(site, recipe)` and `rollback(site, recipe)` (the panel's own tasks)."""
