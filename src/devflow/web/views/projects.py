"""Projects: list, add, look at, change, remove."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters

from devflow.apps.accounts import rights
from devflow.apps.deployments.selectors import deployment_list
from devflow.apps.projects import selectors, services
from devflow.web.access import TeamRequest, recently_authenticated, team_page
from devflow.web.forms.projects import ProjectForm, ProjectSettingsForm
from devflow.web.offline import kept_offline
from devflow.web.presenters.environments import environment_rows
from devflow.web.replies import act_and_go, form_page

SHOWN_DEPLOYMENTS = 10
PAGE_LENGTH = 50


@team_page("GET")
@kept_offline
def project_list(request: TeamRequest) -> HttpResponse:
    after = request.GET.get("after", "").replace("\0", "")
    found = selectors.projects_brief(actor=request.actor, after=after, limit=PAGE_LENGTH + 1)
    shown = found[:PAGE_LENGTH]
    following = shown[-1].slug if len(found) > len(shown) else None
    return render(request, "projects/list.html", {"projects": shown, "after": after, "next": following})


@sensitive_post_parameters("deploy_key")
@team_page("GET", "POST", right=rights.MANAGE)
def project_add(request: TeamRequest) -> HttpResponse:
    form = ProjectForm(request.POST or None)
    if form.is_valid() and (project := form.save(request.actor)):
        return redirect("project", project.slug)
    return form_page(request, "projects/add.html", {"form": form}, form)


@team_page("GET")
@kept_offline
def project_detail(request: TeamRequest, slug: str) -> HttpResponse:
    project = selectors.project_get(actor=request.actor, slug=slug)
    context = {
        "project": project,
        "rows": environment_rows(request.actor, [project])[project.pk],
        "deployments": deployment_list(actor=request.actor, project=project, limit=SHOWN_DEPLOYMENTS, is_folded=True),
    }
    return render(request, "projects/detail.html", context)


@sensitive_post_parameters("deploy_key")
@team_page("GET", "POST", right=rights.MANAGE)
@recently_authenticated
def project_settings(request: TeamRequest, slug: str) -> HttpResponse:
    project = selectors.project_get(actor=request.actor, slug=slug)
    had_token = bool(project.source and project.source.access_token_sealed)
    form = ProjectSettingsForm(request.POST or None, project=project)
    if form.is_valid() and (saved := form.save(request.actor)):
        messages.success(request, _("Saved."))
        if had_token and not (saved.source and saved.source.access_token_sealed):
            messages.warning(
                request, _("The access token is forgotten: it was for the host before. Give one for the new host.")
            )
        return redirect("project", slug)
    return form_page(request, "projects/settings.html", {"form": form, "project": project}, form)


@team_page("POST", right=rights.MANAGE)
def project_remove(request: TeamRequest, slug: str) -> HttpResponse:
    project = selectors.project_get(actor=request.actor, slug=slug)
    return act_and_go(
        request,
        lambda: services.project_remove(actor=request.actor, project=project),
        done=_("%(name)s is removed from the panel.") % {"name": project.name},
        to="projects",
    )
