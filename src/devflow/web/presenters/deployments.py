"""A deployment as its page shows it: steps by phase, what failed and what that means, what one can do now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from devflow.apps.deployments.models import Deployment, Release, Step
from devflow.apps.deployments.settings import plan_settings
from devflow.engine.plan import Plan
from devflow.engine.task import Phase
from devflow.web.looks import DEPLOYMENT, tab_state

PHASES: dict[str, tuple[str, str]] = {
    Phase.PREFLIGHT: ("Preflight", "is everything there?"),
    Phase.PREPARE: ("Prepare", "the new release, beside the one that serves"),
    Phase.PROTECT: ("Protect", "before anything is changed for good"),
    Phase.MIGRATE: ("Migrate", "from the new release, before the switch"),
    Phase.ACTIVATE: ("Activate", "the switch"),
    Phase.RELOAD: ("Reload", "services take the new release"),
    Phase.VERIFY: ("Verify", "does it answer as it should?"),
    Phase.FINISH: ("Finish", "old releases go, the lock is freed"),
    Phase.UNDO: ("Undo", "only after a failure"),
}
_OUTCOMES = {
    "failed": "The release that served before goes on serving.",
    "rolled_back": "The release that served before serves again.",
    "cancelled": "The site is as it was before.",
    "superseded": "A newer request took its place; nothing was done for this one.",
}


@dataclass(frozen=True, slots=True)
class PhaseGroup:
    """`name` is the engine's word, `title` and `note` are for people; `steps` in their order."""

    name: str
    title: str
    note: str
    steps: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Problem:
    title: str
    text: str
    outcome: str
    is_failure: bool


def step_groups(steps: Iterable[Step]) -> list[PhaseGroup]:
    return _grouped([(step.phase, step) for step in steps])


def plan_groups(plan: Plan) -> list[PhaseGroup]:
    return _grouped([(step.task.phase.value, step) for step in plan.steps])


def plan_context(plan: Plan) -> dict[str, Any]:
    """What the parts of a page that show a plan need."""
    return {"plan": plan, "phases": plan_groups(plan), "settings": plan_settings(plan)}


def problem_of(deployment: Deployment, steps: Iterable[Step]) -> Problem | None:
    """Why the deployment did not go live; None where there is nothing to say."""
    if not deployment.error:
        return None
    failed = next((step for step in steps if step.status == "failed"), None)
    word = DEPLOYMENT[deployment.status].word
    title = f"{word} at {failed.name} on {failed.server_name}" if failed else word
    return Problem(
        title=title,
        text=deployment.error,
        outcome=_OUTCOMES.get(deployment.status, ""),
        is_failure=deployment.status in ("failed", "rolled_back"),
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
    groups = [(phase, [step for _, step in found]) for phase, found in groupby(pairs, key=lambda pair: pair[0])]
    titles = [PHASES.get(phase, (phase.capitalize(), "")) for phase, _ in groups]
    return [
        PhaseGroup(name=phase, title=title, note=note, steps=steps)
        for (phase, steps), (title, note) in zip(groups, titles, strict=True)
    ]
