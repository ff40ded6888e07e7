"""Reads of projects and environments."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from django.db.models import Prefetch
from django_scopes import scope

from devflow.apps import replica
from devflow.apps.accounts.rights import Actor, Place
from devflow.apps.projects.models import ENVIRONMENT_BRIEF, Environment, Project
from devflow.apps.projects.variables import VariableDifference as VariableDifference
from devflow.apps.projects.variables import variable_diff as variable_diff
from devflow.apps.projects.variables import variable_list as variable_list
from devflow.apps.projects.variables import variable_values as variable_values
from devflow.core.errors import NotFoundError

_LOADED = ("environments__servers", "environments__balancer", "environments__builder")


class ProjectName(NamedTuple):
    """What a project is chosen by."""

    pk: UUID
    slug: str
    name: str


@replica.listed
def project_list(*, actor: Actor, after: str = "", limit: int | None = None) -> list[Project]:
    """The team's projects by slug, each with its environments and their servers loaded; from the one after the slug
    `after` on, at most `limit`."""
    with scope(team=actor.team):
        return list(actor.narrowed(Project.objects.prefetch_related(*_LOADED), "pk").filter(slug__gt=after)[:limit])


@replica.listed
def projects_brief(
    *, actor: Actor, ids: Collection[UUID] | None = None, after: str = "", limit: int | None = None
) -> list[Project]:
    """As `project_list`, or those with these ids; of their environments what ENVIRONMENT_BRIEF says, no servers."""
    with scope(team=actor.team):
        brief = Prefetch("environments", Environment.objects.only(*ENVIRONMENT_BRIEF))
        every = actor.narrowed(Project.objects.defer("deploy_key_public").prefetch_related(brief), "pk")
        found = every.filter(slug__gt=after) if ids is None else every.filter(pk__in=ids)
        return list(found[:limit])


def project_names(*, actor: Actor) -> list[ProjectName]:
    """The team's projects by slug. Thousands of them cost little."""
    with scope(team=actor.team):
        every = actor.narrowed(Project.objects.all(), "pk")
        return [ProjectName._make(row) for row in every.values_list("pk", "slug", "name")]


def environment_names(*, actor: Actor, limit: int) -> list[str]:
    """`project/environment` of the team's environments, in the order of their projects, at most `limit`."""
    with scope(team=actor.team):
        found = actor.narrowed(Environment.objects.order_by("project__slug", "created_at"), "project")
        return [f"{slug}/{name}" for slug, name in found.values_list("project__slug", "name")[:limit]]


def project_get(*, actor: Actor, slug: str) -> Project:
    """Raises NotFoundError."""
    with scope(team=actor.team):
        found = Project.objects.select_related("source").prefetch_related(*_LOADED).filter(slug=slug)
        project = actor.narrowed(found, "pk").first()
    if project is None:
        raise NotFoundError(f"There is no project {slug!r} in this team.")
    return project


def environment_get(*, actor: Actor, slug: str, name: str) -> Environment:
    """Raises NotFoundError."""
    with scope(team=actor.team):
        found = Environment.objects.select_related("project", "team", "balancer", "builder").prefetch_related("servers")
        environment = actor.narrowed(found.filter(project__slug=slug, name=name), "project").first()
    if environment is None:
        project_get(actor=actor, slug=slug)
        raise NotFoundError(f"There is no environment {name!r} in project {slug!r}.")
    return environment


def place_get(*, actor: Actor, slug: str, name: str = "") -> Place:
    """Where the project, or its environment of this name, is: for asking rights before it is loaded.

    Raises NotFoundError.
    """
    with scope(team=actor.team):
        projects = actor.narrowed(Project.objects.filter(slug=slug), "pk")
        environments = actor.narrowed(Environment.objects.filter(project__slug=slug, name=name), "project")
        found = (environments if name else projects).first()
    if found is None:
        raise NotFoundError(f"There is no {'environment' if name else 'project'} {name or slug!r} in this team.")
    return found.place
