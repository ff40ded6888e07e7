"""Plans: their order, how they travel, and that they can be stored."""

from __future__ import annotations

import json

import pytest

from devflow.engine.plan import COMMAND_PHASES, Plan, compose, reload_commands
from devflow.engine.task import Phase
from devflow.strategies import atomic
from tests.support.plans import RECIPE, deploy_plan, rollback_plan, site_on

DEPLOY = [
    ("preflight", "check server"),
    ("preflight", "lock"),
    ("prepare", "fetch"),
    ("prepare", "release"),
    ("prepare", "link shared"),
    ("prepare", "build"),
    ("migrate", "migrate"),
    ("migrate", "warm"),
    ("activate", "activate"),
    ("reload", "reload"),
    ("verify", "verify release"),
    ("verify", "health check"),
    ("finish", "prune"),
    ("finish", "unlock"),
    ("undo", "take back"),
    ("undo", "reload again"),
    ("undo", "clean up"),
]


def outline(plan: Plan) -> list[tuple[str, str]]:
    return [(step.task.phase.value, step.task.name) for step in plan.steps]


def groups(plan: Plan) -> list[tuple[str, list[str], tuple[str, ...]]]:
    return [(group.name, [step.task.name for step in group.steps], group.servers) for group in plan.groups]


def test_a_deployment_in_order() -> None:
    assert outline(deploy_plan("web1")) == DEPLOY


def test_variables_are_written_by_the_panel_instead_of_linked() -> None:
    plan = deploy_plan("web1", variable_keys=("APP_KEY",))
    names = [name for _, name in outline(plan)]
    assert names.index("link shared") < names.index("write variables") < names.index("build")
    link = next(step.task.command for step in plan.steps if step.task.name == "link shared")
    assert "link_shared .env file" not in link
    assert "link_shared storage folder" in link


def test_a_rollback_builds_nothing_and_migrates_nothing() -> None:
    assert outline(rollback_plan("web1")) == [
        ("preflight", "lock"),
        ("preflight", "check release"),
        ("activate", "activate"),
        ("reload", "reload"),
        ("verify", "verify release"),
        ("verify", "health check"),
        ("finish", "prune"),
        ("finish", "unlock"),
        ("undo", "take back"),
        ("undo", "reload again"),
        ("undo", "clean up"),
    ]


def test_the_release_of_a_rollback_is_not_thrown_away() -> None:
    clean = {
        plan.is_rollback: next(step.task.command for step in plan.steps if step.task.name == "clean up")
        for plan in (deploy_plan("web1"), rollback_plan("web1"))
    }
    assert 'rm -rf "$path"' in clean[False]
    assert 'rm -rf "$path"' not in clean[True]


def test_every_step_says_how_it_is_undone() -> None:
    for plan in (deploy_plan("web1", phase_commands={"prepare": ["x"]}), rollback_plan("web1")):
        assert all(step.task.undo for step in plan.steps)


# --- the team's own commands ------------------------------------------------------------------------------------------


def test_own_commands_come_after_the_recipes_and_around_the_panels() -> None:
    commands = {phase: [f"own {phase}"] for phase in COMMAND_PHASES}
    names = [name for _, name in outline(deploy_plan("web1", phase_commands=commands))]
    order = [
        ("build", "prepare command 1"),
        ("prepare command 1", "protect command 1"),
        ("protect command 1", "migrate"),
        ("warm", "migrate command 1"),
        ("activate command 1", "activate"),
        ("reload", "reload command 1"),
        ("verify command 1", "verify release"),
        ("finish command 1", "prune"),
        ("reload again", "reload command 1 again"),
    ]
    assert [pair for pair in order if names.index(pair[0]) > names.index(pair[1])] == []


def test_preflight_and_undo_take_no_own_commands() -> None:
    assert set(COMMAND_PHASES) == {phase.value for phase in Phase} - {"preflight", "undo"}


def test_a_task_can_be_replaced_and_switched_off() -> None:
    plan = deploy_plan("web1", task_commands={"build": "make all", "migrate": ""})
    steps = {step.task.name: step.task for step in plan.steps}
    assert (steps["build"].command, steps["build"].condition, steps["build"].needs) == ("make all", "", ())
    assert "migrate" not in steps


def test_what_reloads_is_known_without_a_plan() -> None:
    site = site_on("web1", task_commands={"reload": "other"}, phase_commands={"reload": ["own"], "prepare": ["x"]})
    assert reload_commands(site, RECIPE) == ("other", "own")


# --- groups -----------------------------------------------------------------------------------------------------------


def test_one_server_needs_one_run() -> None:
    assert groups(deploy_plan("web1")) == [
        ("1-preflight", [name for phase, name in DEPLOY if phase != "undo"], ("web1",))
    ]


def test_several_servers_wait_for_each_other() -> None:
    both = ("web1", "web2")
    assert groups(deploy_plan(*both)) == [
        ("1-preflight", ["check server", "lock", "fetch", "release", "link shared", "build"], both),
        ("2-migrate", ["migrate"], ("web1",)),
        ("3-migrate", ["warm"], both),
        ("4-activate", ["activate", "reload", "verify release", "health check"], both),
        ("5-finish", ["prune", "unlock"], both),
    ]


def test_own_last_commands_are_kept_apart_from_the_panels_last_word() -> None:
    plan = deploy_plan("web1", "web2", phase_commands={"finish": ["one", "two"]})
    assert [names for _, names, _ in groups(plan)][-2:] == [
        ["finish command 1", "finish command 2"],
        ["prune", "unlock"],
    ]


@pytest.mark.parametrize("servers", [("web1",), ("web1", "web2"), tuple(f"web{number}" for number in range(10))])
def test_every_step_is_in_one_group_or_undoes(servers: tuple[str, ...]) -> None:
    plan = deploy_plan(*servers)
    grouped = [step for group in plan.groups for step in group.steps]
    assert [*grouped, *plan.undo.steps] == list(plan.steps)
    assert len({group.name for group in plan.groups}) == len(plan.groups)
    assert plan.undo.servers == servers


def test_names_of_groups_fit_into_run_ids() -> None:
    """devflow-run finds the undo of a run by taking two parts off its id."""
    for group in deploy_plan("web1", "web2").groups:
        assert group.name.count("-") == 1


# --- storing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "plan",
    [
        deploy_plan("web1"),
        deploy_plan("web1", "web2", health=None, shared_files=("a",), variable_keys=("KEY",), keep=2),
        deploy_plan("web1", task_commands={"build": "x"}, phase_commands={"reload": ["y"]}),
        rollback_plan("web1", "web2"),
    ],
)
def test_a_plan_comes_back_from_json(plan: Plan) -> None:
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_compose_numbers_the_steps() -> None:
    site = site_on("web1")
    steps = compose(site, RECIPE, atomic.deploy(site, RECIPE))
    assert [step.position for step in steps] == list(range(len(steps)))
