"""Reads of projects and environments."""

from __future__ import annotations

from django_scopes import scope

from devflow.apps.accounts.rights import Actor
from devflow.apps.projects.models import Environment, Project
from devflow.apps.projects.variables import VariableDifference as VariableDifference
from devflow.apps.projects.variables import variable_diff as variable_diff
from devflow.apps.projects.variables import variable_list as variable_list
from devflow.apps.projects.variables import variable_values as variable_values
from devflow.core.errors import NotFoundError


def project_list(*, actor: Actor) -> list[Project]:
    """The team's projects by slug, each with its environments and their servers loaded."""
    with scope(team=actor.team):
        return list(Project.objects.prefetch_related("environments__servers"))


def project_get(*, actor: Actor, slug: str) -> Project:
    """Raises NotFoundError."""
    with scope(team=actor.team):
        project = (
            Project.objects.select_related("source").prefetch_related("environments__servers").filter(slug=slug).first()
        )
    if project is None:
        raise NotFoundError(f"There is no project {slug!r} in this team.")
    return project


def environment_get(*, actor: Actor, slug: str, name: str) -> Environment:
    """Raises NotFoundError."""
    with scope(team=actor.team):
        environment = (
            Environment.objects.select_related("project", "team")
            .prefetch_related("servers")
            .filter(project__slug=slug, name=name)
            .first()
        )
    if environment is None:
        project_get(actor=actor, slug=slug)
        raise NotFoundError(f"There is no environment {name!r} in project {slug!r}.")
    return environment
