"""The proxy of an environment: its site files on the servers, what to do about one that was edited by hand, and
adopting one that somebody else wrote."""

from __future__ import annotations

from datetime import datetime
from difflib import unified_diff
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from devflow.apps.accounts import rights
from devflow.apps.deployments import proxy
from devflow.apps.deployments.accepted import accepted_of, is_accepted
from devflow.apps.deployments.planning import recipe_of, site_text_of
from devflow.apps.projects.models import Environment
from devflow.apps.projects.selectors import environment_get
from devflow.web.access import TeamRequest, team_page
from devflow.web.presenters.environments import environment_head
from devflow.web.replies import act_and_go
from devflow.web.waiting import is_waiting, redirect_and_wait, since


@team_page("GET")
def proxy_page(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    """The site file that a deployment would write, and those on the servers."""
    environment = environment_get(actor=request.actor, slug=slug, name=name)
    context = {
        **environment_head(request.actor, environment),
        **_servers(request, environment),
        "text": site_text_of(environment) if recipe_of(environment) else "",
    }
    return render(request, "proxy/page.html", context)


@team_page("GET")
def proxy_state(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    """The part of the page that is asked for again while the servers are being read."""
    environment = environment_get(actor=request.actor, slug=slug, name=name)
    context = {"project": environment.project, "environment": environment, **_servers(request, environment)}
    return render(request, "proxy/state.html", context)


@team_page("POST", right=rights.DEPLOY)
def proxy_look(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    """Has a worker read the site files."""
    environment = environment_get(actor=request.actor, slug=slug, name=name)
    proxy.proxy_look_request(actor=request.actor, environment=environment)
    return redirect_and_wait("environment-proxy", slug, name)


@team_page("POST", right=rights.MANAGE)
def proxy_adopt(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    environment = environment_get(actor=request.actor, slug=slug, name=name)
    server, path = request.POST.get("server", ""), request.POST.get("path", "")
    taken = path or _("The site file of %(server)s") % {"server": server}
    return act_and_go(
        request,
        lambda: proxy.proxy_adopt(actor=request.actor, environment=environment, server=server, path=path),
        done=_(
            "%(taken)s is the environment's own site file now: see its settings. The next deployment takes its place."
        )
        % {"taken": taken},
        to="environment-proxy",
        args=(slug, name),
    )


@team_page("POST", right=rights.MANAGE)
def proxy_replace(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    environment = environment_get(actor=request.actor, slug=slug, name=name)
    return act_and_go(
        request,
        lambda: proxy.proxy_replace(actor=request.actor, environment=environment),
        done=_("The next deployment replaces what was edited by hand."),
        to="environment-proxy",
        args=(slug, name),
    )


def _servers(request: TeamRequest, environment: Environment) -> dict[str, Any]:
    state = environment.proxy_state
    looked_at = datetime.fromisoformat(state["at"]) if "at" in state else None
    accepted = accepted_of(environment)
    is_outdated = looked_at is not None and proxy.has_changed_since(environment, looked_at)
    servers = [
        {
            "name": name,
            "error": found.get("error", ""),
            "state": found.get("state", ""),
            "text": found.get("text", ""),
            "upstream": found.get("upstream", ""),
            "is_accepted": is_accepted(accepted, name, found),
            "foreign": proxy.foreign_list(environment, name),
            "changes": _changes(environment, found) if found.get("state") == proxy.EDITED else "",
        }
        for name, found in ({} if is_outdated else state.get("servers", {})).items()
    ]
    return {
        "is_outdated": is_outdated,
        "since": since(request),
        "is_reading": is_waiting(request, looked_at),
        "looked_at": looked_at,
        "servers": servers,
        "is_edited": any(server["state"] == proxy.EDITED for server in servers),
    }


def _changes(environment: Environment, found: dict[str, Any]) -> str:
    """What is another than in the file that a deployment would write, line by line."""
    if not recipe_of(environment):
        return ""
    there = found.get("text", "").splitlines()[1:]
    here = site_text_of(environment, there="\n".join(there)).splitlines()
    return "\n".join(unified_diff(here, there, "panel", "server", lineterm="", n=2))
