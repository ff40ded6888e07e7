"""Plans: what a deployment will do, as a plain value that can be printed, stored and tested without a server."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import chain, groupby
from typing import Any

from devflow.core.services import Service
from devflow.engine import hooks
from devflow.engine.hooks import Hook
from devflow.engine.task import Phase, Recipe, Reuse, Task, Where

_NPM_CI = re.compile(r"npm (?:ci|clean-install)(?: --?[\w-]+(?:=[\w.,@/-]+)?)*")
COMMAND_PHASES = tuple(phase.value for phase in Phase if phase not in (Phase.PREFLIGHT, Phase.UNDO))
"""Phases that take a team's own commands."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server as the plan names it: the panel's id of it and its name; `address` is where others reach it."""

    id: str
    name: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """`url` is whole or a path on the server itself; tried `retries` + 1 times, a second apart."""

    url: str
    status: int = 200
    text: str = ""
    timeout_seconds: int = 10
    retries: int = 5


@dataclass(frozen=True, slots=True)
class Site:
    """All that a plan needs to know of an environment.

    Of variables it has the keys only: a plan holds no secrets. `mirror` names the project's mirror on a server.
    `options` are the values of the recipe's options, all of them, `strategy_options` of the strategy's; `tools` is what
    each run begins with. `proxy` ('', nginx) is what serves `domains` on each server, from `proxy_template` where the
    site file is an own one; `proxy_accepted` has `SERVER SHA-256` of one that was edited by hand and is to be replaced,
    and `SERVER SHA-256 PATH` of another file whose place the site takes. `port` is the first of two on 127.0.0.1 that
    are this environment's own there (blue's; green's is the next), 0 without. `balancer` and `builder` are servers
    beside, or among, the targets. `joining` names the targets that the last good deployment did not go to, none before
    the first.
    """

    name: str
    environment_id: str
    repository: str
    mirror: str
    branch: str
    root: str
    keep: int
    targets: tuple[Target, ...]
    shared_files: tuple[str, ...] = ()
    shared_folders: tuple[str, ...] = ()
    variable_keys: tuple[str, ...] = ()
    health: HealthCheck | None = None
    task_commands: Mapping[str, str] | None = None
    phase_commands: Mapping[str, Iterable[str]] | None = None
    options: Mapping[str, str] | None = None
    hooks: tuple[Hook, ...] = ()
    tools: str = ""
    strategy_options: Mapping[str, str] | None = None
    proxy: str = ""
    proxy_template: str = ""
    proxy_accepted: tuple[str, ...] = ()
    upload_mb: int = 64
    domains: tuple[str, ...] = ()
    port: int = 0
    balancer: Target | None = None
    builder: Target | None = None
    joining: tuple[str, ...] = ()

    @property
    def everyone(self) -> tuple[Target, ...]:
        """The targets, then balancer and builder where they are none of those."""
        return tuple(dict.fromkeys((*self.targets, *filter(None, (self.balancer, self.builder)))))

    @property
    def leader(self) -> Target:
        """Who finds the commit for all: the builder where there is one."""
        return self.builder or self.targets[0]

    def servers_of(self, task: Task) -> tuple[str, ...]:
        """The names of those that run the task."""
        if task.servers:
            return task.servers
        chosen: Mapping[Where, Iterable[Target | None]] = {
            Where.ALL: self.targets,
            Where.FIRST: self.targets[:1],
            Where.EVERY: self.everyone,
            Where.BALANCER: (self.balancer,),
            Where.BUILDER: (self.builder or next(iter(self.targets), None),),
        }
        return tuple(target.name for target in chosen[task.where] if target)


@dataclass(frozen=True, slots=True)
class Round:
    """Some of the servers, by name, that go live before the others do, and go back after them: what is done around
    that, elsewhere, on the way there and on the way back."""

    servers: tuple[str, ...]
    before: Task
    after: Task
    undo_before: Task
    undo_after: Task


@dataclass(frozen=True, slots=True)
class Step:
    """A task in its place in a plan. `servers` are the names of those that run it."""

    position: int
    task: Task
    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Steps that are carried out on these servers; the next group begins when all of them have ended well."""

    name: str
    steps: tuple[Step, ...]
    servers: tuple[str, ...]

    @property
    def is_undo(self) -> bool:
        return self.steps[0].task.phase is Phase.UNDO

    @property
    def again(self) -> Group:
        """The same under a name of its own, for a server that went down while it was undoing."""
        return replace(self, name=f"{self.name}-again")


@dataclass(frozen=True)
class Plan:
    """`release` is the folder's name under `<root>/releases`; `commit` is '' where the branch's head is taken.

    `sources` says of each setting that the commit's devflow.yml can have where the one in force is from, `file` is the
    text of that file where it is in force, `warnings` are what a person should know before. One that `is_clean` reuses
    nothing that was made for earlier releases. `services` says how those of a Compose file are treated, and why.
    """

    strategy: str
    recipe: str
    release: str
    commit: str
    is_rollback: bool
    site: Site
    steps: tuple[Step, ...]
    is_clean: bool = False
    sources: Mapping[str, str] = field(default_factory=dict)
    file: str = ""
    warnings: tuple[str, ...] = ()
    services: tuple[Service, ...] = ()

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """One group for one server; for several, a new one wherever all must have come so far, or where others run.

        The last of several holds nothing but the panel's own cleaning up.
        """
        groups: list[list[Step]] = []
        for step in self.steps:
            if step.task.phase is Phase.UNDO:
                continue
            if groups and not _is_barrier(groups[-1][-1], step, many=len(self.site.everyone) > 1):
                groups[-1].append(step)
            else:
                groups.append([step])
        return tuple(
            Group(name=f"{number}-{steps[0].task.phase}", steps=tuple(steps), servers=steps[0].servers)
            for number, steps in enumerate(groups, 1)
        )

    @cached_property
    def forward(self) -> Group:
        """All that is not undoing: one run on each server, which waits at a gate before each group after its first."""
        steps = tuple(step for step in self.steps if step.task.phase is not Phase.UNDO)
        return Group(name="1-forward", steps=steps, servers=tuple(target.name for target in self.site.everyone))

    @property
    def last_word(self) -> Group:
        """The last group, to be said once more by itself: each step whatever became of the one before, and nothing is
        taken back."""
        last = self.groups[-1]
        steps = tuple(replace(step, task=replace(step.task, phase=Phase.UNDO)) for step in last.steps)
        return Group(name=f"{len(self.groups) + 1}-finish", steps=steps, servers=last.servers)

    def groups_of(self, server: str) -> tuple[int, ...]:
        """The numbers, from 1, of the groups that `server` takes part in."""
        return tuple(number for number, group in enumerate(self.groups, 1) if server in group.servers)

    @cached_property
    def undo(self) -> Group:
        """What takes a server back to how it was; safe to run at any point and again."""
        steps = tuple(step for step in self.steps if step.task.phase is Phase.UNDO)
        return Group(name="undo", steps=steps, servers=tuple(target.name for target in self.site.everyone))

    @cached_property
    def is_in_rounds(self) -> bool:
        """True where some servers go live, and back, before others do."""
        return any(step.task.servers for step in self.undo.steps)

    @cached_property
    def undo_groups(self) -> tuple[Group, ...]:
        """How all are taken back: each group when the one before it has ended; one group without rounds."""
        if not self.is_in_rounds:
            return (self.undo,)
        parts = [list(steps) for _, steps in groupby(self.undo.steps, _turn)]
        return tuple(
            Group(f"{number}-undo", tuple(part), tuple(dict.fromkeys(name for step in part for name in step.servers)))
            for number, part in enumerate(parts, 1)
        )

    def to_json(self) -> dict[str, Any]:
        """The plan as stored with a deployment; `from_json` gives it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Plan:
        site = dict(document["site"])
        site["targets"] = tuple(Target(**target) for target in site["targets"])
        site["health"] = HealthCheck(**site["health"]) if site["health"] else None
        for key in ("shared_files", "shared_folders", "variable_keys", "domains", "proxy_accepted", "joining"):
            site[key] = tuple(site.get(key, ()))
        for key in ("balancer", "builder"):
            site[key] = Target(**site[key]) if site.get(key) else None
        site["hooks"] = tuple(Hook(**{**hook, "where": Where(hook["where"])}) for hook in site.get("hooks", ()))
        found = tuple(Service(**each) for each in document.get("services", ()))
        document = {**document, "warnings": tuple(document.get("warnings", ())), "services": found}
        return cls(**{**document, "site": Site(**site), "steps": tuple(_step(step) for step in document["steps"])})


def compose(
    site: Site,
    recipe: Recipe,
    builtin: Iterable[Task],
    *,
    reload_only: bool = False,
    rounds: Sequence[Round] = (),
) -> tuple[Step, ...]:
    """The steps of a deployment: the strategy's tasks, the recipe's (as the team changed them), the team's commands and
    hooks.

    A rollback takes only the commands that reload what serves (`reload_only`), with the hooks around them. With
    `rounds`, servers go live and back in these.
    """
    recipe_tasks, own = _recipe_tasks(site, recipe), _own_tasks(site)
    if reload_only:
        recipe_tasks, own = ([task for task in tasks if task.phase is Phase.RELOAD] for tasks in (recipe_tasks, own))
    only = Phase.RELOAD if reload_only else None
    tasks = _interleave([*builtin], recipe_tasks, own, site.hooks, only=only)
    return place(site, _in_rounds(site, tasks, rounds) if rounds else tasks)


def reload_commands(site: Site, recipe: Recipe) -> tuple[str, ...]:
    """What makes whatever serves the site take up a release, in order."""
    tasks = [task for task in (*_recipe_tasks(site, recipe), *_own_tasks(site)) if task.phase is Phase.RELOAD]
    return tuple(
        f"if {{ {task.condition}; }}; then\n{task.command}\nfi" if task.condition else task.command
        for task in hooks.weave(tasks, site.hooks, only=Phase.RELOAD)
    )


def hook_warnings(site: Site, recipe: Recipe, builtin: Iterable[Task]) -> tuple[str, ...]:
    """What to tell of the site's hooks that have no place in a deployment with this recipe."""
    switched_off = [task for task in recipe.tasks if (site.task_commands or {}).get(task.name) == ""]
    return hooks.unknown([*builtin, *_recipe_tasks(site, recipe), *_own_tasks(site), *switched_off], site.hooks)


def place(site: Site, tasks: Iterable[Task]) -> tuple[Step, ...]:
    """The tasks in order, each with the servers that it runs on."""
    return tuple(Step(position=number, task=task, servers=site.servers_of(task)) for number, task in enumerate(tasks))


def _interleave(
    builtin: list[Task], recipe: list[Task], own: list[Task], around: tuple[Hook, ...], *, only: Phase | None
) -> list[Task]:
    """By phase: what the panel does, then the recipe, then the team; but switching comes after warming, and the panel's
    last word (check, prune, unlock) after all. Undo takes back, reloads what serves the release before, cleans up."""
    ordered: list[Task] = []
    for phase in Phase:
        panel = [task for task in builtin if task.phase is phase]
        if phase is Phase.UNDO:
            ordered = hooks.weave(ordered, around, only=only)
            reloads = [task for task in ordered if task.phase is Phase.RELOAD and not task.is_builtin]
            again = [replace(task, phase=Phase.UNDO, name=f"{task.name} again") for task in reloads]
            ordered += [*panel[:1], *again, *panel[1:]]
            continue
        others = [task for task in [*recipe, *own] if task.phase is phase]
        ordered += [*others, *panel] if phase in (Phase.ACTIVATE, Phase.VERIFY, Phase.FINISH) else [*panel, *others]
    return ordered


def _in_rounds(site: Site, tasks: list[Task], rounds: Sequence[Round]) -> list[Task]:
    """The tasks with those of going live round by round, and those of going back, except for cleaning up, in the other
    order of rounds."""
    live = [task for task in tasks if task.phase in (Phase.ACTIVATE, Phase.RELOAD, Phase.VERIFY)]
    undo = [task for task in tasks if task.phase is Phase.UNDO]
    first_builtin = next(task for task in undo if task.is_builtin)
    back = [task for task in undo if not task.is_builtin or task is first_builtin]

    def part(these: list[Task], servers: tuple[str, ...]) -> list[Task]:
        chosen = ((task, tuple(name for name in site.servers_of(task) if name in servers)) for task in these)
        return [replace(task, servers=names) for task, names in chosen if names]

    there = [[each.before, *part(live, each.servers), each.after] for each in rounds]
    again = [[each.undo_before, *part(back, each.servers), each.undo_after] for each in reversed(rounds)]
    return [
        *(task for task in tasks if task not in live and task not in undo and task.phase is not Phase.FINISH),
        *chain.from_iterable(there),
        *(task for task in tasks if task.phase is Phase.FINISH),
        *chain.from_iterable(again),
        *(task for task in undo if task not in back),
    ]


def _recipe_tasks(site: Site, recipe: Recipe) -> list[Task]:
    """The recipe's tasks as the team changed them, without those it switched off."""
    changed = site.task_commands or {}
    return [task for task in (_override(task, changed) for task in recipe.tasks) if task.command]


def _own_tasks(site: Site) -> list[Task]:
    return [
        Task(
            name=f"{phase} command {number}", phase=Phase(phase), command=command, undo="cannot be undone by the panel"
        )
        for phase, commands in (site.phase_commands or {}).items()
        for number, command in enumerate(commands, 1)
    ]


def _override(task: Task, changed: Mapping[str, str]) -> Task:
    if task.name not in changed:
        return task
    command = changed[task.name]
    return replace(task, command=command, condition="", needs=(), reuse=_reuse_of(command, task.reuse))


def _reuse_of(command: str, reuse: Reuse | None) -> Reuse | None:
    """What a team's own command in place of a recipe's may take over: npm ci begins by removing what is there."""
    if reuse is None or not reuse.folders:
        return reuse
    if reuse.after is not None and _NPM_CI.fullmatch(command.strip()):
        return replace(reuse, after="") if "--ignore-scripts" in command else reuse
    return None if re.search(r"\bnpm (ci|clean-install)\b", command) else replace(reuse, after=None)


def _is_barrier(last: Step, step: Step, *, many: bool) -> bool:
    if not many:
        return False
    if step.task.waits:
        return True
    before, after = last.task.phase, step.task.phase
    together = {
        (Phase.PREFLIGHT, Phase.PREPARE),
        (Phase.ACTIVATE, Phase.RELOAD),
        (Phase.ACTIVATE, Phase.VERIFY),
        (Phase.RELOAD, Phase.VERIFY),
    }
    is_last_word = after is Phase.FINISH and step.task.is_builtin and not last.task.is_builtin
    return is_last_word or last.servers != step.servers or (before is not after and (before, after) not in together)


def _turn(step: Step) -> object:
    """What steps of the way back have in common that are done at once; each of the balancer's is waited for."""
    return bool(step.task.servers) or (step.position if step.task.where is Where.BALANCER else step.servers)


def _step(document: dict[str, Any]) -> Step:
    task = dict(document["task"])
    task |= {"phase": Phase(task["phase"]), "where": Where(task["where"]), "needs": tuple(task["needs"])}
    task["servers"] = tuple(task.get("servers", ()))
    if reuse := task.get("reuse"):
        task["reuse"] = Reuse(**{**reuse, **{key: tuple(reuse[key]) for key in ("folders", "inputs", "tools")}})
    return Step(position=document["position"], task=Task(**task), servers=tuple(document["servers"]))
