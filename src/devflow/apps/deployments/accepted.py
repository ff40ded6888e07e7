"""What a person let the next deployment do to files of nginx on a server that are not as the panel wrote them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import Q
from django_scopes import scope

from devflow.apps.deployments.models import Deployment, Status
from devflow.apps.projects.models import Environment


def accepted_of(environment: Environment) -> list[dict[str, str]]:
    """Each with its `server`, the `sum` (SHA-256) of the text that was seen there, `at`, and the `path` of a file that
    is adopted ('' where the panel's own was edited). One is used up by the first deployment that went well with it."""
    given = environment.proxy_state.get("accepted", ())
    with scope(team=environment.team):
        return [each for each in given if isinstance(each, dict) and not _is_used(environment, each)]


def words(accepted: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """As a plan has them."""
    return tuple(_word(each) for each in accepted)


def is_accepted(accepted: Iterable[dict[str, Any]], server: str, seen: dict[str, Any]) -> bool:
    """Whether this, as it was seen on the server, may be replaced; `seen` has a `sum`, and a `path` where it is none of
    the panel's."""
    wanted = (server, seen.get("sum"), seen.get("path", ""))
    return any((each["server"], each["sum"], each["path"]) == wanted for each in accepted)


def _word(each: dict[str, Any]) -> str:
    return f"{each['server']} {each['sum']} {each['path']}".rstrip()


def _is_used(environment: Environment, each: dict[str, Any]) -> bool:
    at = datetime.fromisoformat(each["at"])
    with_it = Q(created_at__gt=at) | Q(plan__site__proxy_accepted__contains=[_word(each)])
    gone_well = Deployment.objects.filter(environment=environment, status=Status.SUCCESS, finished_at__gt=at)
    return gone_well.filter(with_it).exists()
