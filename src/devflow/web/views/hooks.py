"""Hooks of an environment: which are in force, add one, remove one."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _

from devflow.apps.accounts import rights
from devflow.apps.projects import hooks
from devflow.apps.projects.models import Environment
from devflow.apps.projects.selectors import environment_get
from devflow.apps.told import told
from devflow.core.errors import ConflictError
from devflow.engine.hooks import HOOK_PHASES
from devflow.web.access import TeamRequest, team_page
from devflow.web.forms.hooks import HookForm
from devflow.web.presenters.environments import environment_head
from devflow.web.presenters.files import file_state
from devflow.web.replies import Undo, form_page, tell_done


@team_page("GET")
def hooks_page(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    return _page(request, environment_get(actor=request.actor, slug=slug, name=name))


@team_page("POST", right=rights.MANAGE)
def hook_add(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    environment = environment_get(actor=request.actor, slug=slug, name=name)
    form = HookForm(request.POST, environment=environment)
    if form.is_valid() and (row := form.save(request.actor)):
        place = form.cleaned_data["place"]
        added = hooks.hook_list(row)[len(row.hooks) - 1 if place is None else min(place, len(row.hooks) - 1)]
        undo = Undo(reverse("hook-remove", args=(slug, name)), {"mark": added["mark"]})
        tell_done(request, _("The hook is added; it runs with the next deployment."), undo)
        return redirect("environment-hooks", slug, name)
    return _page(request, environment, form=form)


@team_page("POST", right=rights.MANAGE)
def hook_remove(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    environment = environment_get(actor=request.actor, slug=slug, name=name)
    mark = request.POST.get("mark", "")
    try:
        gone = hooks.hook_remove(actor=request.actor, environment=environment, mark=mark)
    except ConflictError as error:
        messages.error(request, told(str(error)))
    else:
        again = {key: str(value) for key, value in gone.items()}
        tell_done(request, _("The hook is removed."), Undo(reverse("hook-add", args=(slug, name)), again))
    return redirect("environment-hooks", slug, name)


def _page(request: TeamRequest, environment: Environment, **refused: Any) -> HttpResponse:
    """The page with its form; `refused` is the one that was sent and not accepted."""
    form = refused.get("form") or HookForm(environment=environment)
    context = {
        **environment_head(request.actor, environment),
        "hooks": hooks.hook_list(environment),
        "phases": [phase.value for phase in HOOK_PHASES],
        "file": file_state(environment),
        "form": form,
    }
    return form_page(request, "hooks/page.html", context, form)
