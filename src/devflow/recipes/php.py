"""Plain PHP with Composer."""

from __future__ import annotations

from devflow.engine.task import Recipe
from devflow.recipes.common import (
    COMPOSER_INSTALL,
    PHP_TOOLS,
    PHP_VERSION,
    RELOAD_PHP_FPM,
)
from devflow.recipes.units import RESTART_UNITS, UNIT_OPTIONS

RECIPE = Recipe(
    name="php",
    title="PHP",
    detect=lambda tree: bool(tree.files & {"composer.json", "index.php"}),
    tasks=(COMPOSER_INSTALL, RESTART_UNITS, RELOAD_PHP_FPM),
    shared_files=(".env",),
    options=(PHP_VERSION, *UNIT_OPTIONS),
    tools=PHP_TOOLS,
)
