"""From an environment to a plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django_scopes import scope

from devflow.apps.deployments.accepted import accepted_of, words
from devflow.apps.deployments.models import Deployment, Status
from devflow.apps.deployments.settings import Effective, effective, hooks_of, misnamed
from devflow.apps.projects.models import Environment
from devflow.apps.projects.traffic import unnamed_domains, unnamed_words
from devflow.apps.projects.variables import variables_in_force
from devflow.apps.servers.models import Server
from devflow.commands import nginx
from devflow.core.errors import ConflictError, InvalidError
from devflow.core.services import Composition, Treatment
from devflow.engine.devfile import DevfileError
from devflow.engine.plan import HealthCheck, Plan, Site, Target, compose, hook_warnings
from devflow.engine.task import Recipe, Task
from devflow.recipes import RECIPES
from devflow.recipes import compose as compose_recipe
from devflow.strategies import STRATEGIES, building, proxy


def release_name(deployment_id: UUID) -> str:
    """`20261121-104501-1234af`: sorts by time (to the millisecond), and is the deployment's own."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%d-%H%M%S}-{now.microsecond // 1000:03d}{deployment_id.hex[-3:]}"


def recipe_of(environment: Environment) -> str:
    """The project's recipe, or what was last detected; '' when that is not known yet."""
    return environment.project.recipe or environment.detected.get("recipe", "")


def plan_deploy(
    *,
    environment: Environment,
    recipe: str,
    release: str,
    commit: str,
    file: str = "",
    detected: Mapping[str, Any] | None = None,
) -> Plan:
    """The plan of bringing `commit` ('' for the branch's head) to the environment; `file` is the text of the commit's
    devflow.yml where it is in force, `detected` what a look found (that of the environment: the last). Raises
    InvalidError, and ConflictError where a look must come first."""
    chosen = effective(environment, recipe=recipe, file=file)
    treatment = Treatment()
    if chosen.recipe.name == "compose":
        chosen, treatment = _fitted(chosen, environment.detected if detected is None else detected)
    chosen = _fitted_to_strategy(chosen)
    site = site_of(chosen.environment, chosen.recipe)
    if not building.has_something_to_build(chosen.recipe):
        site = replace(site, builder=None)
    _refuse_impossible(environment, site, chosen.recipe)
    builtin = building.around(site, STRATEGIES[environment.strategy].deploy(site, chosen.recipe))
    unknown = misnamed(environment, chosen.parsed)
    warnings = (*chosen.warnings, *unknown, *hook_warnings(site, chosen.recipe, builtin), *treatment.warnings)
    if unnamed := unnamed_domains(environment):
        warnings = (*warnings, unnamed_words(unnamed))
    plan = _plan(chosen, site, release, commit, builtin=builtin, is_rollback=False, warnings=warnings)
    return replace(plan, services=treatment.services)


def _fitted(chosen: Effective, detected: Mapping[str, Any]) -> tuple[Effective, Treatment]:
    """The recipe for the services of the Compose file as the last look found them."""
    _refuse_impossible(chosen.environment, site_of(chosen.environment, chosen.recipe), chosen.recipe)
    if problem := detected.get("services_error"):
        raise InvalidError(f"The Compose file cannot be used. {problem}", {"recipe": problem})
    if "services" not in detected:
        raise ConflictError("The Compose file is not known yet: it is read when the repository is first looked at.")
    environment, in_place = chosen.environment, chosen.environment.strategy in ("recreate", "swarm")
    composition = Composition.from_json(detected["services"])
    treatment = compose_recipe.treat(
        composition,
        _options(environment, chosen.recipe),
        in_place=in_place,
        has_proxy=bool(environment.proxy),
        shared=(*environment.shared_files, *environment.shared_folders),
        top=detected.get("top"),
        standby_minutes=int(standby) if (standby := _strategy_options(environment).get("standby_minutes")) else None,
    )
    if treatment.problem:
        raise InvalidError(treatment.problem, {"recipe_options": treatment.problem})
    recipe = compose_recipe.fit(chosen.recipe, composition, treatment, in_place=in_place)
    if environment.strategy == "swarm":
        swarm = STRATEGIES["swarm"]
        warnings = (*treatment.warnings, *swarm.warnings(composition))
        treatment = replace(treatment, services=swarm.treat(composition), warnings=warnings)
    return replace(chosen, recipe=recipe), treatment


def _fitted_to_strategy(chosen: Effective) -> Effective:
    """With the recipe as the strategy takes it."""
    strategy = STRATEGIES[chosen.environment.strategy]
    return replace(chosen, recipe=strategy.fit(chosen.recipe)) if hasattr(strategy, "fit") else chosen


def plan_rollback(
    *,
    environment: Environment,
    recipe: str,
    release: str,
    commit: str,
    file: str = "",
    detected: Mapping[str, Any] | None = None,
) -> Plan:
    """The plan of going back to the kept release `release`: only what reloads is run of the recipe. `file` is what was
    in force when that release was deployed; where it is not understood any more, it is left out."""
    warnings: tuple[str, ...] = ()
    try:
        chosen = effective(environment, recipe=recipe, file=file)
    except DevfileError as error:
        chosen = effective(environment, recipe=recipe, file="")
        warnings = (f"The release's own devflow.yml is left out: {error}",)
    chosen = _fitted_to_strategy(chosen)
    site = replace(site_of(chosen.environment, chosen.recipe), builder=None)  # nothing is built
    _refuse_impossible(environment, site, chosen.recipe)
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
    strategy = STRATEGIES[chosen.environment.strategy]
    rounds = strategy.rounds(site, chosen.recipe) if hasattr(strategy, "rounds") else ()
    return Plan(
        strategy=chosen.environment.strategy,
        recipe=chosen.recipe.name,
        release=release,
        commit=commit,
        is_rollback=is_rollback,
        site=site,
        steps=compose(site, chosen.recipe, builtin, reload_only=is_rollback, rounds=rounds),
        sources=chosen.sources,
        file=chosen.file,
        warnings=warnings,
    )


def site_of(environment: Environment, recipe: Recipe | None = None) -> Site:
    """What the engine needs to know of the environment. Raises InvalidError when it has no server."""
    targets = tuple(map(_target, environment.servers.all()))
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
        strategy_options=_strategy_options(environment),
        proxy=environment.proxy,
        proxy_template=environment.proxy_template,
        proxy_accepted=words(accepted_of(environment)),
        upload_mb=environment.upload_mb,
        domains=tuple(environment.domains),
        port=environment.port or 0,
        balancer=_target(environment.balancer) if environment.balancer else None,
        builder=_target(environment.builder) if environment.builder else None,
        joining=_joining(environment, targets) if environment.strategy == "rolling" else (),
    )


def site_text_of(environment: Environment, *, there: str = "") -> str:
    """The environment's site file of nginx as a deployment would write it; `there` is one of a server, whose way of
    filling the placeholders is taken. '' without a proxy or a server."""
    recipe = RECIPES.get(recipe_of(environment))
    with scope(team=environment.team):
        if not environment.proxy or recipe is None or not environment.servers.all():
            return ""
        text = proxy.text_of(site_of(environment, recipe), recipe)
    return nginx.filled_as(text, environment.pk.hex, there) if there else text


def _joining(environment: Environment, targets: Iterable[Target]) -> tuple[str, ...]:
    """The names of those that the last good deployment did not go to. A server of the same name may be another."""
    good = Deployment.objects.filter(environment=environment, status=Status.SUCCESS, plan__isnull=False)
    last = good.order_by("-created_at").values_list("plan__site__targets", flat=True).first()
    if not last:
        return ()
    ids = {target["id"] for target in last}
    return tuple(target.name for target in targets if target.id not in ids)


def _refuse_impossible(environment: Environment, site: Site, recipe: Recipe) -> None:
    """Raises InvalidError where the strategy cannot deploy this."""
    if problem := STRATEGIES[environment.strategy].problem(site, recipe):
        raise InvalidError(problem, {"strategy": problem})


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


def _target(server: Server) -> Target:
    return Target(id=server.pk.hex, name=server.name, address=server.host)


def _strategy_options(environment: Environment) -> dict[str, str]:
    given, options = environment.strategy_options, STRATEGIES[environment.strategy].OPTIONS
    return {option.name: given.get(option.name, option.default) for option in options}


def _options(environment: Environment, recipe: Recipe) -> dict[str, str]:
    given = environment.recipe_options
    return {option.name: given.get(option.name, option.default) for option in recipe.options}
