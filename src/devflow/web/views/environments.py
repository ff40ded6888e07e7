"""Environments: overview, plan, settings."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from devflow.apps.accounts import rights
from devflow.apps.deployments.selectors import deployment_list, plan_preview, release_list
from devflow.apps.deployments.services import inspection_request
from devflow.apps.deployments.variables import variables_undeployed
from devflow.apps.projects import selectors, services
from devflow.apps.projects.models import Environment
from devflow.apps.told import told
from devflow.core.errors import ConflictError, InvalidError
from devflow.web.access import TeamRequest, team_page
from devflow.web.forms.environments import EnvironmentForm, EnvironmentSettingsForm
from devflow.web.offline import kept_offline
from devflow.web.presenters.deployments import plan_context, plan_step
from devflow.web.presenters.environments import environment_head
from devflow.web.presenters.files import file_state
from devflow.web.presenters.windows import window_state
from devflow.web.replies import act_and_go, form_page
from devflow.web.waiting import is_waiting, redirect_and_wait, since

SHOWN_DEPLOYMENTS = 20


@team_page("GET", "POST", right=rights.MANAGE)
def environment_add(request: TeamRequest, slug: str) -> HttpResponse:
    project = selectors.project_get(actor=request.actor, slug=slug)
    form = EnvironmentForm(request.POST or None, actor=request.actor, project=project)
    if form.is_valid() and (environment := form.save()):
        return redirect("environment", slug, environment.name)
    return form_page(request, "environments/add.html", {"form": form, "project": project}, form)


@team_page("GET")
@kept_offline
def environment_detail(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    environment = selectors.environment_get(actor=request.actor, slug=slug, name=name)
    context = {
        **environment_head(request.actor, environment),
        "deployments": deployment_list(actor=request.actor, environment=environment, limit=SHOWN_DEPLOYMENTS),
        "releases": release_list(actor=request.actor, environment=environment),
        "file": file_state(environment),
        "window": window_state(environment),
        "undeployed": variables_undeployed(actor=request.actor, environment=environment),
    }
    return render(request, "environments/overview.html", context)


@team_page("GET")
def environment_head_state(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    """The head of an environment's pages: how the last deployment fares, and what can be done."""
    environment = selectors.environment_get(actor=request.actor, slug=slug, name=name)
    return render(request, "environments/head_state.html", environment_head(request.actor, environment))


@team_page("GET")
def environment_plan(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    """`?show=` names a step, or else what is to be shown whole."""
    environment = selectors.environment_get(actor=request.actor, slug=slug, name=name)
    context = _plan(request, environment)
    is_part, wanted = request.headers.get("HX-Request") == "true", request.GET.get("show", "")
    if is_part and "plan" in context and (planned := plan_step(context["plan"], wanted)):
        return render(request, "environments/plan_command.html", {"planned": planned})
    return render(request, "environments/plan.html", {**environment_head(request.actor, environment), **context})


@team_page("GET")
def plan_state(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    """The part of the page that is asked for again while the repository is being looked at."""
    environment = selectors.environment_get(actor=request.actor, slug=slug, name=name)
    context = {"project": environment.project, "environment": environment, **_plan(request, environment)}
    return render(request, "environments/plan_state.html", context)


@team_page("POST", right=rights.DEPLOY)
def plan_inspect(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    """Has a worker look which framework the branch holds."""
    environment = selectors.environment_get(actor=request.actor, slug=slug, name=name)
    inspection_request(actor=request.actor, environment=environment)
    return redirect_and_wait("environment-plan", slug, name)


@team_page("GET", "POST", right=rights.MANAGE)
def environment_settings(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    environment = selectors.environment_get(actor=request.actor, slug=slug, name=name)
    form = EnvironmentSettingsForm(request.POST or None, actor=request.actor, environment=environment)
    if form.is_valid() and form.save():
        messages.success(request, _("Saved; it takes effect with the next deployment."))
        return redirect("environment-settings", slug, name)
    return form_page(
        request, "environments/settings.html", {**environment_head(request.actor, environment), "form": form}, form
    )


@team_page("POST", right=rights.MANAGE)
def environment_remove(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    environment = selectors.environment_get(actor=request.actor, slug=slug, name=name)
    return act_and_go(
        request,
        lambda: services.environment_remove(actor=request.actor, environment=environment),
        done=_("%(name)s is removed from the panel.") % {"name": name},
        to="project",
        args=(slug,),
    )


def _plan(request: TeamRequest, environment: Environment) -> dict[str, Any]:
    """The plan, or why there is none."""
    detected = environment.detected
    looked_at = datetime.fromisoformat(detected["at"]) if "at" in detected else None
    context = {
        "since": since(request),
        "is_looking": is_waiting(request, looked_at),
        "problem": detected.get("error", ""),
    }
    try:
        plan = plan_preview(actor=request.actor, environment=environment)
    except (ConflictError, InvalidError) as error:
        return {**context, "problem": context["problem"] or told(str(error))}
    return {**context, **plan_context(plan, request.GET.get("show", ""))}
