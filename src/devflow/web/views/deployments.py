"""Deployments: list, the live page and its parts, deploy, roll back, cancel, download the log."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.deployments import selectors, services
from devflow.apps.deployments.canary import canary_shares
from devflow.apps.deployments.models import Deployment, Step
from devflow.apps.projects.selectors import environment_get
from devflow.apps.sources.reports import report_last
from devflow.core.errors import ConflictError, InvalidError
from devflow.engine.plan import Plan
from devflow.web.access import TeamRequest, team_page
from devflow.web.forms.deployments import DeployForm, FilterForm
from devflow.web.forms.windows import OverrideForm
from devflow.web.presenters.deployments import plan_context, problem_of, rollback_target, step_groups, tab_of
from devflow.web.presenters.windows import wait_of
from devflow.web.replies import act_and_go, form_page

PAGE_LENGTH = 50


@team_page("GET")
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
        "next": shown[-1].pk if len(found) > PAGE_LENGTH else None,
    }
    return form_page(request, "deployments/list.html", context, form)


@team_page("GET")
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
    """The plan that is stored with the deployment."""
    deployment = selectors.deployment_get(actor=request.actor, deployment_id=str(deployment_id))
    context: dict[str, Any] = {
        "deployment": deployment,
        "project": deployment.project,
        "environment": deployment.environment,
    }
    if deployment.plan:
        plan = Plan.from_json(deployment.plan)
        context |= plan_context(plan)
    return render(request, "deployments/plan.html", context)


@team_page("GET")
def deployment_log(request: TeamRequest, deployment_id: UUID) -> StreamingHttpResponse:
    """The whole log as a text file, with the escape sequences of colours in it."""
    deployment = selectors.deployment_get(actor=request.actor, deployment_id=str(deployment_id))
    log = selectors.log_read(actor=request.actor, deployment=deployment)
    name = f"{deployment.project.slug}-{deployment.environment.name}-{deployment.release or deployment.pk}.log"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(log, content_type="text/plain; charset=utf-8", headers=headers)


@team_page("POST", right=rights.DEPLOY)
def deploy(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    """Deploys the branch's head, or the commit that is named; goes on to the deployment's page."""
    environment = environment_get(actor=request.actor, slug=slug, name=name)
    form = DeployForm(request.POST)
    if form.is_valid() and (deployment := form.save(request.actor, environment)):
        return redirect("deployment", deployment.pk)
    messages.error(request, form.problems())
    return redirect("environment", slug, name)


@team_page("POST", right=rights.DEPLOY)
def rollback(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    """Goes back to the kept release of the deployment named in `to`; goes on to the page of the rollback."""
    environment = environment_get(actor=request.actor, slug=slug, name=name)
    wanted = request.POST.get("to", "")
    to = selectors.deployment_get(actor=request.actor, deployment_id=wanted) if wanted else None
    try:
        deployment = services.deployment_rollback(actor=request.actor, environment=environment, to=to)
    except (ConflictError, InvalidError) as error:
        messages.error(request, str(error))
        return redirect("environment", slug, name)
    return redirect("deployment", deployment.pk)


@team_page("POST", right=rights.DEPLOY)
def deployment_cancel(request: TeamRequest, deployment_id: UUID) -> HttpResponse:
    deployment = selectors.deployment_get(actor=request.actor, deployment_id=str(deployment_id))
    return act_and_go(
        request,
        lambda: services.deployment_cancel(actor=request.actor, deployment=deployment),
        done="It is being cancelled.",
        to="deployment",
        args=(deployment.pk,),
    )


def _head(actor: Actor, deployment: Deployment, steps: list[Step]) -> dict[str, Any]:
    environment = deployment.environment
    releases = selectors.release_list(actor=actor, environment=environment)
    newest = selectors.deployment_newest(actor=actor, environment=environment) or deployment
    target = rollback_target(deployment, releases)
    return {
        "deployment": deployment,
        "phases": step_groups(steps),
        "show_servers": len(deployment.server_names) > 1,
        "project": deployment.project,
        "environment": environment,
        "releases": releases,
        "open": None if newest.is_ended else newest,
        "problem": problem_of(deployment, steps),
        "target": target,
        "wait": wait_of(deployment),
        "shares": canary_shares(actor=actor, deployment=deployment),
        "override_form": OverrideForm(),
        "report": report_last(actor=actor, deployment_id=deployment.pk),
        "is_own_target": target is not None and target.name == deployment.release,
        **tab_of(deployment),
    }
