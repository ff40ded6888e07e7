"""From an environment to a plan."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from devflow.apps.deployments.settings import Effective, effective, hooks_of, misnamed
from devflow.apps.projects.models import Environment
from devflow.apps.projects.variables import variables_in_force
from devflow.core.errors import InvalidError
from devflow.engine.devfile import DevfileError
from devflow.engine.plan import HealthCheck, Plan, Site, Target, compose, hook_warnings
from devflow.engine.task import Recipe, Task
from devflow.strategies import STRATEGIES


def release_name(deployment_id: UUID) -> str:
    """`20261121-104501-1234af`: sorts by time (to the millisecond), and is the deployment's own."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%d-%H%M%S}-{now.microsecond // 1000:03d}{deployment_id.hex[-3:]}"


def recipe_of(environment: Environment) -> str:
    """The project's recipe, or what was last detected; '' when that is not known yet."""
    return environment.project.recipe or environment.detected.get("recipe", "")


def plan_deploy(*, environment: Environment, recipe: str, release: str, commit: str, file: str = "") -> Plan:
    """The plan of bringing `commit` ('' for the branch's head) to the environment; `file` is the text of the commit's
    devflow.yml where it is in force. Raises InvalidError."""
    chosen = effective(environment, recipe=recipe, file=file)
    site = site_of(chosen.environment, chosen.recipe)
    builtin = STRATEGIES[environment.strategy].deploy(site, chosen.recipe)
    unknown = misnamed(environment, chosen.parsed)
    warnings = (*chosen.warnings, *unknown, *hook_warnings(site, chosen.recipe, builtin))
    return _plan(chosen, site, release, commit, builtin=builtin, is_rollback=False, warnings=warnings)


def plan_rollback(*, environment: Environment, recipe: str, release: str, commit: str, file: str = "") -> Plan:
    """The plan of going back to the kept release `release`: only what reloads is run of the recipe. `file` is what was
    in force when that release was deployed; where it is not understood any more, it is left out."""
    warnings: tuple[str, ...] = ()
    try:
        chosen = effective(environment, recipe=recipe, file=file)
    except DevfileError as error:
        chosen = effective(environment, recipe=recipe, file="")
        warnings = (f"The release's own devflow.yml is left out: {error}",)
    site = site_of(chosen.environment, chosen.recipe)
    builtin = STRATEGIES[environment.strategy].rollback(site, chosen.recipe)
    return _plan(chosen, site, release, commit, builtin=builtin, is_rollback=True, warnings=warnings)


def _plan(
    chosen: Effective,
    site: Site,
    release: str,
    commit: str,
    *,
    builtin: list[Task],
    is_rollback: bool,
    warnings: tuple[str, ...],
) -> Plan:
    return Plan(
        strategy=chosen.environment.strategy,
        recipe=chosen.recipe.name,
        release=release,
        commit=commit,
        is_rollback=is_rollback,
        site=site,
        steps=compose(site, chosen.recipe, builtin, reload_only=is_rollback),
        sources=chosen.sources,
        file=chosen.file,
        warnings=warnings,
    )


def site_of(environment: Environment, recipe: Recipe | None = None) -> Site:
    """What the engine needs to know of the environment. Raises InvalidError when it has no server."""
    targets = tuple(Target(id=server.pk.hex, name=server.name) for server in environment.servers.all())
    if not targets:
        raise InvalidError(f"{environment} has no server. Give it one.", {"servers": "Choose at least one server."})
    project = environment.project
    return Site(
        name=str(environment),
        environment_id=environment.pk.hex,
        repository=project.repository,
        mirror=project.mirror,
        branch=environment.branch,
        root=environment.root,
        keep=environment.keep,
        targets=targets,
        shared_files=tuple(environment.shared_files),
        shared_folders=tuple(environment.shared_folders),
        variable_keys=tuple(variables_in_force(environment)),
        health=_health(environment),
        task_commands=environment.task_commands,
        phase_commands=environment.phase_commands,
        hooks=hooks_of(environment),
        options=_options(environment, recipe) if recipe else None,
        tools=recipe.tools if recipe else "",
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


def _options(environment: Environment, recipe: Recipe) -> dict[str, str]:
    given = environment.recipe_options
    return {option.name: given.get(option.name, option.default) for option in recipe.options}
