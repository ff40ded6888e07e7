"""Environments with what was last deployed to them, for cards and lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.deployments.models import Release
from devflow.apps.deployments.overview import Recent, deployments_recent, releases_serving
from devflow.apps.deployments.selectors import deployment_newest
from devflow.apps.projects.models import Environment, Project

PULSE_LENGTH = 12
CARD_PULSE_LENGTH = 8
"""On a card of the dashboard, which has dozens of them."""


@dataclass(frozen=True, slots=True)
class Row:
    """`recent` has the newest deployments first; `open` is the newest one that has not ended; `serving` is the release
    in force. `sources` are the other environments whose commit may be promoted here. `can_…`: who looks."""

    environment: Environment
    recent: list[Recent]
    serving: Release | None
    sources: list[Release]
    can_deploy: bool
    can_manage: bool

    @property
    def last(self) -> Recent | None:
        return self.recent[0] if self.recent else None

    @property
    def open(self) -> Recent | None:
        return self.last if self.last and not self.last.is_ended else None


def environment_rows(actor: Actor, projects: Iterable[Project], *, is_card: bool = False) -> dict[UUID, list[Row]]:
    """The rows of each project, by its id; for cards with fewer deployments, and without `serving` and `sources`. Three
    queries at most, however many projects there are."""
    listed = [(project, list(project.environments.all())) for project in projects]
    every = [environment for _, environments in listed for environment in environments]
    recent = deployments_recent(actor=actor, environments=every, each=CARD_PULSE_LENGTH if is_card else PULSE_LENGTH)
    serving = {} if is_card else releases_serving(actor=actor, environments=every)
    return {
        project.pk: [_row(actor, environment, environments, recent, serving) for environment in environments]
        for project, environments in listed
    }


def _row(
    actor: Actor,
    environment: Environment,
    siblings: Iterable[Environment],
    recent: Mapping[UUID, list[Recent]],
    serving: Mapping[UUID, Release],
) -> Row:
    here = serving.get(environment.pk)
    commit = here.deployment.commit if here else ""
    others = [serving[other.pk] for other in siblings if other.pk != environment.pk and other.pk in serving]
    names = {other.pk: other for other in siblings}
    for release in others:
        release.environment = names[release.environment_id]
    return Row(
        environment,
        recent.get(environment.pk, []),
        here,
        [release for release in others if release.deployment.commit not in ("", commit)],
        can_deploy=actor.can(rights.DEPLOY, environment),
        can_manage=actor.can(rights.MANAGE, environment),
    )


def environment_head(actor: Actor, environment: Environment) -> dict[str, Any]:
    """What the head of every page of an environment shows; `open` is a deployment that has not ended."""
    newest = deployment_newest(actor=actor, environment=environment)
    return {
        "project": environment.project,
        "environment": environment,
        "last": newest,
        "open": newest if newest and not newest.is_ended else None,
    }
