"""Options of recipes and strategies on the command line: those that are given join those that are set.

The API takes them all at once. So what is set is read first; `NAME=` takes one away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from devflow.cli.client import Client
from devflow.cli.output import tell
from devflow.engine.task import Option
from devflow.recipes import RECIPES
from devflow.strategies import STRATEGIES


def with_those_set(client: Client, project: str, environment: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The changes of `body` with all options as they are to be. What is set and unknown to the recipe, or to the
    strategy from now on, is left out with a word on stderr."""
    changed = dict(body)
    if not body.keys() & {"recipe_options", "strategy_options", "strategy"}:
        return changed
    there = client.get("projects", project, "environments", environment)
    if given := body.get("recipe_options"):
        recipe = client.get("projects", project)["recipe"] or there["detected"].get("recipe", "")
        known = RECIPES[recipe].options if recipe in RECIPES else None
        changed["recipe_options"] = joined(_kept(there["recipe_options"], known, f"recipe {recipe}"), given)
    strategy = body.get("strategy", there["strategy"])
    known = STRATEGIES[strategy].OPTIONS if strategy in STRATEGIES else None
    kept = _kept(there["strategy_options"], known, f"strategy {strategy}")
    if given := body.get("strategy_options"):
        changed["strategy_options"] = joined(kept, given)
    return changed


def joined(present: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """`given` before `present`; an empty one takes away what is there, and else goes to the panel, to be checked."""
    both = {**present, **given}
    return {name: value for name, value in both.items() if value.strip() or name not in present}


def _kept(present: Mapping[str, str], known: Iterable[Option] | None, whose: str) -> dict[str, str]:
    """Those that are valid there; all where that is not known, as with a newer panel."""
    if known is None:
        return dict(present)
    options = {option.name: option for option in known}
    kept = {name: value for name, value in present.items() if name in options and not options[name].problem(value)}
    for name in present.keys() - kept.keys():
        tell(f"{name}={present[name]} is dropped: the {whose} does not take it.")
    return kept
