"""Which settings are in force in an environment: the panel's, with those of the commit's devflow.yml in their place."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from devflow.apps.projects.models import Environment
from devflow.core.errors import InvalidError
from devflow.engine import devfile, hooks
from devflow.engine.devfile import DevFile, DevfileError
from devflow.engine.hooks import Hook
from devflow.engine.plan import Plan
from devflow.engine.task import Recipe, Where
from devflow.recipes import RECIPES

_ORDER = (
    *("recipe", "recipe_options", "keep", "shared_files", "shared_folders"),
    *("health_url", "health_status", "health_text", "health_timeout_seconds", "health_retries"),
    *("task_commands", "hooks"),
)
_OF_ENVIRONMENT = (
    *("keep", "health_url", "health_status", "health_text", "health_timeout_seconds", "health_retries"),
    *("shared_files", "shared_folders", "recipe_options", "task_commands", "hooks"),
)


@dataclass(frozen=True, slots=True)
class Effective:
    """`environment` is a copy with the settings in force, which must never be saved; `sources` says where each is from,
    `file` is the text of the devflow.yml that is in force, `parsed` what it says."""

    environment: Environment
    recipe: Recipe
    sources: dict[str, str]
    file: str
    parsed: DevFile

    @property
    def warnings(self) -> tuple[str, ...]:
        return self.parsed.warnings


def effective(environment: Environment, *, recipe: str, file: str) -> Effective:
    """`recipe` is the project's or the detected one, `file` the text of devflow.yml, '' for none.

    Raises DevfileError, whose message has the lines of all that is wrong in the file.
    """
    parsed = devfile.parse(file, recipes=RECIPES, environment=environment.name) if file else None
    chosen = RECIPES[(parsed.recipe if parsed else "") or recipe]
    if parsed:
        parsed.check(chosen)
    found = devfile.in_force(_of_panel(environment), parsed)
    merged = copy.copy(environment)
    for name in _OF_ENVIRONMENT:
        setattr(merged, name, found.values[name])
    return Effective(merged, chosen, dict(found.sources), file, parsed or DevFile())


def misnamed(environment: Environment, file: DevFile) -> tuple[str, ...]:
    """What to tell of environments that the file names and the project does not have. Within the team's scope."""
    if not file.environments:
        return ()
    return file.unknown_environments(list(environment.project.environments.values_list("name", flat=True)))


def file_of(environment: Environment, detected: dict[str, Any]) -> str:
    """The text of devflow.yml that the last look found, where the project has it read. Raises InvalidError."""
    if not environment.project.reads_file:
        return ""
    text = str(detected.get("file", ""))
    if not text and detected.get("file_error"):
        raise InvalidError(detected["file_error"], {"file": detected["file_error"]})
    return text


def needs_look(environment: Environment) -> bool:
    """Whether a plan depends on what is in the repository: its files, or the commit that all servers are to bring. The
    first tells that to the others once it has fetched, unless it waits for them after a hook of its own before that.
    """
    project = environment.project
    is_waited_for = any(
        hook.when == "before" and hooks.key(hook.what) in ("prepare", "fetch") and hook.where is Where.FIRST
        for hook in hooks_of(environment)
    )
    return project.recipe in ("", "compose") or project.reads_file or environment.requires_variables or is_waited_for


def compose_options(environment: Environment, detected: dict[str, Any]) -> dict[str, str] | None:
    """The options that a Compose file is read with, where `detected`, what a look found, means one; else None."""
    if detected.get("file_error") and environment.project.reads_file:
        return None
    recipe = environment.project.recipe or detected["recipe"]
    try:
        chosen = effective(environment, recipe=recipe, file=file_of(environment, detected))
    except InvalidError:
        return None
    if chosen.recipe.name != "compose":
        return None
    given = chosen.environment.recipe_options
    return {option.name: given.get(option.name, option.default) for option in chosen.recipe.options}


def file_error(environment: Environment, *, recipe: str, file: str | None) -> str:
    """What is wrong with the file that a look found, '' for nothing. `file` is None where it is too large."""
    if file is None:
        return f"{devfile.NAME}:1:1: the file has more than {devfile.LARGEST_BYTES // 1024} KB. Make it shorter."
    try:
        effective(environment, recipe=recipe or "static", file=file)
    except DevfileError as error:
        return str(error)
    return ""


def hooks_of(environment: Environment) -> tuple[Hook, ...]:
    """The environment's hooks as the engine takes them."""
    return devfile.hooks_from(environment.hooks)


def file_settings(environment: Environment) -> list[dict[str, str]]:
    """What the devflow.yml of the last look sets in this environment, with its lines. Raises InvalidError."""
    text = file_of(environment, environment.detected)
    recipe = environment.project.recipe or environment.detected.get("recipe", "") or "static"
    effective(environment, recipe=recipe, file=text)
    file = devfile.parse(text, recipes=RECIPES, environment=environment.name)
    return [
        {"name": name, "value": _text(setting.value), "source": setting.source}
        for name, setting in sorted(file.settings.items(), key=lambda pair: pair[1].line)
    ]


def plan_settings(plan: Plan) -> list[dict[str, str]]:
    """For each setting that a devflow.yml can have: its name, the value in force, and where that is from.

    Without a health check, nothing more is told of one; nor of options that the recipe does not have.
    """
    named = sorted(plan.sources.items(), key=lambda pair: (_ORDER.index(pair[0].partition(".")[0]), pair[0]))
    return [
        {"name": name, "value": _shown(plan, name), "source": source} for name, source in named if _counts(plan, name)
    ]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(each["command"] if isinstance(each, dict) else each for each in value)
    return str(value)


def _of_panel(environment: Environment) -> dict[str, Any]:
    return {"recipe": environment.project.recipe} | {name: getattr(environment, name) for name in _OF_ENVIRONMENT}


def _counts(plan: Plan, name: str) -> bool:
    kind, _, entry = name.partition(".")
    if kind.startswith("health_"):
        return kind == "health_url" or plan.site.health is not None
    return kind != "recipe_options" or entry in (plan.site.options or {})


def _shown(plan: Plan, name: str) -> str:
    site = plan.site
    kind, _, entry = name.partition(".")
    if kind == "hooks":
        when, _, what = entry.partition("_")
        return "\n".join(hook.command for hook in site.hooks if (hook.when, hooks.key(hook.what)) == (when, what))
    if kind == "task_commands":
        return (site.task_commands or {}).get(entry, "")
    if kind == "recipe_options":
        return (site.options or {}).get(entry, "")
    if kind.startswith("health_"):
        return str(getattr(site.health, kind.removeprefix("health_"))) if site.health else ""
    return {"recipe": plan.recipe, "keep": str(site.keep)}.get(kind) or ", ".join(getattr(site, kind, ()))
