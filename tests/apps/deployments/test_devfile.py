"""devflow.yml in deployments: looked at before, in force or ignored, refused before anything is touched."""

from __future__ import annotations

from typing import Any

import pytest
from django_scopes import scope

from devflow.apps.deployments import jobs, selectors, services, settings
from devflow.apps.deployments.models import Deployment, Step
from devflow.apps.deployments.planning import plan_deploy, plan_rollback
from devflow.apps.projects import services as projects
from devflow.apps.projects.models import Environment
from devflow.core.errors import ConflictError, InvalidError
from devflow.engine.devfile import DevfileError
from devflow.engine.inspect import Seen
from devflow.engine.plan import Plan
from devflow.engine.task import Tree
from tests.apps.deployments.test_jobs import COMMIT, Carrier, in_a_worker, look, request
from tests.support.shop import Shop

FILE = "keep: 3\nhooks:\n  before_activate: [./warm]\nenvironments:\n  staging: {keep: 2}\n"


@pytest.fixture
def shop(open_for_many: Shop) -> Shop:
    return open_for_many


def seen(file: str | None = FILE, *, left_out: bool = False, **more: str) -> Seen:
    contents = {**({"devflow.yml": file} if file is not None else {}), **more}
    return Seen(
        COMMIT, Tree(frozenset({"index.html", *contents}), contents), frozenset({"devflow.yml"} if left_out else ())
    )


def read_file(shop: Shop, *, on: bool = True, recipe: str = "static") -> None:
    projects.project_update(actor=shop.actor(), project=shop.project, reads_file=on, recipe=recipe)


def environment(shop: Shop) -> Environment:
    with scope(team=shop.team):
        found = Environment.objects.select_related("project", "team").prefetch_related("servers")
        return found.get(pk=shop.environment.pk)


def plan(shop: Shop, file: str = FILE, **given: Any) -> Plan:
    with scope(team=shop.team):
        return plan_deploy(
            **{
                "environment": environment(shop),
                "recipe": "static",
                "release": "r",
                "commit": "",
                "file": file,
                **given,
            }
        )


def steps(shop: Shop, deployment: Deployment) -> list[str]:
    with scope(team=shop.team):
        return list(Step.objects.filter(deployment=deployment).order_by("position").values_list("name", flat=True))


# --- deployments ------------------------------------------------------------------------------------------------------


def test_the_file_is_in_force_where_the_team_has_it_read(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    read_file(shop)
    asked = look(monkeypatch, seen())
    done = Carrier(shop, request(shop)).run()
    assert (done.status, asked, done.commit) == ("success", [""], COMMIT)
    assert (done.plan["site"]["keep"], done.plan["file"], done.plan["commit"]) == (3, FILE, COMMIT)
    assert done.plan["sources"]["keep"] == "devflow.yml line 1"
    assert done.plan["sources"]["health_url"] == "panel"
    assert "before activate: ./warm" in steps(shop, done)
    kept = environment(shop)
    assert kept.keep == 5, "the panel's own setting is left alone"
    assert (kept.detected["file"], kept.detected["file_error"]) == (FILE, "")


def test_the_file_is_ignored_where_the_team_has_not_and_nobody_looks(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = look(monkeypatch, seen())
    done = Carrier(shop, request(shop)).run()
    assert (done.status, asked, done.plan["site"]["keep"], done.plan["file"]) == ("success", [], 5, "")


@pytest.mark.parametrize(
    ("when", "what", "where", "wanted"),
    [
        ("before", "prepare", "first", True),
        ("before", "Fetch", "first", True),
        ("before", "prepare", "all", False),
        ("after", "fetch", "first", False),
        ("before", "activate", "first", False),
    ],
)
def test_the_commit_is_looked_up_where_the_others_wait_before_the_first_has_fetched_it(
    shop: Shop, when: str, what: str, where: str, wanted: bool
) -> None:
    hook = {"when": when, "what": what, "command": "x", "where": where}
    projects.environment_update(actor=shop.actor(), environment=shop.environment, hooks=[hook])
    assert settings.needs_look(environment(shop)) is wanted


def test_a_look_for_the_recipe_reads_the_file_and_still_ignores_it(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    read_file(shop, on=False, recipe="")
    look(monkeypatch, seen("keep: 1\n"))
    done = Carrier(shop, request(shop)).run()
    assert (done.status, done.plan["site"]["keep"]) == ("success", 5)
    assert "keep cannot be 1" in environment(shop).detected["file_error"]


@pytest.mark.parametrize("recipe", ["static", ""])
def test_an_invalid_file_fails_the_deployment_before_anything_is_touched(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, recipe: str
) -> None:
    read_file(shop, recipe=recipe)
    look(monkeypatch, seen("keep: 3\nhoks: {}\ncommands: {npm run biuld: x}\n"))
    made = request(shop)
    carrier = Carrier(shop, made)
    done = carrier.run()
    assert done.status == "failed"
    assert done.error == "devflow.yml:2:1: the file has no setting 'hoks'; did you mean 'hooks'?"
    assert (done.plan, steps(shop, done), done.commit) == (None, [], COMMIT)
    assert not any(server.scripts for server in carrier.servers.values())
    assert environment(shop).detected["file_error"] == done.error


def test_what_the_recipe_does_not_have_fails_with_its_line(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    read_file(shop)
    look(monkeypatch, seen("commands:\n  npm run biuld: x\n"))
    done = Carrier(shop, request(shop)).run()
    assert done.error == "devflow.yml:2:3: the recipe static has no task 'npm run biuld'. Did you mean 'npm run build'?"


def test_a_file_that_is_too_large_is_no_file_that_is_missing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    read_file(shop)
    look(monkeypatch, seen(None, left_out=True))
    done = Carrier(shop, request(shop)).run()
    assert (done.status, done.error) == ("failed", "devflow.yml:1:1: the file has more than 64 KB. Make it shorter.")


def test_a_commit_without_the_file_is_deployed_with_the_panels_settings(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_file(shop)
    look(monkeypatch, seen(None))
    done = Carrier(shop, request(shop)).run()
    assert (done.status, done.plan["site"]["keep"], done.plan["file"]) == ("success", 5, "")


def test_a_look_says_which_variables_are_required(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    look(monkeypatch, seen(None, **{".env.example": "APP_KEY=\nAPP_ENV=local\n"}))
    reach = Carrier(shop, request(shop)).reach
    in_a_worker(lambda: jobs.inspect_environment(environment_id=str(shop.environment.pk), reach=reach))  # type: ignore[arg-type]
    assert "APP_KEY" in environment(shop).detected["required"]


# --- plans ------------------------------------------------------------------------------------------------------------


def test_the_files_recipe_is_before_the_projects(shop: Shop) -> None:
    found = plan(shop, "recipe: php\n")
    assert (found.recipe, found.sources["recipe"]) == ("php", "devflow.yml line 1")
    assert plan(shop, "").sources["recipe"] == "panel"


def test_each_setting_of_a_plan_has_its_value_and_source(shop: Shop) -> None:
    projects.environment_update(
        actor=shop.actor(),
        environment=shop.environment,
        health_url="/up",
        shared_files=["a.ini", "b.ini"],
        task_commands={"npm run build": "make"},
        hooks=[{"when": "after", "what": "Verify_Release", "command": "tell"}],
    )
    found = {each["name"]: (each["value"], each["source"]) for each in settings.plan_settings(plan(shop))}
    assert found["keep"] == ("3", "devflow.yml line 1")
    assert found["recipe"] == ("static", "panel")
    assert found["health_url"] == ("/up", "panel")
    assert found["health_status"] == ("200", "panel")
    assert found["shared_files"] == ("a.ini, b.ini", "panel")
    assert found["task_commands.npm run build"] == ("make", "panel")
    assert found["hooks.before_activate"] == ("./warm", "devflow.yml line 3")
    assert found["hooks.after_verify_release"] == ("tell", "panel")


def test_a_hook_without_a_place_is_a_warning(shop: Shop) -> None:
    found = plan(shop, "hooks: {before_compose: x}\npipeline: {}\n")
    assert [warning.split(" ")[0] for warning in found.warnings] == ["devflow.yml:2:", "The"]
    assert plan(shop, "").warnings == ()


def test_a_rollback_has_the_file_of_its_release(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    read_file(shop)
    look(monkeypatch, seen("health: {path: /one}\nhooks: {after_reload: one}\n"))
    first = Carrier(shop, request(shop)).run()
    look(monkeypatch, seen("keep: 1\n"))
    assert Carrier(shop, request(shop)).run().status == "failed"
    going_back = services.deployment_request(actor=shop.actor(), environment=shop.environment)
    with scope(team=shop.team):
        Deployment.objects.filter(pk=going_back.pk).update(rollback_to=first, release=first.release)
    done = Carrier(shop, shop.deployment(going_back)).run()
    assert (done.plan["is_rollback"], done.plan["site"]["health"]["url"]) == (True, "/one")
    assert "after reload: one" in steps(shop, done)


def test_a_rollback_whose_file_is_not_understood_any_more_goes_on_without_it(shop: Shop) -> None:
    with scope(team=shop.team):
        found = plan_rollback(environment=environment(shop), recipe="static", release="r", commit="", file="old: 1\n")
    assert (found.site.keep, found.file) == (5, "")
    assert "devflow.yml:1:1: the file has no setting 'old'" in found.warnings[0]


def test_a_preview_shows_the_last_look(shop: Shop) -> None:
    def preview(**detected: Any) -> Plan:
        found = environment(shop)
        found.detected = {
            "recipe": "static",
            "commit": COMMIT,
            "error": "",
            "at": "",
            "file": "",
            "file_error": "",
            **detected,
        }
        return selectors.plan_preview(actor=shop.actor(), environment=found, commit="")

    assert preview(file=FILE).site.keep == 5
    read_file(shop)
    assert preview(file=FILE).site.keep == 3
    assert preview().site.keep == 5
    with pytest.raises(DevfileError, match=r"devflow\.yml:1:1: keep cannot be 1"):
        preview(file="keep: 1\n")
    with pytest.raises(InvalidError, match="more than 64 KB"):
        preview(file_error="devflow.yml:1:1: the file has more than 64 KB.")
    with pytest.raises(ConflictError, match=r"devflow\.yml is not known yet"):
        selectors.plan_preview(actor=shop.actor(), environment=environment(shop), commit="")


def test_a_preview_of_another_commit_says_whose_file_it_is(shop: Shop) -> None:
    read_file(shop)
    found = environment(shop)
    found.detected = {"recipe": "static", "commit": COMMIT, "file": FILE}
    told = selectors.plan_preview(actor=shop.actor(), environment=found, commit="a" * 40).warnings
    unknown = "devflow.yml:5: there is no environment 'staging', so this is not used. There are production."
    own = f"devflow.yml is that of commit {COMMIT[:10]}; a deployment reads it at its own commit."
    assert told == (unknown, own)
    assert selectors.plan_preview(actor=shop.actor(), environment=found, commit=COMMIT).warnings == (unknown,)


def test_settings_for_an_environment_that_there_is_not_are_told_by_the_plan(shop: Shop) -> None:
    file = "keep: 3\nenvironments:\n  production: {keep: 2}\n  porduction: {keep: 9}\n  zzz: {keep: 4}\n"
    warnings = plan(shop, file).warnings
    assert "devflow.yml:4: there is no environment 'porduction', so this is not used. Did you mean 'production'?" in (
        warnings
    )
    assert any(told.startswith("devflow.yml:5: there is no environment 'zzz'") for told in warnings)
    assert len(warnings) == 2
