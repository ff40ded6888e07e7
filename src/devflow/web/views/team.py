"""The team: its members, and switching to another one."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import redirect, render

from devflow.apps.accounts.selectors import SESSION_TEAM, actor_get, member_list
from devflow.core.errors import NotFoundError
from devflow.web.access import TeamRequest, team_page


@team_page("GET")
def team(request: TeamRequest) -> HttpResponse:
    return render(request, "team/page.html", {"members": member_list(actor=request.actor)})


@team_page("POST")
def team_switch(request: TeamRequest) -> HttpResponse:
    """Another of the user's teams becomes the current one; 404 for a team that is not theirs."""
    wanted = request.POST.get("team", "")
    request.session[SESSION_TEAM] = str(actor_get(user=request.user, team_id=_team_id(wanted)).team.pk)
    return redirect("dashboard")


def _team_id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise NotFoundError("There is no such team among yours.") from None
