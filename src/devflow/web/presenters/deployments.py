"""A deployment as its page shows it: steps by phase, what failed and what that means, what one can do now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from devflow.apps.deployments.lines import Line
from devflow.apps.deployments.models import Deployment, Release, Step
from devflow.apps.deployments.overview import Usual
from devflow.apps.deployments.settings import plan_settings
from devflow.apps.told import told
from devflow.core.causes import Cause, likely_cause, plain
from devflow.engine.plan import Plan
from devflow.engine.task import Phase
from devflow.web.looks import DEPLOYMENT, tab_state

PHASES: dict[str, tuple[str, str]] = {
    Phase.PREFLIGHT: (gettext_noop("Preflight"), gettext_noop("is everything there?")),
    Phase.PREPARE: (gettext_noop("Prepare"), gettext_noop("the new release, beside the one that serves")),
    Phase.PROTECT: (gettext_noop("Protect"), gettext_noop("before anything is changed for good")),
    Phase.MIGRATE: (gettext_noop("Migrate"), gettext_noop("from the new release, before the switch")),
    Phase.ACTIVATE: (gettext_noop("Activate"), gettext_noop("the switch")),
    Phase.RELOAD: (gettext_noop("Reload"), gettext_noop("services take the new release")),
    Phase.VERIFY: (gettext_noop("Verify"), gettext_noop("does it answer as it should?")),
    Phase.FINISH: (gettext_noop("Finish"), gettext_noop("old releases go, the lock is freed")),
    Phase.UNDO: (gettext_noop("Undo"), gettext_noop("only after a failure")),
}
_TREATMENTS = ("removed", "recreated", "replaced", "left")
_OUTCOMES = {
    "failed": gettext_noop("The release that served before goes on serving."),
    "rolled_back": gettext_noop("The release that served before serves again."),
    "cancelled": gettext_noop("The site is as it was before."),
    "superseded": gettext_noop("A newer request took its place; nothing was done for this one."),
}


@dataclass(frozen=True, slots=True)
class PhaseGroup:
    """`name` is the engine's word, `title` and `note` are for people; `steps` in their order."""

    name: str
    title: str
    note: str
    steps: Sequence[Any]

    @property
    def seconds(self) -> float | None:
        """Of steps that were timed: the time of the slowest server at each place of the plan."""
        slowest: dict[int, float] = {}
        for timed in self.steps:
            step = timed.step
            if step.duration_seconds is not None:
                slowest[step.position] = max(step.duration_seconds, slowest.get(step.position, 0.0))
        return sum(slowest.values()) if slowest else None

    @property
    def usual(self) -> float | None:
        known = {timed.step.position: timed.usual for timed in self.steps if timed.usual is not None}
        return sum(known.values()) if known else None


@dataclass(frozen=True, slots=True)
class TimedStep:
    """A step, and how many seconds it usually takes; None where that is not known."""

    step: Step
    usual: float | None

    @property
    def is_slow(self) -> bool:
        """Half as long again as usual, and by more than two seconds."""
        took = self.step.duration_seconds
        return took is not None and self.usual is not None and took > max(1.5 * self.usual, self.usual + 2)


@dataclass(frozen=True, slots=True)
class Problem:
    """What failed (`title`, `text`), the last lines of it, the likely cause, and what is the case now."""

    title: str
    text: str
    outcome: str
    is_failure: bool
    step: Step | None
    lines: Sequence[Line] = ()
    cause: Cause | None = None

    @property
    def first(self) -> int:
        """The number of the first of the lines."""
        return self.lines[0].number if self.lines else 1

    @property
    def texts(self) -> list[str]:
        return [plain(line.text) for line in self.lines]

    @property
    def bad(self) -> list[int]:
        """The numbers of those that look like the reason."""
        return [line.number for line in self.lines if "\x1b[31m" in line.text] or [
            line.number for line in self.lines[-1:]
        ]


def step_groups(steps: Iterable[Step], usual: Usual) -> list[PhaseGroup]:
    return _grouped([(step.phase, TimedStep(step, usual.steps.get((step.phase, step.name)))) for step in steps])


SHOWN_CHARACTERS = 600
SHOWN_SERVICES, SHOWN_VARIABLES = 30, 40


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step of a plan, and its `number` there. `command` is '' where it is long and not asked for: scripts of a large
    Compose file are a hundred times as long as all the rest of the page. `is_open`: somebody asked for it."""

    number: int
    step: Any
    command: str
    is_open: bool
    is_everywhere: bool

    @property
    def line_count(self) -> int:
        return len(self.step.task.command.splitlines())


def plan_groups(plan: Plan, wanted: str = "") -> list[PhaseGroup]:
    every = {target.name for target in plan.site.targets}
    planned = [_planned(number, step, wanted, every) for number, step in enumerate(plan.steps)]
    return _grouped([(each.step.task.phase.value, each) for each in planned])


def plan_context(plan: Plan, wanted: str = "") -> dict[str, Any]:
    """What the parts of a page that show a plan need. `wanted` is what is shown whole: the number of a step, or
    `services`, `variables`."""
    services = sorted(plan.services, key=lambda each: _TREATMENTS.index(each.treatment))
    variables = plan.site.variable_keys
    return {
        "plan": plan,
        "phases": plan_groups(plan, wanted),
        "settings": plan_settings(plan),
        "services": services if wanted == "services" else services[:SHOWN_SERVICES],
        "treatments": [(name, sum(each.treatment == name for each in services)) for name in _TREATMENTS],
        "more_services": 0 if wanted == "services" else len(services[SHOWN_SERVICES:]),
        "variables": variables if wanted == "variables" else variables[:SHOWN_VARIABLES],
        "more_variables": 0 if wanted == "variables" else len(variables[SHOWN_VARIABLES:]),
    }


def plan_step(plan: Plan, wanted: str) -> PlannedStep | None:
    """The step with this number, with its whole command; None where there is none."""
    number = int(wanted) if wanted.isascii() and wanted.isdecimal() and len(wanted) < 6 else len(plan.steps)
    return _planned(number, plan.steps[number], wanted, set()) if number < len(plan.steps) else None


def _planned(number: int, step: Any, wanted: str, every: set[str]) -> PlannedStep:
    is_wanted = wanted == str(number)
    is_short = len(step.task.command) <= SHOWN_CHARACTERS
    command = step.task.command if is_short or is_wanted else ""
    return PlannedStep(number, step, command, is_wanted, every == set(step.servers))


def problem_of(deployment: Deployment, steps: Iterable[Step], tail: Callable[[Step], list[Line]]) -> Problem | None:
    """Why the deployment did not go live; None where there is nothing to say. `tail` reads a step's last lines."""
    if not deployment.error:
        return None
    failed = next((step for step in steps if step.status == "failed" and step.phase != Phase.UNDO), None)
    word = DEPLOYMENT[deployment.status].word
    is_failure = deployment.status in ("failed", "rolled_back")
    lines = tail(failed) if failed and is_failure else []
    return Problem(
        title=_("%(word)s at %(step)s on %(server)s")
        % {"word": word, "step": failed.name, "server": failed.server_name}
        if failed
        else word,
        text=told(deployment.error),
        outcome=_(_OUTCOMES[deployment.status]) if deployment.status in _OUTCOMES else "",
        is_failure=is_failure,
        step=failed,
        lines=lines,
        cause=_cause(deployment.error, failed, lines) if is_failure else None,
    )


def _cause(error: str, step: Step | None, lines: Sequence[Line]) -> Cause | None:
    return likely_cause(
        error=error,
        step=step.name if step else "",
        exit_code=step.exit_code if step else None,
        lines=[line.text for line in lines],
    )


def tab_of(deployment: Deployment) -> dict[str, str]:
    """What the browser's tab shows."""
    word = DEPLOYMENT[deployment.status].word
    return {
        "tab_state": tab_state([deployment.status]),
        "tab_title": f"{word}: {deployment.project.name} {deployment.environment.name}",
    }


def rollback_target(deployment: Deployment, releases: Sequence[Release]) -> Release | None:
    """Where the page's rollback button leads: back to this deployment's release, or from it to the one before."""
    own = next((release for release in releases if release.name == deployment.release), None)
    if own is None or not own.is_current:
        return own
    return next((release for release in releases if release.name < own.name), None)


def _grouped(pairs: Iterable[tuple[str, Any]]) -> list[PhaseGroup]:
    groups = [(phase, [step for _phase, step in found]) for phase, found in groupby(pairs, key=lambda pair: pair[0])]
    titles = [PHASES.get(phase, (phase.capitalize(), "")) for phase, _steps in groups]
    return [
        PhaseGroup(name=phase, title=_(title), note=_(note) if note else "", steps=steps)
        for (phase, steps), (title, note) in zip(groups, titles, strict=True)
    ]
