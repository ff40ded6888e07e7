"""How requests reach an environment: the strategy's options, domains, ports, balancer and builder."""

from __future__ import annotations

from typing import Any

import pytest
from django_scopes import scope

from devflow.apps.deployments.planning import plan_deploy
from devflow.apps.projects import services
from devflow.apps.projects.models import Environment
from devflow.apps.projects.places import places_of
from devflow.core.errors import InvalidError
from devflow.recipes import RECIPES
from devflow.strategies import STRATEGIES
from tests.support.shop import Shop

BLUE_GREEN = {"strategy": "blue-green", "proxy": "nginx", "domains": ["shop.example.com"]}


def change(shop: Shop, **given: Any) -> Environment:
    with scope(team=shop.team):
        where = Environment.objects.select_related("project").get(pk=shop.environment.pk)
    return services.environment_update(actor=shop.actor(), environment=where, **given)


def add(shop: Shop, name: str, **given: Any) -> Environment:
    project = services.project_add(actor=shop.actor(), slug=name, repository="/srv/git/other.git", recipe="node")
    with scope(team=shop.team):
        servers = [server.name for server in shop.environment.servers.all()]
    return services.environment_add(
        actor=shop.actor(), project=project, name="production", branch="main", servers=servers, **given
    )


def refused(shop: Shop, **given: Any) -> dict[str, str]:
    with pytest.raises(InvalidError) as caught:
        change(shop, **given)
    return dict(caught.value.errors)


def test_ports_are_chosen_two_by_two_where_some_are_needed(shop: Shop) -> None:
    assert change(shop, keep=3).port is None
    assert change(shop, **BLUE_GREEN).port == 21000
    assert add(shop, "second", strategy="blue-green").port == 21002
    assert change(shop, keep=4).port == 21000
    assert change(shop, port=30000).port == 30000
    assert change(shop, port=None).port == 21000
    assert add(shop, "third").port is None


def test_a_port_of_another_environment_is_refused(shop: Shop) -> None:
    add(shop, "second", strategy="blue-green")
    assert "another environment's" in refused(shop, port=21001)["port"]
    assert "from 1024 to 65534" in refused(shop, port=80)["port"]


def test_two_projects_that_want_one_domain_are_told_so(shop: Shop) -> None:
    change(shop, **BLUE_GREEN)
    with pytest.raises(InvalidError, match=r"shop\.example\.com is served by .* on the same server") as caught:
        add(shop, "second", domains=["other.example.com", "SHOP.example.com."])
    assert list(caught.value.errors) == ["domains"]
    assert add(shop, "third", domains=["www.shop.example.com"]).domains == ["www.shop.example.com"]


@pytest.mark.parametrize("wrong", ["shop example", "-a.example.com", "a;b", "*", "a..b", "*.*.example.com", "a_b.test"])
def test_what_is_no_host_name_is_refused(shop: Shop, wrong: str) -> None:
    assert "give a host name" in refused(shop, domains=[wrong])["domains"]


def test_domains_are_kept_once_and_in_lower_case(shop: Shop) -> None:
    domains = [" Shop.Example.com ", "shop.example.com.", "*.example.com", "xn--bcher-kva.example"]
    assert change(shop, domains=domains).domains == ["shop.example.com", "*.example.com", "xn--bcher-kva.example"]


def test_options_of_the_strategy_are_its_own(shop: Shop) -> None:
    kept = change(shop, **BLUE_GREEN, strategy_options={"drain_seconds": " 60 ", "check_path": ""})
    assert kept.strategy_options == {"drain_seconds": "60"}
    assert list(refused(shop, strategy_options={"drain_seconds": "long"})) == ["strategy_options.drain_seconds"]
    message = refused(shop, strategy_options={"weight": "1"})["strategy_options.weight"]
    assert "The strategy blue-green has no option 'weight'. Choose from: checks, " in message
    assert change(shop, strategy="atomic").strategy_options == {}


def test_balancer_and_builder_are_servers_of_the_team(shop: Shop) -> None:
    with scope(team=shop.team):
        name = shop.environment.servers.all()[0].name
    changed = change(shop, balancer=name, builder=name)
    assert changed.balancer
    assert (changed.balancer.name, changed.builder) == (name, changed.balancer)
    assert "There is no server nobody" in refused(shop, builder="nobody")["builder"]
    assert change(shop, balancer="").balancer is None


def test_what_cannot_be_is_told_by_the_plan(shop: Shop) -> None:
    with scope(team=shop.team):
        where = change(shop, strategy="blue-green")
        with pytest.raises(InvalidError, match="choose nginx as proxy"):
            plan_deploy(environment=where, recipe="node", release="r1", commit="")
        where = change(shop, **BLUE_GREEN)
        with pytest.raises(InvalidError, match="cannot run two releases side by side"):
            plan_deploy(environment=where, recipe="laravel", release="r1", commit="")
        plan = plan_deploy(environment=where, recipe="node", release="r1", commit="")
    assert (plan.site.port, plan.site.domains, plan.site.proxy) == (21000, ("shop.example.com",), "nginx")
    assert plan.site.strategy_options
    assert plan.site.strategy_options["drain_seconds"] == "30"


def test_an_own_site_file_is_one_text(shop: Shop) -> None:
    assert change(shop, proxy_template="server {\r\n}\r\n").proxy_template == "server {\n}"
    assert "at most 100,000" in refused(shop, proxy_template="x" * 100_001)["proxy_template"]
    assert "Choose nginx" in refused(shop, proxy="apache")["proxy"]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("recipe", ["", *RECIPES])
def test_places_of_hooks_are_known_for_every_strategy_and_recipe(strategy: str, recipe: str) -> None:
    assert "fetch" in places_of(recipe, strategy)


def test_steps_of_blue_green_take_hooks() -> None:
    assert {"start", "check colour", "switch", "watch"} <= {*places_of("node", "blue-green")}
