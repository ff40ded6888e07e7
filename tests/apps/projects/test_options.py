"""Options of recipes: checked against the recipe when it is known, kept as text, and in force in a plan."""

from __future__ import annotations

from typing import Any

import pytest
from django_scopes import scope

from devflow.apps.deployments.planning import plan_deploy, site_of
from devflow.apps.projects import services
from devflow.apps.projects.models import Environment
from devflow.core.errors import InvalidError
from devflow.recipes import RECIPES
from tests.support.shop import Shop


def environment(shop: Shop, recipe: str = "", detected: str = "") -> Environment:
    """The shop's environment, of a project with this recipe."""
    services.project_update(actor=shop.actor(), project=shop.environment.project, recipe=recipe)
    with scope(team=shop.team):
        Environment.objects.update(detected={"recipe": detected} if detected else {})
        return Environment.objects.select_related("project").get()


def put(shop: Shop, where: Environment, **values: Any) -> dict[str, str]:
    changed = services.environment_update(actor=shop.actor(), environment=where, recipe_options=values)
    return dict(changed.recipe_options)


def refused(shop: Shop, where: Environment, **values: Any) -> dict[str, str]:
    with pytest.raises(InvalidError) as caught:
        put(shop, where, **values)
    with scope(team=shop.team):
        assert Environment.objects.get().recipe_options == {}
    return dict(caught.value.errors)


def test_values_are_kept_without_the_empty_ones(shop: Shop) -> None:
    where = environment(shop, "tenants")
    assert put(shop, where, php_version=" 8.3 ", tenant_command="", on_tenant_failure="continue") == {
        "php_version": "8.3",
        "on_tenant_failure": "continue",
    }
    assert put(shop, where) == {}


@pytest.mark.parametrize("wrong", ["8.3; reboot", "$(id)", "8", "php8.3", "8.3\n8.4", "x" * 2000, "8.3\x00"])
@pytest.mark.parametrize(("recipe", "detected"), [("laravel", ""), ("", "laravel"), ("", "")])
def test_a_wrong_value_is_refused_at_its_field(shop: Shop, wrong: str, recipe: str, detected: str) -> None:
    errors = refused(shop, environment(shop, recipe, detected), php_version=wrong)
    assert list(errors) == ["recipe_options.php_version"]


def test_every_wrong_value_is_told(shop: Shop) -> None:
    errors = refused(shop, environment(shop, "tenants"), php_version="8", on_tenant_failure="hope", unit="shop")
    assert errors == {
        "recipe_options.php_version": f"This cannot be used here. {RECIPES['tenants'].options[0].help}",
        "recipe_options.on_tenant_failure": "Choose one of: fail, continue.",
    }


@pytest.mark.parametrize("value", [8.3, None, ["8.3"], {}, True])
def test_what_is_no_text_is_refused(shop: Shop, value: object) -> None:
    assert refused(shop, environment(shop, "php"), php_version=value) == {
        "recipe_options.php_version": "Give the value as text."
    }


def test_an_option_of_another_recipe_is_refused_when_the_recipe_is_known(shop: Shop) -> None:
    errors = refused(shop, environment(shop, "php"), on_tenant_failure="fail")
    message = errors["recipe_options.on_tenant_failure"]
    assert message.startswith("The recipe php has no option 'on_tenant_failure'. Choose from: php_version, ")
    assert put(shop, environment(shop), on_tenant_failure="fail") == {"on_tenant_failure": "fail"}


@pytest.mark.parametrize("name", ["nothing", "", "a=b", "x; reboot", "PATH", "é" * 300])
def test_an_option_of_no_recipe_is_refused(shop: Shop, name: str) -> None:
    (message,) = refused(shop, environment(shop), **{name: "1"}).values()
    assert message.startswith("No recipe has an option ")


def test_all_values_are_in_force_in_a_plan_and_what_is_of_another_recipe_is_not(shop: Shop) -> None:
    where = environment(shop)
    put(shop, where, php_version="8.3", on_tenant_failure="continue")
    with scope(team=shop.team):
        plan = plan_deploy(environment=where, recipe="laravel", release="r", commit="")
    assert plan.site.options is not None
    assert plan.site.options["php_version"] == "8.3"
    assert "on_tenant_failure" not in plan.site.options
    assert set(plan.site.options) == {option.name for option in RECIPES["laravel"].options}
    assert plan.site.tools == RECIPES["laravel"].tools
    assert "check PHP version" in [step.task.name for step in plan.steps]


def test_a_look_at_the_repository_needs_no_options(shop: Shop) -> None:
    with scope(team=shop.team):
        site = site_of(environment(shop))
    assert (site.options, site.tools) == (None, "")
