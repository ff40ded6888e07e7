"""Reads of projects, environments and variables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from django_scopes import scope

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.projects.models import Environment, Project, Variable
from devflow.core.errors import NotFoundError


@dataclass(frozen=True, slots=True)
class VariableDifference:
    """A variable in which two environments differ; their values are not told."""

    key: str
    state: Literal["changed", "only here", "only there"]


def project_list(*, actor: Actor) -> list[Project]:
    """The team's projects by slug, each with its environments and their servers loaded."""
    with scope(team=actor.team):
        return list(Project.objects.prefetch_related("environments__servers"))


def project_get(*, actor: Actor, slug: str) -> Project:
    """Raises NotFoundError."""
    with scope(team=actor.team):
        project = Project.objects.prefetch_related("environments__servers").filter(slug=slug).first()
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


def variable_list(*, actor: Actor, environment: Environment) -> list[Variable]:
    """The variables by key. Their `value` is in clear: show it to nobody without `variable_values`."""
    with scope(team=actor.team):
        return list(Variable.objects.filter(environment=environment))


def variable_values(*, actor: Actor, environment: Environment) -> dict[str, str]:
    """Keys and values in clear, for an export. Raises ForbiddenError for those who may not manage."""
    actor.require(rights.MANAGE)
    return {variable.key: variable.value for variable in variable_list(actor=actor, environment=environment)}


def variable_diff(*, actor: Actor, here: Environment, there: Environment) -> list[VariableDifference]:
    """In which variables two environments differ, by key."""
    ours, theirs = (
        {variable.key: variable.value for variable in variable_list(actor=actor, environment=one)}
        for one in (here, there)
    )
    return [
        VariableDifference(
            key, "changed" if key in ours and key in theirs else "only here" if key in ours else "only there"
        )
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key) != theirs.get(key)
    ]
