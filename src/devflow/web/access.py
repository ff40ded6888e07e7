"""Who may open a page. Every view says its methods and the right that it asks for, through one of these decorators."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.shortcuts import render

from devflow.apps.accounts import rights
from devflow.apps.accounts.models import User
from devflow.apps.accounts.rights import Actor
from devflow.apps.accounts.selectors import actor_of_session
from devflow.core.errors import ForbiddenError, NotFoundError

View = Callable[..., HttpResponseBase]


class TeamRequest(HttpRequest):
    """A request of a logged-in member."""

    actor: Actor
    user: User


def public_page(*methods: str) -> Callable[[View], View]:
    """A page that needs no login."""

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            return view(request, *args, **kwargs) if _allows(methods, request) else HttpResponseNotAllowed(methods)

        return checked

    return decorate


def team_page(*methods: str, right: str = rights.READ) -> Callable[[View], View]:
    """A page of the current team.

    Another method is a 405; who is not logged in is sent to log in; what is not the team's is a 404;
    without the right, or without any team, it is a 403.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(request: TeamRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not _allows(methods, request):
                return HttpResponseNotAllowed(methods)
            if not _is_logged_in(request):
                return _to_login(request)
            try:
                request.actor = actor_of_session(user=request.user, session=request.session)
            except NotFoundError:
                return render(request, "team/none.html", status=403)
            try:
                request.actor.require(right)
                return view(request, *args, **kwargs)
            except NotFoundError as error:
                raise Http404(str(error)) from error
            except ForbiddenError as error:
                raise PermissionDenied(str(error)) from error

        return checked

    return decorate


def _to_login(request: HttpRequest) -> HttpResponse:
    """The log-in page; a part of a page that htmx asks for makes the whole page go there."""
    if request.headers.get("HX-Request") != "true":
        return redirect_to_login(request.get_full_path())
    response = HttpResponse(status=401)
    response["HX-Redirect"] = redirect_to_login("/").url
    return response


def _is_logged_in(request: HttpRequest) -> bool:
    return request.user.is_authenticated


def _allows(methods: tuple[str, ...], request: HttpRequest) -> bool:
    return request.method in methods or (request.method == "HEAD" and "GET" in methods)
