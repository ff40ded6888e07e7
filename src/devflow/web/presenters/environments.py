"""Environments with what was last deployed to them, for cards and lists."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.deployments.models import Deployment
from devflow.apps.deployments.selectors import deployment_newest, deployments_newest
from devflow.apps.projects.models import Environment, Project

PULSE_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Row:
    """`recent` has the newest deployments first; `open` is the newest one that has not ended. `can_…`: who looks."""

    environment: Environment
    last: Deployment | None
    recent: list[Deployment]
    can_deploy: bool
    can_manage: bool

    @property
    def open(self) -> Deployment | None:
        return self.last if self.last and not self.last.is_ended else None


def environment_rows(actor: Actor, projects: Iterable[Project]) -> dict[UUID, list[Row]]:
    """The rows of each project, by its id. Two queries, however many projects there are."""
    shown = list(projects)
    environments = [environment for project in shown for environment in project.environments.all()]
    recent = deployments_newest(actor=actor, environments=environments, limit=PULSE_LENGTH)
    return {
        project.pk: [
            Row(
                environment,
                next(iter(recent.get(environment.pk, ())), None),
                recent.get(environment.pk, []),
                can_deploy=actor.can(rights.DEPLOY, environment),
                can_manage=actor.can(rights.MANAGE, environment),
            )
            for environment in project.environments.all()
        ]
        for project in shown
    }


def environment_head(actor: Actor, environment: Environment) -> dict[str, Any]:
    """What the head of every page of an environment shows; `open` is a deployment that has not ended."""
    newest = deployment_newest(actor=actor, environment=environment)
    return {
        "project": environment.project,
        "environment": environment,
        "last": newest,
        "open": newest if newest and not newest.is_ended else None,
    }
