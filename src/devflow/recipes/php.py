"""Plain PHP with Composer."""

from __future__ import annotations

from devflow.engine.task import Recipe
from devflow.recipes.common import COMPOSER_INSTALL, RELOAD_PHP_FPM

RECIPE = Recipe(
    name="php",
    title="PHP",
    detect=lambda files: bool(files & {"composer.json", "index.php"}),
    tasks=(COMPOSER_INSTALL, RELOAD_PHP_FPM),
    shared_files=(".env",),
)
