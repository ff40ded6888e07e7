"""Laravel. The commands are those of its own deployment guide (laravel.com/docs/deployment)."""

from __future__ import annotations

from devflow.engine.task import Phase, Recipe, Task, Where
from devflow.recipes import javascript
from devflow.recipes.common import (
    COMPOSER_INSTALL,
    NEEDS_CARE,
    PHP_TOOLS,
    PHP_VERSION,
    RELOAD_PHP_FPM,
    REPEATED,
    THROWN_AWAY,
)
from devflow.recipes.reuse import BUILD_INPUTS
from devflow.recipes.units import RESTART_UNITS, UNIT_OPTIONS

# The group may write them: PHP-FPM often runs as another user of the deploying user's group.
STORAGE_FOLDERS = Task(
    name="storage folders",
    phase=Phase.PREPARE,
    command="""\
for folder in bootstrap/cache storage/app/public storage/framework/cache/data storage/framework/sessions \\
  storage/framework/views storage/logs
do
  mkdir -p "$folder"
  chmod g+w "$folder" 2>/dev/null || echo "$folder keeps its rights: it belongs to another user"
done""",
    undo="harmless: empty folders stay in shared/storage",
)
STORAGE_LINK = Task(
    name="artisan storage:link",
    phase=Phase.PREPARE,
    command="php artisan storage:link",
    condition="[ -d public ] && [ ! -e public/storage ] && [ ! -L public/storage ]",
    undo=THROWN_AWAY,
)
MIGRATE = Task(
    name="artisan migrate",
    phase=Phase.MIGRATE,
    command="php artisan migrate --force",
    where=Where.FIRST,
    undo=NEEDS_CARE,
)


def warm(command: str, *, condition: str = "") -> Task:
    """A cache of the release, filled before it serves."""
    return Task(
        name=f"artisan {command}",
        phase=Phase.MIGRATE,
        command=f"php artisan {command}",
        condition=condition,
        undo=THROWN_AWAY,
    )


RESTART = (
    Task(name="artisan queue:restart", phase=Phase.RELOAD, command="php artisan queue:restart", undo=REPEATED),
    Task(
        name="artisan horizon:terminate",
        phase=Phase.RELOAD,
        command="php artisan horizon:terminate",
        condition="[ -f config/horizon.php ]",
        undo=REPEATED,
    ),
    RESTART_UNITS,
    RELOAD_PHP_FPM,
)

RECIPE = Recipe(
    name="laravel",
    title="Laravel",
    detect=lambda tree: {"artisan", "composer.json"} <= tree.files,
    tasks=(
        STORAGE_FOLDERS,
        COMPOSER_INSTALL,
        *javascript.INSTALL,
        *javascript.BUILD,
        STORAGE_LINK,
        MIGRATE,
        warm("config:cache"),
        warm("route:cache"),
        warm("view:cache"),
        *RESTART,
    ),
    shared_files=(".env",),
    shared_folders=("storage",),
    options=(PHP_VERSION, BUILD_INPUTS, *UNIT_OPTIONS),
    tools=PHP_TOOLS,
)
