"""The projects that an API token is for, by the names that people use."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from uuid import UUID

from django_scopes import scope

from devflow.apps.accounts.models import ApiToken
from devflow.apps.accounts.rights import Actor
from devflow.apps.projects.models import Project
from devflow.core.errors import InvalidError


def project_ids(*, actor: Actor, slugs: Collection[str]) -> frozenset[UUID]:
    """Ids of the team's projects with these slugs. Raises InvalidError for one that the team does not have."""
    known = {slug: project_id for project_id, slug in _slugs(actor).items()}
    if unknown := sorted(set(slugs) - known.keys()):
        message = f"There is no project {', '.join(unknown)}."
        raise InvalidError(message, {"projects": message})
    return frozenset(known[slug] for slug in slugs)


def project_slugs(*, actor: Actor, tokens: Iterable[ApiToken]) -> dict[UUID, list[str] | None]:
    """By token, the slugs of the projects that it is for; None stands for all. Those that were removed are left out."""
    known = _slugs(actor)
    return {
        token.pk: None
        if token.projects is None
        else sorted(known[project_id] for project_id in token.projects if project_id in known)
        for token in tokens
    }


def _slugs(actor: Actor) -> dict[UUID, str]:
    with scope(team=actor.team):
        return dict(actor.narrowed(Project.objects.all(), "pk").values_list("pk", "slug"))
