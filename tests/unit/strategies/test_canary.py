"""canary: blue-green with the shares before the switch."""

from __future__ import annotations

from dataclasses import replace

import pytest

from devflow.engine.plan import Site
from devflow.engine.task import Recipe, Runtime
from devflow.strategies import blue_green, canary
from tests.support.plans import RECIPE, site_on

RUNTIME = Runtime(
    title="Things",
    check="check",
    start="start",
    look="look",
    stop="stop",
    remove="remove",
    keeps="keeps",
)
TWO_COLOURS: Recipe = replace(RECIPE, runtime=RUNTIME)


def site(*servers: str, **options: str) -> Site:
    return site_on(
        *servers or ("web1",), proxy="nginx", domains=("shop.example.com",), port=21000, strategy_options=options
    )


def test_the_shares_come_before_the_switch() -> None:
    names = [task.name for task in canary.deploy(site(), TWO_COLOURS)]
    switch = names.index("switch")
    assert names[switch - 2 : switch + 1] == ["check colour", "canary", "switch"]
    names.remove("canary")
    assert names == [task.name for task in blue_green.deploy(site(), TWO_COLOURS)]


def test_what_it_is_judged_by() -> None:
    tasks = canary.deploy(site(step_seconds="9", max_errors="2", latency_factor="1.5", min_requests="7"), TWO_COLOURS)
    (task,) = (task for task in tasks if task.name == "canary")
    assert "step_seconds=9\nmax_errors=2\nlatency_factor=1.5\nmin_requests=7\n" in task.command
    assert task.summary == "5 %, 25 %, 50 % of the requests, each for 9 s, judged by nginx's access log"


def test_going_back_is_one_switch() -> None:
    assert canary.rollback(site(), TWO_COLOURS) == blue_green.rollback(site(), TWO_COLOURS)


@pytest.mark.parametrize(
    ("given", "recipe", "problem"),
    [
        (site(), TWO_COLOURS, ""),
        (site(steps="5 25 25"), TWO_COLOURS, "must rise"),
        (site(steps="50 5"), TWO_COLOURS, "must rise"),
        (site("web1", "web2"), TWO_COLOURS, "one server"),
        (site(), RECIPE, "cannot run two releases side by side"),
        (replace(site(), proxy_template="server { }"), TWO_COLOURS, "access log"),
    ],
)
def test_what_is_refused(given: Site, recipe: Recipe, problem: str) -> None:
    said = canary.problem(given, recipe)
    assert problem in said
    assert bool(said) == bool(problem)


@pytest.mark.parametrize(
    ("value", "is_good"),
    [("5 25 50 100", True), ("100", True), ("5", True), ("0 5", False), ("5, 25", False), ("5 101", False)],
)
def test_shares(value: str, is_good: bool) -> None:
    assert bool(canary.STEPS.problem(value)) != is_good
