"""The Access page of a project: who may do what and why, grants, protected environments."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _

from devflow.apps.accounts import rights
from devflow.apps.projects import grants
from devflow.apps.projects.models import Project
from devflow.apps.projects.selectors import environment_get, project_get
from devflow.web.access import TeamRequest, recently_authenticated, team_page
from devflow.web.forms.grants import GrantForm
from devflow.web.presenters.grants import people_of
from devflow.web.replies import Undo, act_and_go, form_page, tell_done


@team_page("GET")
def grants_page(request: TeamRequest, slug: str) -> HttpResponse:
    project = project_get(actor=request.actor, slug=slug)
    return _page(request, project, GrantForm(actor=request.actor, project=project))


@team_page("POST", right=rights.MANAGE_PEOPLE)
@recently_authenticated
def grant_add(request: TeamRequest, slug: str) -> HttpResponse:
    project = project_get(actor=request.actor, slug=slug)
    form = GrantForm(request.POST, actor=request.actor, project=project)
    if form.is_valid() and form.save() is not None:
        tell_done(request, _("Granted to %(email)s; it counts at once.") % {"email": form.cleaned_data["email"]})
        return redirect("grants", slug)
    return _page(request, project, form)


@team_page("POST", right=rights.MANAGE_PEOPLE)
@recently_authenticated
def grant_remove(request: TeamRequest, slug: str) -> HttpResponse:
    project = project_get(actor=request.actor, slug=slug)
    gone = grants.grant_remove(actor=request.actor, project=project, grant_id=request.POST.get("grant", ""))
    where = gone.environment.name if gone.environment else ""
    given = {"email": gone.membership.user.email, "actions": gone.action, "environment": where}
    undo = Undo(reverse("grant-add", args=[slug]), given)
    tell_done(request, _("The grant is taken back."), undo)
    return redirect("grants", slug)


@team_page("POST", right=rights.MANAGE_PEOPLE)
@recently_authenticated
def environment_protect(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    environment = environment_get(actor=request.actor, slug=slug, name=name)
    on = request.POST.get("on") == "yes"
    undo = Undo(reverse("environment-protect", args=[slug, name]), {"on": "no" if on else "yes"})
    said = _("%(name)s is protected: developers need a grant now.") if on else _("%(name)s is not protected any more.")
    return act_and_go(
        request,
        lambda: grants.environment_protect(actor=request.actor, environment=environment, on=on),
        done=said % {"name": name},
        to="grants",
        args=(slug,),
        undo=lambda: undo,
    )


def _page(request: TeamRequest, project: Project, form: GrantForm) -> HttpResponse:
    context = {
        "project": project,
        "environments": project.environments.all(),
        "people": people_of(grants.access_list(actor=request.actor, project=project)),
        "grants": grants.grant_list(actor=request.actor, project=project),
        "form": form,
    }
    return form_page(request, "grants/page.html", context, form)
