"""blue-green: its steps in order, what it needs, and that it stands on any runtime."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from devflow.engine.plan import Plan, Site, compose
from devflow.engine.task import Phase, Recipe, Runtime
from devflow.recipes import RECIPES
from devflow.strategies import atomic, blue_green
from tests.support.machine import Machine
from tests.support.plans import RECIPE, site_on

RUNTIME = Runtime("boxes", *(f"box {name}\n" for name in ("check", "start", "look", "stop", "remove", "keeps")))
BOXED = replace(RECIPE, runtime=RUNTIME)
SETTINGS = {
    "proxy": "nginx",
    "domains": ("shop.test",),
    "port": 21000,
    "strategy_options": {option.name: option.default for option in blue_green.OPTIONS},
}


def site(*servers: str, **given: object) -> Site:
    return site_on(*(servers or ("web1",)), **{**SETTINGS, **given})


def plan(*servers: str, recipe: Recipe = BOXED, is_rollback: bool = False) -> Plan:
    where = site(*servers)
    tasks = (blue_green.rollback if is_rollback else blue_green.deploy)(where, recipe)
    steps = compose(where, recipe, tasks, reload_only=is_rollback)
    return Plan("blue-green", recipe.name, "r2", "", is_rollback, where, steps)


def names(made: Plan, *phases: Phase) -> list[str]:
    return [step.task.name for step in made.steps if step.task.phase in phases]


def test_the_release_runs_and_is_checked_before_it_gets_the_traffic() -> None:
    made = plan()
    assert names(made, Phase.ACTIVATE) == ["start", "check colour", "switch"]
    assert names(made, Phase.VERIFY) == ["verify release", "health check", "watch"]
    assert names(made, Phase.FINISH) == ["retire", "prune", "unlock"]
    before = [step.task for step in made.steps if step.task.name in ("start", "check colour")]
    assert not [task for task in before if "reload_nginx" in task.command or "mv -T" in task.command]


def test_all_servers_have_checked_before_one_starts() -> None:
    groups = plan("web1", "web2").groups
    assert [step.task.name for group in groups for step in group.steps[:1]].count("start") == 1


def test_a_rollback_has_the_same_way_there_and_back() -> None:
    live = (Phase.ACTIVATE, Phase.VERIFY, Phase.FINISH)
    assert names(plan(is_rollback=True), *live) == names(plan(), *live)
    assert "check kept" in names(plan(is_rollback=True), Phase.PREFLIGHT)
    assert names(plan(is_rollback=True), Phase.UNDO)[0] == names(plan(), Phase.UNDO)[0] == "take back"


def test_the_health_check_of_the_environment_goes_through_the_proxy() -> None:
    (task,) = (step.task for step in plan().steps if step.task.name == "health check")
    assert "--resolve shop.test:80:127.0.0.1" in task.command
    assert "url=http://shop.test/up" in task.command


@pytest.mark.parametrize(
    ("given", "words"),
    [({"proxy": ""}, "choose nginx"), ({"domains": ()}, "a domain"), ({"port": 0}, "two local ports")],
)
def test_what_is_missing_is_told(given: dict[str, object], words: str) -> None:
    assert words in blue_green.problem(site(**given), BOXED)
    assert blue_green.problem(site(), BOXED) == ""


def test_a_recipe_that_cannot_run_two_releases_is_refused() -> None:
    assert "cannot run two releases side by side" in blue_green.problem(site(), RECIPES["laravel"])


def test_atomic_does_not_go_on_where_a_colour_serves(machine: Machine) -> None:
    (machine.root / ".devflow").mkdir()
    (check,) = (task for task in atomic.deploy(site(proxy=""), BOXED) if task.name == "check colours")
    assert machine.run(check.command).code == 0
    (machine.root / ".devflow" / "live").write_text("green r1\n")
    ran = machine.run(check.command)
    assert ran.code == 1
    assert "sends the traffic to r1, which runs as green" in ran.explained
    assert "check colours" not in [task.name for task in atomic.deploy(site(proxy=""), RECIPE)]


@pytest.mark.parametrize("recipe", ["node", "python"])
@pytest.mark.parametrize("is_rollback", [False, True])
def test_the_texts_are_shell(recipe: str, is_rollback: bool) -> None:
    for step in plan(recipe=RECIPES[recipe], is_rollback=is_rollback).steps:
        done = subprocess.run(["sh", "-n"], input=step.task.command, text=True, capture_output=True, check=False)
        assert done.returncode == 0, f"{step.task.name}: {done.stderr}"


@pytest.mark.parametrize(
    ("name", "value", "is_good"),
    [
        ("drain_seconds", "60", True),
        ("drain_seconds", "a", False),
        ("drain_seconds", "1; reboot", False),
        ("warm_paths", "/ /login?a=b", True),
        ("warm_paths", "login", False),
        ("check_path", "/up", True),
        ("check_path", "/u p", False),
    ],
)
def test_options_are_checked(name: str, value: str, is_good: bool) -> None:
    (option,) = (option for option in blue_green.OPTIONS if option.name == name)
    assert (option.problem(value) == "") == is_good
