"""Containers of a server or an environment, with their images, volumes and networks; cleaning up; disks."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from devflow.apps.accounts import rights
from devflow.apps.containers import budgets, cleaning, selectors, services
from devflow.apps.containers.owners import LIVE
from devflow.apps.containers.selectors import ContainerRow
from devflow.apps.projects.selectors import environment_get, project_get
from devflow.apps.servers.selectors import server_get
from devflow.apps.told import told
from devflow.core.errors import ConflictError, InvalidError
from devflow.web.access import TeamRequest, team_page
from devflow.web.forms.containers import BudgetForm
from devflow.web.looks import CONTAINER
from devflow.web.presenters.environments import environment_head
from devflow.web.replies import Undo, form_page, tell_done

TABS = (
    ("containers", gettext_lazy("Containers")),
    ("images", gettext_lazy("Images")),
    ("volumes", gettext_lazy("Volumes")),
    ("container-networks", gettext_lazy("Networks")),
    ("prune", gettext_lazy("Clean up")),
)
SHORT_ID = 12
TAIL_LINES = 500


# --- a server's -------------------------------------------------------------------------------------------------------


@team_page("GET")
def container_list(request: TeamRequest, name: str) -> HttpResponse:
    return render(request, "containers/list.html", _list(request, name))


@team_page("GET")
def container_list_state(request: TeamRequest, name: str) -> HttpResponse:
    """The table alone, which the page asks for again and again."""
    return render(request, "containers/list_state.html", _list(request, name))


@team_page("GET")
def container_detail(request: TeamRequest, name: str, container: str) -> HttpResponse:
    return render(request, "containers/detail.html", _detail(request, name, container))


@team_page("GET")
def container_state(request: TeamRequest, name: str, container: str) -> HttpResponse:
    return render(request, "containers/detail_state.html", _detail(request, name, container))


@team_page("POST")
def container_act(request: TeamRequest, name: str, container: str) -> HttpResponse:
    """Restarts, stops or starts it; the page tells what comes of it."""
    row = _row(request, name, container)
    kind, is_confirmed = request.POST.get("kind", ""), request.POST.get("confirm") == "yes"
    try:
        services.container_act(actor=request.actor, row=row, kind=kind, is_confirmed=is_confirmed)
    except (ConflictError, InvalidError) as error:
        messages.error(request, told(str(error)))
    return redirect("container", name, row.id[:SHORT_ID])


@team_page("POST")
def logs_follow(request: TeamRequest, name: str, container: str) -> HttpResponse:
    row = _row(request, name, container)
    try:
        follow = services.follow_start(actor=request.actor, row=row, tail=TAIL_LINES)
    except ConflictError as error:
        messages.error(request, told(str(error)))
        return redirect("container", name, row.id[:SHORT_ID])
    return redirect("container-log", name, follow.pk)


@team_page("GET")
def log_page(request: TeamRequest, name: str, follow_id: str) -> HttpResponse:
    server = server_get(actor=request.actor, name=name)
    follow = selectors.follow_get(actor=request.actor, follow_id=str(follow_id), server=server)
    context = {
        "server": server,
        "follow": follow,
        "short_id": follow.container_id[:SHORT_ID],
        "events_url": f"/api/v1/container-logs/{follow.pk}/events",
        "text_url": f"/api/v1/container-logs/{follow.pk}",
    }
    return render(request, "containers/log.html", context)


@team_page("GET")
def image_list(request: TeamRequest, name: str) -> HttpResponse:
    context = _server(request, name, "images", with_disk=True)
    context["rows"] = selectors.image_list(actor=request.actor, server=context["server"])
    return render(request, "containers/images.html", context)


@team_page("GET")
def volume_list(request: TeamRequest, name: str) -> HttpResponse:
    context = _server(request, name, "volumes", with_disk=True)
    context["rows"] = selectors.volume_list(actor=request.actor, server=context["server"])
    return render(request, "containers/volumes.html", context)


@team_page("GET")
def network_list(request: TeamRequest, name: str) -> HttpResponse:
    context = _server(request, name, "container-networks")
    context["rows"] = selectors.network_list(actor=request.actor, server=context["server"])
    return render(request, "containers/networks.html", context)


@team_page("GET")
def prune_page(request: TeamRequest, name: str) -> HttpResponse:
    """What a clean-up would remove, and what came of the last ones."""
    context = _server(request, name, "prune", with_disk=True)
    with_volumes = request.GET.get("volumes") == "yes"
    preview = cleaning.prune_preview(actor=request.actor, server=context["server"], with_volumes=with_volumes)
    return render(request, "containers/prune.html", {**context, "preview": preview, **_cleanups(request, context)})


@team_page("GET")
def prune_state(request: TeamRequest, name: str) -> HttpResponse:
    """What came of the last clean-ups."""
    context: dict[str, Any] = {"server": server_get(actor=request.actor, name=name)}
    return render(request, "containers/prune_state.html", {**context, **_cleanups(request, context)})


@team_page("POST")
def prune_start(request: TeamRequest, name: str) -> HttpResponse:
    server = server_get(actor=request.actor, name=name)
    request.actor.require(rights.READ, server)
    try:
        services.prune_start(actor=request.actor, server=server, token=request.POST.get("token", ""))
    except (ConflictError, InvalidError) as error:
        messages.error(request, told(str(error)))
    return redirect("prune", name)


# --- an environment's, a project's ------------------------------------------------------------------------------------


@team_page("GET")
def environment_containers(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    return render(request, "containers/environment.html", _environment(request, slug, name))


@team_page("GET")
def environment_containers_state(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    return render(request, "containers/list_state.html", _environment(request, slug, name))


@team_page("GET", "POST")
def disk_page(request: TeamRequest, slug: str) -> HttpResponse:
    """What a project takes of the servers' disks, and its budget."""
    project = project_get(actor=request.actor, slug=slug)
    if request.method == "POST":
        request.actor.require(rights.MANAGE, project)
    form = BudgetForm(request.POST or None)
    before = budgets.disk_use(actor=request.actor, project=project).budget_megabytes if form.is_bound else 0
    if form.is_valid() and form.save(request.actor, project):
        undo = Undo(reverse("project-disk", args=(slug,)), {"megabytes": str(before)})
        tell_done(request, _("The budget is saved."), undo)
        return redirect("project-disk", slug)
    use = budgets.disk_use(actor=request.actor, project=project)
    if not form.is_bound:
        form = BudgetForm(initial={"megabytes": use.budget_megabytes})
    context = {"project": project, "use": use, "form": form, "budget_bytes": use.budget_megabytes * budgets.MEGABYTE}
    return form_page(request, "containers/disk.html", context, form)


# --- shared -----------------------------------------------------------------------------------------------------------


def _server(request: TeamRequest, name: str, tab: str, *, with_disk: bool = False) -> dict[str, Any]:
    """What the pages of a server's containers share. Opening them has the server looked at again; where disks are
    looked at too, the page that fetches itself anew does not ask for the next look."""
    server = server_get(actor=request.actor, name=name)
    if not with_disk or request.headers.get("HX-Request") != "true":
        services.look_request(actor=request.actor, server=server, with_disk=with_disk)
    snapshot = selectors.snapshot_get(actor=request.actor, server=server)
    return {
        "server": server,
        "snapshot": snapshot,
        "problem": selectors.problem_of(snapshot),
        "build_cache": snapshot.disk.get("build_cache"),
        "tab": tab,
        "tabs": [(key, label, reverse(key, args=(name,))) for key, label in TABS],
    }


def _list(request: TeamRequest, name: str) -> dict[str, Any]:
    context = _server(request, name, "containers")
    rows = selectors.container_list(actor=request.actor, server=context["server"])
    rows.sort(key=lambda row: (not row.owner.is_ours, row.owner.words, row.name))
    return {
        **context,
        **_rows(rows),
        "topics": f"container:{context['server'].pk}",
        "refresh_url": reverse("containers-state", args=(name,)),
        "problems": [(context["server"], context["problem"])] if context["problem"] else [],
        "taken_at": context["snapshot"].taken_at,
        "seen_at": context["snapshot"].seen_at,
    }


def _rows(rows: list[ContainerRow]) -> dict[str, Any]:
    """`troubled` are those that somebody should look at now."""
    shown = [(row, _status(row), row.id[:SHORT_ID]) for row in rows]
    return {
        "rows": shown,
        "running": sum(row.is_running for row in rows),
        "troubled": [each for each in shown if each[1] in ("unhealthy", "restarting") or _is_down(each[0])],
    }


def _detail(request: TeamRequest, name: str, container: str) -> dict[str, Any]:
    row = _row(request, name, container)
    services.look_request(actor=request.actor, server=row.server)
    snapshot = selectors.snapshot_get(actor=request.actor, server=row.server)
    actions = selectors.action_list(actor=request.actor, server=row.server, container_id=row.id)
    return {
        "server": row.server,
        "row": row,
        "short_id": row.id[:SHORT_ID],
        "status": _status(row),
        "is_down": _is_down(row),
        "found": row.found,
        "seen_at": snapshot.seen_at,
        "problem": selectors.problem_of(snapshot),
        "may_act": row.owner.may(request.actor),
        "may_see_secrets": request.actor.can(rights.SEE_SECRETS, row.owner.environment),
        "variables": row.environment_for(request.actor),
        "actions": actions,
        "is_waiting": any(not action.is_ended for action in actions),
        "refresh_url": reverse("container-state", args=(name, row.id[:SHORT_ID])),
    }


def _environment(request: TeamRequest, slug: str, name: str) -> dict[str, Any]:
    environment = environment_get(actor=request.actor, slug=slug, name=name)
    actor = request.actor
    rows, snapshots, machines = selectors.environment_container_list(actor=actor, environment=environment)
    for machine in machines:
        services.look_request(actor=actor, server=machine)
    problems = [(snapshot.server, problem) for snapshot in snapshots if (problem := selectors.problem_of(snapshot))]
    seen = [snapshot.seen_at for snapshot in snapshots if snapshot.seen_at]
    return {
        **environment_head(actor, environment),
        **_rows(rows),
        "topics": " ".join(f"container:{machine.pk}" for machine in machines),
        "show_server": len(machines) > 1,
        "machines": machines,
        "problems": problems,
        "refresh_url": reverse("environment-containers-state", args=(slug, name)),
        "taken_at": all(snapshot.taken_at for snapshot in snapshots),
        "seen_at": min(seen, default=None),
    }


def _cleanups(request: TeamRequest, context: dict[str, Any]) -> dict[str, Any]:
    server = context["server"]
    actions = selectors.action_list(actor=request.actor, server=server, kind="prune")
    return {
        "actions": actions,
        "is_waiting": any(not action.is_ended for action in actions),
        "refresh_url": reverse("prune-state", args=(server.name,)),
    }


def _row(request: TeamRequest, name: str, container: str) -> ContainerRow:
    server = server_get(actor=request.actor, name=name)
    return selectors.container_get(actor=request.actor, server=server, container=container)


def _is_down(row: ContainerRow) -> bool:
    """Whether people should be served by it, and are not."""
    return row.owner.is_ours and row.role == LIVE and not row.is_running


def _status(row: ContainerRow) -> str:
    return row.status if row.status in CONTAINER else "unknown"
