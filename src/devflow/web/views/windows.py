"""Windows and freezes of an environment; having a deployment begin outside of them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from devflow.apps.accounts import rights
from devflow.apps.deployments import selectors
from devflow.apps.projects import windows
from devflow.apps.projects.models import Environment
from devflow.apps.projects.selectors import environment_get
from devflow.apps.told import told
from devflow.core.errors import NotFoundError
from devflow.web.access import TeamRequest, team_page
from devflow.web.forms.windows import FreezeForm, OverrideForm, WindowsForm
from devflow.web.presenters.environments import environment_head
from devflow.web.presenters.windows import window_state
from devflow.web.replies import Undo, form_page, tell_done

_LIFTED = {
    "in force": gettext_lazy("The freeze is lifted; what waited for it begins."),
    "to come": gettext_lazy("The freeze is taken back before it began."),
    "over": gettext_lazy("That freeze was over already; it is taken off the list."),
}


@team_page("GET")
def windows_page(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    environment = environment_get(actor=request.actor, slug=slug, name=name)
    return _page(request, environment)


@team_page("POST", right=rights.MANAGE)
def windows_set(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    environment = environment_get(actor=request.actor, slug=slug, name=name)
    undo = Undo(reverse("windows-set", args=(slug, name)), dict(WindowsForm(environment=environment).initial))
    form = WindowsForm(request.POST, environment=environment)
    if form.is_valid() and form.save(request.actor):
        tell_done(request, _("Saved; it holds for every deployment that begins from now on."), undo)
        return redirect("environment-windows", slug, name)
    return _page(request, environment_get(actor=request.actor, slug=slug, name=name), form=form)


@team_page("POST", right=rights.MANAGE)
def freeze_add(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    environment = environment_get(actor=request.actor, slug=slug, name=name)
    form = FreezeForm(request.POST)
    if form.is_valid() and (frozen := form.save(request.actor, environment)):
        undo = Undo(reverse("freeze-lift", args=(slug, name)), {"number": str(len(frozen.freezes))})
        tell_done(request, _("The freeze is added."), undo)
        return redirect("environment-windows", slug, name)
    return _page(request, environment, freeze_form=form)


@team_page("POST", right=rights.MANAGE)
def freeze_lift(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    environment = environment_get(actor=request.actor, slug=slug, name=name)
    typed = request.POST.get("number", "")
    number = int(typed) if typed.isascii() and typed.isdecimal() and len(typed) < 6 else 0
    before = environment.freezes[number - 1 : number] if number else []
    try:
        lifted = windows.environment_unfreeze(actor=request.actor, environment=environment, number=number)
    except NotFoundError as error:  # somebody else was quicker
        messages.error(request, told(str(error)))
    else:
        tell_done(request, str(_LIFTED[lifted[0]]), _again(slug, name, before[0]) if lifted[0] != "over" else None)
    return redirect("environment-windows", slug, name)


def _again(slug: str, name: str, freeze: dict[str, Any]) -> Undo:
    """Adds the freeze that was lifted."""
    times = {"begins": freeze["from"] or "", "ends": freeze["to"] or ""}
    return Undo(reverse("freeze-add", args=(slug, name)), {"reason": freeze["reason"], **times})


@team_page("POST", right=rights.APPROVE)
def deployment_override(request: TeamRequest, deployment_id: UUID) -> HttpResponse:
    """Has a waiting deployment begin now."""
    deployment = selectors.deployment_get(actor=request.actor, deployment_id=str(deployment_id))
    form = OverrideForm(request.POST)
    if form.is_valid() and form.save(request.actor, deployment):
        messages.success(request, _("It begins now."))
    else:
        messages.error(request, form.problems())
    return redirect("deployment", deployment.pk)


def _page(request: TeamRequest, environment: Environment, **refused: Any) -> HttpResponse:
    """The page with its forms; `refused` are those that were sent and not accepted."""
    form = refused.get("form") or WindowsForm(environment=environment)
    freeze_form = refused.get("freeze_form") or FreezeForm()
    context = {
        **environment_head(request.actor, environment),
        "window": window_state(environment),
        "freezes": windows.freeze_list(environment),
        "form": form,
        "freeze_form": freeze_form,
    }
    return form_page(request, "windows/page.html", context, form, freeze_form)
