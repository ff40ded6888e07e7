"""The page of an environment's hooks, what pages say of devflow.yml, and the published schema."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from django_scopes import scope
from jsonschema import Draft202012Validator

from devflow.apps.deployments import settings
from devflow.apps.projects.models import Environment, Project
from devflow.recipes import RECIPES
from tests.web.nasty import NASTY
from tests.web.world import World

HERE = "/projects/shop/environments/production"
TYPED = {"when": "before", "what": "activate", "command": "php artisan app:warm", "where": "first"}


def text(client: Client, path: str) -> str:
    """What a reader sees of a page."""
    page = re.sub(r"<script.*?</script>|<[^>]+>", " ", client.get(path).content.decode(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(page))


def kept(world: World) -> list[dict[str, str]]:
    with scope(team=world.team):
        return Environment.objects.get(pk=world.environment.pk).hooks


def look(world: World, file: str, *, reads_file: bool = True) -> None:
    """What the last look has found."""
    with scope(team=world.team):
        Project.objects.filter(pk=world.project.pk).update(reads_file=reads_file)
        environment = Environment.objects.select_related("project").get(pk=world.environment.pk)
        error = settings.file_error(environment, recipe="php", file=file)
        environment.detected = {
            **{"recipe": "php", "commit": "a" * 40, "error": "", "at": timezone.now().isoformat()},
            **{"required": [], "file": file, "file_error": error},
        }
        environment.save()


def test_an_empty_page_says_what_a_hook_is(owner: Client, viewer: Client) -> None:
    assert "No hooks A hook is a command of your own" in text(owner, f"{HERE}/hooks/")
    assert "Add a hook" in text(owner, f"{HERE}/hooks/")
    assert "Add a hook" not in text(viewer, f"{HERE}/hooks/")


def test_a_hook_is_added_and_removed(owner: Client, world: World) -> None:
    assert owner.post(f"{HERE}/hooks/add/", TYPED)["Location"] == f"{HERE}/hooks/"
    owner.post(
        f"{HERE}/hooks/add/",
        {**TYPED, "when": "after", "what": "composer install", "command": "one\r\ntwo", "where": "all"},
    )
    assert kept(world) == [TYPED, {"when": "after", "what": "composer install", "command": "one\ntwo", "where": "all"}]
    page = text(owner, f"{HERE}/hooks/")
    assert "before activate php artisan app:warm the first server" in page
    assert "after composer install one two all servers" in page
    mark = re.search(r'name="mark" value="(1-[0-9a-f]+)"', owner.get(f"{HERE}/hooks/").content.decode())
    assert mark
    answer = owner.post(f"{HERE}/hooks/remove/", {"mark": mark[1]}, follow=True)
    assert "The hook is removed." in answer.content.decode()
    assert [hook["what"] for hook in kept(world)] == ["composer install"]
    answer = owner.post(f"{HERE}/hooks/remove/", {"mark": mark[1]}, follow=True)
    assert "This hook is not there any more" in answer.content.decode()
    assert len(kept(world)) == 1


def test_only_places_of_the_recipe_can_be_chosen(owner: Client, world: World) -> None:
    page = owner.get(f"{HERE}/hooks/").content.decode()
    assert '<option value="composer install">' in page
    assert '<option value="artisan migrate">' not in page
    assert '<option value="lock">' not in page
    answer = owner.post(f"{HERE}/hooks/add/", {**TYPED, "what": "artisan migrate"})
    assert answer.status_code == 422
    assert "is not one of the available choices" in answer.content.decode()
    assert kept(world) == []


@pytest.mark.parametrize("field", TYPED)
@pytest.mark.parametrize("kind", NASTY)
def test_nasty_input_is_refused_or_kept_as_it_is(owner: Client, world: World, field: str, kind: str) -> None:
    answer = owner.post(f"{HERE}/hooks/add/", {**TYPED, field: NASTY[kind]})
    assert answer.status_code in (302, 422)
    if answer.status_code == 302:
        assert field == "command"
        assert kept(world)[0]["command"] == NASTY[kind].replace("\r\n", "\n").strip()
    assert owner.get(f"{HERE}/hooks/").status_code == 200


# --- devflow.yml ------------------------------------------------------------------------------------------------------


def test_the_project_is_told_to_read_the_file(owner: Client, world: World) -> None:
    page = owner.get("/projects/shop/settings/").content.decode()
    assert 'name="reads_file"' in page
    typed = {"repository": world.project.repository, "name": "Shop", "recipe": "php"}
    for given, wanted in (({"reads_file": "on"}, True), ({}, False)):
        owner.post("/projects/shop/settings/", {**typed, **given})
        with scope(team=world.team):
            assert Project.objects.get(pk=world.project.pk).reads_file is wanted


def test_the_page_says_which_file_is_in_force(owner: Client, world: World) -> None:
    assert "It is ignored until the project's settings say that it is read." in text(owner, f"{HERE}/hooks/")
    look(world, "keep: 4\n", reads_file=False)
    assert "The repository has one, which is ignored: have it read" in text(owner, f"{HERE}/hooks/")
    look(world, "")
    assert "This project reads it, and the last look found none." in text(owner, f"{HERE}/hooks/")
    look(world, "keep: 4\nhooks:\n  before_activate: [warm, more]\n")
    page = text(owner, f"{HERE}/hooks/")
    assert "hooks of a place that it names take the place of those here" in page
    assert "keep 4 devflow.yml line 1 hooks.before_activate warm more devflow.yml line 3" in page


def test_the_plan_says_for_each_setting_where_it_is_from(owner: Client, world: World) -> None:
    look(world, "keep: 4\nhooks:\n  before_activate: warm\n  after_nothing: x\npipeline: {}\n")
    page = text(owner, f"{HERE}/plan/")
    assert "Settings in force devflow.yml of the commit before the panel" in page
    assert "keep 4 devflow.yml line 1" in page
    assert "hooks.before_activate warm devflow.yml line 3" in page
    assert "recipe php panel" in page
    assert "health_url none panel" in page
    assert "The hook after 'nothing' does not run" in page
    assert "devflow.yml:5: pipeline is not used yet" in page
    assert "before activate: warm" in page


def test_a_file_that_is_ignored_changes_nothing(owner: Client, world: World) -> None:
    look(world, "keep: 4\n", reads_file=False)
    page = text(owner, f"{HERE}/plan/")
    assert "Settings in force of the panel" in page
    assert "keep 5 panel" in page


def test_what_is_wrong_in_the_file_is_told_with_its_lines(owner: Client, world: World) -> None:
    look(world, "keep: 1\nhoks: {}\n")
    for path in ("/", "/plan/", "/hooks/"):
        page = text(owner, f"{HERE}{path}")
        assert "devflow.yml:1:1: keep cannot be 1." in page, path
        assert "devflow.yml:2:1: the file has no setting 'hoks'; did you mean 'hooks'?" in page, path
    look(world, "keep: 1\n", reads_file=False)
    assert "keep cannot be 1" not in text(owner, f"{HERE}/")


def test_a_project_whose_file_was_never_read_says_so(owner: Client, world: World) -> None:
    with scope(team=world.team):
        Project.objects.filter(pk=world.project.pk).update(reads_file=True)
    assert "devflow.yml is not known yet" in text(owner, f"{HERE}/plan/")


# --- the schema -------------------------------------------------------------------------------------------------------


def test_the_schema_is_published_for_everybody(db: Any) -> None:
    answer = Client().get("/devflow.schema.json")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/schema+json"
    assert answer["Access-Control-Allow-Origin"] == "*"
    Draft202012Validator.check_schema(answer.json())
    assert answer.json()["properties"]["recipe"]["enum"] == list(RECIPES)
    assert Client().post("/devflow.schema.json").status_code == 405
