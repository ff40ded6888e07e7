"""Phases, tasks and recipes: the values that plans are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


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
    ALL = "all"
    FIRST = "first"


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to do on a server.

    `command` is shell text. A task of the panel's own (`is_builtin`) runs with the run's variables (`$root`,
    `$release`, …); any other runs in the release's folder with the environment's variables exported. `condition` is a
    shell test in that folder: the task does nothing where it is false. `needs` are the programs that must be there.
    `undo` says how it is undone, and `summary` what a long command does, in words.
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


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a framework is deployed. `detect` gets the names of the files at the top of the commit."""

    name: str
    title: str
    detect: Callable[[frozenset[str]], bool]
    tasks: tuple[Task, ...]
    shared_files: tuple[str, ...] = ()
    shared_folders: tuple[str, ...] = ()
