"""What every template knows: the theme, the time, who is looking, in which team, where."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.accounts.selectors import actor_of_session, team_list
from devflow.core.errors import NotFoundError
from devflow.web.views.theme import theme_of


def frame(request: HttpRequest) -> dict[str, Any]:
    """`actor` is None where nobody is logged in, or somebody who is in no team."""
    actor = _actor(request)
    return {
        "theme": theme_of(request),
        "now": timezone.now(),
        "actor": actor,
        "teams": team_list(user=actor.user) if actor else [],
        "can_deploy": bool(actor and actor.can(rights.DEPLOY)),
        "can_manage": bool(actor and actor.can(rights.MANAGE)),
    }


def _actor(request: HttpRequest) -> Actor | None:
    """Who is looking; also on pages that are not of a team (an error page, the password).

    A request that was refused before it came to the sessions (another host name) has no user at all.
    """
    known: Actor | None = getattr(request, "actor", None)
    user = getattr(request, "user", None)
    if known is not None or user is None or not user.is_authenticated:
        return known
    try:
        return actor_of_session(user=user, session=request.session)
    except NotFoundError:
        return None
