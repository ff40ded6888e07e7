"""A builder that serves nothing: what it does around a strategy's own tasks."""

from __future__ import annotations

from devflow.engine.plan import Plan, Target, compose
from devflow.engine.task import Phase
from devflow.recipes import dockerfile, laravel
from devflow.strategies import atomic, building
from tests.support.plans import site_on

BUILDER = Target("idbuild", "build")


def plan(builder: Target | None) -> Plan:
    site = site_on("web1", "web2", builder=builder)
    recipe = dockerfile.RECIPE
    steps = compose(site, recipe, building.around(site, atomic.deploy(site, recipe)))
    return Plan("atomic", recipe.name, "r2", "", False, site, steps)


def test_the_builder_finds_the_commit_before_the_servers_fetch() -> None:
    names = [(step.task.name, step.servers) for step in plan(BUILDER).steps]
    assert names.index(("fetch on builder", ("build",))) < names.index(("fetch", ("web1", "web2")))
    assert names.index(("build image", ("build",))) < names.index(("bring image", ("web1", "web2")))


def test_it_cleans_up_before_the_servers_do() -> None:
    """After the last group nothing is taken back any more."""
    groups = plan(BUILDER).groups
    assert [step.task.name for step in groups[-2].steps] == ["clean up builder"]
    assert groups[-1].servers == ("web1", "web2")
    assert groups[-1].steps[-1].task.phase is Phase.FINISH


def test_it_is_let_go_when_the_deployment_is_taken_back() -> None:
    undo = plan(BUILDER).undo.steps
    assert [step.task.name for step in undo if "build" in step.servers] == ["unlock builder"]


def test_a_server_that_builds_and_serves_has_nothing_to_do_beside() -> None:
    server = Target("idweb1", "web1")
    assert {step.servers for step in plan(server).steps if step.task.name == "build image"} == {("web1",)}
    assert not [step for step in plan(server).steps if step.task.name.endswith("builder")]
    assert {step.servers for step in plan(None).steps if step.task.name == "build image"} == {("web1",)}


def test_only_recipes_that_build_have_a_builder() -> None:
    assert building.has_something_to_build(dockerfile.RECIPE)
    assert not building.has_something_to_build(laravel.RECIPE)
