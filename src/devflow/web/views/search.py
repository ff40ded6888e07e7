"""Search: a page, and the same for the palette."""

from __future__ import annotations

from django.http import HttpResponse, JsonResponse
from django.shortcuts import render

from devflow.apps.deployments.search import find
from devflow.web.access import TeamRequest, team_page
from devflow.web.presenters.search import actions_of, groups_of

LONGEST_QUERY = 100
ON_PAGE = 30


@team_page("GET")
def search(request: TeamRequest) -> HttpResponse:
    query = _query(request)
    groups = groups_of(request.actor, find(actor=request.actor, query=query, limit=ON_PAGE))
    return render(request, "search/page.html", {"query": query, "groups": groups})


@team_page("GET")
def palette(request: TeamRequest) -> HttpResponse:
    """What fits the query, and the actions that do; without a query, all actions."""
    query = _query(request)
    groups = groups_of(request.actor, find(actor=request.actor, query=query))
    actions = actions_of(request.actor, query)
    return JsonResponse({"groups": [group.document() for group in [*groups, actions] if group.hits]})


def _query(request: TeamRequest) -> str:
    return request.GET.get("q", "").replace("\0", "").strip()[:LONGEST_QUERY]
