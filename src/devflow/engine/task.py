"""Phases, tasks and recipes: the values that plans are made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

LONGEST_OPTION = 1000


class Phase(StrEnum):
    """In the order in which they are carried out, with a barrier after each. `UNDO` only runs after a failure."""

    PREFLIGHT = "preflight"
    PREPARE = "prepare"
    PROTECT = "protect"
    MIGRATE = "migrate"
    ACTIVATE = "activate"
    RELOAD = "reload"
    VERIFY = "verify"
    FINISH = "finish"
    UNDO = "undo"


class Where(StrEnum):
    """`ALL` and `FIRST` of the servers that serve; `EVERY` has the balancer and the builder too."""

    ALL = "all"
    FIRST = "first"
    EVERY = "every"
    BALANCER = "balancer"
    BUILDER = "builder"


@dataclass(frozen=True, slots=True)
class Reuse:
    """What a task makes, and what decides whether a release takes over what the task made for an earlier one.

    It makes these `folders` (`**/name`: all folders of that name); none: everything that it changes in the release.
    `inputs`, shell words with patterns, are the files and folders whose content decides; none: everything in the
    release, and what the tasks before it took over. The output of the commands `tools` decides too, and so do the
    task's command, the variables, the recipe's options, and the server's platform. Nothing is taken over where the
    shell test `when` is false. `after` completes what was taken over; None: the command itself, for a tool that goes
    on from what it finds. `told` says in words what must be unchanged.
    """

    told: str
    folders: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    when: str = ""
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to do on a server.

    `command` is shell text. A task of the panel's own (`is_builtin`) runs with the run's variables (`$root`,
    `$release`, …); any other runs in the release's folder with the environment's variables exported. `condition` is a
    shell test in that folder: the task does nothing where it is false. `needs` are the programs that must be there
    (`a|b`: one of them). `undo` says how it is undone, and `summary` what a long command does, in words. A task that
    `is_early` runs in the site's folder, since there is no release yet. What one with `reuse` makes is kept on the
    server for later releases. `servers`, names, say who runs it where `where` cannot: a batch of them. Before one that
    `waits`, all servers have come so far.
    """

    name: str
    phase: Phase
    command: str
    undo: str
    where: Where = Where.ALL
    condition: str = ""
    needs: tuple[str, ...] = ()
    is_builtin: bool = False
    summary: str = ""
    is_early: bool = False
    reuse: Reuse | None = None
    servers: tuple[str, ...] = ()
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Tree:
    """What is at the top of a commit: the names of files and folders, and the text of those that recipes look into."""

    files: frozenset[str]
    contents: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Option:
    """A setting of a recipe; its value reaches the recipe's commands as the shell variable `option_<name>`.

    `pattern` is a regular expression for the whole value, `choices` the values where only some are allowed. `check` is
    shell text of a preflight step where there is a value: it may `explain` what the server lacks for it.
    """

    name: str
    title: str
    help: str
    default: str = ""
    choices: tuple[str, ...] = ()
    pattern: str = ""
    check: str = ""

    def problem(self, value: str) -> str:
        """Why the value cannot be taken, '' where it can. An empty one stands for the default."""
        if not value:
            return ""
        if self.choices:
            return "" if value in self.choices else f"Choose one of: {', '.join(self.choices)}."
        if len(value) > LONGEST_OPTION or not value.isprintable():
            return f"Give one line of at most {LONGEST_OPTION:,} characters."
        return "" if not self.pattern or re.fullmatch(self.pattern, value) else f"This cannot be used here. {self.help}"


@dataclass(frozen=True, slots=True)
class Runtime:
    """How a release of a recipe runs beside another one, each under a colour: shell text for builtin tasks, over the
    run's variables and `$colour` (blue, green), `$port` (on 127.0.0.1, of that colour), `$release`, `$path`.

    `check` explains what the server lacks, before anything is done. `start` starts the release as `$colour`; it returns
    without waiting for it to be healthy, and takes away first what an earlier release left under that colour. `look`
    fails, explaining, where the colour does not run, has restarted since it was started, or is ill by a health check of
    its own; until `$ill_until` (in seconds since the server's start, if set) such an illness is waited for. `stop` ends
    it within `$drain_seconds` and leaves it startable; `remove` leaves nothing of it, and is harmless where there is
    nothing.
    `keeps` ends well where the release `$release` can be started on this server again. `prune` removes what belongs to
    releases that are not kept. `enable` has the colour come up after a reboot, `disable` has it not; '' where whatever
    ran does. `words` prints the last lines of what the colour said. All may be run again at any point. Strategies run
    them in a subshell with `set -e` (strategies/colours.py).
    """

    title: str
    check: str
    start: str
    look: str
    stop: str
    remove: str
    keeps: str
    prune: str = ""
    enable: str = ""
    disable: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a framework is deployed.

    `env_file` is the file of a release that the environment's variables are written to. `tools` is shell text that each
    run begins with: it may put programs of its own, in `$run/bin`, first in PATH. With a `runtime`, releases can run
    side by side (strategies blue-green and canary).
    """

    name: str
    title: str
    detect: Callable[[Tree], bool]
    tasks: tuple[Task, ...]
    shared_files: tuple[str, ...] = ()
    shared_folders: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    env_file: str = ".env"
    tools: str = ""
    runtime: Runtime | None = None
