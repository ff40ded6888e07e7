"""Static sites, with an npm build where there is a package.json."""

from __future__ import annotations

from devflow.engine.task import Recipe
from devflow.recipes.common import NPM_BUILD, NPM_INSTALL

RECIPE = Recipe(
    name="static",
    title="Static site",
    detect=lambda files: (
        "index.html" in files or not files & {"package.json", "composer.json", "requirements.txt", "pyproject.toml"}
    ),
    tasks=(NPM_INSTALL, NPM_BUILD),
)
