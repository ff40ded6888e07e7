"""Tasks that several recipes share."""

from __future__ import annotations

from devflow.engine.task import Phase, Task

THROWN_AWAY = "thrown away with the release"
IRREVERSIBLE = "cannot be undone"
REPEATED = "repeated for the release that is taken back"

COMPOSER_INSTALL = Task(
    name="composer install",
    phase=Phase.PREPARE,
    command="composer install --no-dev --optimize-autoloader --no-interaction --no-progress",
    condition="[ -f composer.json ]",
    needs=("php", "composer"),
    undo=THROWN_AWAY,
)
NPM_INSTALL = Task(
    name="npm ci",
    phase=Phase.PREPARE,
    command="if [ -f package-lock.json ]; then npm ci --no-audit --no-fund; else npm install --no-audit --no-fund; fi",
    condition="[ -f package.json ]",
    needs=("node", "npm"),
    undo=THROWN_AWAY,
)
NPM_BUILD = Task(
    name="npm run build",
    phase=Phase.PREPARE,
    command="npm run build --if-present",
    condition="[ -f package.json ]",
    needs=("node", "npm"),
    undo=THROWN_AWAY,
)
RELOAD_PHP_FPM = Task(
    name="reload php-fpm",
    phase=Phase.RELOAD,
    command="""\
for unit in $(systemctl list-units --plain --no-legend --state=active 'php*-fpm.service' 2>/dev/null | cut -d ' ' -f 1); do
  if [ "$(id -u)" = 0 ]; then systemctl reload "$unit"
  else sudo -n systemctl reload "$unit" || echo "$unit is not reloaded: allow it in sudoers, or let nginx pass \\$realpath_root"
  fi
done""",
    undo=REPEATED,
)
