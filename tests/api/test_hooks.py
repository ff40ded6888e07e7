"""Hooks and devflow.yml over the API: settings, refusals, and where what is in force is from."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone
from django_scopes import scope

from devflow.api.v1 import environments
from devflow.apps.projects.models import Environment, Project
from tests.api.conftest import Caller, World
from tests.api.test_routes import assert_problem

PRODUCTION = "projects/shop/environments/production"
HOOK = {"when": "before", "what": "activate", "command": "./warm.sh", "where": "first"}


def look_finds(monkeypatch: pytest.MonkeyPatch, world: World, file: str, error: str = "") -> None:
    """A look into the repository finds this devflow.yml, at once."""

    def answer(**_: Any) -> None:
        found = {"recipe": "static", "commit": "a" * 40, "error": "", "at": timezone.now().isoformat()}
        with scope(team=world.owner.team):
            Environment.objects.filter(pk=world.environment.pk).update(
                detected={**found, "required": [], "file": file, "file_error": error}
            )

    monkeypatch.setattr(environments, "inspection_request", answer)


def test_hooks_are_a_setting(admin: Caller) -> None:
    other = {"when": "after", "what": "verify_release", "command": "./tell.sh"}
    patched = admin.patch(PRODUCTION, {"hooks": [HOOK, other]})
    assert patched.status_code == 200, patched.content
    assert patched.json()["hooks"] == [HOOK, {**other, "where": "all"}]
    steps = [step["name"] for step in admin.get(f"{PRODUCTION}/plan").json()["steps"]]
    at = steps.index("activate")
    assert steps[at - 1] == "before activate: ./warm.sh"
    assert "after verify release: ./tell.sh" in steps
    assert admin.patch(PRODUCTION, {"hooks": []}).json()["hooks"] == []


@pytest.mark.parametrize(
    "hook",
    [
        {**HOOK, "when": "while"},
        {**HOOK, "where": "some"},
        {**HOOK, "more": "x"},
        {**HOOK, "command": ""},
        {**HOOK, "what": "activte"},
        {**HOOK, "what": "lock"},
        {"when": "before"},
        "before activate",
    ],
)
def test_a_hook_that_cannot_run_is_refused(admin: Caller, hook: Any) -> None:
    document = assert_problem(admin.patch(PRODUCTION, {"hooks": [hook]}), 422)
    assert document["errors"][0]["field"].startswith("hooks")
    assert admin.get(PRODUCTION).json()["hooks"] == []


def test_what_the_recipe_does_not_have_is_refused(admin: Caller) -> None:
    document = assert_problem(admin.patch(PRODUCTION, {"task_commands": {"npm run biuld": "x"}}), 422)
    assert document["errors"] == [
        {
            "field": "task_commands",
            "message": "The recipe static has no task 'npm run biuld'. Did you mean 'npm run build'?",
        }
    ]
    document = assert_problem(admin.patch(PRODUCTION, {"shared_files": ["a"], "shared_folders": ["a"]}), 422)
    assert document["errors"][0]["field"] == "shared_folders"


def test_a_plan_says_where_each_setting_is_from(admin: Caller, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = admin.get(f"{PRODUCTION}/plan").json()
    assert {"name": "keep", "value": "5", "source": "panel"} in plan["settings"]
    assert admin.patch("projects/shop", {"reads_file": True}).json()["reads_file"] is True
    look_finds(monkeypatch, world, "keep: 3\nhooks: {after_nothing: x}\n")
    plan = admin.get(f"{PRODUCTION}/plan").json()
    assert {"name": "keep", "value": "3", "source": "devflow.yml line 1"} in plan["settings"]
    assert plan["keep"] == 3
    assert "The hook after 'nothing' does not run" in plan["warnings"][0]
    assert "file" not in admin.get(PRODUCTION).json()["detected"]


def test_an_invalid_file_is_told_with_its_lines(admin: Caller, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with scope(team=world.owner.team):
        Project.objects.update(reads_file=True)
    look_finds(monkeypatch, world, "keep: 1\nhoks: {}\n")
    document = assert_problem(admin.get(f"{PRODUCTION}/plan"), 422)
    assert document["detail"].splitlines() == [
        "devflow.yml:1:1: keep cannot be 1. How many releases the servers keep, from 2 to 100.",
        "devflow.yml:2:1: the file has no setting 'hoks'; did you mean 'hooks'?",
    ]


def test_a_new_project_may_read_its_file_from_the_beginning(admin: Caller) -> None:
    body = {"slug": "blog", "repository": "https://git.example.test/blog.git", "reads_file": True}
    assert admin.post("projects", body).json()["reads_file"] is True
    assert admin.get("projects/shop").json()["reads_file"] is False
