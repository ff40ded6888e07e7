"""What the recipes reuse: every install from a lock file, and nothing where a lock does not say it all."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from devflow.engine.task import Reuse, Task
from devflow.recipes import RECIPES, reuse

INSTALLS = re.compile(r"\b(composer install|npm ci|pnpm install|yarn install|uv sync|poetry install|pip install .*-r)")
BUILDS = re.compile(r"\b(npm|pnpm|yarn) run\b.*\bbuild\b")
REUSES = {name: value for name, value in vars(reuse).items() if isinstance(value, Reuse)}
TASKS = {f"{recipe.name}: {task.name}": task for recipe in RECIPES.values() for task in recipe.tasks}


def sh(text: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{folder}/tools:{os.environ['PATH']}", **variables}
    return subprocess.run(["sh", "-c", text], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def is_reused(kept: Reuse, folder: Path) -> bool:
    return sh(kept.when or ":", folder).returncode == 0


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_every_install_from_a_lock_and_every_build_is_reused(task: Task) -> None:
    wanted = bool(INSTALLS.search(task.command) or BUILDS.search(task.command))
    assert (task.reuse is not None) == wanted
    if task.reuse:
        assert bool(task.reuse.folders) == bool(INSTALLS.search(task.command))


@pytest.mark.parametrize("kept", REUSES.values(), ids=REUSES)
def test_what_is_declared_is_valid_shell(kept: Reuse) -> None:
    lines = [*kept.tools, kept.after or ":", kept.when or ":", f"for f in {' '.join(kept.inputs)}; do :; done"]
    text = "\n".join(lines)
    done = subprocess.run(["sh", "-n"], input=text.encode(), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert kept.told
    assert not [folder for folder in kept.folders if re.search(r"\s", folder)]


@pytest.mark.parametrize(
    ("requirements", "wanted"),
    [
        ("django==5.2\ngunicorn==23.0 --hash=sha256:00\n", True),
        ("--index-url https://pypi.example.test\n--no-binary :all:\ndjango==5.2\n", True),
        ("django @ https://example.test/django.whl\n", True),
        ("-r base.txt\n", False),
        ("-e .\n", False),
        ("--editable=git+https://example.test/x.git#egg=x\n", False),
        ("  -c constraints.txt\ndjango\n", False),
        ("./packages/own\n", False),
        (".\n", False),
        ("/srv/packages/own\n", False),
        ("own @ file:///srv/own\n", False),
        ("own @ git+https://example.test/own@main\n", False),
    ],
)
def test_pip_takes_over_what_the_file_names_in_full(tmp_path: Path, requirements: str, wanted: bool) -> None:
    (tmp_path / "requirements.txt").write_text(requirements)
    assert is_reused(reuse.PIP, tmp_path) is wanted


@pytest.mark.parametrize(
    ("composer", "has_lock", "wanted"),
    [
        ("{}", True, True),
        ("{}", False, False),
        ('{"repositories": [{"type": "path", "url": "packages/*"}]}', True, True),  # a relative link
        ('{"repositories": [{"type": "path", "options": {"symlink": false}}]}', True, False),
        ('{"repositories": [{"type": "path", "options": {"symlink":false}}]}', True, False),
    ],
)
def test_composer_takes_over_what_its_lock_names(tmp_path: Path, composer: str, has_lock: bool, wanted: bool) -> None:
    (tmp_path / "composer.json").write_text(composer)
    if has_lock:
        (tmp_path / "composer.lock").write_text("{}")
    assert is_reused(reuse.COMPOSER, tmp_path) is wanted


@pytest.mark.parametrize("kept", [reuse.NPM, reuse.PNPM, reuse.YARN])
@pytest.mark.parametrize(
    ("package", "part", "wanted"),
    [
        ('{"workspaces": ["packages/*"]}', '{"name": "one", "scripts": {"build": "x"}}', True),
        ('{"workspaces": ["packages/*"]}', '{"name": "one", "scripts": {"prepare": "tsc"}}', False),
        ('{"dependencies": {"one": "file:packages/one"}}', '{"scripts": {"postinstall" : "x"}}', False),
        ('{"scripts": {"prepare": "husky"}}', '{"scripts": {"prepare": "a page of its own"}}', True),
    ],
)
def test_parts_with_install_scripts_of_their_own_are_installed_each_time(
    tmp_path: Path, kept: Reuse, package: str, part: str, wanted: bool
) -> None:
    for name, text in {
        "package.json": package,
        "packages/one/package.json": part,
        "vendor/a/b/package.json": '{"scripts": {"prepare": "x"}}',
        "node_modules/x/package.json": '{"scripts": {"install": "x"}}',
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert is_reused(kept, tmp_path) is wanted
    (tmp_path / "pnpm-workspace.yaml").write_text("packages: [packages/*]")
    assert is_reused(kept, tmp_path) is ("scripts" not in part or "build" in part)


@pytest.mark.parametrize(
    ("package", "ran"),
    [
        ('{"scripts": {"build": "x"}, "dependencies": {"prepare-it": "1"}}', []),
        ('{"scripts": {"prepare": "husky"}}', ["prepare"]),
        (
            '{"scripts": {"prepare" : "x", "postinstall": "y", "preinstall":"z"}}',
            ["preinstall", "postinstall", "prepare"],
        ),
        ('{"scripts": {"prepublish": "x", "install": "y"}}', ["install", "prepublish"]),
    ],
)
def test_scripts_of_the_project_run_as_npm_ci_runs_them(tmp_path: Path, package: str, ran: list[str]) -> None:
    (tmp_path / "tools").mkdir()
    npm = tmp_path / "tools/npm"
    npm.write_text(
        '#!/bin/sh\n[ "$1" = run ] || { echo "${IGNORES:-false}"; exit; }\nfor last; do :; done\necho "$last" >>ran\n'
    )
    npm.chmod(0o755)
    (tmp_path / "package.json").write_text(package)
    assert reuse.NPM.after
    for ignores, wanted in (("true", []), ("false", ran)):
        assert sh(reuse.NPM.after, tmp_path, IGNORES=ignores).returncode == 0
        found = (tmp_path / "ran").read_text().split() if (tmp_path / "ran").exists() else []
        assert found == wanted


@pytest.mark.parametrize(
    ("value", "is_valid"),
    [
        ("", True),
        ("resources package.json vite.config.js", True),
        ("resources/js/*.ts src", True),
        ("a; rm -rf /", False),
        ("$(id)", False),
        ("-rf", False),
        ("a  b", False),
        ("../secret", True),  # only its content is compared
        ("a\nb", False),
    ],
)
def test_what_the_build_reads_is_a_list_of_paths(value: str, is_valid: bool) -> None:
    assert bool(re.fullmatch(reuse.BUILD_INPUTS.pattern, value)) is is_valid
