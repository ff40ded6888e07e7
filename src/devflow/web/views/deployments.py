"""Deployments: list, the live page and its parts, deploy, promote, roll back, cancel, read the log."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.deployments import selectors, services
from devflow.apps.deployments.canary import canary_shares
from devflow.apps.deployments.lines import (
    Line,
    line_find,
    line_list,
    line_of_error,
    line_of_step,
    line_ranges,
    line_tail,
)
from devflow.apps.deployments.models import Deployment, Step
from devflow.apps.deployments.overview import commits_recent, durations_usual, releases_serving
from devflow.apps.projects.selectors import environment_get, project_get
from devflow.apps.sources.reports import report_last
from devflow.apps.told import told
from devflow.core.causes import plain
from devflow.core.errors import ConflictError, InvalidError, NotFoundError
from devflow.engine.plan import Plan
from devflow.web.access import TeamRequest, team_page
from devflow.web.forms.deployments import HEAD, DeployForm, FilterForm, LinesForm
from devflow.web.forms.windows import OverrideForm
from devflow.web.offline import kept_offline
from devflow.web.presenters.deployments import plan_context, plan_step, problem_of, rollback_target, step_groups, tab_of
from devflow.web.presenters.environments import environment_head
from devflow.web.presenters.windows import wait_of, window_state
from devflow.web.replies import act_and_go, form_page

PAGE_LENGTH = 50
PAGE_LINES = 500
TAIL_LINES = 12
SHOWN_COMMITS = 15


@team_page("GET")
@kept_offline
def deployment_list(request: TeamRequest) -> HttpResponse:
    """The filters stand in the address; what was superseded is folded unless it is asked for."""
    form = FilterForm({name: request.GET.get(name, "") for name in FilterForm.base_fields}, actor=request.actor)
    before, chosen = request.GET.get("before", ""), form.chosen()
    found = []
    if chosen is not None:
        found = selectors.deployment_list(
            actor=request.actor, before=before, limit=PAGE_LENGTH + 1, is_folded=True, **chosen
        )
    shown = found[:PAGE_LENGTH]
    filled = {name: request.GET[name] for name in FilterForm.base_fields if request.GET.get(name)}
    context = {
        "form": form,
        "deployments": shown,
        "query": urlencode(filled),
        "before": before,
        "next": shown[-1].pk if len(found) > PAGE_LENGTH else None,
    }
    return form_page(request, "deployments/list.html", context, form)


@team_page("GET")
@kept_offline
def deployment_detail(request: TeamRequest, deployment_id: UUID) -> HttpResponse:
    deployment = selectors.deployment_get(actor=request.actor, deployment_id=str(deployment_id))
    steps = selectors.step_list(actor=request.actor, deployment=deployment)
    context = {
        **_head(request.actor, deployment, steps),
        "events_url": f"/api/v1/deployments/{deployment.pk}/events",
    }
    return render(request, "deployments/detail.html", context)


@team_page("GET")
def deployment_head(request: TeamRequest, deployment_id: UUID) -> HttpResponse:
    """The parts of the page that change with the deployment's state: its head, steps and releases."""
    deployment = selectors.deployment_get(actor=request.actor, deployment_id=str(deployment_id))
    steps = selectors.step_list(actor=request.actor, deployment=deployment)
    return render(request, "deployments/head_update.html", _head(request.actor, deployment, steps))


@team_page("GET")
def deployment_plan(request: TeamRequest, deployment_id: UUID) -> HttpResponse:
    """The plan that is stored with the deployment; `?show=` names a step, or else what is to be shown whole."""
    deployment = selectors.deployment_get(actor=request.actor, deployment_id=str(deployment_id))
    context: dict[str, Any] = {
        "deployment": deployment,
        "project": deployment.project,
        "environment": deployment.environment,
    }
    if deployment.plan:
        plan, wanted = Plan.from_json(deployment.plan), request.GET.get("show", "")
        if request.headers.get("HX-Request") == "true" and (planned := plan_step(plan, wanted)):
            return render(request, "environments/plan_command.html", {"planned": planned})
        context |= plan_context(plan, wanted)
    return render(request, "deployments/plan.html", context)


@team_page("GET")
def deployment_log(request: TeamRequest, deployment_id: UUID) -> StreamingHttpResponse:
    """The whole log as a text file, with the escape sequences of colours in it."""
    deployment = selectors.deployment_get(actor=request.actor, deployment_id=str(deployment_id))
    log = selectors.log_read(actor=request.actor, deployment=deployment)
    name = f"{deployment.project.slug}-{deployment.environment.name}-{deployment.release or deployment.pk}.log"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(log, content_type="text/plain; charset=utf-8", headers=headers)


@team_page("GET")
def deployment_lines(request: TeamRequest, deployment_id: UUID) -> HttpResponse:
    """A window of the log: from line `first` on `count` lines, or the last ones; as a page, or as JSON for scripts.

    Scripts may also ask where a text is (`find`, of a `server`), the first line of a `step`, the first `error`, and
    which lines are a server's (`ranges`).
    """
    deployment = selectors.deployment_get(actor=request.actor, deployment_id=str(deployment_id))
    form = LinesForm(request.GET)
    if not form.is_valid():
        return JsonResponse({"errors": form.errors}, status=422)
    asked = form.cleaned_data
    of: dict[str, Any] = {"actor": request.actor, "deployment": deployment}
    count = asked["count"] or PAGE_LINES
    first = asked["first"] or max(1, deployment.log_lines - count + 1)
    if not request.accepts("text/html"):
        return JsonResponse(_lines_document(of, asked, first, count), headers={"Cache-Control": "no-store"})
    lines = line_list(**of, first=first, count=count)
    context = {
        "deployment": deployment,
        "project": deployment.project,
        "environment": deployment.environment,
        "lines": [(line.number, plain(line.text)) for line in lines],
        "first": first,
        "last": lines[-1].number if lines else 0,
        "earlier": max(1, first - count) if first > 1 else None,
        "later": lines[-1].number + 1 if lines and lines[-1].number < deployment.log_lines else None,
    }
    return render(request, "deployments/lines.html", context)


def _lines_document(of: dict[str, Any], asked: dict[str, Any], first: int, count: int) -> dict[str, Any]:
    if asked["find"]:
        found = line_find(**of, text=asked["find"], server=asked["server"], first=asked["first"] or 1)
        return {"found": found}
    if asked["ranges"]:
        return {"ranges": line_ranges(**of, server=asked["ranges"])}
    if asked["error"]:
        return {"line": line_of_error(**of, step=asked["step"])}
    if asked["step"]:
        return {"line": line_of_step(**of, step=asked["step"])}
    lines = line_list(**of, first=first, count=count)
    return {"lines": [(line.number, line.server, line.step, line.text) for line in lines]}


@team_page("GET", "POST", right=rights.DEPLOY)
def deploy(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    """Asks which commit, and deploys it: the branch's head where none is named. Goes on to the deployment's page."""
    environment = environment_get(actor=request.actor, slug=slug, name=name)
    form = DeployForm(request.POST if request.method == "POST" else None, initial={"pick": HEAD})
    if form.is_valid() and (deployment := form.save(request.actor, environment)):
        return redirect("deployment", deployment.pk)
    commits = commits_recent(actor=request.actor, project=environment.project, limit=SHOWN_COMMITS)
    known = {commit.branch for commit in commits if not commit.branch.startswith("refs/")}
    context = {
        **environment_head(request.actor, environment),
        "form": form,
        "picked": form["pick"].value() or HEAD,
        "commits": commits,
        "branches": sorted(known - {"", environment.branch}),
        "serving": releases_serving(actor=request.actor, environments=[environment]).get(environment.pk),
        "window": window_state(environment),
    }
    return form_page(request, "deployments/deploy.html", context, form)


@team_page("POST", right=rights.DEPLOY)
def promote(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    """Deploys here what serves in the environment `source`; goes on to the deployment's page."""
    project = project_get(actor=request.actor, slug=slug)
    target = environment_get(actor=request.actor, slug=slug, name=name)
    wanted = request.POST.get("source", "")
    source = next((each for each in project.environments.all() if each.name == wanted), None)
    if source is None:
        raise NotFoundError(
            _("There is no environment %(value)s in project %(slug)s.")
            % {"value": repr(wanted[:63]), "slug": repr(slug)}
        )
    try:
        deployment = services.deployment_promote(actor=request.actor, source=source, target=target)
    except (ConflictError, InvalidError) as error:
        messages.error(request, told(str(error)))
        return redirect("project", slug)
    return redirect("deployment", deployment.pk)


@team_page("POST", right=rights.DEPLOY)
def rollback(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    """Goes back to the kept release of the deployment named in `to`; goes on to the page of the rollback."""
    environment = environment_get(actor=request.actor, slug=slug, name=name)
    wanted = request.POST.get("to", "")
    to = selectors.deployment_get(actor=request.actor, deployment_id=wanted) if wanted else None
    try:
        deployment = services.deployment_rollback(actor=request.actor, environment=environment, to=to)
    except (ConflictError, InvalidError) as error:
        messages.error(request, told(str(error)))
        return redirect("environment", slug, name)
    return redirect("deployment", deployment.pk)


@team_page("POST", right=rights.DEPLOY)
def deployment_cancel(request: TeamRequest, deployment_id: UUID) -> HttpResponse:
    deployment = selectors.deployment_get(actor=request.actor, deployment_id=str(deployment_id))
    return act_and_go(
        request,
        lambda: services.deployment_cancel(actor=request.actor, deployment=deployment),
        done=_("It is being cancelled."),
        to="deployment",
        args=(deployment.pk,),
    )


def _head(actor: Actor, deployment: Deployment, steps: list[Step]) -> dict[str, Any]:
    environment = deployment.environment
    releases = selectors.release_list(actor=actor, environment=environment)
    newest = selectors.deployment_newest(actor=actor, environment=environment) or deployment
    target = rollback_target(deployment, releases)
    usual = durations_usual(actor=actor, deployment=deployment)

    def tail(step: Step) -> list[Line]:
        return line_tail(actor=actor, deployment=deployment, step=step, count=TAIL_LINES)

    return {
        "deployment": deployment,
        "phases": step_groups(steps, usual),
        "usual": usual.whole,
        "show_servers": len(deployment.server_names) > 1,
        "project": deployment.project,
        "environment": environment,
        "releases": releases,
        "open": None if newest.is_ended else newest,
        "problem": problem_of(deployment, steps, tail),
        "target": target,
        "wait": wait_of(deployment),
        "shares": canary_shares(actor=actor, deployment=deployment),
        "override_form": OverrideForm(),
        "report": report_last(actor=actor, deployment_id=deployment.pk),
        "is_own_target": target is not None and target.name == deployment.release,
        **tab_of(deployment),
    }
