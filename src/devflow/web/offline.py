"""Which pages a person's own browser may keep, to show their last known state when it does not reach the panel.

No answer of a page may be kept by anything that knows nothing of who is logged in (`Cache-Control: no-store`, as all
have). The service worker (static/js/service-worker.js) keeps those that say so in a header of their own, for the person
and team that the header names, and forgets them with the session or the team.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from django.contrib.messages import get_messages
from django.http.response import HttpResponseBase

from devflow.apps.accounts.rights import Actor
from devflow.web.access import TeamRequest

HEADER: Final = "X-DevFlow-Keep"


def kept_offline(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """A page that may be kept: it shows no secret, and does nothing. Put it below `team_page`.

    Never kept are parts of pages, what says how it is to be kept itself, and pages with results of what was done, which
    may be meant to be seen once. The view's attribute `is_kept` is for the tests that walk all views.
    """

    @wraps(view)
    def marked(request: TeamRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        is_part = request.headers.get("HX-Request") == "true"
        is_plain = response.status_code == 200 and "Cache-Control" not in response
        if request.method == "GET" and is_plain and not is_part and not get_messages(request).used:  # type: ignore[union-attr]
            response[HEADER] = keeper(request.actor)
        return response

    marked.is_kept = True  # type: ignore[attr-defined]
    return marked


def keeper(actor: Actor) -> str:
    """Tells a person in a team from all others, and nothing about them."""
    return hashlib.sha256(f"{actor.user.pk} {actor.team.pk}".encode()).hexdigest()[:32]
