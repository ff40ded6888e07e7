"""Plans of Compose projects: what is done with each service, as the last look found them; what cannot be planned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.template.loader import render_to_string
from django_scopes import scope

from devflow.apps.deployments.planning import plan_deploy, plan_rollback
from devflow.apps.deployments.selectors import plan_document, plan_preview
from devflow.apps.deployments.settings import compose_options, needs_look
from devflow.apps.projects import services
from devflow.apps.projects.models import Environment
from devflow.core.errors import ConflictError, InvalidError
from devflow.core.services import Composition, Facts
from devflow.engine.plan import Plan
from devflow.web.presenters.deployments import plan_context
from tests.support.shop import Shop

WEB = Facts("web", is_built=True, ports=(8000,), host_ports=("8080",), restarts=False)
DB = Facts("db", image="postgres:16", volumes=("data",))
FOUND = Composition((DB, WEB), warnings=("The X variable is not set.",))


def environment(shop: Shop, found: Composition | None = FOUND, **changed: Any) -> Environment:
    """The shop's environment with a Compose project, blue-green behind nginx."""
    services.project_update(actor=shop.actor(), project=shop.environment.project, recipe="compose")
    detected = {"recipe": "compose", "top": ["compose.yaml"]} | ({"services": found.to_json()} if found else {})
    given = {"strategy": "blue-green", "proxy": "nginx", "domains": ["shop.test"], "port": 21000} | changed
    with scope(team=shop.team):
        Environment.objects.update(detected=detected, **given)
        return Environment.objects.select_related("project").get()


def plan_of(shop: Shop, where: Environment, **more: Any) -> Plan:
    with scope(team=shop.team):
        return plan_deploy(environment=where, recipe="compose", release="r", commit="", **more)


def test_the_plan_says_what_is_done_with_each_service(shop: Shop) -> None:
    plan = plan_of(shop, environment(shop))
    assert [(each.name, each.treatment) for each in plan.services] == [("db", "left"), ("web", "replaced")]
    assert Plan.from_json(plan.to_json()) == plan
    assert plan.warnings[0] == "The X variable is not set."
    assert "do not come back after a reboot: web" in plan.warnings[1]
    assert "compose_replaced=web\n" in plan.site.tools
    assert plan_document(plan)["services"][0] == {
        "name": "db",
        "treatment": "left",
        "reason": "it alone writes the volume data: started once, then left alone",
    }
    page = render_to_string("environments/plan_body.html", plan_context(plan))
    assert "replaced without downtime" in page
    assert "left alone" in page
    assert "it alone writes the volume data" in page


def test_the_plan_says_what_the_file_has_no_more(shop: Shop) -> None:
    plan = plan_of(shop, environment(shop, replace(FOUND, services=(WEB,), removed=(DB,))))
    assert [(each.name, each.treatment) for each in plan.services] == [("web", "replaced"), ("db", "removed")]
    assert "compose_services=web\n" in plan.site.tools
    assert any("The service db keeps data (the volume data)" in each for each in plan.warnings)
    assert Plan.from_json(plan.to_json()) == plan
    page = render_to_string("environments/plan_body.html", plan_context(plan))
    assert '<span class="chip tone-bad">removed</span>' in page


def test_ports_of_the_server_that_are_looked_at_first(shop: Shop) -> None:
    mail = Facts("mail", image="mail", host_ports=("127.0.0.1:25", "53/udp"))
    where = environment(shop, Composition((WEB, mail)))
    assert "compose_ports='mail=127.0.0.1:25 mail=53/udp'\n" in plan_of(shop, where).site.tools
    where = environment(shop, Composition((WEB, mail)), strategy="recreate", proxy="", domains=[])
    assert "compose_ports='web=8080 mail=127.0.0.1:25 mail=53/udp'\n" in plan_of(shop, where).site.tools


def test_how_long_two_run_is_told_by_the_time_on_standby(shop: Shop) -> None:
    own = replace(WEB, volumes=("up",))
    given = {"recipe_options": {"replace": "web"}, "strategy_options": {"standby_minutes": "7"}}
    plan = plan_of(shop, environment(shop, Composition((own,)), **given))
    assert any("until 7 minutes after the switch" in each for each in plan.warnings)


def test_a_plan_of_before_has_no_services(shop: Shop) -> None:
    document = plan_of(shop, environment(shop)).to_json()
    del document["services"]
    assert Plan.from_json(document).services == ()


def test_what_the_look_of_the_deployment_found_goes_before(shop: Shop) -> None:
    where = environment(shop)
    fresh = {"services": Composition((replace(WEB, name="shop"),)).to_json()}
    assert [each.name for each in plan_of(shop, where, detected=fresh).services] == ["shop"]


def test_options_decide(shop: Shop) -> None:
    plan = plan_of(shop, environment(shop, recipe_options={"recreate": "db"}))
    assert [each.treatment for each in plan.services] == ["recreated", "replaced"]
    with pytest.raises(InvalidError, match="no service cache"):
        plan_of(shop, environment(shop, recipe_options={"leave": "cache"}))


def test_in_place_everything_is(shop: Shop) -> None:
    plan = plan_of(shop, environment(shop, strategy="recreate"))
    assert [each.treatment for each in plan.services] == ["left", "recreated"]
    assert "compose_in_place=1\n" in plan.site.tools


def test_what_is_wrong_with_the_file_is_told(shop: Shop) -> None:
    where = environment(shop)
    problem = 'web1, docker compose config: compose.yaml: service "db" refers to undefined volume data'
    with pytest.raises(InvalidError, match=r'compose\.yaml: service "db" refers to undefined volume data'):
        plan_of(shop, where, detected={"services_error": problem})


def test_before_the_first_look_there_is_no_plan(shop: Shop) -> None:
    where = environment(shop, None)
    with pytest.raises(ConflictError, match="not known yet"):
        plan_preview(actor=shop.actor(), environment=where)


def test_a_folder_for_data_may_be_shared(shop: Shop) -> None:
    kept = Composition((WEB, replace(DB, volumes=(), folders=("./state",))))
    with pytest.raises(InvalidError, match=r"keeps data in \./state"):
        plan_of(shop, environment(shop, kept))
    assert plan_of(shop, environment(shop, kept, shared_folders=["state"])).services


def test_atomic_is_refused(shop: Shop) -> None:
    with pytest.raises(InvalidError, match="Choose blue-green"):
        plan_of(shop, environment(shop, strategy="atomic", proxy="", domains=[]))


def test_a_rollback_needs_no_look(shop: Shop) -> None:
    where = environment(shop, None)
    with scope(team=shop.team):
        plan = plan_rollback(environment=where, recipe="compose", release="r", commit="")
    assert plan.services == ()
    assert "recreate services" in [step.task.name for step in plan.steps]


def test_the_file_is_read_with_the_options_in_force(shop: Shop) -> None:
    where = environment(shop, recipe_options={"files": "deploy/compose.yaml"})
    with scope(team=shop.team):
        assert needs_look(where)
        options = compose_options(where, {"recipe": "compose"})
        assert options is not None
        assert options["files"] == "deploy/compose.yaml"
        assert options["profiles"] == ""
        where.project.recipe = "laravel"
        assert compose_options(where, {"recipe": "compose"}) is None
