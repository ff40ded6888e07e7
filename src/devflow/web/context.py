"""What every template knows: the theme, the time, who is looking, in which team, where."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from devflow.apps.accounts import rights
from devflow.apps.accounts.addresses import client_address
from devflow.apps.accounts.rights import Actor
from devflow.apps.accounts.selectors import actor_of_session, team_list
from devflow.core.errors import ForbiddenError, NotFoundError
from devflow.web.views.theme import theme_of


def frame(request: HttpRequest) -> dict[str, Any]:
    """`actor` is None where nobody is logged in, or somebody in no team; `can_…` are about what the page shows; of what
    `is_part` only some is taken over into a page that is open."""
    actor, place = _actor(request), getattr(request, "place", None)
    return {
        "theme": theme_of(request),
        "now": timezone.now(),
        "changes_mark": getattr(request, "mark", None),
        "is_part": request.headers.get("HX-Request") == "true",
        "actor": actor,
        "has_keys": bool(actor and actor.user.uses_keys),
        "teams": team_list(user=actor.user) if actor else [],
        "can_deploy": bool(actor and actor.can(rights.DEPLOY, place)),
        "can_approve": bool(actor and actor.can(rights.APPROVE, place)),
        "can_see_secrets": bool(actor and actor.can(rights.SEE_SECRETS, place)),
        "can_manage": bool(actor and actor.can(rights.MANAGE, place)),
        "can_manage_people": bool(actor and actor.can(rights.MANAGE_PEOPLE)),
        "can_audit": bool(actor and actor.can(rights.AUDIT)),
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
        return actor_of_session(user=user, session=request.session, address=client_address(request))
    except (NotFoundError, ForbiddenError):
        return None
