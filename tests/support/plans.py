"""Sites and plans for tests of the engine: a small recipe with a task in every phase that has some."""

from __future__ import annotations

from dataclasses import replace

from devflow.engine.plan import HealthCheck, Plan, Site, Target, compose
from devflow.engine.task import Phase, Recipe, Task, Where
from devflow.strategies import atomic

BUILD = Task(name="build", phase=Phase.PREPARE, command="make", undo="thrown away", condition="[ -f Makefile ]")
MIGRATE = Task(name="migrate", phase=Phase.MIGRATE, command="./migrate", undo="cannot be undone", where=Where.FIRST)
WARM = Task(name="warm", phase=Phase.MIGRATE, command="./warm", undo="thrown away")
RELOAD = Task(name="reload", phase=Phase.RELOAD, command="./reload", undo="repeated")
RECIPE = Recipe(
    name="small",
    title="Small",
    detect=lambda files: True,
    tasks=(BUILD, MIGRATE, WARM, RELOAD),
    shared_files=(".env",),
    shared_folders=("storage",),
)


def site_on(*servers: str, **settings: object) -> Site:
    """A site on servers of these names, whose ids are their names with `id` before."""
    base = Site(
        name="shop production",
        environment_id="e0e0e0e0",
        repository="https://git.example.com/shop.git",
        mirror="shop-1",
        branch="main",
        root="/srv/shop",
        keep=5,
        targets=tuple(Target(id=f"id{name}", name=name) for name in servers),
        health=HealthCheck(url="/up"),
    )
    return replace(base, **settings)  # type: ignore[arg-type]


def deploy_plan(*servers: str, **settings: object) -> Plan:
    site = site_on(*servers, **settings)
    return Plan("atomic", "small", "r2", "", False, site, compose(site, RECIPE, atomic.deploy(site, RECIPE)))


def rollback_plan(*servers: str, **settings: object) -> Plan:
    site = site_on(*servers, **settings)
    steps = compose(site, RECIPE, atomic.rollback(site, RECIPE), reload_only=True)
    return Plan("atomic", "small", "r1", "", True, site, steps)
