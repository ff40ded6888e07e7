"""Hooks of an environment: which are in force, add one, remove one."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from devflow.apps.accounts import rights
from devflow.apps.deployments.selectors import deployment_newest
from devflow.apps.projects import hooks
from devflow.apps.projects.models import Environment
from devflow.apps.projects.selectors import environment_get
from devflow.web.access import TeamRequest, team_page
from devflow.web.forms.hooks import HookForm
from devflow.web.presenters.files import file_state
from devflow.web.replies import act_and_go, form_page


@team_page("GET")
def hooks_page(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    return _page(request, environment_get(actor=request.actor, slug=slug, name=name))


@team_page("POST", right=rights.MANAGE)
def hook_add(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    environment = environment_get(actor=request.actor, slug=slug, name=name)
    form = HookForm(request.POST, environment=environment)
    if form.is_valid() and form.save(request.actor):
        messages.success(request, _("The hook is added; it runs with the next deployment."))
        return redirect("environment-hooks", slug, name)
    return _page(request, environment, form=form)


@team_page("POST", right=rights.MANAGE)
def hook_remove(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    environment = environment_get(actor=request.actor, slug=slug, name=name)
    mark = request.POST.get("mark", "")
    return act_and_go(
        request,
        lambda: hooks.hook_remove(actor=request.actor, environment=environment, mark=mark),
        done=_("The hook is removed."),
        to="environment-hooks",
        args=(slug, name),
    )


def _page(request: TeamRequest, environment: Environment, **refused: Any) -> HttpResponse:
    """The page with its form; `refused` is the one that was sent and not accepted."""
    form = refused.get("form") or HookForm(environment=environment)
    newest = deployment_newest(actor=request.actor, environment=environment)
    context = {
        "project": environment.project,
        "environment": environment,
        "last": newest,
        "open": newest if newest and not newest.is_ended else None,
        "hooks": hooks.hook_list(environment),
        "file": file_state(environment),
        "form": form,
    }
    return form_page(request, "hooks/page.html", context, form)
