"""How requests reach an environment: the strategy's options, domains, ports, balancer and builder."""

from __future__ import annotations

from typing import Any

import pytest
from django_scopes import scope

from devflow.apps.deployments.models import Deployment, Status
from devflow.apps.deployments.planning import plan_deploy, site_of
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


@pytest.mark.parametrize(
    ("field", "words", "given"),
    [
        ("strategy_options.steps", "must rise", {"strategy": "canary", "strategy_options": {"steps": "50 25"}}),
        ("strategy_options.minimum", "2 cannot stay ready", {"strategy_options": {"minimum": "2"}}),
        ("strategy_options.minimum", "cannot stay ready", {"strategy_options": {"batch": "2", "minimum": "1"}}),
        ("strategy_options.nodes", "does not have: web9", {"strategy_options": {"nodes": "web9=10.0.0.1"}}),
        ("strategy_options.warm_seconds", "take HAProxy", {"strategy_options": {"warm_seconds": "9"}}),
        ("balancer", "pass on to itself", {"balancer": "web2"}),
    ],
)
def test_what_could_never_be_deployed_is_refused_when_it_is_saved(
    shop: Shop, field: str, words: str, given: dict[str, Any]
) -> None:
    wanted = {"strategy": "rolling", "servers": ["web1", "web2"], **given}
    refusal = refused(shop, **wanted)
    assert list(refusal) == [field]
    assert words in refusal[field]
    project = services.project_add(actor=shop.actor(), slug="blog", repository="/srv/git/other.git", recipe="node")
    with pytest.raises(InvalidError, match=words):
        services.environment_add(actor=shop.actor(), project=project, name="production", branch="main", **wanted)


def test_a_server_may_balance_for_itself_on_another_port_or_at_another_address(shop: Shop) -> None:
    both = {"strategy": "rolling", "servers": ["web1", "web2"], "balancer": "web1"}
    assert change(shop, **both, strategy_options={"listen": "8080"}).balancer
    assert change(shop, **both, strategy_options={"nodes": "web1=127.0.0.1:8080"}).balancer
    assert list(refused(shop, strategy_options={})) == ["balancer"]


def test_what_was_saved_so_before_keeps_nobody_from_changing_something_else(shop: Shop) -> None:
    change(shop, strategy="rolling", servers=["web1", "web2"])
    bad = {"minimum": "2"}
    with scope(team=shop.team):
        Environment.objects.filter(pk=shop.environment.pk).update(strategy_options=bad)
    assert change(shop, keep=7, strategy="rolling", strategy_options=bad).keep == 7, "as a page sends it"
    assert list(refused(shop, strategy_options={"minimum": "3"})) == ["strategy_options.minimum"]
    assert list(refused(shop, servers=["web1"])) == ["strategy_options.minimum"]
    with scope(team=shop.team), pytest.raises(InvalidError, match="needs a balancer"):
        plan_deploy(environment=change(shop, keep=6), recipe="static", release="r1", commit="")
    assert change(shop, strategy_options={"minimum": "1"}).strategy_options == {"minimum": "1"}


def test_servers_that_the_last_good_deployment_did_not_go_to_are_joining(shop: Shop) -> None:
    where = change(shop, strategy="rolling", strategy_options={"balancer": "haproxy"})

    def joining() -> tuple[str, ...]:
        with scope(team=shop.team):
            return site_of(where).joining

    def deployed(status: Status, *ids: str) -> None:
        plan = {"site": {"targets": [{"id": each, "name": name} for each in ids]}}
        Deployment.objects.create(
            team=shop.team, project=where.project, environment=where, status=status, trigger="manual", plan=plan
        )

    with scope(team=shop.team):
        server = where.servers.all()[0]
    name = server.name
    assert joining() == (), "before the first, none is more new than others"
    deployed(Status.SUCCESS, "another server of that name")
    assert joining() == (name,)
    deployed(Status.FAILED, server.pk.hex)
    assert joining() == (name,)
    deployed(Status.SUCCESS, server.pk.hex)
    assert joining() == ()
    deployed(Status.SUCCESS)
    assert joining() == ()
    deployed(Status.SUCCESS, "another")
    where = change(shop, strategy="atomic")
    assert joining() == ()


def test_an_own_site_file_is_one_text(shop: Shop) -> None:
    assert change(shop, proxy_template="server {\r\n}\r\n").proxy_template == "server {\n}"
    assert "at most 100,000" in refused(shop, proxy_template="x" * 100_001)["proxy_template"]
    assert "Choose nginx" in refused(shop, proxy="apache")["proxy"]


OWN = "server { listen 80; server_name shop.example.com; location / { proxy_pass http://@upstream@; } }"


def test_a_domain_that_the_own_site_file_does_not_have_is_refused(shop: Shop) -> None:
    change(shop, **BLUE_GREEN, proxy_template=OWN)
    message = refused(shop, domains=["neu.example.com"])["domains"]
    assert message.startswith("neu.example.com: the own site file")
    assert "server_name @domains@;" in message
    assert "domains" in refused(shop, domains=["shop.example.com", "neu.example.com"])
    changed = change(
        shop, domains=["neu.example.com"], proxy_template=OWN.replace("shop.example.com", "neu.example.com")
    )
    assert changed.domains == ["neu.example.com"]
    assert "proxy_template" in refused(shop, proxy_template=OWN)
    change(shop, proxy_template=OWN.replace("shop.example.com", "@domains@"))
    assert change(shop, domains=["more.example.com"]).domains == ["more.example.com"]
    given = {**BLUE_GREEN, "domains": ["other.example.com"], "proxy_template": OWN}
    with pytest.raises(InvalidError, match=r"^other\.example\.com: the own site file"):
        add(shop, "second", **given)


def test_a_domain_that_was_not_in_the_own_site_file_before_is_told_by_the_plan(shop: Shop) -> None:
    """Saved by an earlier version: other settings can still be changed."""
    change(shop, **BLUE_GREEN)
    with scope(team=shop.team):
        Environment.objects.filter(pk=shop.environment.pk).update(proxy_template=OWN, domains=["neu.example.com"])
    where = change(shop, keep=4, domains=["neu.example.com"])
    with scope(team=shop.team):
        plan = plan_deploy(environment=where, recipe="node", release="r1", commit="")
    [warning] = plan.warnings
    assert warning.startswith("neu.example.com: the own site file")


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("recipe", ["", *RECIPES])
def test_places_of_hooks_are_known_for_every_strategy_and_recipe(strategy: str, recipe: str) -> None:
    assert "fetch" in places_of(recipe, strategy)


def test_steps_of_blue_green_take_hooks() -> None:
    assert {"start", "check colour", "switch", "watch"} <= {*places_of("node", "blue-green")}
