"""Writes of projects and environments."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q
from django_scopes import scope, scopes_disabled

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.audit.services import audit_record, change_record
from devflow.apps.projects.hooks import commands_check, hooks_check
from devflow.apps.projects.models import Environment, Project
from devflow.apps.projects.options import recipe_options_check
from devflow.apps.projects.variables import variable_unset as variable_unset
from devflow.apps.projects.variables import variables_import as variables_import
from devflow.apps.projects.variables import variables_set as variables_set
from devflow.apps.servers.models import Server
from devflow.apps.sources.models import Source
from devflow.apps.sources.reports import source_moved
from devflow.apps.sources.services import source_add
from devflow.core import globs, keys, names, windows
from devflow.core.errors import ConflictError, ForbiddenError, InvalidError
from devflow.engine.plan import COMMAND_PHASES
from devflow.recipes import RECIPES
from devflow.strategies import STRATEGIES

KEEP_AT_LEAST, KEEP_AT_MOST = 2, 100
_PROJECT_FIELDS = ("name", "repository", "recipe", "deploy_key_sealed", "deploy_key_public", "reads_file")
_OPEN = ("pending", "queued", "waiting", "running", "verifying")


def project_add(
    *,
    actor: Actor,
    slug: str,
    repository: str,
    name: str = "",
    recipe: str = "",
    deploy_key: str = "",
    reads_file: bool = False,
) -> Project:
    """A new project.

    For a repository reached over SSH a deploy key is made when none is given; add its public half to the repository.
    `recipe` '' has it detected at each deployment. Raises ForbiddenError, InvalidError, ConflictError.
    """
    actor.require(rights.MANAGE)
    project = Project(team=actor.team, slug=names.slug(slug, "slug"), reads_file=bool(reads_file))
    project.name = names.single_line(name or slug, "name")
    _project_fill(project, repository=repository, recipe=recipe, deploy_key=deploy_key)
    try:
        with transaction.atomic(), scope(team=actor.team):
            project.save(force_insert=True)
            _record(actor, project, "project.added", _told(project))
    except IntegrityError:
        raise ConflictError(f"There is a project {project.slug!r} in this team already.") from None
    return project


def project_update(
    *,
    actor: Actor,
    project: Project,
    name: str | None = None,
    repository: str | None = None,
    recipe: str | None = None,
    deploy_key: str | None = None,
    reads_file: bool | None = None,
) -> Project:
    """Changes what is given (not None). With `reads_file`, the commit's devflow.yml is in force before the settings of
    the panel. With a repository on another host the access token is forgotten: it was for the host before.

    Raises ForbiddenError, InvalidError.
    """
    actor.require(rights.MANAGE, project)
    before = _told(project)
    if name is not None:
        project.name = names.single_line(name, "name")
    if reads_file is not None:
        project.reads_file = bool(reads_file)
    _project_fill(
        project,
        repository=project.repository if repository is None else repository,
        recipe=project.recipe if recipe is None else recipe,
        deploy_key=deploy_key or "",
    )
    with transaction.atomic(), scope(team=actor.team):
        if project.source_id:
            project.source = source_moved(source_id=project.source_id, repository_url=project.repository)
        project.save(update_fields=_PROJECT_FIELDS)
        change_record(
            actor=actor,
            action="project.changed",
            target=project.slug,
            target_id=str(project.pk),
            project_id=project.pk,
            before=before,
            after=_told(project),
        )
    return project


def project_remove(*, actor: Actor, project: Project) -> None:
    """Forgets the project, its environments and deployments; the servers keep what is on them. Raises ConflictError."""
    actor.require(rights.MANAGE, project)
    with transaction.atomic(), scope(team=actor.team):
        for environment in project.environments.all():
            _refuse_while_deploying(environment)
        source = project.source
        _record(actor, project, "project.removed")
        project.delete()
        if source is not None:
            source.delete()


def project_source(*, actor: Actor, project: Project) -> Source:
    """The project's git provider; an empty one is made where there is none yet. Raises ForbiddenError."""
    actor.require(rights.MANAGE, project)
    with transaction.atomic(), scope(team=actor.team):
        row = Project.objects.select_for_update(of=("self",)).select_related("source").get(pk=project.pk)
        if row.source is None:
            row.source = source_add(actor=actor, of=project)
            row.save(update_fields=["source"])
    project.source = row.source
    return row.source


def environment_add(
    *, actor: Actor, project: Project, name: str, branch: str, servers: Iterable[str], root: str = "", **settings: Any
) -> Environment:
    """A new environment; `servers` are names, `root` defaults to /srv/<project>-<environment>.

    `settings` are those of `environment_update`. Raises ForbiddenError, InvalidError, ConflictError.
    """
    actor.require(rights.MANAGE, project)
    environment = Environment(team=actor.team, project=project, name=names.slug(name))
    root = root or f"/srv/{project.slug}-{environment.name}"
    with transaction.atomic(), scope(team=actor.team):
        chosen = _fill(environment, actor=actor, branch=branch, root=root, servers=servers, **settings) or []
        try:
            with transaction.atomic():
                environment.save(force_insert=True)
        except IntegrityError:
            raise ConflictError(f"There is an environment {environment.name!r} in {project.slug} already.") from None
        _refuse_shared_folder(environment, chosen)
        environment.servers.set(chosen)
        told = {"branch": environment.branch, "root": environment.root, "servers": [server.name for server in chosen]}
        _record(actor, environment, "environment.added", told)
    return environment


def environment_update(*, actor: Actor, environment: Environment, **settings: Any) -> Environment:
    """Changes what is given: branch, root, servers (names), strategy, keep, auto_deploy, health_url, health_status,
    health_text, health_timeout_seconds, health_retries, shared_files, shared_folders, task_commands, phase_commands,
    hooks, watch_paths, tag_pattern, requires_variables, windows, freezes, time_zone.

    Raises ForbiddenError, InvalidError.
    """
    actor.require(rights.MANAGE, environment)
    with transaction.atomic(), scope(team=actor.team):
        before = _settings(environment, settings)
        chosen = _fill(environment, actor=actor, **settings)
        _refuse_shared_folder(environment, list(environment.servers.all()) if chosen is None else chosen)
        environment.save(update_fields=[field for field in settings if field != "servers"])
        if chosen is not None:
            environment.servers.set(chosen)
        change_record(
            actor=actor,
            action="environment.changed",
            target=str(environment),
            target_id=str(environment.pk),
            project_id=environment.project_id,
            before=before,
            after=_settings(environment, settings),
        )
    return environment


def environment_remove(*, actor: Actor, environment: Environment) -> None:
    """Forgets the environment and its deployments; the servers keep what is on them. Raises ConflictError."""
    actor.require(rights.MANAGE, environment)
    with transaction.atomic(), scope(team=actor.team):
        _refuse_while_deploying(environment)
        _record(actor, environment, "environment.removed", {"root": environment.root})
        environment.delete()


def _record(actor: Actor, obj: Project | Environment, action: str, after: Mapping[str, Any] | None = None) -> None:
    audit_record(
        team=actor.team,
        actor=actor,
        action=action,
        target=obj.slug if isinstance(obj, Project) else str(obj),
        target_id=str(obj.pk),
        project_id=obj.pk if isinstance(obj, Project) else obj.project_id,
        after=after,
    )


def _told(project: Project) -> dict[str, Any]:
    """What the audit log tells of a project's settings; of its deploy key the public half."""
    fields = ("name", "repository", "recipe", "reads_file", "deploy_key_public")
    return {field.replace("deploy_key_public", "public_half"): getattr(project, field) for field in fields}


def _settings(environment: Environment, names: Iterable[str]) -> dict[str, Any]:
    """What the audit log tells of these settings."""
    told = {name: getattr(environment, name, None) for name in names if name != "servers"}
    return told | ({"servers": sorted(each.name for each in environment.servers.all())} if "servers" in names else {})


def _project_fill(project: Project, *, repository: str, recipe: str, deploy_key: str) -> None:
    project.repository = names.repository(repository.strip())
    if recipe and recipe not in RECIPES:
        raise InvalidError(f"There is no recipe {recipe!r}.", {"recipe": f"Choose one of: {', '.join(RECIPES)}."})
    project.recipe = recipe
    if deploy_key.strip():
        project.deploy_key = deploy_key.strip() + "\n"
    elif names.is_ssh_repository(project.repository) and not project.deploy_key_public:
        project.deploy_key = keys.generate()
    if project.deploy_key:
        project.deploy_key_public = keys.public_of(project.deploy_key, f"devflow-{project.slug}", "deploy_key")


def _fill(environment: Environment, *, actor: Actor, **settings: Any) -> list[Server] | None:
    """Checks each setting and puts it in; returns the servers when they are among the settings."""
    chosen = None
    for field, value in settings.items():
        if field == "servers":
            chosen = _servers(list(value))
            _refuse_strange_servers(actor, environment, chosen)
        elif field == "recipe_options":
            environment.recipe_options = recipe_options_check(environment, value)
        elif field in _CHECKS:
            setattr(environment, field, _CHECKS[field](value))
        else:
            raise InvalidError(f"There is no setting {field!r}.", {field: f"Choose from: {', '.join(_CHECKS)}."})
    commands_check(environment, settings)
    return chosen


def _refuse_shared_folder(environment: Environment, servers: list[Server]) -> None:
    """No environment deploys into another's folder on the same machine: each would prune the other's releases. Of
    another team nothing is told but that."""
    machines = {_machine(server) for server in servers}
    if len(machines) < len(servers):
        message = "Two of these servers are the same machine. Choose one of them."
        raise InvalidError(message, {"servers": message})
    with scopes_disabled():  # machines may be shared by teams
        named = Server.objects.filter(Q(is_local=True) | Q(port__in={port for _, port in machines}))
        near = [server.pk for server in named if _machine(server) in machines]
        found = Environment.objects.filter(servers__in=near).exclude(pk=environment.pk).select_related("project")
        others = [other for other in found.distinct() if _overlap(environment.root, other.root)]
    for other in others:
        if other.team_id == environment.team_id:
            message = f"{other} deploys to {other.root} on the same server. Give each environment a folder of its own."
            raise InvalidError(message, {"root": message})
    if others and _is_moved(environment, servers):
        message = (
            f"Another environment deploys to {environment.root}, or to a folder in or above it, on the same machine. "
            "Choose another folder."
        )
        raise InvalidError(message, {"root": message})


def _is_moved(environment: Environment, servers: list[Server]) -> bool:
    """Whether its folder or its servers are others than so far. What was saved before can still be edited."""
    before = Environment.objects.get(pk=environment.pk)
    return before.root != environment.root or set(before.servers.all()) != set(servers)


def _machine(server: Server) -> tuple[str, int]:
    return ("", 0) if server.is_local else (server.host.lower(), server.port)


def _overlap(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _refuse_strange_servers(actor: Actor, environment: Environment, chosen: list[Server]) -> None:
    """Who manages single projects or environments only gets no say on other servers by deploying to them."""
    if actor.can(rights.MANAGE):
        return
    siblings = Environment.objects.filter(project=environment.project).prefetch_related("servers")
    known = {server for each in siblings if actor.can(rights.MANAGE, each) for server in each.servers.all()}
    strange = [server.name for server in chosen if server not in known]
    if strange:
        raise ForbiddenError(
            f"You may use the servers of the environments that you manage, and not {', '.join(strange)}. "
            "Ask an owner or admin of the team."
        )


def _servers(wanted: list[str]) -> list[Server]:
    found = {server.name: server for server in Server.objects.filter(name__in=filter(str.isprintable, wanted))}
    missing = [name for name in wanted if name not in found]
    if missing or not wanted:
        message = f"There is no server {', '.join(missing)}." if missing else "Choose at least one server."
        raise InvalidError(message, {"servers": message})
    return [found[name] for name in dict.fromkeys(wanted)]


def _strategy(value: str) -> str:
    if value not in STRATEGIES:
        raise InvalidError(f"There is no strategy {value!r}.", {"strategy": f"Choose one of: {', '.join(STRATEGIES)}."})
    return value


def _number(field: str, low: int, high: int) -> Any:
    def check(value: Any) -> int:
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
            or not low <= value <= high
        ):
            raise InvalidError(f"{field} is not valid.", {field: f"Give a number from {low} to {high}."})
        return int(value)

    return check


def _health_url(value: str) -> str:
    return names.health_address(value.strip()) if value.strip() else ""


def _health_text(value: str) -> str:
    return names.single_line(value, "health_text", 500) if value else ""


def _paths(field: str) -> Any:
    def check(values: Iterable[str]) -> list[str]:
        return list(dict.fromkeys(names.relative_path(value.strip(), field) for value in values if value.strip()))

    return check


def _patterns(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(globs.checked(value.strip(), "watch_paths") for value in values if value.strip()))


def _tag_pattern(value: str) -> str:
    return globs.checked(value.strip(), "tag_pattern") if value.strip() else ""


def _command(value: Any, field: str) -> str:
    if not isinstance(value, str) or len(value) > 10_000:
        raise InvalidError("A command is text of at most 10,000 characters.", {field: "Give commands as text."})
    return names.storable(value, field).strip()


def _task_commands(value: Mapping[str, str]) -> dict[str, str]:
    return {names.single_line(task, "task_commands"): _command(text, "task_commands") for task, text in value.items()}


def _phase_commands(value: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    unknown = [phase for phase in value if phase not in COMMAND_PHASES]
    if unknown:
        message = f"There is no phase {unknown[0]!r} for commands; choose from {', '.join(COMMAND_PHASES)}."
        raise InvalidError(message, {"phase_commands": message})
    commands = {phase: [_command(text, "phase_commands") for text in texts] for phase, texts in value.items()}
    return {phase: [text for text in texts if text] for phase, texts in commands.items() if any(texts)}


_CHECKS: dict[str, Any] = {
    "branch": names.branch,
    "root": names.root,
    "strategy": _strategy,
    "keep": _number("keep", KEEP_AT_LEAST, KEEP_AT_MOST),
    "auto_deploy": bool,
    "health_url": _health_url,
    "health_status": _number("health_status", 100, 599),
    "health_text": _health_text,
    "health_timeout_seconds": _number("health_timeout_seconds", 1, 300),
    "health_retries": _number("health_retries", 0, 100),
    "shared_files": _paths("shared_files"),
    "shared_folders": _paths("shared_folders"),
    "watch_paths": _patterns,
    "tag_pattern": _tag_pattern,
    "task_commands": _task_commands,
    "phase_commands": _phase_commands,
    "requires_variables": bool,
    "hooks": hooks_check,
    "windows": windows.check_windows,
    "freezes": windows.check_freezes,
    "time_zone": windows.check_time_zone,
}


def _refuse_while_deploying(environment: Environment) -> None:
    if environment.deployments.filter(status__in=_OPEN).exists():
        raise ConflictError(f"A deployment to {environment} is under way. Cancel it or wait for its end.")
