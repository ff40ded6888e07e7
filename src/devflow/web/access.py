"""Who may open a page. Every view says its methods and the right that it asks for, through one of these decorators."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from allauth.account.adapter import get_adapter
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.translation import gettext as _

from devflow.apps.accounts import rights, sessions
from devflow.apps.accounts.addresses import client_address
from devflow.apps.accounts.models import User
from devflow.apps.accounts.rights import Actor, Place
from devflow.apps.accounts.selectors import actor_of_session, team_list
from devflow.apps.changes.selectors import Mark, mark_now
from devflow.apps.deployments import selectors as deployments
from devflow.apps.notifications.selectors import channel_get
from devflow.apps.projects import selectors as projects
from devflow.apps.told import told
from devflow.core.errors import ForbiddenError, NotFoundError, SecondFactorError

View = Callable[..., HttpResponseBase]


@dataclass(frozen=True, slots=True)
class Access:
    """By which methods a view is asked for; it is its attribute `access`, for the tests that walk all views."""

    kind: str
    methods: tuple[str, ...]


class TeamRequest(HttpRequest):
    """A request of a logged-in member. `place` is what its address is about, where that can matter for rights; `mark`
    is from where on the page is to be told of changes."""

    actor: Actor
    mark: Mark | None
    place: Place | None
    user: User


class AccountRequest(HttpRequest):
    """A request of somebody who is logged in."""

    user: User


def public_page(*methods: str) -> Callable[[View], View]:
    """A page that needs no login."""

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            return view(request, *args, **kwargs) if _allows(methods, request) else HttpResponseNotAllowed(methods)

        checked.access = Access("public", methods)  # type: ignore[attr-defined]
        return checked

    return decorate


def team_page(*methods: str, right: str = rights.READ) -> Callable[[View], View]:
    """A page of the current team.

    Another method is a 405; who is not logged in is sent to log in; what is not the team's is a 404;
    without the right, or without any team, it is a 403. The right is asked for the project, environment, deployment or
    channel that the address names.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(request: TeamRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not _allows(methods, request):
                return HttpResponseNotAllowed(methods)
            if not _is_logged_in(request):
                return _to_login(request)
            try:
                request.actor = actor_of_session(
                    user=request.user, session=request.session, address=client_address(request)
                )
            except NotFoundError:
                return render(request, "team/none.html", status=403)
            except SecondFactorError:
                return _to_second_factor(request)
            except ForbiddenError as error:
                context = {"text": told(str(error)), "teams": team_list(user=request.user)}
                return render(request, "team/not_from_here.html", context, status=403)
            request.mark = None if request.headers.get("HX-Request") == "true" else mark_now()
            try:
                request.place = _place(request.actor, kwargs)
                request.actor.require(right, request.place)
                return view(request, *args, **kwargs)
            except NotFoundError as error:
                request.mark = None  # nothing on the page that says so changes
                raise Http404(str(error)) from error
            except ForbiddenError as error:
                request.mark = None
                raise PermissionDenied(str(error)) from error

        checked.access = Access("team", methods)  # type: ignore[attr-defined]
        return checked

    return decorate


def recently_authenticated(view: View) -> View:
    """A page that shows or changes secrets, keys, tokens, second factors, roles or what protects: host keys, protected
    environments, the whole audit log. docs/guide/accounts.md lists them.

    Who proved who they are more than 15 minutes ago is asked again first. Put it below `team_page` or `account_page`.
    API tokens are not asked.
    """

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return view(request, *args, **kwargs) if sessions.is_recent(request) else _to_confirm(request)

    return checked


def account_page(*methods: str) -> Callable[[View], View]:
    """A page of the person who is logged in, whatever their team."""

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not _allows(methods, request):
                return HttpResponseNotAllowed(methods)
            if not _is_logged_in(request):
                return _to_login(request)
            try:
                return view(request, *args, **kwargs)
            except NotFoundError as error:
                raise Http404(str(error)) from error

        checked.access = Access("account", methods)  # type: ignore[attr-defined]
        return checked

    return decorate


def _to_confirm(request: HttpRequest) -> HttpResponse:
    """To the page that asks for the password or another proof, and from there back to the page one was on.

    What was sent is not kept for the time between: it may be a secret.
    """
    is_part = request.headers.get("HX-Request") == "true"
    back = request.get_full_path()
    if is_part or request.method not in ("GET", "HEAD"):
        back = request.headers.get("HX-Current-URL" if is_part else "Referer", "")
        messages.info(request, _("Confirm that it is you, then do it again: nothing was changed yet."))
    back = _own_path(request, back)
    methods = get_adapter(request).get_reauthentication_methods(request.user)
    address = f"{methods[0]['url'] if methods else reverse('account_login')}?{urlencode({'next': back})}"
    if not is_part:
        return redirect(address)
    response = HttpResponse(status=401)
    response["HX-Redirect"] = address
    return response


def _own_path(request: HttpRequest, address: str) -> str:
    """The address as a path of the panel's, "/" for one that is elsewhere."""
    with suppress(ValueError):
        parts = urlsplit(address)
        path = urlunsplit(("", "", *parts[2:]))
        is_here = parts.netloc in ("", request.get_host()) and path.startswith("/")
        if is_here and url_has_allowed_host_and_scheme(path, allowed_hosts=None):
            return path
    return "/"


def _place(actor: Actor, named: dict[str, Any]) -> Place | None:
    """What the address names; None where the actor's rights are the same everywhere. Raises NotFoundError."""
    if actor.is_everywhere:
        return None
    if "slug" in named:
        return projects.place_get(actor=actor, slug=named["slug"], name=named.get("name", ""))
    if "deployment_id" in named:
        return deployments.place_get(actor=actor, deployment_id=named["deployment_id"])
    if "channel_id" in named:
        return channel_get(actor=actor, channel_id=str(named["channel_id"])).place
    return None


def _to_login(request: HttpRequest) -> HttpResponse:
    """The log-in page; a part of a page that htmx asks for makes the whole page go there."""
    if request.headers.get("HX-Request") != "true":
        return redirect_to_login(request.get_full_path())
    response = HttpResponse(status=401)
    response["HX-Redirect"] = redirect_to_login("/").url
    return response


def _to_second_factor(request: HttpRequest) -> HttpResponse:
    """The page that says that the team wants a second factor, and how to get one."""
    address = reverse("second-factor-wanted")
    if request.headers.get("HX-Request") != "true":
        return redirect(address)
    response = HttpResponse(status=403)
    response["HX-Redirect"] = address
    return response


def _is_logged_in(request: HttpRequest) -> bool:
    return request.user.is_authenticated


def _allows(methods: tuple[str, ...], request: HttpRequest) -> bool:
    return request.method in methods or (request.method == "HEAD" and "GET" in methods)
