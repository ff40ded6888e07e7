"""Environments: overview, plan, variables, settings."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters

from devflow.apps.accounts import rights
from devflow.apps.deployments.selectors import deployment_list, plan_preview, release_list
from devflow.apps.deployments.services import inspection_request
from devflow.apps.projects import selectors, services
from devflow.apps.projects.models import Environment
from devflow.core.errors import ConflictError, InvalidError
from devflow.web.access import TeamRequest, team_page
from devflow.web.forms.deployments import DeployForm
from devflow.web.forms.environments import EnvironmentForm, EnvironmentSettingsForm, ImportForm, VariableForm
from devflow.web.presenters.deployments import plan_groups
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
def environment_detail(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    environment = selectors.environment_get(actor=request.actor, slug=slug, name=name)
    context = {
        **_head(request, environment),
        "deployments": deployment_list(actor=request.actor, environment=environment, limit=SHOWN_DEPLOYMENTS),
        "releases": release_list(actor=request.actor, environment=environment),
        "deploy_form": DeployForm(),
    }
    return render(request, "environments/overview.html", context)


@team_page("GET")
def environment_plan(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    environment = selectors.environment_get(actor=request.actor, slug=slug, name=name)
    return render(request, "environments/plan.html", {**_head(request, environment), **_plan(request, environment)})


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


@team_page("GET")
def variable_list(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    environment = selectors.environment_get(actor=request.actor, slug=slug, name=name)
    return _variable_page(request, environment)


@sensitive_post_parameters("value")
@team_page("POST", right=rights.MANAGE)
def variable_set(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    environment = selectors.environment_get(actor=request.actor, slug=slug, name=name)
    form = VariableForm(request.POST)
    if form.is_valid() and form.save(request.actor, environment):
        messages.success(request, f"{form.cleaned_data['key']} is set; it takes effect with the next deployment.")
        return redirect("environment-variables", slug, name)
    return _variable_page(request, environment, form=form)


@sensitive_post_parameters("text")
@team_page("POST", right=rights.MANAGE)
def variables_import(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    environment = selectors.environment_get(actor=request.actor, slug=slug, name=name)
    form = ImportForm(request.POST)
    keys = form.save(request.actor, environment) if form.is_valid() else None
    if keys is None:
        return _variable_page(request, environment, import_form=form)
    messages.success(
        request, f"{len(keys)} set: {', '.join(keys)}." if keys else "There was no variable in these lines."
    )
    return redirect("environment-variables", slug, name)


@team_page("POST", right=rights.MANAGE)
def variable_unset(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    environment = selectors.environment_get(actor=request.actor, slug=slug, name=name)
    key = request.POST.get("key", "")
    return act_and_go(
        request,
        lambda: services.variable_unset(actor=request.actor, environment=environment, key=key),
        done=f"{key} is removed; the next deployment writes .env without it.",
        to="environment-variables",
        args=(slug, name),
    )


@team_page("GET", "POST", right=rights.MANAGE)
def environment_settings(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    environment = selectors.environment_get(actor=request.actor, slug=slug, name=name)
    form = EnvironmentSettingsForm(request.POST or None, actor=request.actor, environment=environment)
    if form.is_valid() and form.save():
        messages.success(request, "Saved; it takes effect with the next deployment.")
        return redirect("environment-settings", slug, name)
    return form_page(request, "environments/settings.html", {**_head(request, environment), "form": form}, form)


@team_page("POST", right=rights.MANAGE)
def environment_remove(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    environment = selectors.environment_get(actor=request.actor, slug=slug, name=name)
    return act_and_go(
        request,
        lambda: services.environment_remove(actor=request.actor, environment=environment),
        done=f"{name} is removed from the panel.",
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
        return {**context, "problem": context["problem"] or str(error)}
    return {**context, "plan": plan, "phases": plan_groups(plan)}


def _variable_page(request: TeamRequest, environment: Environment, **refused: Any) -> HttpResponse:
    """The table of variables with both forms; `refused` are those that were sent and not accepted."""
    form = refused.get("form") or VariableForm()
    import_form = refused.get("import_form") or ImportForm()
    context = {
        **_head(request, environment),
        "variables": selectors.variable_list(actor=request.actor, environment=environment),
        "form": form,
        "import_form": import_form,
    }
    return form_page(request, "environments/variables.html", context, form, import_form)


def _head(request: TeamRequest, environment: Environment) -> dict[str, Any]:
    """What the head of every page of an environment shows; `open` is a deployment that has not ended."""
    newest = next(iter(deployment_list(actor=request.actor, environment=environment, limit=1)), None)
    return {
        "project": environment.project,
        "environment": environment,
        "last": newest,
        "open": newest if newest and not newest.is_ended else None,
    }
