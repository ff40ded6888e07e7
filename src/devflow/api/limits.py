"""How often the API may be asked: by one token or person, and from one address by who has neither.

An address that has used up its share is still served where a valid token comes with the request: who shares it with
somebody who guesses tokens goes on working.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from devflow.api import errors
from devflow.apps.accounts.addresses import client_address
from devflow.apps.accounts.limits import Verdict, actor_hit, nobody_hit
from devflow.apps.accounts.rights import Actor
from devflow.core.errors import TooManyError

PATH = "/api/"


def with_limits(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Django's middleware: counts who is nobody, and tells everybody how much they have left."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if not request.path.startswith(PATH):
            return get_response(request)
        response = _count_nobody(request) if _is_nobody(request) else None
        response = response or get_response(request)
        if _verdict(request) is None and response.status_code == HTTPStatus.UNAUTHORIZED:
            response = _count_nobody(request) or response
        for name, value in headers_of(_verdict(request)):
            response[name] = value
        return response

    return middleware


def count_actor(request: HttpRequest, actor: Actor) -> None:
    """Counts a request of the actor's. Raises TooManyError."""
    verdict = actor_hit(actor)
    _remember(request, verdict)
    if verdict and not verdict.allowed:
        raise TooManyError(verdict.retry_after_seconds)


def headers_of(verdict: Verdict | None) -> Iterator[tuple[str, str]]:
    """What the answer says about the limit; `X-RateLimit-Reset` in seconds since 1970."""
    if verdict is None:
        return
    yield "X-RateLimit-Limit", str(verdict.limit)
    yield "X-RateLimit-Remaining", str(verdict.remaining)
    yield "X-RateLimit-Reset", str(round(verdict.reset_at.timestamp()))


def _count_nobody(request: HttpRequest) -> HttpResponseBase | None:
    """Counts a request from an address; the refusal where there were too many."""
    verdict = nobody_hit(client_address(request))
    _remember(request, verdict)
    if verdict is None or verdict.allowed:
        return None
    refusal = errors.respond(request, HTTPStatus.TOO_MANY_REQUESTS, errors.DETAIL[HTTPStatus.TOO_MANY_REQUESTS])
    refusal["Retry-After"] = str(verdict.retry_after_seconds)
    return refusal


def _is_nobody(request: HttpRequest) -> bool:
    """Whether nothing comes with the request that could tell who asks."""
    return "Authorization" not in request.headers and settings.SESSION_COOKIE_NAME not in request.COOKIES


def _remember(request: HttpRequest, verdict: Verdict | None) -> None:
    request.rate_verdict = verdict  # type: ignore[attr-defined]


def _verdict(request: HttpRequest) -> Verdict | None:
    return getattr(request, "rate_verdict", None)
