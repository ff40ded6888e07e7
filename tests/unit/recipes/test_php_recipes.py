"""The recipes of PHP: what they recognise, every command as it is, and the longer ones carried out in real shells."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from devflow.engine.plan import Plan, Site, compose, place, reload_commands
from devflow.engine.task import Phase, Recipe, Task, Tree, Where
from devflow.recipes import RECIPES, detect
from devflow.recipes.common import PHP_TOOLS, PHP_VERSION, RELOAD_PHP_FPM
from devflow.recipes.laravel import STORAGE_FOLDERS
from devflow.recipes.symfony import PRODUCTION
from devflow.recipes.tenants import EACH_TENANT, ON_TENANT_FAILURE, TENANT_COMMAND
from devflow.strategies import atomic
from tests.support.machine import Machine, Ran

COMPOSER = "composer install --no-dev --optimize-autoloader --no-interaction --no-progress"


def tree(*files: str, require: object = None) -> Tree:
    composer = {} if require is None else {"composer.json": json.dumps({"require": require})}
    return Tree(frozenset([*files, *composer]), composer)


def by_name(recipe: str) -> dict[str, Task]:
    return {task.name: task for task in RECIPES[recipe].tasks}


# --- detection --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "name"),
    [
        (tree("artisan", require={"laravel/framework": "^11"}), "laravel"),
        (tree("artisan", require={"laravel/framework": "^11", "stancl/tenancy": "^3"}), "tenants"),
        (tree("artisan", require={"spatie/laravel-multitenancy": "^4"}), "tenants"),
        (tree(require={"stancl/tenancy": "^3"}), "php"),
        (tree("bin", require={"symfony/framework-bundle": "7.*"}), "symfony"),
        (tree("symfony.lock", "composer.json"), "symfony"),
        (tree("symfony.lock", require={"shopware/core": "~6.6"}), "shopware"),
        (tree(require={"shopware/platform": "~6.6", "symfony/framework-bundle": "6.*"}), "shopware"),
        (tree("public", require={"php": ">=8.2", "symfony/console": "*"}), "php"),
        (tree("artisan", require=["stancl/tenancy"]), "laravel"),
        (tree("artisan", require="stancl/tenancy"), "laravel"),
        (tree("bin", require={"shopware/core-extension": "1"}), "php"),
    ],
)
def test_detection_by_what_composer_requires(found: Tree, name: str) -> None:
    assert detect(found).name == name


@pytest.mark.parametrize("text", ["", "{", "[]", '"text"', "null", "{}", "\ufeff{}", "[" * 100_000, '{"require": 1}'])
def test_a_broken_composer_json_requires_nothing(text: str) -> None:
    assert detect(Tree(frozenset(["composer.json"]), {"composer.json": text})).name == "php"


# --- every command as it is -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "commands"),
    [
        ("php", {"composer install": COMPOSER}),
        (
            "laravel",
            {
                "composer install": COMPOSER,
                "npm run build": "npm run build --if-present",
                "artisan storage:link": "php artisan storage:link",
                "artisan migrate": "php artisan migrate --force",
                "artisan config:cache": "php artisan config:cache",
                "artisan route:cache": "php artisan route:cache",
                "artisan view:cache": "php artisan view:cache",
                "artisan queue:restart": "php artisan queue:restart",
                "artisan horizon:terminate": "php artisan horizon:terminate",
            },
        ),
        (
            "tenants",
            {
                "composer install": COMPOSER,
                "artisan migrate": "php artisan migrate --force",
                "artisan migrate:tenants": "php artisan migrate:tenants --force",
                "artisan tenants:migrate": "php artisan tenants:migrate --force",
                "artisan config:cache --tenants": "php artisan config:cache --tenants",
                "artisan config:cache": "php artisan config:cache",
                "artisan cache:clear --tenants": "php artisan cache:clear --tenants",
                "artisan queue:restart": "php artisan queue:restart",
            },
        ),
        (
            "shopware",
            {
                "composer install": COMPOSER,
                "system:update:finish": "php bin/console system:update:finish",
                "cache:clear": "php bin/console cache:clear",
                "theme:compile": "php bin/console theme:compile",
                "dal:refresh:index": "php bin/console dal:refresh:index",
            },
        ),
        (
            "symfony",
            {
                "composer install": COMPOSER,
                "cache:clear": "php bin/console cache:clear",
                "assets:install": "php bin/console assets:install public",
                "doctrine:migrations:migrate": (
                    "php bin/console doctrine:migrations:migrate --no-interaction --allow-no-migration"
                ),
                "cache:warmup": "php bin/console cache:warmup",
                "messenger:stop-workers": "php bin/console messenger:stop-workers",
            },
        ),
    ],
)
def test_commands(recipe: str, commands: dict[str, str]) -> None:
    assert {name: task.command for name, task in by_name(recipe).items() if name in commands} == commands


@pytest.mark.parametrize(
    ("recipe", "order"),
    [
        (
            "laravel",
            "storage folders, composer install, npm ci, npm run build, artisan storage:link | artisan migrate, "
            "artisan config:cache, artisan route:cache, artisan view:cache | artisan queue:restart, "
            "artisan horizon:terminate, restart units, reload php-fpm",
        ),
        (
            "shopware",
            "production, composer install | system:update:finish, cache:clear, theme:compile | restart units, "
            "reload php-fpm | dal:refresh:index",
        ),
        (
            "symfony",
            "production, composer install, npm ci, npm run build, cache:clear, assets:install | "
            "doctrine:migrations:migrate, cache:warmup | messenger:stop-workers, restart units, reload php-fpm",
        ),
    ],
)
def test_phases(recipe: str, order: str) -> None:
    """Without the other tools for JavaScript."""
    tasks = [task for task in RECIPES[recipe].tasks if not re.match(r"pnpm|yarn|npm install", task.name)]
    phases = list(dict.fromkeys(task.phase for task in tasks))
    assert phases == sorted(phases, key=list(Phase).index)
    assert " | ".join(", ".join(task.name for task in tasks if task.phase is phase) for phase in phases) == order


@pytest.mark.parametrize("recipe", ["tenants", "laravel", "shopware", "symfony"])
def test_what_writes_to_a_database_runs_on_the_first_server(recipe: str) -> None:
    writes = re.compile(r"migrat|update:finish|refresh:index")
    assert {task.name for task in RECIPES[recipe].tasks if writes.search(task.name)} == {
        task.name for task in RECIPES[recipe].tasks if task.where is Where.FIRST
    }


# --- conditions, in real shells ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "task", "files", "runs"),
    [
        ("laravel", "composer install", {"composer.json": "{}"}, True),
        ("laravel", "composer install", {}, False),
        ("laravel", "artisan horizon:terminate", {"config/horizon.php": ""}, True),
        ("laravel", "artisan horizon:terminate", {"config/app.php": ""}, False),
        ("laravel", "artisan storage:link", {"public/index.php": ""}, True),
        ("laravel", "artisan storage:link", {"public/storage/file": ""}, False),
        ("laravel", "artisan storage:link", {}, False),
        ("symfony", "doctrine:migrations:migrate", {"vendor/doctrine/doctrine-migrations-bundle/x": ""}, True),
        ("symfony", "doctrine:migrations:migrate", {"config/packages/doctrine_migrations.yaml": ""}, True),
        ("symfony", "doctrine:migrations:migrate", {"config/packages/doctrine.yaml": ""}, False),
        ("symfony", "messenger:stop-workers", {"vendor/symfony/messenger/x": ""}, True),
        ("symfony", "messenger:stop-workers", {}, False),
        ("symfony", "assets:install", {"public/index.php": ""}, True),
        ("symfony", "assets:install", {"web/index.php": ""}, False),
        ("symfony", "production", {}, True),
        ("symfony", "production", {".env.local": ""}, False),
        ("symfony", "production", {".env.local.php": ""}, False),
        ("shopware", "theme:compile", {"composer.json": '{"require": {"shopware/storefront": "*"}}'}, True),
        ("shopware", "theme:compile", {"composer.lock": '{"name": "shopware/platform"}'}, True),
        ("shopware", "theme:compile", {"composer.json": '{"require": {"shopware/core": "*"}}'}, False),
    ],
)
def test_conditions(machine: Machine, recipe: str, task: str, files: dict[str, str], runs: bool) -> None:
    ran = carry_out(machine, replace(by_name(recipe)[task], command="echo ran", needs=()), files=files)
    assert ran.lines == (["ran"] if runs else [])


ARTISAN = """\
[ "$1" = artisan ] && [ "$2" = help ] || exit 9
case " $COMMANDS " in *" $3 "*) echo "$3 --force" ;; *) exit 1 ;; esac
case " $WITH_TENANTS " in *" $3 "*) echo '  --tenants[=TENANTS]' ;; esac
"""


@pytest.mark.parametrize(
    ("commands", "with_tenants", "command", "runs"),
    [
        ("migrate:tenants cache:clear config:cache", "cache:clear config:cache", "", "migrate:tenants + own"),
        ("tenants:migrate cache:clear config:cache", "", "", "tenants:migrate"),
        ("migrate:tenants tenants:migrate", "", "", "migrate:tenants"),
        ("cache:clear", "", "", "migrate:tenants"),
        ("migrate:tenants config:cache cache:clear", "", "migrate {tenant}", "each"),
        ("tenants:migrate", "", "migrate {tenant}", "each"),
    ],
)
def test_the_tenants_commands_are_those_that_the_application_has(
    machine: Machine, commands: str, with_tenants: str, command: str, runs: str
) -> None:
    machine.tool("php", f"COMMANDS='{commands}' WITH_TENANTS='{with_tenants}'\n{ARTISAN}")
    tasks = by_name("tenants")
    names = ["artisan migrate:tenants", "artisan tenants:migrate", "migrate each tenant"]
    names += ["artisan config:cache --tenants", "artisan config:cache", "artisan cache:clear --tenants"]
    found = [
        name
        for name in names
        if carry_out(machine, replace(tasks[name], command="echo ran"), tenant_command=command).lines == ["ran"]
    ]
    wanted = {
        "migrate:tenants + own": [names[0], names[3], names[5]],
        "migrate:tenants": [names[0], names[4]],
        "tenants:migrate": [names[1], names[4]],
        "each": [names[2], names[4]],
    }
    assert found == wanted[runs]


# --- tenants one by one -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("on_failure", "code"), [("fail", 1), ("continue", 0)])
def test_a_tenant_that_fails_is_named_and_the_others_are_migrated(machine: Machine, on_failure: str, code: int) -> None:
    ran = migrate(machine, "acme beta gamma", '[ {tenant} != beta ] && touch "$HOME/{tenant}"', on_failure)
    assert ran.code == code
    assert ran.lines == [
        "Tenant acme: migrated",
        "Tenant beta: FAILED with exit code 1",
        "Tenant gamma: migrated",
        "1 of 3 tenants failed, the others are migrated: beta",
    ]
    assert {path.name for path in machine.home.iterdir() if not path.name.startswith(".")} == {"acme", "gamma"}


def test_all_tenants_are_migrated(machine: Machine) -> None:
    ran = migrate(machine, "acme beta", "echo 'migrating {tenant}'")
    assert ran.code == 0
    assert ran.lines == [
        *("migrating acme", "Tenant acme: migrated", "migrating beta", "Tenant beta: migrated"),
        "All 2 tenants are migrated",
    ]


def test_the_list_of_stancls_package_is_read(machine: Machine) -> None:
    (machine.home / "list").write_text(
        "Listing all tenants.\n[Tenant] id: 8075a580-1cb8 @ a.example.com; b.example.com\n"
        "[Tenant] id: beta @ \n\n  gamma  "
    )
    ran = migrate(machine, "", "true {tenant}", listed='cat "$HOME/list"')
    assert ran.lines == [
        "No tenant: Listing all tenants.",
        *(f"Tenant {name}: migrated" for name in ("8075a580-1cb8", "beta", "gamma")),
        "All 3 tenants are migrated",
    ]


@pytest.mark.parametrize(
    "name", ["; touch pwned", "$(touch pwned)", "`touch pwned`", "a'b", 'a"b', "-rf", "a/b", "a&b", "a\\b", "*", "é"]
)
def test_a_name_that_means_something_to_a_shell_is_no_tenant(machine: Machine, name: str) -> None:
    (machine.home / "list").write_text(f"{name}\nacme\n")
    ran = migrate(machine, "", "echo '{tenant}' \"{tenant}\" {tenant}", listed='cat "$HOME/list"')
    assert ran.lines == [
        f"No tenant: {name}",
        *("acme acme acme", "Tenant acme: migrated", "All 1 tenants are migrated"),
    ]
    assert not list(machine.folder.rglob("pwned"))


def test_a_list_that_cannot_be_read_fails_whatever_the_setting(machine: Machine) -> None:
    ran = migrate(machine, "", "true {tenant}", "continue", listed="echo 'no database'; exit 3")
    assert (ran.code, ran.lines) == (1, ["no database", "The list of tenants could not be read"])


def test_no_tenant_at_all_is_said(machine: Machine) -> None:
    ran = migrate(machine, "", "true {tenant}")
    assert (ran.code, ran.lines) == (0, ["No tenant was found by: printf '%s\\n' ", "All 0 tenants are migrated"])


def test_of_many_failing_tenants_the_first_five_are_named(machine: Machine) -> None:
    ran = migrate(machine, " ".join(f"t{number}" for number in range(8)), "false {tenant}")
    assert ran.lines[-1] == "8 of 8 tenants failed, the others are migrated: t0, t1, t2, t3, t4 and 3 more"


def test_a_tenants_command_cannot_eat_the_list(machine: Machine) -> None:
    assert migrate(machine, "acme beta", "cat; true {tenant}").lines[-1] == "All 2 tenants are migrated"


def migrate(machine: Machine, names: str, command: str, on_failure: str = "", listed: str = "") -> Ran:
    task = by_name("tenants")["migrate each tenant"]
    assert task.command == EACH_TENANT
    return carry_out(
        machine,
        task,
        tenants_command=listed or f"printf '%s\\n' {names}",
        tenant_command=command,
        on_tenant_failure=on_failure or ON_TENANT_FAILURE.default,
    )


# --- the version of PHP -----------------------------------------------------------------------------------------------


def test_php_is_the_version_that_is_set_also_for_composer_and_its_scripts(machine: Machine) -> None:
    machine.tool("php7.9", '[ "${1##*/}" = composer ] && shift && exec sh -c "$*"; echo "seven.nine $*"')
    machine.tool("php", "echo default")
    machine.tool("composer", "exit 9")
    (machine.tools / "composer").write_text("#!/usr/bin/php\n<?php\n")
    ran = carry_out(machine, Task("x", Phase.PREPARE, "php a; composer php b; env php c", "u"), php_version="7.9")
    assert ran.lines == ["seven.nine a", "seven.nine b", "seven.nine c"]
    assert carry_out(machine, Task("x", Phase.PREPARE, "php a", "u"), php_version="").lines == ["default"]


def test_a_composer_that_is_no_php_is_left_alone(machine: Machine) -> None:
    machine.tool("php7.9", "echo seven.nine")
    machine.tool("composer", "php b")
    ran = carry_out(machine, Task("x", Phase.PREPARE, "composer install", "u"), php_version="7.9")
    assert ran.lines == ["seven.nine"]


def test_a_version_that_is_not_there_is_explained_before_anything_is_done(machine: Machine) -> None:
    site = replace(site_of(machine, RECIPES["laravel"]), options={"php_version": "7.9"})
    names = [step.task.name for step in compose(site, RECIPES["laravel"], atomic.deploy(site, RECIPES["laravel"]))]
    assert names[:3] == ["check server", "check PHP version", "lock"]
    ran = machine.run(PHP_VERSION.check, options={"php_version": "7.9"})
    assert ran.code == 1
    assert ran.explained.startswith(
        "PHP 7.9 is not installed on web1. Install it there: apt-get install php7.9-cli php7.9-fpm ("
    )
    machine.tool("php7.9", "true")
    assert machine.run(PHP_VERSION.check, options={"php_version": "7.9"}).code == 0


def test_without_a_version_nothing_is_checked(machine: Machine) -> None:
    site = site_of(machine, RECIPES["laravel"])
    assert "check PHP version" not in [task.name for task in atomic.deploy(site, RECIPES["laravel"])]


# --- reloading PHP-FPM ------------------------------------------------------------------------------------------------

SYSTEMCTL = """\
case $1 in
list-units)
  for unit in php8.3-fpm.service php8.4-fpm.service; do case $unit in ${5}) echo "$unit loaded" ;; esac; done ;;
reload) echo "reloaded $2" ;;
esac
"""


@pytest.mark.parametrize(
    ("version", "lines"),
    [
        ("", ["reloaded php8.3-fpm.service", "reloaded php8.4-fpm.service"]),
        ("8.3", ["reloaded php8.3-fpm.service"]),
        ("8.1", ["php8.1-fpm does not run here: nothing to reload"]),
    ],
)
@pytest.mark.parametrize("user", ["0", "1000"])
def test_php_fpm_of_the_version_is_reloaded(machine: Machine, version: str, lines: list[str], user: str) -> None:
    machine.tool("systemctl", SYSTEMCTL)
    machine.tool("id", f"echo {user}")
    machine.tool("sudo", '[ "$1" = -n ] && shift && exec "$@"')
    assert carry_out(machine, RELOAD_PHP_FPM, php_version=version).lines == lines


def test_a_reload_that_is_not_allowed_is_told_and_does_not_fail(machine: Machine) -> None:
    machine.tool("systemctl", SYSTEMCTL)
    machine.tool("id", "echo 1000")
    machine.tool("sudo", "echo 'sudo: a password is required' >&2; exit 1")
    ran = carry_out(machine, RELOAD_PHP_FPM, php_version="8.3")
    assert ran.code == 0
    assert ran.lines[-1] == (
        "php8.3-fpm.service is not reloaded: allow it in sudoers, or let nginx pass $realpath_root"
    )


REAL_PATH = """\
location ~ \\.php$ {
    fastcgi_pass unix:/run/php/php8.3-fpm.sock;
    fastcgi_param SCRIPT_FILENAME $realpath_root$fastcgi_script_name;
}
"""


def reload_behind_nginx(machine: Machine, *, cache: str, **sites: str) -> Ran:
    """The task on a server whose nginx has these site files, and whose php-fpm says so much of its memory."""
    machine.tool("systemctl", SYSTEMCTL)
    machine.tool("id", "echo 0")
    machine.tool("php", f"printf %s {cache}")
    folder = machine.root.parent / "nginx"
    (folder / "sites-enabled").mkdir(parents=True)
    for name, text in sites.items():
        (folder / "sites-enabled" / name).write_text(text)
    task = replace(RELOAD_PHP_FPM, command=RELOAD_PHP_FPM.command.replace("/etc/nginx", str(folder)))
    return carry_out(machine, task, php_version="8.3")


@pytest.mark.parametrize("cache", ["room", "off"])
def test_php_fpm_is_left_alone_where_nginx_passes_the_real_path(machine: Machine, cache: str) -> None:
    site = f"root {machine.root}/current/public;\n{REAL_PATH}"
    ran = reload_behind_nginx(machine, cache=cache, shop=site, other=REAL_PATH.replace("$realpath", "$document"))
    assert ran.code == 0
    assert ran.lines == [
        "php-fpm is not reloaded, and no request is broken off: nginx passes the real path of the release"
    ]
    assert not list(machine.root.glob("releases/*/devflow-*.php"))


def test_php_fpm_is_reloaded_where_old_releases_fill_its_memory(machine: Machine) -> None:
    ran = reload_behind_nginx(machine, cache="full", shop=f"root {machine.root}/current;\n{REAL_PATH}")
    assert ran.lines == [
        "php-fpm's memory of compiled files is nearly full of old releases",
        "reloaded php8.3-fpm.service",
    ]


def test_php_fpm_that_cannot_be_asked_is_left_alone_and_that_is_told(machine: Machine) -> None:
    ran = reload_behind_nginx(machine, cache="''", shop=f"root {machine.root}/current;\n{REAL_PATH}")
    assert "gets no answer at unix:/run/php/php8.3-fpm.sock. It may need to be in the group" in ran.lines[0]
    assert ran.lines[1].startswith("php-fpm is not reloaded")


@pytest.mark.parametrize(
    "text",
    [
        REAL_PATH.replace("$realpath", "$document"),
        REAL_PATH.replace("fastcgi_param", "# fastcgi_param"),
        "try_files $uri =404;",
        f"root /srv/www/other/current;\n{REAL_PATH}",
    ],
)
def test_php_fpm_is_reloaded_where_nginx_may_pass_the_link(machine: Machine, text: str) -> None:
    root = "" if "other" in text else f"root {machine.root}/current;\n"
    ran = reload_behind_nginx(machine, cache="room", shop=root + text)
    assert ran.lines == ["reloaded php8.3-fpm.service"]


def test_one_site_file_of_several_that_passes_the_link_is_enough_to_reload(machine: Machine) -> None:
    good = f"root {machine.root}/current;\n{REAL_PATH}"
    ran = reload_behind_nginx(machine, cache="room", a=good, b=good.replace("$realpath", "$document"))
    assert ran.lines == ["reloaded php8.3-fpm.service"]


# --- files ------------------------------------------------------------------------------------------------------------


def test_laravels_folders_are_made_and_writable_for_the_group(machine: Machine) -> None:
    assert carry_out(machine, STORAGE_FOLDERS).code == 0
    release = machine.root / "releases" / "r2"
    for folder in ("bootstrap/cache", "storage/app/public", "storage/framework/sessions", "storage/logs"):
        assert (release / folder).stat().st_mode & 0o070 == 0o070, folder


def test_production_is_said_once_for_all_releases(machine: Machine) -> None:
    shared = machine.root / "shared" / ".env.local"
    shared.parent.mkdir(parents=True)
    release = machine.release("r2")
    (release / ".env.local").symlink_to(shared)
    assert carry_out(machine, PRODUCTION).lines == [".env.local is made: APP_ENV=prod"]
    assert shared.read_text() == "APP_ENV=prod\nAPP_DEBUG=0\n"
    shared.write_text("APP_ENV=staging\n")
    assert carry_out(machine, PRODUCTION).lines == []
    assert shared.read_text() == "APP_ENV=staging\n"


def test_variables_take_the_place_of_the_shared_file_that_the_recipe_names(machine: Machine) -> None:
    for recipe, file in (("symfony", ".env.local"), ("shopware", ".env.local"), ("laravel", ".env"), ("php", ".env")):
        site = replace(site_of(machine, RECIPES[recipe]), variable_keys=("APP_ENV",))
        tasks = {task.name: task for task in atomic.deploy(site, RECIPES[recipe])}
        assert tasks["write variables"].summary == f"write the release's {file} (0600): APP_ENV"
        assert f"link_shared {file} file" not in tasks.get("link shared", tasks["lock"]).command
        without = {task.name: task for task in atomic.deploy(site_of(machine, RECIPES[recipe]), RECIPES[recipe])}
        assert f"link_shared {file} file" in without["link shared"].command


@pytest.mark.parametrize("has_horizon", [True, False])
def test_going_back_without_the_panel_minds_the_conditions(machine: Machine, has_horizon: bool) -> None:
    recipe = RECIPES["laravel"]
    site = replace(site_of(machine, recipe), task_commands={"reload php-fpm": "echo fpm"})
    release = machine.release("r2")
    (release / "config").mkdir()
    if has_horizon:
        (release / "config" / "horizon.php").write_text("")
    machine.tool("php", 'echo "$*"')
    text = "\n".join(reload_commands(site, recipe))
    done = subprocess.run(
        ["sh", "-e"], input=text, cwd=release, env=machine.environment(), capture_output=True, text=True, check=True
    )
    horizon = ["artisan horizon:terminate"] if has_horizon else []
    assert done.stdout.splitlines() == ["artisan queue:restart", *horizon, "fpm"]


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["8.1", "8.3", "8.10", "7.4", ""])
def test_versions_of_php(value: str) -> None:
    assert PHP_VERSION.problem(value) == ""


@pytest.mark.parametrize("value", ["8", "8.3.1", "php8.3", "8.3; reboot", "8.3\n", "$(id)", "../8.3", "8.123", "٨.٣"])
def test_what_is_no_version_of_php(value: str) -> None:
    assert PHP_VERSION.problem(value) != ""


def test_the_command_of_a_tenant_names_the_tenant() -> None:
    assert TENANT_COMMAND.problem("php artisan tenants:migrate --tenants={tenant}") == ""
    assert TENANT_COMMAND.problem("php artisan tenants:migrate").startswith("This cannot be used here. With {tenant}")
    assert TENANT_COMMAND.problem("x {tenant}" + "x" * 1000) == "Give one line of at most 1,000 characters."
    assert ON_TENANT_FAILURE.problem("ignore") == "Choose one of: fail, continue."


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_defaults_are_valid(recipe: Recipe) -> None:
    assert [option.name for option in recipe.options if option.problem(option.default)] == []
    assert [option.name for option in recipe.options if not re.fullmatch("[a-z_]+", option.name)] == []


# --- carried out ------------------------------------------------------------------------------------------------------


def carry_out(machine: Machine, task: Task, *, files: dict[str, str] | None = None, **options: str) -> Ran:
    """The task as a deployment runs it, in the release r2 that holds these files."""
    release = machine.root / "releases" / "r2"
    if not release.exists():
        machine.release("r2")
    for name, text in (files or {}).items():
        path: Path = release / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    site = machine.site(options=options, tools=PHP_TOOLS)
    moved = replace(task, phase=Phase.PREFLIGHT)
    plan = Plan("atomic", "small", "r2", "", False, site, place(site, [moved]))
    return machine.carry_out(plan, plan.groups[0])


def site_of(machine: Machine, recipe: Recipe) -> Site:
    return machine.site(options={option.name: option.default for option in recipe.options}, tools=recipe.tools)
