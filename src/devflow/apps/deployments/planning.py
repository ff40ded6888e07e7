"""From an environment to a plan."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from uuid import UUID

from devflow.apps.projects.models import Environment
from devflow.core.errors import InvalidError
from devflow.engine.plan import HealthCheck, Plan, Site, Target, compose
from devflow.engine.task import Recipe, Task
from devflow.recipes import RECIPES
from devflow.strategies import STRATEGIES


def release_name(deployment_id: UUID) -> str:
    """`20261121-104501-1234af`: sorts by time (to the millisecond), and is the deployment's own."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%d-%H%M%S}-{now.microsecond // 1000:03d}{deployment_id.hex[-3:]}"


def recipe_of(environment: Environment) -> str:
    """The project's recipe, or what was last detected; '' when that is not known yet."""
    return environment.project.recipe or environment.detected.get("recipe", "")


def plan_deploy(*, environment: Environment, recipe: str, release: str, commit: str) -> Plan:
    """The plan of bringing `commit` ('' for the branch's head) to the environment."""
    strategy = STRATEGIES[environment.strategy]
    site = site_of(environment)
    return _plan(
        environment,
        site,
        RECIPES[recipe],
        release,
        commit,
        builtin=strategy.deploy(site, RECIPES[recipe]),
        is_rollback=False,
    )


def plan_rollback(*, environment: Environment, recipe: str, release: str, commit: str) -> Plan:
    """The plan of going back to the kept release `release`: only what reloads is run of the recipe."""
    strategy = STRATEGIES[environment.strategy]
    site = site_of(environment)
    return _plan(
        environment,
        site,
        RECIPES[recipe],
        release,
        commit,
        builtin=strategy.rollback(site, RECIPES[recipe]),
        is_rollback=True,
    )


def _plan(
    environment: Environment,
    site: Site,
    recipe: Recipe,
    release: str,
    commit: str,
    *,
    builtin: list[Task],
    is_rollback: bool,
) -> Plan:
    return Plan(
        strategy=environment.strategy,
        recipe=recipe.name,
        release=release,
        commit=commit,
        is_rollback=is_rollback,
        site=site,
        steps=compose(site, recipe, builtin, reload_only=is_rollback),
    )


def site_of(environment: Environment) -> Site:
    """What the engine needs to know of the environment. Raises InvalidError when it has no server."""
    targets = tuple(Target(id=server.pk.hex, name=server.name) for server in environment.servers.all())
    if not targets:
        raise InvalidError(f"{environment} has no server. Give it one.", {"servers": "Choose at least one server."})
    project = environment.project
    return Site(
        name=str(environment),
        environment_id=environment.pk.hex,
        repository=project.repository,
        mirror=f"{project.slug}-{hashlib.sha256(f'{project.pk} {project.repository}'.encode()).hexdigest()[:12]}",
        branch=environment.branch,
        root=environment.root,
        keep=environment.keep,
        targets=targets,
        shared_files=tuple(environment.shared_files),
        shared_folders=tuple(environment.shared_folders),
        variable_keys=tuple(environment.variables.values_list("key", flat=True)),
        health=_health(environment),
        task_commands=environment.task_commands,
        phase_commands=environment.phase_commands,
    )


def _health(environment: Environment) -> HealthCheck | None:
    if not environment.health_url:
        return None
    return HealthCheck(
        url=environment.health_url,
        status=environment.health_status,
        text=environment.health_text,
        timeout_seconds=environment.health_timeout_seconds,
        retries=environment.health_retries,
    )
