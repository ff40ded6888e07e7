"""Hooks of environments as they are kept, and commands that must fit to the recipe."""

from __future__ import annotations

from typing import Any

import pytest
from django_scopes import scope

from devflow.apps.accounts.models import Role
from devflow.apps.projects import hooks, services
from devflow.apps.projects.models import Environment
from devflow.apps.projects.places import places_of
from devflow.core.errors import ConflictError, ForbiddenError, InvalidError
from devflow.engine.hooks import HOOK_PHASES
from devflow.recipes import RECIPES
from tests.support.shop import Shop

HOOK = {"when": "before", "what": "activate", "command": "./warm", "where": "first"}


def kept(shop: Shop) -> Environment:
    with scope(team=shop.team):
        return Environment.objects.select_related("project", "team").get(pk=shop.environment.pk)


def update(shop: Shop, **settings: Any) -> None:
    services.environment_update(actor=shop.actor(), environment=kept(shop), **settings)


def refusal(shop: Shop, **settings: Any) -> dict[str, str]:
    with pytest.raises(InvalidError) as error:
        update(shop, **settings)
    return error.value.errors


def test_hooks_are_kept_in_order(shop: Shop) -> None:
    update(shop, hooks=[HOOK, {"when": "after", "what": " npm_run_build ", "command": " one\r\ntwo \n"}])
    assert kept(shop).hooks == [
        HOOK,
        {"when": "after", "what": "npm_run_build", "command": "one\ntwo", "where": "all"},
    ]
    update(shop, hooks=[])
    assert kept(shop).hooks == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"when": "while"}, "when is before or after"),
        ({"where": "some"}, "where is all or first"),
        ({"command": "  "}, "needs a command"),
        ({"command": "x" * 10_001}, "needs a command of at most 10,000 characters"),
        ({"command": "a\x00b"}, "NUL"),
        ({"command": 3}, "all of them text"),
        ({"more": "x"}, "must have when, what and command"),
        ({"what": "--"}, "needs the name of a phase or a step"),
        ({"what": "a\nb"}, "one line"),
        ({"what": "npm run biuld"}, "Did you mean 'npm run build'?"),
        ({"what": "lock"}, "the plan has no such phase or step that takes hooks"),
        ({"what": "composer install"}, "the plan has no such phase or step that takes hooks"),
    ],
)
def test_a_hook_that_cannot_run_is_refused(shop: Shop, change: dict[str, Any], told: str) -> None:
    errors = refusal(shop, hooks=[{**HOOK, **change}])
    assert list(errors) == ["hooks"]
    assert told in errors["hooks"]
    assert kept(shop).hooks == []


def test_there_is_an_end_to_hooks(shop: Shop) -> None:
    update(shop, hooks=[HOOK] * 50)
    assert "more than 50 hooks" in refusal(shop, hooks=[HOOK] * 51)["hooks"]


def test_before_the_recipe_is_known_any_step_may_be_named(shop: Shop) -> None:
    services.project_update(actor=shop.actor(), project=shop.project, recipe="")
    update(shop, hooks=[{**HOOK, "what": "composer install"}], task_commands={"whatever": "x"})
    assert kept(shop).hooks[0]["what"] == "composer install"


def test_a_new_recipe_is_not_in_the_way_of_other_settings(shop: Shop) -> None:
    update(shop, hooks=[{**HOOK, "what": "npm run build"}], task_commands={"npm run build": "x"})
    services.project_update(actor=shop.actor(), project=shop.project, recipe="php")
    update(shop, keep=7)
    assert kept(shop).keep == 7


def test_a_hook_of_another_recipe_is_not_in_the_way_of_a_new_one(shop: Shop) -> None:
    update(shop, hooks=[{**HOOK, "what": "npm run build"}])
    services.project_update(actor=shop.actor(), project=shop.project, recipe="php")
    hooks.hook_add(actor=shop.actor(), environment=kept(shop), **HOOK)
    assert len(kept(shop).hooks) == 2


def test_adding_and_removing_one(shop: Shop) -> None:
    for number in ("one", "two", "three"):
        hooks.hook_add(actor=shop.actor(), environment=shop.environment, **{**HOOK, "command": number})
    listed = hooks.hook_list(kept(shop))
    hooks.hook_remove(actor=shop.actor(), environment=shop.environment, mark=listed[1]["mark"])
    assert [hook["command"] for hook in kept(shop).hooks] == ["one", "three"]
    with pytest.raises(ConflictError):  # what is second now is another one
        hooks.hook_remove(actor=shop.actor(), environment=shop.environment, mark=listed[1]["mark"])
    with pytest.raises(InvalidError, match="no such phase or step"):
        hooks.hook_add(actor=shop.actor(), environment=shop.environment, **{**HOOK, "what": "nothing"})


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.VIEWER])
def test_only_who_manages_changes_hooks(shop: Shop, role: str) -> None:
    for call in (
        lambda: hooks.hook_add(actor=shop.actor(role), environment=shop.environment, **HOOK),
        lambda: hooks.hook_remove(actor=shop.actor(role), environment=shop.environment, mark="1-x"),
    ):
        with pytest.raises(ForbiddenError):
            call()


def test_a_task_that_the_recipe_does_not_have_is_refused(shop: Shop) -> None:
    told = refusal(shop, task_commands={"npm run biuld": "x"})["task_commands"]
    assert told == "The recipe static has no task 'npm run biuld'. Did you mean 'npm run build'?"
    update(shop, task_commands={"npm run build": "x"})


def test_one_path_is_not_both_a_file_and_a_folder(shop: Shop) -> None:
    assert "config is both a shared file and a shared folder" in refusal(
        shop, shared_files=["config"], shared_folders=["config/"]
    ).get("shared_folders", "")
    update(shop, shared_files=["config"])
    assert refusal(shop, shared_folders=["config"])
    update(shop, shared_files=["other"], shared_folders=["config"])


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_task_of_every_recipe_takes_hooks(recipe: str) -> None:
    places = places_of(recipe)
    assert {task.name for task in RECIPES[recipe].tasks} <= set(places)
    assert {phase.value for phase in HOOK_PHASES} <= set(places)
    assert "activate" in places
    assert not {"lock", "unlock", "prune", "check server", "take back", "clean up"} & set(places)


def test_a_project_says_whether_its_file_is_read(shop: Shop) -> None:
    assert not shop.project.reads_file
    services.project_update(actor=shop.actor(), project=shop.project, reads_file=True)
    services.project_update(actor=shop.actor(), project=shop.project, name="Shop")
    assert shop.project.reads_file
    added = services.project_add(
        actor=shop.actor(), slug="blog", repository="https://git.example.test/blog.git", reads_file=True
    )
    assert added.reads_file
