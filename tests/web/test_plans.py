"""The page of a plan: what it shows at once, and what only when it is asked for."""

from __future__ import annotations

import html
from dataclasses import replace

import pytest
from django.test import Client
from django_scopes import scope

from devflow.apps.deployments.models import Deployment
from devflow.core.services import Composition, Facts
from devflow.engine.plan import Plan, compose
from devflow.recipes import RECIPES
from devflow.recipes import compose as recipe
from devflow.strategies import blue_green
from tests.support.plans import site_on
from tests.web.world import World

SERVICES = 400
LARGEST_PAGE = 60_000
"""Bytes of what is not built assets, which are 40 kB."""


def large_plan() -> Plan:
    """Of a Compose file with many services."""
    facts = [Facts(f"service-{number:03}", is_built=number % 2 == 0, ports=(8000,)) for number in range(SERVICES)]
    composition = Composition(tuple(facts))
    keys = tuple(f"VARIABLE_{number}" for number in range(200))
    site = replace(site_on("web1"), port=21000, proxy="nginx", domains=("shop.test",), variable_keys=keys)
    chosen = {"service": "service-001", "container_port": "8000"}
    treatment = recipe.treat(composition, chosen, in_place=False, has_proxy=True)
    fitted = recipe.fit(RECIPES["compose"], composition, treatment, in_place=False)
    steps = compose(site, fitted, blue_green.deploy(site, fitted))
    return Plan("blue-green", "compose", "r", "c" * 40, False, site, steps, services=tuple(treatment.services))


@pytest.fixture
def address(world: World) -> str:
    with scope(team=world.team):
        Deployment.objects.filter(pk=world.deployment.pk).update(plan=large_plan().to_json())
    return f"/deployments/{world.deployment.pk}/plan/"


def test_a_large_plan_is_a_small_page(owner: Client, address: str) -> None:
    content = owner.get(address).content
    assert len(content) < LARGEST_PAGE
    page = content.decode()
    assert "service-000" in page
    assert f"Show {SERVICES - 30} more" in page
    assert "and 160 more" in page
    for step in large_plan().steps:
        assert step.task.name in page


def test_a_long_command_is_brought_when_it_is_asked_for(owner: Client, address: str) -> None:
    steps = large_plan().steps
    number = max(range(len(steps)), key=lambda each: len(steps[each].task.command))
    command = steps[number].task.command
    assert command not in html.unescape(owner.get(address).content.decode())
    whole = owner.get(address, {"show": str(number)}).content.decode()
    assert command in html.unescape(whole)
    assert f'id="step-{number}" open' in whole
    part = owner.get(address, {"show": str(number)}, headers={"HX-Request": "true"}).content.decode()
    assert command in html.unescape(part)
    assert "<h1" not in part


def test_all_services_and_variables_are_shown_to_who_asks(owner: Client, address: str) -> None:
    assert f"service-{SERVICES - 1}" in owner.get(address, {"show": "services"}).content.decode()
    assert "VARIABLE_199" in owner.get(address, {"show": "variables"}).content.decode()


@pytest.mark.parametrize("show", ["-1", "99999", "9" * 30, "²", "x", "", "1e3", "None"])
@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}])
def test_nonsense_shows_the_plan_as_it_is(owner: Client, address: str, show: str, headers: dict[str, str]) -> None:
    answer = owner.get(address, {"show": show}, headers=headers)
    assert answer.status_code == 200
    assert b"<h1" in answer.content
