"""The recipe for Compose projects: detection, options, what scripts are told; and the strategy recreate over it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from devflow.core.services import Composition, Facts
from devflow.engine.plan import Plan, Site, compose
from devflow.engine.task import Phase, Tree
from devflow.recipes import RECIPES, detect
from devflow.recipes import compose as recipe
from devflow.strategies import atomic, blue_green, recreate, rolling
from tests.support.plans import site_on

WEB = Facts("web", is_built=True, ports=(8000,), host_ports=("8080",))
DB = Facts("db", image="postgres", volumes=("data",))
JOB = Facts("job", is_built=True)
COMPOSITION = Composition((DB, JOB, WEB))


def site(**given: object) -> Site:
    return replace(site_on("web1"), **{"port": 21000, "proxy": "nginx", "domains": ("shop.test",), **given})


@pytest.mark.parametrize("file", ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"])
def test_it_is_detected_by_its_file(file: str) -> None:
    assert detect(Tree(frozenset({file, "Dockerfile", "package.json"})), strategy="blue-green") is recipe.RECIPE


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("files", "compose.yaml deploy/compose.production.yml", "../compose.yaml"),
        ("files", "a.yaml", "/etc/compose.yaml"),
        ("files", "a.yaml", "--file"),
        ("profiles", "shop debug", "$(id)"),
        ("service", "web", "web db"),
        ("container_port", "8000", "http"),
        ("leave", "db cache", "db;cache"),
        ("pull", "always", "sometimes"),
        ("wait_seconds", "30", "0"),
    ],
)
def test_options(name: str, good: str, bad: str) -> None:
    option = next(option for option in recipe.OPTIONS if option.name == name)
    assert option.problem(good) == ""
    assert option.problem(bad)


def test_scripts_are_told_the_treatment() -> None:
    options = {"recreate": "job", "service": "web"}
    treatment = recipe.treat(COMPOSITION, options, in_place=False, has_proxy=True)
    fitted = recipe.fit(RECIPES["compose"], COMPOSITION, treatment, in_place=False)
    assert fitted.tools.splitlines() == [
        "compose_services='db job web'",
        "compose_into='job web'",
        "compose_declared=''",
        "compose_ports=''",
        "compose_in_place=''",
        "compose_replaced=web",
        "compose_left=db",
        "compose_recreated=job",
        "compose_early=''",
        "compose_once=''",
        "compose_data=db",
        "compose_accepted=''",
        "compose_proxied=web",
        "compose_inside=8000",
    ]


def test_scripts_are_told_what_images_keep() -> None:
    store = Facts("store", image="acme/store", unnamed=("/state",), declared=("/state", "/more"))
    found = Composition((store, WEB))
    treatment = recipe.treat(found, {"replace": "store"}, in_place=False, has_proxy=True)
    told = recipe.fit(RECIPES["compose"], found, treatment, in_place=False).tools.splitlines()
    assert "compose_declared='store:/state store:/more'" in told
    assert "compose_accepted=store" in told


def test_the_strategies_that_can() -> None:
    assert "does not go live by a link" in atomic.problem(site(), recipe.RECIPE)
    assert "does not go live by a link" in rolling.problem(site(), recipe.RECIPE)
    assert blue_green.problem(site(), recipe.RECIPE) == ""
    assert recreate.problem(site(), recipe.RECIPE) == ""
    assert recreate.problem(site(proxy="", domains=(), port=0), recipe.RECIPE) == ""
    assert "needs a local port" in recreate.problem(site(port=0), recipe.RECIPE)
    assert "needs a local port" in recreate.problem(site(proxy="", port=0), RECIPES["dockerfile"])
    assert "Choose atomic" in recreate.problem(site(), RECIPES["laravel"])
    assert "domain" in recreate.problem(site(domains=()), recipe.RECIPE)


def steps(where: Site, *, rollback: bool = False) -> list[str]:
    builtin = recreate.rollback(where, recipe.RECIPE) if rollback else recreate.deploy(where, recipe.RECIPE)
    planned = compose(where, recipe.RECIPE, builtin, reload_only=rollback)
    plan = Plan("recreate", "compose", "r", "", rollback, where, planned)
    assert Plan.from_json(plan.to_json()) == plan
    return [step.task.name for step in planned]


def test_recreate_stops_what_runs_only_when_all_is_ready() -> None:
    found = steps(site())
    assert found.index("images") < found.index("stop and start") < found.index("check colour") < found.index("go live")
    assert found.index("go live") < found.index("recreate services") < found.index("watch") < found.index("settle")
    assert found[-2:] == ["take back", "clean up"]


def test_recreate_without_a_proxy_asks_no_port() -> None:
    found = steps(site(proxy="", domains=(), port=0))
    assert "check colour" not in found
    assert "check nginx" not in found
    assert "watch" in found


def test_recreate_goes_back_to_what_is_still_there() -> None:
    found = steps(site(), rollback=True)
    assert found.index("check kept") < found.index("stop and start")
    assert "images" not in found
    kept = next(task for task in recreate.rollback(site(), recipe.RECIPE) if task.name == "check kept")
    assert kept.phase is Phase.PREFLIGHT
