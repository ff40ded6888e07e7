"""The dashboard: a card per project with the state of each environment."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render

from devflow.apps.deployments.models import ENDED
from devflow.apps.deployments.selectors import deployment_list, environment_states
from devflow.apps.projects.selectors import project_count, project_list
from devflow.apps.servers.selectors import server_states
from devflow.web.access import TeamRequest, team_page
from devflow.web.looks import tab_state
from devflow.web.presenters.environments import environment_rows

SHOWN_DEPLOYMENTS = 8
SHOWN_PROJECTS = 24


@team_page("GET")
def dashboard(request: TeamRequest) -> HttpResponse:
    return render(request, "dashboard/page.html", _board(request))


@team_page("GET")
def board(request: TeamRequest) -> HttpResponse:
    """The cards alone, which the page asks for again and again."""
    return render(request, "dashboard/board.html", _board(request))


def _board(request: TeamRequest) -> dict[str, Any]:
    """The cards of one page of projects; the figures above them are those of the whole team."""
    actor, after = request.actor, request.GET.get("after", "").replace("\0", "")
    found = project_list(actor=actor, after=after, limit=SHOWN_PROJECTS + 1)
    projects = found[:SHOWN_PROJECTS]
    rows = environment_rows(actor, projects)
    servers, states = server_states(actor=actor), environment_states(actor=actor)
    return {
        "cards": [{"project": project, "rows": rows[project.pk]} for project in projects],
        "after": after,
        "next": projects[-1].slug if len(found) > len(projects) else None,
        "projects_total": project_count(actor=actor),
        "recent": deployment_list(actor=actor, limit=SHOWN_DEPLOYMENTS),
        "servers_total": sum(servers.values()),
        "servers_online": servers.get("online", 0),
        "servers_offline": servers.get("offline", 0),
        "running_count": sum(number for status, number in states.items() if status and status not in ENDED),
        "failed_count": sum(states.get(status, 0) for status in ("failed", "rolled_back")),
        "state": tab_state(states),
    }
