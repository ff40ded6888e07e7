"""Node applications. What restarts the process is the team's own command of the phase reload."""

from __future__ import annotations

from devflow.engine.task import Phase, Recipe, Task
from devflow.recipes.common import NPM_BUILD, NPM_INSTALL, THROWN_AWAY

RECIPE = Recipe(
    name="node",
    title="Node",
    detect=lambda files: "package.json" in files,
    tasks=(
        NPM_INSTALL,
        NPM_BUILD,
        Task(
            name="npm prune",
            phase=Phase.PREPARE,
            command="npm prune --omit=dev --no-audit --no-fund",
            condition="[ -f package.json ]",
            needs=("node", "npm"),
            undo=THROWN_AWAY,
        ),
    ),
    shared_files=(".env",),
)
