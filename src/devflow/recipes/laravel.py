"""Laravel. The commands are those of its own deployment guide (laravel.com/docs/deployment)."""

from __future__ import annotations

from devflow.engine.task import Phase, Recipe, Task, Where
from devflow.recipes.common import (
    COMPOSER_INSTALL,
    IRREVERSIBLE,
    NPM_BUILD,
    NPM_INSTALL,
    RELOAD_PHP_FPM,
    REPEATED,
    THROWN_AWAY,
)

_STORAGE = "mkdir -p storage/app/public storage/framework/cache/data storage/framework/sessions storage/framework/views storage/logs"


def _warm(command: str) -> Task:
    return Task(name=f"artisan {command}", phase=Phase.MIGRATE, command=f"php artisan {command}", undo=THROWN_AWAY)


RECIPE = Recipe(
    name="laravel",
    title="Laravel",
    detect=lambda files: {"artisan", "composer.json"} <= files,
    tasks=(
        Task(
            name="storage folders",
            phase=Phase.PREPARE,
            command=_STORAGE,
            undo="harmless: empty folders stay in shared/storage",
        ),
        COMPOSER_INSTALL,
        NPM_INSTALL,
        NPM_BUILD,
        Task(
            name="artisan migrate",
            phase=Phase.MIGRATE,
            command="php artisan migrate --force",
            where=Where.FIRST,
            undo=f"{IRREVERSIBLE} without a backup: write migrations that the previous release can live with",
        ),
        _warm("config:cache"),
        _warm("route:cache"),
        _warm("view:cache"),
        Task(name="artisan queue:restart", phase=Phase.RELOAD, command="php artisan queue:restart", undo=REPEATED),
        RELOAD_PHP_FPM,
    ),
    shared_files=(".env",),
    shared_folders=("storage",),
)
