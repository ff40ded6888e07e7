"""Python and Django: which commands run for which files, in real shells."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace

import pytest

from devflow.engine.plan import Plan, compose, place
from devflow.engine.task import Phase, Tree, Where
from devflow.recipes import RECIPES, detect
from devflow.recipes.python import PYTHON
from devflow.strategies import atomic
from tests.support.machine import Machine, Ran

RECIPE = RECIPES["python"]
PIP = ".venv/bin/pip install --quiet --no-input --disable-pip-version-check"
VENV = """\
echo "$0 $*"
if [ "$1" = -m ]; then
  mkdir -p .venv/bin
  for name in python pip; do
    printf '#!/bin/sh\\necho ".venv/bin/%s $*"\\n' $name >.venv/bin/$name
    chmod +x .venv/bin/$name
  done
fi"""


@pytest.fixture
def python(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A server with a python3, uv and Poetry that say how they were called, and with nothing else beside the basics."""
    machine.tool("python3", f'[ "$1" = -c ] && exit 0\n{VENV.replace("$0", "python3")}')
    machine.tool("uv", 'echo "uv $* into $UV_PROJECT_ENVIRONMENT"')
    machine.tool("poetry", 'echo "poetry $* in project: $POETRY_VIRTUALENVS_IN_PROJECT"')
    bare = machine.folder / "bin"
    bare.mkdir()
    for name in ("sh", "dash", "bash", "env", "cat", "grep", "mkdir", "chmod", "rm", "ls", "find", "id"):
        if found := shutil.which(name):
            (bare / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(bare))
    return machine


def carry_out(machine: Machine, files: Mapping[str, str], *phases: Phase, python: str = "") -> Ran:
    """The tasks of the phases in a release with these files, nothing taken over from another one."""
    machine.runs += 1
    release = f"r{machine.runs}"
    folder = machine.root / "releases" / release
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (machine.root / ".devflow").mkdir(exist_ok=True)
    (machine.root / ".devflow" / "lock").write_text("e d2 shop\n")
    tasks = [replace(task, reuse=None) for task in RECIPE.tasks if task.phase in (phases or (Phase.PREPARE,))]
    site = machine.site(options={option.name: option.default for option in RECIPE.options} | {"python": python})
    plan = Plan("atomic", "python", release, "", False, site, place(site, tasks))
    return machine.carry_out(plan, plan.groups[0])


@pytest.mark.parametrize(
    "files", [["uv.lock"], ["poetry.lock"], ["setup.py"], ["pyproject.toml"], ["requirements.txt"], ["manage.py"]]
)
def test_detection(files: list[str]) -> None:
    assert detect(Tree(frozenset([*files, "README.md"]))).name == "python"
    assert RECIPE.title == "Python/Django"


@pytest.mark.parametrize(
    ("files", "commands"),
    [
        (["uv.lock", "pyproject.toml", "requirements.txt"], ["uv sync --frozen --no-dev into .venv"]),
        (
            ["poetry.lock", "pyproject.toml", "requirements.txt"],
            ["python3 -m venv .venv", "poetry install --only main --no-interaction in project: true"],
        ),
        (["requirements.txt", "pyproject.toml"], ["python3 -m venv .venv", f"{PIP} -r requirements.txt"]),
        (["pyproject.toml"], ["python3 -m venv .venv", f"{PIP} ."]),
        (["setup.py"], ["python3 -m venv .venv", f"{PIP} ."]),
        (["wsgi.py"], ["python3 -m venv .venv"]),
    ],
)
def test_the_lock_file_decides(python: Machine, files: list[str], commands: list[str]) -> None:
    ran = carry_out(python, dict.fromkeys(files, ""))
    assert (ran.code, ran.lines) == (0, commands)


@pytest.mark.parametrize(
    ("settings", "collects"),
    [("STATIC_ROOT = BASE_DIR / 'static'", True), ("    STATIC_ROOT = 'x'", True), ("# STATIC_ROOT = 1", False)],
)
def test_django(python: Machine, settings: str, collects: bool) -> None:
    files = {"requirements.txt": "django", "manage.py": "", "shop/settings.py": f"DEBUG = False\n{settings}\n"}
    ran = carry_out(python, files, Phase.PREPARE, Phase.MIGRATE)
    collect = [".venv/bin/python manage.py collectstatic --noinput"] if collects else []
    assert ran.lines[2:] == [*collect, ".venv/bin/python manage.py migrate --noinput"]


def test_a_static_root_of_a_package_is_not_the_projects(python: Machine) -> None:
    files = {"requirements.txt": "", "manage.py": "", "node_modules/x/settings.py": "STATIC_ROOT = 1"}
    ran = carry_out(python, {**files, ".venv/lib/settings.py": "STATIC_ROOT = 1"})
    assert not [line for line in ran.lines if "collectstatic" in line]


def test_without_a_manage_py_nothing_of_django_runs(python: Machine) -> None:
    ran = carry_out(python, {"requirements.txt": "", "settings.py": "STATIC_ROOT = 1"}, Phase.PREPARE, Phase.MIGRATE)
    assert ran.lines == ["python3 -m venv .venv", f"{PIP} -r requirements.txt"]


def test_only_the_first_server_migrates() -> None:
    assert [task.name for task in RECIPE.tasks if task.where is Where.FIRST] == ["migrate"]


def test_the_python_that_is_set_makes_the_environment(python: Machine) -> None:
    python.tool("python3.9", f'[ "$1" = -c ] && exit 0\n{VENV.replace("$0", "nine")}')
    assert carry_out(python, {"requirements.txt": ""}, python="python3.9").lines[0] == "nine -m venv .venv"
    ran = carry_out(python, {"uv.lock": ""}, python="python3.9")
    assert ran.lines == ["uv sync --frozen --no-dev --python python3.9 into .venv"]
    assert carry_out(python, {"poetry.lock": ""}, python="python3.9").lines[0] == "nine -m venv .venv"


def test_a_python_that_is_not_there_is_told_before_anything_is_done(python: Machine) -> None:
    site = python.site(options={"python": "python3.9"})
    names = [step.task.name for step in compose(site, RECIPE, atomic.deploy(site, RECIPE))]
    assert names[:4] == ["check server", "check Python", "check colours", "lock"]
    ran = python.run(PYTHON.check, options={"python": "/opt/python3.9"})
    assert ran.code == 1
    assert ran.explained.startswith(
        "/opt/python3.9 is not installed on web1. Install it there: apt-get install python3.9 "
    )
    assert python.run(PYTHON.check, options={"python": "python3"}).code == 0


@pytest.mark.parametrize("is_there", [True, False])
def test_a_python_without_venv_is_told(python: Machine, is_there: bool) -> None:
    python.tool("python3", '[ "$1" != -c ]')
    if not is_there:
        (python.tools / "python3").unlink()
    ran = carry_out(python, {"requirements.txt": ""})
    told = "python3 cannot make virtual environments here. Install on the server: apt-get install python3-venv"
    assert (ran.code, ran.lines) == (1, [told])


@pytest.mark.parametrize(("lock", "tool"), [("uv.lock", "uv"), ("poetry.lock", "poetry")])
def test_a_tool_that_is_missing_is_named(python: Machine, lock: str, tool: str) -> None:
    (python.tools / tool).unlink()
    ran = carry_out(python, {lock: ""})
    assert ran.code == 1
    assert ran.explained.startswith(f"{tool} is not installed on web1; '")


@pytest.mark.parametrize("value", ["python3", "python3.12", "/usr/bin/python3", "/opt/py-3.12_x/bin/python3.12"])
def test_values_that_can_be_a_python(value: str) -> None:
    assert PYTHON.problem(value) == ""


@pytest.mark.parametrize(
    "value",
    ["python", "python2.7", "python3;id", "../python3", "/a/../python3", "bin/python3", "/opt/", "python3 -c", "$(id)"],
)
def test_values_that_cannot(value: str) -> None:
    assert PYTHON.problem(value) != ""
