"""Environments with what was last deployed to them, for cards and lists."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.deployments.models import Deployment
from devflow.apps.deployments.selectors import deployment_list, deployment_newest, deployments_latest
from devflow.apps.projects.models import Environment, Project

PULSE_LENGTH = 12
_RECENT = 200


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
    """The rows of each project, by its id. Three queries, however many projects there are."""
    latest = deployments_latest(actor=actor)
    recent: dict[UUID, list[Deployment]] = defaultdict(list)
    for deployment in deployment_list(actor=actor, limit=_RECENT):
        recent[deployment.environment_id].append(deployment)
    return {
        project.pk: [
            Row(
                environment,
                latest.get(environment.pk),
                recent[environment.pk][:PULSE_LENGTH],
                can_deploy=actor.can(rights.DEPLOY, environment),
                can_manage=actor.can(rights.MANAGE, environment),
            )
            for environment in project.environments.all()
        ]
        for project in projects
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
