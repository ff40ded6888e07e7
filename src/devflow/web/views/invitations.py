"""Joining a team by an invitation: as somebody new, or as who one is already."""

from __future__ import annotations

from allauth.account.internal.flows.login import perform_login, record_authentication
from allauth.account.models import Login
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters

from devflow.apps.accounts.invitations import invitation_accept, invitation_find
from devflow.apps.accounts.models import Invitation
from devflow.apps.accounts.selectors import SESSION_TEAM
from devflow.apps.told import told
from devflow.core.errors import ConflictError, ForbiddenError, NotFoundError
from devflow.web.access import public_page
from devflow.web.forms.people import JoinForm
from devflow.web.replies import form_page

_SESSION_KEY = "invitation"


@public_page("GET")
def join_link(request: HttpRequest, raw: str) -> HttpResponse:
    """The link of an invitation. It leads on to an address without the secret, which no page passes on."""
    try:
        invitation = invitation_find(raw=raw)
    except NotFoundError as error:
        return _refused(request, told(str(error)), 404)
    request.session[_SESSION_KEY] = str(invitation.pk)
    return redirect("join")


@sensitive_post_parameters("password")
@public_page("GET", "POST")
def join(request: HttpRequest) -> HttpResponseBase:
    """Who is logged in accepts; everybody else says who they are to be, or logs in first."""
    try:
        invitation = invitation_find(invitation_id=request.session.get(_SESSION_KEY) or _NONE)
    except NotFoundError as error:
        return _refused(request, told(str(error)), 404)
    try:
        return _accept(request, invitation) if request.user.is_authenticated else _join(request, invitation)
    except (ConflictError, ForbiddenError, NotFoundError) as error:
        return _refused(request, told(str(error)), 403)


_NONE = "00000000-0000-0000-0000-000000000000"


def _accept(request: HttpRequest, invitation: Invitation) -> HttpResponse:
    assert request.user.is_authenticated
    if request.method != "POST":
        return render(request, "team/accept.html", {"invitation": invitation})
    invitation_accept(invitation=invitation, user=request.user)
    del request.session[_SESSION_KEY]
    request.session[SESSION_TEAM] = str(invitation.team_id)
    return redirect("dashboard")


def _join(request: HttpRequest, invitation: Invitation) -> HttpResponseBase:
    form = JoinForm(request.POST or None, invitation=invitation)
    if form.is_valid() and (user := form.save(invitation)):
        del request.session[_SESSION_KEY]
        record_authentication(request, user, method="password", email=user.email)
        answer: HttpResponseBase = perform_login(request, Login(user=user, email=user.email))
        return answer
    return form_page(request, "team/join.html", {"form": form, "invitation": invitation}, form)


def _refused(request: HttpRequest, text: str, status: int) -> HttpResponse:
    return render(request, "team/join_refused.html", {"text": text}, status=status)
