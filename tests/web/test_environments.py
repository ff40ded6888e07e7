"""The pages of environments: settings, plan, variables."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from django_scopes import scope

from devflow.apps.accounts.selectors import actor_get
from devflow.apps.deployments.services import deployment_cancel
from devflow.apps.projects.models import Environment, Project
from devflow.apps.projects.selectors import environment_get
from devflow.apps.projects.services import environment_update, project_add
from tests.web.nasty import NASTY
from tests.web.world import World

HERE = "/projects/shop/environments/production"
TYPED: dict[str, Any] = {
    "name": "staging",
    "branch": "develop",
    "root": "/srv/shop-staging",
    "servers": ["web-1"],
    "strategy": "atomic",
    "keep": "3",
    "health_url": "/up",
    "health_status": "204",
    "health_text": "ok",
    "health_timeout_seconds": "5",
    "health_retries": "2",
    "shared_files": "config/local.php\n\n  config/it's.php  ",
    "shared_folders": "public/uploads\r\nvar/data",
    "phase_finish": "echo one\r\necho 'two $(id)'",
}


def test_an_environment_is_added_with_every_setting(owner: Client, world: World) -> None:
    answer = owner.post("/projects/shop/add-environment/", TYPED)
    assert answer["Location"] == "/projects/shop/environments/staging/"
    environment = _environment(world, "staging")
    assert (environment.branch, environment.root, environment.keep) == ("develop", "/srv/shop-staging", 3)
    assert (environment.health_url, environment.health_status, environment.health_text) == ("/up", 204, "ok")
    assert (environment.health_timeout_seconds, environment.health_retries) == (5, 2)
    assert environment.shared_files == ["config/local.php", "config/it's.php"]
    assert environment.shared_folders == ["public/uploads", "var/data"]
    assert environment.phase_commands == {"finish": ["echo one", "echo 'two $(id)'"]}
    assert [server.name for server in environment.servers.all()] == ["web-1"]


def test_the_folder_has_a_default(owner: Client, world: World) -> None:
    owner.post("/projects/shop/add-environment/", TYPED | {"root": ""})
    assert _environment(world, "staging").root == "/srv/shop-staging"


@pytest.mark.parametrize("kind", NASTY)
@pytest.mark.parametrize("field", ["name", "root", "servers", "strategy", "keep", "health_status"])
def test_what_is_not_allowed_is_refused_at_its_field(owner: Client, world: World, field: str, kind: str) -> None:
    answer = owner.post("/projects/shop/add-environment/", TYPED | {field: NASTY[kind]})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert f'id="id_{field}_error"' in page
    assert "<script>alert" not in page
    assert _names(world) == ["production"]


@pytest.mark.parametrize("kind", ["command", "newline", "long", "traversal", "option"])
def test_a_branch_that_git_does_not_allow_is_refused(owner: Client, kind: str) -> None:
    answer = owner.post("/projects/shop/add-environment/", TYPED | {"branch": NASTY[kind]})
    assert (answer.status_code, 'id="id_branch_error"' in answer.content.decode()) == (422, True)


@pytest.mark.parametrize("value", ["../secret", "/etc/passwd", "a/../../b", ".git/config", "x" * 301, "a\tb"])
@pytest.mark.parametrize("field", ["shared_files", "shared_folders"])
def test_a_shared_path_outside_the_release_is_refused(owner: Client, field: str, value: str) -> None:
    answer = owner.post("/projects/shop/add-environment/", TYPED | {field: value})
    assert (answer.status_code, f'id="id_{field}_error"' in answer.content.decode()) == (422, True)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("servers", []),
        ("branch", ""),
        ("keep", "1"),
        ("keep", "1000"),
        ("health_url", "ftp://x/"),
        ("health_url", "javascript:alert(1)"),
        ("health_status", "99"),
        ("health_retries", "-1"),
        ("health_timeout_seconds", "0"),
    ],
)
def test_a_wrong_value_is_refused_and_the_rest_is_kept(owner: Client, field: str, value: Any) -> None:
    answer = owner.post("/projects/shop/add-environment/", TYPED | {"phase_reload": "kept command", field: value})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert f'id="id_{field}_error"' in page
    assert "kept command" in page


def test_a_name_that_is_taken_is_refused_at_its_field(owner: Client) -> None:
    page = owner.post("/projects/shop/add-environment/", TYPED | {"name": "production"}).content.decode()
    assert 'id="id_name_error"' in page


def test_without_a_server_the_page_says_the_next_step(world: World) -> None:
    outsider = world.people["outsider"]
    project_add(actor=actor_get(user=outsider), slug="blog", repository="https://git.example.com/blog.git")
    page = world.client("outsider").get("/projects/blog/add-environment/").content.decode()
    assert "/add/server/" in page
    assert "<textarea" not in page


def test_settings_are_shown_and_changed(owner: Client, world: World) -> None:
    page = owner.get(f"{HERE}/settings/").content.decode()
    assert 'value="main"' in page
    assert "composer install --no-dev" in page, "the recipe's commands are there to be edited"
    answer = owner.post(f"{HERE}/settings/", TYPED | _tasks(page))
    assert answer.status_code == 302
    environment = _environment(world, "production")
    assert (environment.branch, environment.keep) == ("develop", 3)
    assert environment.task_commands == {}, "what is as in the recipe is not kept"


def test_a_command_of_the_recipe_is_changed_and_another_left_out(owner: Client, world: World) -> None:
    tasks = _tasks(owner.get(f"{HERE}/settings/").content.decode())
    owner.post(f"{HERE}/settings/", TYPED | tasks | {"task_0": "composer install\r\necho 'quo\"tes'", "task_1": ""})
    changed = _environment(world, "production").task_commands
    assert sorted(changed.values()) == ["", "composer install\necho 'quo\"tes'"]
    page = owner.get(f"{HERE}/settings/").content.decode()
    assert "composer install\necho &#x27;quo&quot;tes&#x27;" in page


def test_the_options_of_the_recipe_are_shown_checked_and_kept(owner: Client, world: World) -> None:
    _change_project(world, recipe="tenants")
    page = owner.get(f"{HERE}/settings/").content.decode()
    tasks = _tasks(page)
    assert "Options of Laravel with tenants" in page
    assert 'name="recipe_options.php_version"' in page
    wrong = {"recipe_options.php_version": "8.3; reboot", "recipe_options.on_tenant_failure": "fail"}
    answer = owner.post(f"{HERE}/settings/", TYPED | tasks | wrong)
    assert answer.status_code == 422
    assert 'id="id_recipe_options.php_version_error"' in answer.content.decode()
    typed = {"recipe_options.php_version": " 8.3 ", "recipe_options.on_tenant_failure": "continue"}
    assert owner.post(f"{HERE}/settings/", TYPED | tasks | typed).status_code == 302
    kept = {"php_version": "8.3", "on_tenant_failure": "continue"}
    assert _environment(world, "production").recipe_options == kept
    page = owner.get(f"{HERE}/settings/").content.decode()
    assert 'value="8.3"' in page
    assert '<option value="continue" selected>' in page
    typed = {"recipe_options.php_version": "", "recipe_options.on_tenant_failure": "fail"}
    owner.post(f"{HERE}/settings/", TYPED | tasks | typed)
    assert _environment(world, "production").recipe_options == {}, "what is as the recipe has it is not kept"


def test_without_a_known_recipe_there_are_no_options(owner: Client, world: World) -> None:
    _change_project(world, recipe="")
    assert "recipe_options" not in owner.get(f"{HERE}/settings/").content.decode()


def test_an_environment_is_not_removed_while_it_is_deployed(owner: Client, world: World) -> None:
    assert "under way" in owner.post(f"{HERE}/remove/", follow=True).content.decode()
    assert _names(world) == ["production"]


def test_an_environment_is_removed(owner: Client, world: World) -> None:
    deployment_cancel(actor=world.actor(), deployment=world.deployment)
    assert "removed from the panel" in owner.post(f"{HERE}/remove/", follow=True).content.decode()
    assert _names(world) == []


def test_the_plan_shows_every_command_and_no_secret(viewer: Client) -> None:
    page = viewer.get(f"{HERE}/plan/").content.decode()
    assert "composer install --no-dev" in page
    assert "undo:" in page
    assert "APP_KEY=***" in page
    assert "s3cret-value" not in page


def test_commands_in_the_plan_are_only_text(owner: Client, world: World) -> None:
    commands = {"finish": [NASTY["markup"]]}
    environment_update(actor=world.actor(), environment=world.environment, phase_commands=commands)
    page = owner.get(f"{HERE}/plan/").content.decode()
    assert "&lt;script&gt;alert" in page
    assert "<script>alert" not in page


def test_an_unknown_framework_is_looked_up(owner: Client, world: World) -> None:
    _change_project(world, recipe="")
    assert "Look at the repository" in owner.get(f"{HERE}/plan/").content.decode()
    address = owner.post(f"{HERE}/plan/inspect/")["Location"]
    state = address.replace("plan/?", "plan/state/?")
    assert 'data-every="1"' in owner.get(address).content.decode()
    assert 'data-every="1"' in owner.get(state).content.decode()
    _found(world, recipe="", error="The repository was not found.")
    assert "The repository was not found." in owner.get(state).content.decode()
    _found(world, recipe="php")
    page = owner.get(state).content.decode()
    assert "composer install" in page
    assert 'data-every="1"' not in page


def _environment(world: World, name: str) -> Environment:
    return environment_get(actor=world.actor(), slug="shop", name=name)


def _names(world: World) -> list[str]:
    with scope(team=world.team):
        return list(Environment.objects.values_list("name", flat=True))


def _change_project(world: World, **values: Any) -> None:
    with scope(team=world.team):
        Project.objects.update(**values)


def _found(world: World, *, recipe: str, error: str = "") -> None:
    """A worker has looked at the repository."""
    found = {"recipe": recipe, "commit": "", "error": error, "at": timezone.now().isoformat()}
    with scope(team=world.team):
        Environment.objects.update(detected=found)


def _tasks(page: str) -> dict[str, str]:
    """What the fields of the recipe's commands hold, as a browser would send it back."""
    found = re.findall(r'<textarea name="(task_\d+)"[^>]*>\n(.*?)</textarea>', page, re.DOTALL)
    return {name: html.unescape(text) for name, text in found}
