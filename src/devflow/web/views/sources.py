"""A project's access to its git provider: the token, testing it, having the webhook made there."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters

from devflow.apps.accounts import rights
from devflow.apps.projects.models import Project
from devflow.apps.projects.selectors import project_get
from devflow.apps.sources import reports
from devflow.apps.sources.models import Source
from devflow.apps.told import told
from devflow.core.errors import ConflictError, OutgoingError
from devflow.web.access import TeamRequest, recently_authenticated, team_page
from devflow.web.forms.sources import AccessForm
from devflow.web.replies import form_page


@sensitive_post_parameters("access_token")
@team_page("GET", "POST", right=rights.MANAGE)
@recently_authenticated
def access(request: TeamRequest, slug: str) -> HttpResponse:
    project = project_get(actor=request.actor, slug=slug)
    shown = reports.source_shown(project.source, project.repository)
    form = AccessForm(request.POST or None, project=project, shown=shown)
    if form.is_valid() and form.save(request.actor):
        messages.success(request, _("Saved. Test the access to see whether the token is right."))
        return redirect("project-access", slug)
    context = {"project": project, "source": project.source, "shown": shown, "form": form}
    return form_page(request, "sources/access.html", context, form)


@team_page("POST", right=rights.MANAGE)
def access_test(request: TeamRequest, slug: str) -> HttpResponse:
    def test(source: Source) -> str:
        name = reports.source_test(actor=request.actor, source=source)
        return _("The token opens %(name)s.") % {"name": name}

    return _with_source(request, slug, test)


@team_page("POST", right=rights.MANAGE)
@recently_authenticated
def access_forget(request: TeamRequest, slug: str) -> HttpResponse:
    def forget(source: Source) -> str:
        reports.source_update(actor=request.actor, source=source, access_token="")
        return _("The access token is forgotten.")

    return _with_source(request, slug, forget)


@team_page("POST", right=rights.MANAGE)
def access_webhook(request: TeamRequest, slug: str) -> HttpResponse:
    """Has a worker make the webhook at the provider."""

    def make(source: Source) -> str:
        reports.hook_create(actor=request.actor, source=source)
        return _("The webhook is being made; load this page again to see what came of it.")

    return _with_source(request, slug, make)


def _with_source(request: TeamRequest, slug: str, act: Callable[[Source], str]) -> HttpResponse:
    """Does something at the provider, and goes back to the page, which says what came of it."""
    project: Project = project_get(actor=request.actor, slug=slug)
    try:
        if project.source is None:
            raise ConflictError(_("There is no access token yet."))
        messages.success(request, act(project.source))
    except (ConflictError, OutgoingError) as error:
        messages.error(request, told(str(error)))
    return redirect("project-access", slug)
