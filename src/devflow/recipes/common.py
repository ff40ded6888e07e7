"""Tasks and options that several recipes share."""

from __future__ import annotations

import json
from collections.abc import Iterable

from devflow.commands import php_fpm
from devflow.engine.task import Option, Phase, Task, Tree
from devflow.recipes import reuse

THROWN_AWAY = "thrown away with the release"
IRREVERSIBLE = "cannot be undone"
REPEATED = "repeated for the release that is taken back"
NEEDS_CARE = f"{IRREVERSIBLE} without a backup: write migrations that the previous release can live with"

PHP_VERSION = Option(
    name="php_version",
    title="PHP version",
    help="Like 8.3: commands, Composer and its scripts run with php8.3, and php8.3-fpm is reloaded. Empty: the server's own.",
    pattern=r"([5-9]\.[0-9]{1,2})?",
    check="""\
command -v "php$option_php_version" >/dev/null || explain "PHP $option_php_version is not installed on $server. Install it there: apt-get install php$option_php_version-cli php$option_php_version-fpm (packages.sury.org has every version for Debian, ppa:ondrej/php for Ubuntu), or set another PHP version."
""",
)
# Composer is wrapped too: Debian's names /usr/bin/php in its first line, and its scripts run with the PHP that runs it.
PHP_TOOLS = """\
if [ -n "$option_php_version" ] && php=$(command -v "php$option_php_version"); then
  mkdir -p "$run/bin"
  ln -sfn "$php" "$run/bin/php"
  if composer=$(command -v composer) && [ "$composer" != "$run/bin/composer" ] && head -n 1 "$composer" | grep -q php; then
    printf '#!/bin/sh\\nexec "%s" "%s" "$@"\\n' "$php" "$composer" >"$run/bin/composer"
    chmod +x "$run/bin/composer"
  fi
  PATH=$run/bin:$PATH
fi
"""

COMPOSER_INSTALL = Task(
    name="composer install",
    phase=Phase.PREPARE,
    command="composer install --no-dev --optimize-autoloader --no-interaction --no-progress",
    condition="[ -f composer.json ]",
    needs=("php", "composer"),
    undo=THROWN_AWAY,
    reuse=reuse.COMPOSER,
)
NPM_INSTALL = Task(
    name="npm ci",
    phase=Phase.PREPARE,
    command="if [ -f package-lock.json ]; then npm ci --no-audit --no-fund; else npm install --no-audit --no-fund; fi",
    condition="[ -f package.json ]",
    needs=("node", "npm"),
    undo=THROWN_AWAY,
    reuse=reuse.NPM,
)
NPM_BUILD = Task(
    name="npm run build",
    phase=Phase.PREPARE,
    command="npm run build --if-present",
    condition="[ -f package.json ]",
    needs=("node", "npm"),
    undo=THROWN_AWAY,
    reuse=reuse.BUILD,
)
RELOAD_PHP_FPM = Task(
    name="reload php-fpm",
    phase=Phase.RELOAD,
    command=php_fpm.RELOAD,
    undo=REPEATED,
    summary="reload php-fpm, unless nginx passes it the real path of the release: a reload breaks off requests",
)


def composer_requires(tree: Tree, names: Iterable[str]) -> bool:
    """Whether the commit's composer.json requires one of the packages. One that cannot be read requires nothing."""
    try:
        required = json.loads(tree.contents.get("composer.json", ""))["require"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    return isinstance(required, dict) and any(name in required for name in names)
