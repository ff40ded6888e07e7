"""Clusters: list, form, look at, join and leave, drain, scale, remove."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _

from devflow.apps.accounts import rights
from devflow.apps.servers import clusters
from devflow.apps.servers.models import Cluster
from devflow.apps.servers.selectors import server_get, server_list
from devflow.apps.told import told
from devflow.core.errors import NotFoundError
from devflow.web.access import TeamRequest, team_page
from devflow.web.forms.clusters import ClusterForm, JoinForm, ScaleForm
from devflow.web.replies import Undo, act_and_go, form_page, tell_done

NODE_ACTS = {"drain": clusters.node_drain, "activate": clusters.node_activate, "leave": clusters.node_leave}


@team_page("GET")
def cluster_list(request: TeamRequest) -> HttpResponse:
    return render(request, "clusters/list.html", {"clusters": clusters.cluster_list(actor=request.actor)})


@team_page("GET", "POST", right=rights.MANAGE)
def cluster_add(request: TeamRequest) -> HttpResponse:
    form = ClusterForm(request.POST or None, servers=server_list(actor=request.actor))
    if form.is_valid() and (action := form.save(request.actor)):
        return redirect("cluster", action.cluster.name)
    return form_page(request, "clusters/add.html", {"form": form}, form)


@team_page("GET")
def cluster_detail(request: TeamRequest, cluster: str) -> HttpResponse:
    found = clusters.cluster_get(actor=request.actor, name=cluster)
    return render(request, "clusters/detail.html", {**_state(request, found), "join_form": _join_form(request)})


@team_page("GET")
def cluster_state(request: TeamRequest, cluster: str) -> HttpResponse:
    """The part of the page that is asked for again while something is under way."""
    found = clusters.cluster_get(actor=request.actor, name=cluster)
    return render(request, "clusters/state.html", _state(request, found))


@team_page("POST", right=rights.DEPLOY)
def cluster_look(request: TeamRequest, cluster: str) -> HttpResponse:
    clusters.cluster_look(actor=request.actor, cluster=clusters.cluster_get(actor=request.actor, name=cluster))
    return redirect("cluster", cluster)


@team_page("POST", right=rights.MANAGE)
def node_join(request: TeamRequest, cluster: str) -> HttpResponse:
    found = clusters.cluster_get(actor=request.actor, name=cluster)
    form = _join_form(request)
    if form.is_valid() and form.save(request.actor, found):
        return redirect("cluster", cluster)
    return form_page(request, "clusters/detail.html", {**_state(request, found), "join_form": form}, form)


@team_page("POST", right=rights.MANAGE)
def node_act(request: TeamRequest, cluster: str) -> HttpResponse:
    """Drain, activate, leave: a node is one of the panel's servers."""
    found = clusters.cluster_get(actor=request.actor, name=cluster)
    act = NODE_ACTS.get(request.POST.get("act", ""))
    if act is None:
        messages.error(request, _("Choose what to do with the node."))
        return redirect("cluster", cluster)
    try:
        server = server_get(actor=request.actor, name=request.POST.get("server", ""))
        options = {"force": request.POST.get("force") == "yes"} if act is clusters.node_leave else {}
        act(actor=request.actor, cluster=found, server=server, **options)
    except NotFoundError as error:
        messages.error(request, told(str(error)))
    else:
        _tell_node(request, cluster, server.name)
    return redirect("cluster", cluster)


def _tell_node(request: TeamRequest, cluster: str, server: str) -> None:
    """What was asked for; draining and activating take each other back."""
    told = {
        "drain": (_("%(server)s is being drained: its tasks move to other nodes."), "activate"),
        "activate": (_("%(server)s takes tasks again."), "drain"),
        "leave": (_("%(server)s is leaving the cluster."), ""),
    }
    text, back = told[request.POST["act"]]
    undo = Undo(reverse("cluster-node", args=(cluster,)), {"server": server, "act": back}) if back else None
    tell_done(request, text % {"server": server}, undo)


@team_page("POST", right=rights.MANAGE)
def service_scale(request: TeamRequest, cluster: str) -> HttpResponse:
    found = clusters.cluster_get(actor=request.actor, name=cluster)
    form = ScaleForm(request.POST)
    try:
        if not (form.is_valid() and form.save(request.actor, found)):
            messages.error(request, form.problems())
    except NotFoundError as error:
        messages.error(request, told(str(error)))
    return redirect("cluster", cluster)


@team_page("POST", right=rights.MANAGE)
def cluster_remove(request: TeamRequest, cluster: str) -> HttpResponse:
    found = clusters.cluster_get(actor=request.actor, name=cluster)
    return act_and_go(
        request,
        lambda: clusters.cluster_remove(actor=request.actor, cluster=found),
        done=_("%(name)s is removed from the panel.") % {"name": cluster},
        to="clusters",
    )


def _join_form(request: TeamRequest) -> JoinForm:
    return JoinForm(request.POST or None, servers=server_list(actor=request.actor))


def _state(request: TeamRequest, cluster: Cluster) -> dict[str, Any]:
    actions = clusters.action_list(actor=request.actor, cluster=cluster)
    return {
        "cluster": cluster,
        "nodes": clusters.node_list(cluster=cluster),
        "services": cluster.observed.get("services", []),
        "actions": actions,
        "is_busy": any(action.status in ("queued", "running") for action in actions),
    }
