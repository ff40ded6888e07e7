"""Hooks in a plan: their places, their order, their servers, and what is told of those that have none."""

from __future__ import annotations

import pytest

from devflow.engine import hooks
from devflow.engine.hooks import Hook
from devflow.engine.plan import Plan, Site, hook_warnings, reload_commands
from devflow.engine.task import Phase, Task, Where
from devflow.strategies import atomic
from tests.support.plans import RECIPE, deploy_plan, rollback_plan, site_on

PHASES = [phase.value for phase in hooks.HOOK_PHASES]


def names(plan: Plan) -> list[str]:
    return [step.task.name for step in plan.steps if step.task.phase is not Phase.UNDO]


def around(*places: str) -> tuple[Hook, ...]:
    """`before build` and `after build` for each, whose command is the same words."""
    return tuple(Hook(when, place, f"{when} {place}") for place in places for when in ("before", "after"))


def own(site: Site) -> list[Task]:
    return atomic.deploy(site, RECIPE)


# --- places -----------------------------------------------------------------------------------------------------------


def test_every_phase_has_a_before_and_an_after() -> None:
    plan = deploy_plan("web1", hooks=around(*PHASES, "activate"))
    assert [name.split(":")[0] for name in names(plan)] == [
        *("check server", "lock"),
        *("before prepare", "fetch", "release", "link shared", "build", "after prepare"),
        *("before protect", "after protect"),
        *("before migrate", "migrate", "warm", "after migrate"),
        *("before activate", "activate", "after activate"),
        *("before reload", "reload", "after reload"),
        *("before verify", "verify release", "health check", "after verify"),
        *("before finish", "after finish", "prune", "unlock"),
    ]


def test_every_step_has_a_before_and_an_after_but_checking_locking_and_cleaning_up() -> None:
    site = site_on("web1")
    places = hooks.places([*own(site), *RECIPE.tasks])
    steps = {"fetch", "release", "link shared", "activate", "verify release", "health check", "build", "warm"}
    assert set(places) == {*PHASES, *steps}
    found = names(deploy_plan("web1", hooks=around(*steps)))
    for step in steps:
        at = found.index(step)
        assert (found[at - 1], found[at + 1]) == (f"before {step}: before {step}", f"after {step}: after {step}")


def test_own_commands_of_the_phase_activate_come_before_what_comes_before_the_switch() -> None:
    plan = deploy_plan("web1", hooks=around("activate"), phase_commands={"activate": ["own"]})
    found = names(plan)
    at = found.index("activate")
    assert found[at - 2 : at + 2] == [
        "activate command 1",
        "before activate: before activate",
        "activate",
        "after activate: after activate",
    ]


def test_the_hooks_of_a_phase_enclose_those_of_its_steps() -> None:
    found = names(deploy_plan("web1", hooks=around("reload", "verify release", "verify")))
    assert found[found.index("before verify: before verify") + 1] == "before verify release: before verify release"


def test_hooks_of_one_place_keep_their_order() -> None:
    given = tuple(Hook("before", "build", command) for command in ("three", "one", "two"))
    found = names(deploy_plan("web1", hooks=given))
    at = found.index("build")
    assert found[at - 3 : at] == ["before build: three", "before build: one", "before build: two"]


@pytest.mark.parametrize("name", ["verify release", "verify_release", "Verify-Release", "verify  release"])
def test_only_letters_and_digits_of_a_name_count(name: str) -> None:
    found = names(deploy_plan("web1", hooks=(Hook("after", name, "x"),)))
    assert found[found.index("verify release") + 1] == "after verify release: x"


def test_a_long_command_is_named_by_its_beginning() -> None:
    given = (Hook("before", "build", "x" * 300), Hook("after", "build", "set -u\nmake"))
    found = names(deploy_plan("web1", hooks=given))
    assert f"before build: {'x' * 60}…" in found
    assert "after build: set -u…" in found


def test_a_hook_is_a_step_of_its_own() -> None:
    plan = deploy_plan("web1", "web2", hooks=(Hook("after", "build", "x", Where.FIRST),))
    step = next(step for step in plan.steps if step.task.name == "after build: x")
    assert step.servers == ("web1",)
    assert (step.task.phase, step.task.undo) == (Phase.PREPARE, "cannot be undone by the panel")
    assert not step.task.is_builtin
    assert Plan.from_json(plan.to_json()) == plan


def test_a_hook_of_the_first_server_is_waited_for_by_the_others() -> None:
    plan = deploy_plan("web1", "web2", hooks=(Hook("before", "activate", "x", Where.FIRST),))
    shown = [([step.task.name for step in group.steps], group.servers) for group in plan.groups]
    at = shown.index((["before activate: x"], ("web1",)))
    assert shown[at + 1][0][0] == "activate"
    assert shown[at + 1][1] == ("web1", "web2")


def test_the_panels_last_word_stays_alone() -> None:
    plan = deploy_plan("web1", "web2", hooks=around("finish", "verify"))
    assert [step.task.name for step in plan.groups[-1].steps] == ["prune", "unlock"]


def test_what_comes_before_the_release_starts_in_the_sites_folder() -> None:
    plan = deploy_plan("web1", hooks=around("prepare", "fetch", "release", "build"))
    early = {step.task.name: step.task.is_early for step in plan.steps if ":" in step.task.name}
    assert early == {
        "before prepare: before prepare": True,
        "before fetch: before fetch": True,
        "after fetch: after fetch": True,
        "before release: before release": True,
        "after release: after release": False,
        "before build: before build": False,
        "after build: after build": False,
        "after prepare: after prepare": False,
    }


# --- going back -------------------------------------------------------------------------------------------------------


def test_hooks_around_reloading_are_repeated_when_a_release_is_taken_back() -> None:
    plan = deploy_plan("web1", hooks=around("reload", "activate"))
    assert [step.task.name for step in plan.undo.steps] == [
        "take back",
        "before reload: before reload again",
        "reload again",
        "after reload: after reload again",
        "clean up",
    ]


def test_a_rollback_runs_the_hooks_around_reloading_alone() -> None:
    plan = rollback_plan("web1", hooks=around(*PHASES, "activate", "build", "verify release", "check release"))
    assert [name for name in names(plan) if ":" in name] == [
        "before reload: before reload",
        "after reload: after reload",
    ]


def test_a_rollback_by_hand_knows_them() -> None:
    site = site_on("web1", hooks=around("reload", "activate"))
    assert reload_commands(site, RECIPE) == ("before reload", "./reload", "after reload")


# --- hooks without a place --------------------------------------------------------------------------------------------


def test_a_hook_without_a_place_is_told_with_what_was_meant() -> None:
    site = site_on("web1", hooks=(Hook("before", "biuld", "x"), Hook("after", "activate", "y")))
    (told,) = hook_warnings(site, RECIPE, own(site))
    assert told.startswith("The hook before 'biuld' does not run")
    assert told.endswith("Did you mean 'build'?")
    assert "before biuld" not in " ".join(names(deploy_plan("web1", hooks=site.hooks)))


@pytest.mark.parametrize(
    "place", ["lock", "check server", "prune", "unlock", "take back", "clean_up", "preflight", "undo"]
)
def test_the_panels_own_beginning_and_end_take_no_hooks(place: str) -> None:
    site = site_on("web1", hooks=around(place))
    assert len(hook_warnings(site, RECIPE, own(site))) == 2
    assert names(deploy_plan("web1", hooks=around(place))) == names(deploy_plan("web1"))


def test_a_task_that_is_switched_off_is_no_mistake() -> None:
    site = site_on("web1", task_commands={"build": ""}, hooks=around("build"))
    assert hook_warnings(site, RECIPE, own(site)) == ()
    assert names(deploy_plan("web1", task_commands={"build": ""}, hooks=around("build"))) == [
        name for name in names(deploy_plan("web1")) if name != "build"
    ]
