"""Node applications: dependencies by lock file, build, and the units that run them."""

from __future__ import annotations

from devflow.engine.task import Recipe
from devflow.recipes import javascript, package_json
from devflow.recipes.processes import PROCESS, START_COMMAND
from devflow.recipes.reuse import BUILD_INPUTS
from devflow.recipes.units import RESTART_UNITS, UNIT_OPTIONS

RECIPE = Recipe(
    name="node",
    title="Node",
    detect=lambda tree: "package.json" in tree.files and not package_json.is_only_built(tree),
    tasks=(*javascript.INSTALL, *javascript.BUILD, *javascript.PRUNE, RESTART_UNITS),
    shared_files=(".env",),
    options=(START_COMMAND, BUILD_INPUTS, *UNIT_OPTIONS),
    runtime=PROCESS,
)
