"""Who asks: an API token in the `Authorization` header, or, for the panel's own pages, a session and its CSRF token."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from ninja.errors import AuthenticationError
from ninja.security import APIKeyCookie, HttpBearer

from devflow.api.limits import count_actor
from devflow.apps.accounts import sessions
from devflow.apps.accounts.addresses import client_address
from devflow.apps.accounts.rights import Actor
from devflow.apps.accounts.selectors import actor_of_session, token_find
from devflow.apps.audit.context import token_use
from devflow.core.errors import ForbiddenError

TOKEN_HEADER = "Authorization"


class ApiRequest(HttpRequest):
    """A request that was let in; `auth` is who asks."""

    auth: Actor


class TokenAuth(HttpBearer):
    """`Authorization: Bearer TOKEN`."""

    openapi_name = "token"

    def __call__(self, request: HttpRequest) -> Actor | None:
        if TOKEN_HEADER not in request.headers:
            return None
        actor: Actor | None = super().__call__(request)
        if actor is None:
            raise AuthenticationError(
                message="This token is not valid: it is unknown, expired or revoked. Make a new one."
            )
        return actor

    def authenticate(self, request: HttpRequest, token: str) -> Actor | None:
        actor = token_find(token.strip(), address=client_address(request))
        if actor and actor.token:
            token_use(actor.token.pk, actor.token.name)
            count_actor(request, actor)
        return actor


class SessionAuth(APIKeyCookie):
    """The panel's session cookie; requests that change something carry `X-CSRFToken` too."""

    param_name = settings.SESSION_COOKIE_NAME

    def __call__(self, request: HttpRequest) -> Any:
        """Asks for the login first: who has none is told so, and not that a CSRF token is missing."""
        return super().__call__(request) if request.user.is_authenticated else None

    def authenticate(self, request: HttpRequest, key: str | None) -> Actor:
        assert request.user.is_authenticated
        actor = actor_of_session(user=request.user, session=request.session, address=client_address(request))
        count_actor(request, actor)
        return actor


def require_recent(request: ApiRequest) -> None:
    """For what pages ask again for, too (web.access.recently_authenticated): a session must have proved lately who it
    is.

    API tokens need not. Raises ForbiddenError.
    """
    if request.auth.scopes is None and not sessions.is_recent(request):
        raise ForbiddenError("It is a while since you have logged in: confirm on the page Account that it is you.")
