"""The recipes: what they recognise, and what they promise."""

from __future__ import annotations

import re
import subprocess

import pytest

from devflow.engine.task import Phase, Recipe, Tree, Where
from devflow.recipes import RECIPES, detect


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (["artisan", "composer.json", "composer.lock", "package.json", "public"], "laravel"),
        (["artisan"], "static"),
        (["composer.json", "public", "src"], "php"),
        (["index.php", "style.css"], "php"),
        (["composer.json", "package.json", "index.html"], "php"),
        (["manage.py", "requirements.txt"], "python"),
        (["pyproject.toml", "src"], "python"),
        (["requirements.txt", "package.json"], "python"),
        (["package.json", "server.mjs"], "node"),
        (["package.json", "index.html", "vite.config.js"], "static"),
        (["index.html", "style.css"], "static"),
        (["README.md"], "static"),
        ([], "static"),
        (["Dockerfile", "go.mod", "main.go"], "dockerfile"),
        (["Dockerfile", "composer.json", "artisan"], "dockerfile"),
    ],
)
def test_detection(files: list[str], name: str) -> None:
    assert detect(Tree(frozenset(files))).name == name


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (["Dockerfile", "package.json", "server.mjs"], "node"),
        (["Dockerfile", "index.html"], "static"),
        (["Dockerfile", "main.go"], "dockerfile"),
        (["main.go"], "static"),
    ],
)
def test_files_come_before_containers_where_files_are_deployed(files: list[str], name: str) -> None:
    assert detect(Tree(frozenset(files)), strategy="atomic").name == name


def test_names_are_the_keys_of_the_registry() -> None:
    assert {key: recipe.name for key, recipe in RECIPES.items()} == {key: key for key in RECIPES}
    assert [name for name in RECIPES if name != "compose"] == [
        "dockerfile",
        "tenants",
        "laravel",
        "shopware",
        "symfony",
        "php",
        "python",
        "static",
        "node",
    ]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
class TestEachRecipe:
    def test_every_task_says_how_it_is_undone(self, recipe: Recipe) -> None:
        assert all(task.undo for task in recipe.tasks)

    def test_names_are_told_apart(self, recipe: Recipe) -> None:
        names = [task.name for task in recipe.tasks]
        assert len(set(names)) == len(names)

    def test_nothing_is_run_in_the_phases_of_the_panel(self, recipe: Recipe) -> None:
        assert not {task.phase for task in recipe.tasks} & {Phase.PREFLIGHT, Phase.ACTIVATE, Phase.VERIFY, Phase.UNDO}

    def test_what_changes_shared_data_runs_on_one_server(self, recipe: Recipe) -> None:
        for task in recipe.tasks:
            if re.search(r"\bmigrate\b", task.name):
                assert task.where is Where.FIRST

    def test_nothing_that_serves_is_touched_before_the_switch(self, recipe: Recipe) -> None:
        before = [task for task in recipe.tasks if task.phase in (Phase.PREPARE, Phase.PROTECT, Phase.MIGRATE)]
        assert not [task for task in before if "current" in task.command or "systemctl" in task.command]

    def test_commands_are_valid_shell(self, recipe: Recipe) -> None:
        for task in recipe.tasks:
            text = f"{task.command}\nif {{ {task.condition or ':'}; }}; then :; fi\n"
            done = subprocess.run(["sh", "-n"], input=text.encode(), capture_output=True, check=False)
            assert done.stderr == b""


def test_laravel_does_what_the_framework_asks_for() -> None:
    commands = [task.command for task in RECIPES["laravel"].tasks]
    for wanted in (
        "composer install --no-dev --optimize-autoloader",
        "npm run build",
        "php artisan migrate --force",
        "php artisan config:cache",
        "php artisan route:cache",
        "php artisan view:cache",
        "php artisan queue:restart",
    ):
        assert any(wanted in command for command in commands), wanted
    assert RECIPES["laravel"].shared_folders == ("storage",)
