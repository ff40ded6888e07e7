"""An environment's own commands: hooks, changed tasks, and what they may be put before or after."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django.db import transaction
from django_scopes import scope

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.audit.services import audit_record
from devflow.apps.projects.models import Environment
from devflow.apps.projects.places import places_of
from devflow.core import names
from devflow.core.errors import ConflictError, InvalidError
from devflow.engine import hooks
from devflow.engine.hooks import Hook
from devflow.engine.task import Where
from devflow.recipes import RECIPES

WHENS = ("before", "after")
MOST_HOOKS, LONGEST_COMMAND = 50, 10_000
_FIELDS = {"when", "what", "command", "where"}


def hooks_check(value: Any) -> list[dict[str, str]]:
    """Hooks as they are kept: `when`, `what`, `command`, `where`. Raises InvalidError."""
    listed = list(value)
    if len(listed) > MOST_HOOKS:
        raise _refused(f"There are more than {MOST_HOOKS} hooks. Put what belongs together into a script.")
    return [_hook(hook, number) for number, hook in enumerate(listed, 1)]


def hook_list(environment: Environment) -> list[dict[str, str]]:
    """The environment's hooks in their order, each with a `mark` to remove it by."""
    return [{**hook, "mark": _mark(number, hook)} for number, hook in enumerate(environment.hooks, 1)]


def hook_add(
    *,
    actor: Actor,
    environment: Environment,
    when: str,
    what: str,
    command: str,
    where: str,
    place: int | None = None,
) -> Environment:
    """Adds a hook after the others, or after so many of them. Raises ForbiddenError, InvalidError."""
    actor.require(rights.MANAGE, environment)
    with transaction.atomic(), scope(team=actor.team):
        row = Environment.objects.select_for_update(of=("self",)).select_related("project").get(pk=environment.pk)
        added = {"when": when, "what": what, "command": command, "where": where}
        [checked] = hooks_check([added])
        before = len(row.hooks) if place is None else place
        row.hooks = hooks_check([*row.hooks[:before], added, *row.hooks[before:]])
        _refuse_places(row, [checked])
        row.save(update_fields=["hooks"])
        _record(actor, row, "hook.added", checked)
    return row


def hook_remove(*, actor: Actor, environment: Environment, mark: str) -> dict[str, Any]:
    """Removes the hook with this mark of `hook_list`; returns it with its `place`, as `hook_add` takes it again.

    Raises ForbiddenError, ConflictError (it is gone already).
    """
    actor.require(rights.MANAGE, environment)
    with transaction.atomic(), scope(team=actor.team):
        row = Environment.objects.select_for_update().get(pk=environment.pk)
        left = [hook for number, hook in enumerate(row.hooks, 1) if _mark(number, hook) != mark]
        if len(left) == len(row.hooks):
            raise ConflictError("This hook is not there any more: somebody changed the hooks meanwhile.")
        place, gone = next(
            (number - 1, hook) for number, hook in enumerate(row.hooks, 1) if _mark(number, hook) == mark
        )
        row.hooks = left
        row.save(update_fields=["hooks"])
        _record(actor, row, "hook.removed", gone)
    return {**gone, "place": place}


def commands_check(environment: Environment, given: Collection[str]) -> None:
    """Refuses what does not fit together or to the environment's recipe, where that is known: among the settings that
    are `given` now. Raises InvalidError."""
    recipe = environment.project.recipe or environment.detected.get("recipe", "")
    both = sorted(set(environment.shared_files) & set(environment.shared_folders))
    if both and {"shared_files", "shared_folders"} & set(given):
        message = f"{both[0]} is both a shared file and a shared folder. Keep one of them."
        raise InvalidError(message, {"shared_folders": message})
    if recipe not in RECIPES:
        return
    if "task_commands" in given:
        _refuse_tasks(environment.task_commands, recipe)
    if "hooks" in given:
        _refuse_places(environment, environment.hooks)


def _record(actor: Actor, environment: Environment, action: str, hook: Mapping[str, str]) -> None:
    audit_record(
        team=actor.team,
        actor=actor,
        action=action,
        target=f"{hook['when']} {hook['what']} of {environment}",
        target_id=str(environment.pk),
        project_id=environment.project_id,
        after=hook,
    )


def _refuse_places(environment: Environment, listed: Iterable[Mapping[str, str]]) -> None:
    """Refuses hooks that have no place with the environment's recipe, where that is known."""
    recipe = environment.project.recipe or environment.detected.get("recipe", "")
    known = [Hook(hook["when"], hook["what"], hook["command"]) for hook in listed]
    if recipe in RECIPES and (told := hooks.unknown_in(places_of(recipe, environment.strategy), known)):
        raise _refused(told[0])


def _refuse_tasks(commands: Iterable[str], recipe: str) -> None:
    known = [task.name for task in RECIPES[recipe].tasks]
    unknown = [task for task in commands if task not in known]
    if unknown:
        near = hooks.nearest(unknown[0], known)
        advice = f"Did you mean {near!r}?" if near else f"It has: {', '.join(known)}."
        message = f"The recipe {recipe} has no task {unknown[0]!r}. {advice}"
        raise InvalidError(message, {"task_commands": message})


def _mark(number: int, hook: Mapping[str, str]) -> str:
    text = "\0".join(hook[field] for field in sorted(_FIELDS))
    return f"{number}-{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}"


def _hook(hook: Any, number: int) -> dict[str, str]:
    if not isinstance(hook, Mapping) or not set(hook) <= _FIELDS or any(not isinstance(hook[key], str) for key in hook):
        raise _refused(f"Hook {number} must have when, what and command, and may have where, all of them text.")
    when, where = hook.get("when", ""), hook.get("where", "") or Where.ALL.value
    command = names.storable(hook.get("command", ""), "hooks").replace("\r\n", "\n").strip()
    if when not in WHENS:
        raise _refused(f"Hook {number}: when is before or after, not {when[:60]!r}.")
    if where not in list(Where):
        raise _refused(f"Hook {number}: where is all or first, not {where[:60]!r}.")
    if not command or len(command) > LONGEST_COMMAND:
        raise _refused(f"Hook {number} needs a command of at most {LONGEST_COMMAND:,} characters.")
    what = names.single_line(hook.get("what", ""), "hooks")
    if not hooks.key(what):
        raise _refused(f"Hook {number} needs the name of a phase or a step.")
    return {"when": when, "what": what, "command": command, "where": where}


def _refused(message: str) -> InvalidError:
    return InvalidError(message, {"hooks": message})
