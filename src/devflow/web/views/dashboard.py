"""The dashboard: a card per project with the state of each environment."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render

from devflow.apps.accounts.rights import Actor
from devflow.apps.deployments.selectors import deployment_list
from devflow.apps.projects.selectors import project_list
from devflow.apps.servers.selectors import server_list
from devflow.web.access import TeamRequest, team_page
from devflow.web.looks import tab_state
from devflow.web.presenters.environments import environment_rows

SHOWN_DEPLOYMENTS = 8


@team_page("GET")
def dashboard(request: TeamRequest) -> HttpResponse:
    return render(request, "dashboard/page.html", _board(request.actor))


@team_page("GET")
def board(request: TeamRequest) -> HttpResponse:
    """The cards alone, which the page asks for again and again."""
    return render(request, "dashboard/board.html", _board(request.actor))


def _board(actor: Actor) -> dict[str, Any]:
    projects = project_list(actor=actor)
    servers = server_list(actor=actor)
    rows = environment_rows(actor, projects)
    last = [row.last.status for found in rows.values() for row in found if row.last]
    return {
        "cards": [{"project": project, "rows": rows[project.pk]} for project in projects],
        "recent": deployment_list(actor=actor, limit=SHOWN_DEPLOYMENTS),
        "servers_total": len(servers),
        "servers_online": sum(server.status == "online" for server in servers),
        "servers_offline": sum(server.status == "offline" for server in servers),
        "running_count": sum(row.open is not None for found in rows.values() for row in found),
        "failed_count": sum(status in ("failed", "rolled_back") for status in last),
        "state": tab_state(last),
    }
