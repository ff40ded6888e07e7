"""Finds by a few words what a team has: projects, environments, servers, deployments and people."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

from django.db.models import Case, IntegerField, Model, Q, QuerySet, Value, When
from django_scopes import scope

from devflow.apps.accounts.models import Membership
from devflow.apps.accounts.rights import Actor
from devflow.apps.deployments.models import UNLISTED, Deployment
from devflow.apps.projects.models import Environment, Project
from devflow.apps.servers.models import Server

M = TypeVar("M", bound=Model)
MOST_WORDS: Final = 5
_HEX: Final = re.compile(r"[0-9a-f]{4,64}")


@dataclass(frozen=True, slots=True)
class Found:
    """What fits, of each kind; the best first."""

    projects: list[Project]
    environments: list[Environment]
    servers: list[Server]
    deployments: list[Deployment]
    people: list[Membership]

    def __bool__(self) -> bool:
        return any((self.projects, self.environments, self.servers, self.deployments, self.people))


def find(*, actor: Actor, query: str, limit: int = 6) -> Found:
    """At most `limit` of each kind in which every word occurs; nothing for an empty query."""
    words = query.lower().split()[:MOST_WORDS]
    if not words:
        return Found([], [], [], [], [])
    with scope(team=actor.team):
        projects = actor.narrowed(Project.objects.select_related("source"), "pk")
        environments = actor.narrowed(Environment.objects.select_related("project"), "project")
        people = Membership.objects.select_related("user").filter(user__is_machine=False)
        return Found(
            projects=_best(projects, words, ("slug", "name", "source__repository"), limit),
            environments=_best(environments, words, ("name", "project__slug", "project__name", "branch"), limit),
            servers=_best(Server.objects.all(), words, ("name", "host"), limit),
            deployments=_deployments(actor, words, limit),
            people=_best(people, words, ("user__name", "user__email"), limit),
        )


def _best(query: QuerySet[M], words: list[str], columns: tuple[str, ...], limit: int) -> list[M]:
    """Those with every word in one of the columns; first those whose first column begins with the first word."""
    for word in words:
        query = query.filter(_anywhere(word, columns))
    rank = Case(
        When(**{f"{columns[0]}__iexact": words[0]}, then=Value(0)),
        When(**{f"{columns[0]}__istartswith": words[0]}, then=Value(1)),
        default=Value(2),
        output_field=IntegerField(),
    )
    return list(query.order_by(rank, columns[0])[:limit])


def _anywhere(word: str, columns: tuple[str, ...]) -> Q:
    found = Q()
    for column in columns:
        found |= Q(**{f"{column}__icontains": word})
    return found


def _deployments(actor: Actor, words: list[str], limit: int) -> list[Deployment]:
    """By the beginning of the commit or of the id, by the whole id, or by words of the message and the branch; the
    newest first."""
    every = actor.narrowed(Deployment.objects.select_related("project", "environment"), "project")
    for word in words:
        fits = Q(commit_message__icontains=word) | Q(branch__iexact=word) | Q(author__icontains=word)
        if _HEX.fullmatch(word):
            fits |= Q(commit__startswith=word)
        ids = _ids(word)
        if ids:
            fits |= Q(pk__range=ids)
        every = every.filter(fits)
    return list(every.defer(*UNLISTED).order_by("-id")[:limit])


def _ids(word: str) -> tuple[UUID, UUID] | None:
    """The first and the last id that begin so; None for what no id begins with, or too many do."""
    digits = word.replace("-", "")
    if not re.fullmatch(r"[0-9a-f]{8,32}", digits):
        return None
    return UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
