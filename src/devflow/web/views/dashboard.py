"""The dashboard: what needs a look, what runs, and a card for each project with the state of its environments."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import render

from devflow.apps.deployments.overview import deployments_open, environment_states
from devflow.apps.deployments.selectors import deployment_list
from devflow.apps.projects.selectors import project_names, projects_brief
from devflow.apps.servers.selectors import server_list
from devflow.web.access import TeamRequest, team_page
from devflow.web.forms.dashboard import BoardForm
from devflow.web.looks import tab_state
from devflow.web.offline import kept_offline
from devflow.web.presenters.dashboard import chosen_projects, counters, server_loads
from devflow.web.presenters.environments import environment_rows

SHOWN_DEPLOYMENTS = 8
SHOWN_PROJECTS = 18
SHOWN_SERVERS = 6


@team_page("GET")
@kept_offline
def dashboard(request: TeamRequest) -> HttpResponse:
    return render(request, "dashboard/page.html", _board(request))


@team_page("GET")
def board(request: TeamRequest) -> HttpResponse:
    """What changes on the page, which asks for it again and again."""
    return render(request, "dashboard/board.html", _board(request))


def _board(request: TeamRequest) -> dict[str, Any]:
    """Filters that are not valid are as if they were not there."""
    actor, asked = request.actor, BoardForm(request.GET).chosen()
    names, states, servers = project_names(actor=actor), environment_states(actor=actor), server_list(actor=actor)
    fitting = chosen_projects(names, states, state=asked["state"], query=asked["q"])
    slugs = [project.slug for project in fitting]
    begins = slugs.index(asked["after"]) + 1 if asked["after"] in slugs else 0
    shown = [project.pk for project in fitting[begins : begins + SHOWN_PROJECTS]]
    ends = begins + len(shown)
    projects = {project.pk: project for project in projects_brief(actor=actor, ids=shown)}
    rows = environment_rows(actor, projects.values(), is_card=True)
    filters = {name: asked[name] for name in ("state", "q") if asked[name]}
    return {
        "cards": [{"project": projects[pk], "rows": rows[pk]} for pk in shown if pk in projects],
        "counters": counters(states, len(names)),
        "asked": asked,
        "filters": urlencode(filters),
        "query": urlencode({name: asked[name] for name in asked if asked[name]}),
        "fitting": len(fitting),
        "begins": begins + 1,
        "ends": ends,
        "next": slugs[ends - 1] if ends < len(slugs) else "",
        "running": deployments_open(actor=actor),
        "recent": deployment_list(actor=actor, limit=SHOWN_DEPLOYMENTS, is_folded=True),
        "servers": server_loads(servers)[:SHOWN_SERVERS],
        "servers_total": len(servers),
        "servers_offline": sum(server.status == "offline" for server in servers),
        "state": tab_state([state.status for state in states]),
    }
