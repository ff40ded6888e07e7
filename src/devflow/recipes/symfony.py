"""Symfony. What is of the environment is in `.env.local`; the `.env` of the commit holds the defaults."""

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
    composer_requires,
)
from devflow.recipes.reuse import BUILD_INPUTS
from devflow.recipes.units import RESTART_UNITS, UNIT_OPTIONS

# Without it the .env of a commit most often says `dev`, for which `composer install --no-dev` brings no bundles.
PRODUCTION = Task(
    name="production",
    phase=Phase.PREPARE,
    command="printf 'APP_ENV=prod\\nAPP_DEBUG=0\\n' >.env.local && echo '.env.local is made: APP_ENV=prod'",
    condition="[ ! -e .env.local ] && [ ! -e .env.local.php ]",
    undo="harmless: the file stays in shared",
)

RECIPE = Recipe(
    name="symfony",
    title="Symfony",
    detect=lambda tree: "symfony.lock" in tree.files or composer_requires(tree, ["symfony/framework-bundle"]),
    tasks=(
        PRODUCTION,
        COMPOSER_INSTALL,
        *javascript.INSTALL,
        *javascript.BUILD,
        Task(name="cache:clear", phase=Phase.PREPARE, command="php bin/console cache:clear", undo=THROWN_AWAY),
        Task(
            name="assets:install",
            phase=Phase.PREPARE,
            command="php bin/console assets:install public",
            condition="[ -d public ]",
            undo=THROWN_AWAY,
        ),
        Task(
            name="doctrine:migrations:migrate",
            phase=Phase.MIGRATE,
            command="php bin/console doctrine:migrations:migrate --no-interaction --allow-no-migration",
            condition="[ -d vendor/doctrine/doctrine-migrations-bundle ] || [ -f config/packages/doctrine_migrations.yaml ]",
            where=Where.FIRST,
            undo=NEEDS_CARE,
        ),
        Task(name="cache:warmup", phase=Phase.MIGRATE, command="php bin/console cache:warmup", undo=THROWN_AWAY),
        Task(
            name="messenger:stop-workers",
            phase=Phase.RELOAD,
            command="php bin/console messenger:stop-workers",
            condition="[ -d vendor/symfony/messenger ] || [ -f config/packages/messenger.yaml ]",
            undo=REPEATED,
        ),
        RESTART_UNITS,
        RELOAD_PHP_FPM,
    ),
    shared_files=(".env.local",),
    shared_folders=("var/log",),
    options=(PHP_VERSION, BUILD_INPUTS, *UNIT_OPTIONS),
    env_file=".env.local",
    tools=PHP_TOOLS,
)
