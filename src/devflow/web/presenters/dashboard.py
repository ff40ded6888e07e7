"""The fleet at a glance: figures that are filters, a page of projects, what runs, the servers with their load."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from devflow.apps.deployments.overview import State
from devflow.apps.projects.selectors import ProjectName
from devflow.apps.servers.models import Server

STATES = ("failing", "deploying", "waiting")
"""By which the projects of the dashboard are filtered."""
_WORST_FIRST = ("offline", "maintenance", "unknown", "online")


@dataclass(frozen=True, slots=True)
class Counter:
    """How many environments are in a state; `key` is the filter, '' for all."""

    key: str
    label: str
    value: int
    tone: str


@dataclass(frozen=True, slots=True)
class ServerLoad:
    """What the last check read: parts in use in percent, None where it is not known."""

    server: Server
    load: int | None
    memory: int | None
    disk: int | None


def counters(states: Sequence[State], projects: int) -> list[Counter]:
    failing = sum(state.is_failing for state in states)
    deploying = sum(state.is_deploying for state in states)
    waiting = sum(state.is_waiting for state in states)
    return [
        Counter("", _("Projects"), projects, ""),
        Counter("failing", _("Failing"), failing, "tone-bad" if failing else ""),
        Counter("deploying", _("Deploying"), deploying, "tone-busy" if deploying else ""),
        Counter("waiting", _("Waiting for their window"), waiting, "tone-warn" if waiting else ""),
    ]


def chosen_projects(
    projects: Sequence[ProjectName], states: Sequence[State], *, state: str, query: str
) -> list[ProjectName]:
    """The projects that fit the filters: those that fail first, then by slug."""
    failing = {each.project_id for each in states if each.is_failing}
    wanted = query.lower()
    fitting = [each for each in projects if wanted in each.slug or wanted in each.name.lower()] if wanted else projects
    if state:
        there = {each.project_id for each in states if getattr(each, f"is_{state}")}
        fitting = [each for each in fitting if each.pk in there]
    return [each for each in fitting if each.pk in failing] + [each for each in fitting if each.pk not in failing]


def server_loads(servers: Iterable[Server]) -> list[ServerLoad]:
    """Those that are not well first, then those with the least room."""
    loads = [_load(server) for server in servers]
    return sorted(
        loads, key=lambda each: (_WORST_FIRST.index(each.server.status), -max(each.disk or 0, each.memory or 0))
    )


def _load(server: Server) -> ServerLoad:
    facts: Mapping[str, Any] = server.facts
    cpus = facts.get("cpus") or 1
    try:
        load: int | None = round(100 * float(facts["load"]) / cpus)
    except (KeyError, ValueError):
        load = None
    return ServerLoad(server, load, _used(facts, "memory"), _used(facts, "disk"))


def _used(facts: Mapping[str, Any], what: str) -> int | None:
    total, free = facts.get(f"{what}_kb"), facts.get(f"{what}_free_kb")
    return round(100 * (total - free) / total) if total and free is not None else None
