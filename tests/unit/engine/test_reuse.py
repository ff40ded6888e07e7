"""What a plan says of reuse: kept when stored, changed with a team's own commands."""

from __future__ import annotations

import json

import pytest

from devflow.engine.plan import Plan, compose
from devflow.engine.task import Phase, Recipe, Reuse, Task
from devflow.strategies import atomic
from tests.support.plans import site_on

INSTALL = Task(
    name="install",
    phase=Phase.PREPARE,
    command="npm ci",
    undo="thrown away",
    reuse=Reuse(told="the lock", folders=("**/node_modules",), inputs=("lock",), tools=("npm -v",), after="scripts"),
)
BUILD = Task(
    name="build", phase=Phase.PREPARE, command="npm run build", undo="thrown away", reuse=Reuse(told="all", after="")
)
RECIPE = Recipe(name="small", title="Small", detect=lambda tree: True, tasks=(INSTALL, BUILD))


def plan_with(**commands: str) -> Plan:
    site = site_on("web1", task_commands=commands)
    steps = compose(site, RECIPE, atomic.deploy(site, RECIPE))
    return Plan("atomic", "small", "r2", "", False, site, steps, is_clean=True)


def reuse_of(plan: Plan, name: str) -> Reuse | None:
    return next(step.task.reuse for step in plan.steps if step.task.name == name)


def test_a_stored_plan_comes_back_as_it_was() -> None:
    plan = plan_with()
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again.steps == plan.steps
    assert (again.is_clean, reuse_of(again, "install")) == (True, INSTALL.reuse)


def test_a_plan_that_was_stored_before_there_was_reuse_is_read() -> None:
    document = json.loads(json.dumps(plan_with().to_json()))
    del document["is_clean"]
    for step in document["steps"]:
        del step["task"]["reuse"]
    again = Plan.from_json(document)
    assert (again.is_clean, reuse_of(again, "install")) == (False, None)


@pytest.mark.parametrize("command", ["npm ci", "npm ci --legacy-peer-deps", "npm ci --omit=dev --no-audit"])
def test_an_own_npm_ci_is_spared_as_the_recipe_s(command: str) -> None:
    assert reuse_of(plan_with(install=command), "install") == INSTALL.reuse


def test_an_own_npm_ci_without_scripts_runs_none_when_packages_are_taken_over() -> None:
    reuse = reuse_of(plan_with(install="npm ci --ignore-scripts"), "install")
    assert reuse is not None
    assert reuse.after == ""
    assert reuse_of(plan_with(), "install").after != ""


@pytest.mark.parametrize(
    "command", ["npm ci && npx patch", "cd web && npm ci", "npm ci; $(id)", "npm clean-install | cat"]
)
def test_what_begins_by_removing_all_takes_nothing_over(command: str) -> None:
    assert reuse_of(plan_with(install=command), "install") is None


def test_another_own_command_is_run_on_what_was_kept() -> None:
    reuse = reuse_of(plan_with(install="yarn install && ./patch"), "install")
    assert reuse is not None
    assert (reuse.folders, reuse.after) == (("**/node_modules",), None)


def test_an_own_build_is_reused_whole() -> None:
    assert reuse_of(plan_with(build="npm run build:production"), "build") == BUILD.reuse


def test_a_step_that_is_switched_off_leaves_the_plan() -> None:
    assert "install" not in [step.task.name for step in plan_with(install="").steps]
