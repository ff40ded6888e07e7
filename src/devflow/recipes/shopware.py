"""Shopware 6. It is a Symfony application: what is of the environment is in `.env.local`.

`public/theme` is not shared: each release compiles its own, so the page that is served never loses its styles. The index
is rebuilt when the release serves already, since that may take long and the shop can do with the one there is.
"""

from __future__ import annotations

from devflow.engine.task import Phase, Recipe, Task, Where
from devflow.recipes.common import (
    COMPOSER_INSTALL,
    NEEDS_CARE,
    PHP_TOOLS,
    PHP_VERSION,
    RELOAD_PHP_FPM,
    THROWN_AWAY,
    composer_requires,
)
from devflow.recipes.symfony import PRODUCTION
from devflow.recipes.units import RESTART_UNITS, UNIT_OPTIONS

RECIPE = Recipe(
    name="shopware",
    title="Shopware",
    detect=lambda tree: composer_requires(tree, ["shopware/core", "shopware/platform"]),
    tasks=(
        PRODUCTION,
        COMPOSER_INSTALL,
        Task(
            name="system:update:finish",
            phase=Phase.MIGRATE,
            command="php bin/console system:update:finish",
            where=Where.FIRST,
            undo=NEEDS_CARE,
        ),
        Task(name="cache:clear", phase=Phase.MIGRATE, command="php bin/console cache:clear", undo=THROWN_AWAY),
        Task(
            name="theme:compile",
            phase=Phase.MIGRATE,
            command="php bin/console theme:compile",
            condition="grep -Eqs '\"shopware/(storefront|platform)\"' composer.json composer.lock",
            undo=THROWN_AWAY,
        ),
        RESTART_UNITS,
        RELOAD_PHP_FPM,
        Task(
            name="dal:refresh:index",
            phase=Phase.FINISH,
            command="php bin/console dal:refresh:index",
            where=Where.FIRST,
            undo="harmless: the index is made from the data that is there",
        ),
    ),
    shared_files=(".env.local", "install.lock"),
    shared_folders=("config/jwt", "files", "public/media", "public/sitemap", "public/thumbnail", "var/log"),
    options=(PHP_VERSION, *UNIT_OPTIONS),
    env_file=".env.local",
    tools=PHP_TOOLS,
)
