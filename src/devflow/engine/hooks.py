"""Hooks: a team's own commands right before or after a phase or a step of a plan."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from devflow.engine.task import Phase, Task, Where

HOOK_PHASES = (Phase.PREPARE, Phase.PROTECT, Phase.MIGRATE, Phase.RELOAD, Phase.VERIFY, Phase.FINISH)
"""Phases that have a before and an after. `activate` is the step of that name: right before and after the switch."""
FIXED_PHASES = (Phase.PREFLIGHT, Phase.UNDO)
UNDO = "cannot be undone by the panel"
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Hook:
    """`when` is before or after; `what` the name of a phase or a step, in which only letters and digits count."""

    when: str
    what: str
    command: str
    where: Where = Where.ALL


def key(name: str) -> str:
    """What counts in the name of a phase or step: `artisan queue:restart` is `artisan_queue_restart`."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def places(tasks: Iterable[Task]) -> tuple[str, ...]:
    """All that a hook can be put before or after, in a plan of these tasks: phases, then steps."""
    steps = (task.name for task in tasks if not _is_fixed(task))
    return tuple(dict.fromkeys((*(phase.value for phase in HOOK_PHASES), *steps)))


def nearest(what: str, known: Iterable[str]) -> str:
    """The known name that was most likely meant, '' for none."""
    names = {key(name): name for name in known}
    return next((names[found] for found in difflib.get_close_matches(key(what), names, n=1, cutoff=0.5)), "")


def unknown(tasks: Sequence[Task], hooks: Iterable[Hook]) -> tuple[str, ...]:
    """What to tell of hooks that have no place among these tasks, so that they do not run."""
    return unknown_in(places(tasks), hooks)


def unknown_in(known: tuple[str, ...], hooks: Iterable[Hook]) -> tuple[str, ...]:
    """What to tell of hooks that have none of these places."""
    keys = {key(name) for name in known}
    return tuple(_refused(hook, known) for hook in hooks if key(hook.what) not in keys)


def weave(tasks: Sequence[Task], hooks: Iterable[Hook], *, only: Phase | None = None) -> list[Task]:
    """The tasks, which are in the order of their phases and hold no undoing, with the hooks in their places.

    With `only`, the hooks of that phase and its steps alone.
    """
    wanted: dict[tuple[str, str], list[Hook]] = {}
    for hook in hooks:
        wanted.setdefault((hook.when, key(hook.what)), []).append(hook)
    phases = {phase.value for phase in HOOK_PHASES}
    ordered: list[Task] = []

    def put(when: str, name: str, phase: Phase) -> None:
        if only in (None, phase):
            ordered.extend(_task(hook, phase, name) for hook in wanted.get((when, key(name)), ()))

    for phase in Phase:
        inside = [task for task in tasks if task.phase is phase]
        takes = phase.value in phases
        if takes:
            put("before", phase.value, phase)
        for task in inside:
            if phase is Phase.FINISH and _is_fixed(task):
                continue
            takes_step = not _is_fixed(task) and key(task.name) not in phases
            if takes_step:
                put("before", task.name, phase)
            ordered.append(task)
            if takes_step:
                put("after", task.name, phase)
        if takes:
            put("after", phase.value, phase)
        if phase is Phase.FINISH:
            ordered += [task for task in inside if _is_fixed(task)]
    return _early(ordered)


def _task(hook: Hook, phase: Phase, around: str) -> Task:
    """Named `before composer install: command…`."""
    command = hook.command.strip()
    first = command.partition("\n")[0][:_SHOWN]
    name = f"{hook.when} {around}: {first}{'' if first == command else '…'}"
    return Task(name=name, phase=phase, command=hook.command, undo=UNDO, where=hook.where)


def _is_fixed(task: Task) -> bool:
    """Nothing of a team's comes between the check and the lock, or into the panel's own cleaning up."""
    return task.phase in FIXED_PHASES or (task.is_builtin and task.phase is Phase.FINISH)


def _early(tasks: list[Task]) -> list[Task]:
    """What comes before the release is laid out starts in the folder of the site: there is no other yet."""
    made = next((number for number, task in enumerate(tasks) if task.is_builtin and task.name == "release"), 0)
    return [
        replace(task, is_early=True) if number < made and not task.is_builtin else task
        for number, task in enumerate(tasks)
    ]


def _refused(hook: Hook, known: tuple[str, ...]) -> str:
    near = nearest(hook.what, known)
    meant = f" Did you mean {near!r}?" if near else f" Choose from: {', '.join(known)}."
    return (
        f"The hook {hook.when} {hook.what!r} does not run: the plan has no such phase or step that takes hooks.{meant}"
    )
