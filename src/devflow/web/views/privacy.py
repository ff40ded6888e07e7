"""One's data, the team's, a project's: exported as an archive, deleted for good."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from django.contrib import messages
from django.contrib.auth import logout
from django.http import FileResponse, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _

from devflow.apps.accounts import rights
from devflow.apps.accounts.addresses import client_address
from devflow.apps.accounts.rights import Actor, Place
from devflow.apps.accounts.selectors import actor_of_session
from devflow.apps.privacy import services
from devflow.apps.privacy.models import Archive
from devflow.apps.projects.selectors import ProjectName, project_get, project_names
from devflow.core.errors import ForbiddenError, NotFoundError
from devflow.web.access import AccountRequest, TeamRequest, account_page, recently_authenticated, team_page
from devflow.web.forms.privacy import DeleteForm
from devflow.web.replies import act_and_go, form_page

PROJECTS_SHOWN = 50


@account_page("GET")
@recently_authenticated
def data_page(request: AccountRequest) -> HttpResponse:
    """Archives, and what may be exported and deleted: one's own account also by who is in no team, or not let in."""
    return _page(request)


@account_page("GET")
def data_state(request: AccountRequest) -> HttpResponse:
    """The part of the page that is asked for again while an archive is being made."""
    response = render(request, "privacy/archives.html", _archives(request, _actor(request)))
    response["Cache-Control"] = "no-store"
    return response


@account_page("POST")
@recently_authenticated
def account_export(request: AccountRequest) -> HttpResponse:
    return act_and_go(
        request,
        lambda: services.account_export(user=request.user),
        done=_("The archive is being made: it is offered here when it is ready."),
        to="data",
    )


@account_page("GET")
@recently_authenticated
def account_archive(request: AccountRequest, archive_id: str) -> HttpResponseBase:
    return _file(*services.account_archive_open(user=request.user, archive_id=str(archive_id)))


@team_page("POST")
@recently_authenticated
def data_export(request: TeamRequest) -> HttpResponse:
    kind, slug = request.POST.get("kind", ""), request.POST.get("project", "")
    project = project_get(actor=request.actor, slug=slug) if slug else None
    return act_and_go(
        request,
        lambda: services.archive_request(actor=request.actor, kind=kind, project=project),
        done=_("The archive is being made: it is offered here when it is ready."),
        to="data",
    )


@team_page("GET")
@recently_authenticated
def data_archive(request: TeamRequest, archive_id: str) -> HttpResponseBase:
    return _file(*services.archive_open(actor=request.actor, archive_id=str(archive_id)))


@account_page("POST")
@recently_authenticated
def account_delete(request: AccountRequest) -> HttpResponse:
    form = DeleteForm(request.POST, name=request.user.email, has_files=False)
    if form.is_valid() and form.submit(_done(services.user_delete), user=request.user, is_own=True):
        logout(request)
        messages.success(request, _("Your account is deleted."))
        return redirect("account_login")
    return _page(request, account_form=form)


@team_page("POST", right=rights.OWN)
@recently_authenticated
def team_delete(request: TeamRequest) -> HttpResponse:
    form = DeleteForm(request.POST, name=request.actor.team.slug)
    if form.is_valid():
        with_files = form.cleaned_data["with_files"]
        if form.submit(_done(services.team_delete), actor=request.actor, with_files=with_files):
            said = (
                _("The team %(name)s is deleted as soon as its sites are removed from the servers.")
                if with_files
                else _("The team %(name)s is deleted.")
            )
            messages.success(request, said % {"name": request.actor.team.name})
            return redirect("dashboard")
    return _page(request, team_form=form)


@team_page("GET", "POST", right=rights.MANAGE)
@recently_authenticated
def project_delete(request: TeamRequest, slug: str) -> HttpResponse:
    """Asks for its name and whether the sites go from the servers too; what stands on which is named."""
    project = project_get(actor=request.actor, slug=slug)
    form = DeleteForm(request.POST or None, name=project.slug)
    if form.is_valid():
        with_files = form.cleaned_data["with_files"]
        if form.submit(_done(services.project_delete), actor=request.actor, project=project, with_files=with_files):
            said = [_("The project %(name)s is deleted.") % {"name": project.name}]
            if with_files:
                said.append(_("Its sites are being removed from the servers: the audit log tells how it went."))
            messages.success(request, " ".join(said))
            return redirect("projects")
    folders = [
        (environment.root, server.name)
        for environment in project.environments.all()
        for server in environment.servers.all()
    ]
    return form_page(request, "privacy/project.html", {"form": form, "project": project, "folders": folders}, form)


def _page(request: AccountRequest | TeamRequest, **forms: DeleteForm) -> HttpResponse:
    actor = _actor(request)
    after = request.GET.get("after", "").replace("\0", "")
    projects = _managed(actor) if actor else []
    slugs = [project.slug for project in projects]
    begins = slugs.index(after) + 1 if after in slugs else 0
    shown = projects[begins : begins + PROJECTS_SHOWN]
    team_form = DeleteForm(name=actor.team.slug, auto_id="team_%s") if actor and actor.can(rights.OWN) else None
    context: dict[str, Any] = {
        **_archives(request, actor),
        "projects": shown,
        "count": len(projects),
        "after": after,
        "next": shown[-1].slug if begins + len(shown) < len(slugs) else None,
        "owned_alone": services.teams_owned_alone(request.user),
        "account_form": forms.get("account_form") or DeleteForm(name=request.user.email, has_files=False),
        "team_form": forms.get("team_form") or team_form,
    }
    response = form_page(request, "privacy/page.html", context, *forms.values())
    response["Cache-Control"] = "no-store"
    return response


def _managed(actor: Actor) -> list[ProjectName]:
    """The projects that they may export and delete."""
    return [each for each in project_names(actor=actor) if actor.can(rights.MANAGE, Place(actor.team.pk, each.pk))]


def _archives(request: AccountRequest | TeamRequest, actor: Actor | None) -> dict[str, Any]:
    """What takes longer than ten minutes is not asked for again and again."""
    found = services.archive_list(user=request.user, team=actor.team if actor else None)
    recent = timezone.now() - timedelta(minutes=10)
    is_making = any(archive.finished_at is None and archive.created_at > recent for archive in found)
    return {"archives": found, "is_making": is_making}


def _actor(request: AccountRequest | TeamRequest) -> Actor | None:
    """Who looks, as a member; None for who is in no team, or in one that does not let them in as they come."""
    try:
        return actor_of_session(user=request.user, session=request.session, address=client_address(request))
    except (NotFoundError, ForbiddenError):
        return None


def _file(archive: Archive, path: Path) -> FileResponse:
    answer = FileResponse(path.open("rb"), as_attachment=True, filename=f"devflow-{archive.kind}-{archive.pk}.zip")
    answer["Cache-Control"] = "no-store"
    return answer


def _done(service: Any) -> Any:
    """A service that returns nothing, as one that says that it was done."""

    def call(**arguments: Any) -> bool:
        service(**arguments)
        return True

    return call
