"""Servers: list, add, look at, change, check, maintenance, remove."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters

from devflow.apps.accounts import rights
from devflow.apps.servers import selectors, services
from devflow.apps.servers.models import Server, ServerStatus
from devflow.core import keys
from devflow.web.access import TeamRequest, recently_authenticated, team_page
from devflow.web.forms.servers import ServerAddressForm, ServerForm
from devflow.web.presenters.dashboard import server_loads
from devflow.web.presenters.servers import authorize_line, check_list, fact_list, tool_list
from devflow.web.replies import Undo, act_and_go, form_page
from devflow.web.waiting import is_waiting, redirect_and_wait, since


@team_page("GET")
def server_list(request: TeamRequest) -> HttpResponse:
    """`?status=` shows those of one status only."""
    every = selectors.server_list(actor=request.actor)
    wanted = request.GET.get("status", "")
    shown = [server for server in every if server.status == wanted] if wanted in ServerStatus.values else every
    context = {
        "servers": every,
        "loads": server_loads(shown),
        "troubled": [server for server in shown if server.status == ServerStatus.OFFLINE and server.status_message],
        "status": wanted if wanted in ServerStatus.values else "",
        "statuses": [
            (value, sum(server.status == value for server in every))
            for value in ServerStatus.values
            if any(server.status == value for server in every)
        ],
    }
    return render(request, "servers/list.html", context)


@sensitive_post_parameters("private_key")
@team_page("GET", "POST", right=rights.MANAGE)
@recently_authenticated
def server_add(request: TeamRequest) -> HttpResponse:
    form = ServerForm(request.POST or None, actor=request.actor)
    if form.is_valid() and (server := form.save()):
        return redirect_and_wait("server", server.name)
    return form_page(request, "servers/add.html", {"form": form}, form)


@team_page("GET")
def server_detail(request: TeamRequest, name: str) -> HttpResponse:
    server = selectors.server_get(actor=request.actor, name=name)
    return render(request, "servers/detail.html", _state(request, server))


@team_page("GET", "POST", right=rights.MANAGE)
@recently_authenticated
def server_edit(request: TeamRequest, name: str) -> HttpResponse:
    """Where the server is reached."""
    server = selectors.server_get(actor=request.actor, name=name)
    form = ServerAddressForm(request.POST or None, server=server)
    if form.is_valid() and form.save(request.actor):
        return redirect_and_wait("server", name)
    return form_page(request, "servers/edit.html", {"form": form, "name": name}, form)


@team_page("GET")
def server_state(request: TeamRequest, name: str) -> HttpResponse:
    """The part of the page that is asked for again while a check is under way."""
    return render(request, "servers/state.html", _state(request, selectors.server_get(actor=request.actor, name=name)))


@team_page("POST", right=rights.DEPLOY)
def server_check(request: TeamRequest, name: str) -> HttpResponse:
    server = selectors.server_get(actor=request.actor, name=name)
    services.server_check_request(actor=request.actor, server=server)
    return redirect_and_wait("server", name)


@team_page("POST", right=rights.MANAGE)
@recently_authenticated
def server_forget_key(request: TeamRequest, name: str) -> HttpResponse:
    server = selectors.server_get(actor=request.actor, name=name)
    services.server_host_key_forget(actor=request.actor, server=server)
    return redirect_and_wait("server", name)


@team_page("POST", right=rights.MANAGE)
def server_maintenance(request: TeamRequest, name: str) -> HttpResponse:
    server = selectors.server_get(actor=request.actor, name=name)
    on = request.POST.get("on") == "yes"
    undo = Undo(reverse("server-maintenance", args=[name]), {"on": "no" if on else "yes"})
    return act_and_go(
        request,
        lambda: services.server_maintenance_set(actor=request.actor, server=server, on=on),
        done=_("%(name)s is in maintenance: nothing is deployed to it.") % {"name": name}
        if on
        else _("The maintenance of %(name)s has ended.") % {"name": name},
        to="server",
        args=(name,),
        undo=lambda: undo,
    )


@team_page("POST", right=rights.MANAGE)
def server_remove(request: TeamRequest, name: str) -> HttpResponse:
    server = selectors.server_get(actor=request.actor, name=name)
    return act_and_go(
        request,
        lambda: services.server_remove(actor=request.actor, server=server),
        done=_("%(name)s is removed from the panel.") % {"name": name},
        to="servers",
    )


def _state(request: TeamRequest, server: Server) -> dict[str, Any]:
    is_checking = is_waiting(request, server.checked_at)
    checks = check_list(server, is_checking=is_checking)
    return {
        "server": server,
        "fingerprint": keys.fingerprint(server.host_key),
        "since": since(request),
        "is_checking": is_checking,
        "checks": checks,
        "is_well": bool(checks) and all(check.state == "success" for check in checks),
        "is_new": not server.facts,
        "authorize_line": authorize_line(server.public_key),
        "facts": fact_list(server.facts),
        "tools": tool_list(server.facts),
    }
