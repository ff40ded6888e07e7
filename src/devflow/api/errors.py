"""Every refusal and failure of the API as `application/problem+json` (RFC 9457)."""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from http import HTTPStatus
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI
from ninja.errors import HttpError, Throttled, ValidationError

from devflow.apps.readiness import is_unstorable, why_unavailable
from devflow.core.errors import ConflictError, DevflowError, ForbiddenError, InvalidError, NotFoundError, TooManyError
from devflow.core.problems import CONTENT_TYPE, problem

STATUS: Final[dict[type[DevflowError], HTTPStatus]] = {
    InvalidError: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotFoundError: HTTPStatus.NOT_FOUND,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    ConflictError: HTTPStatus.CONFLICT,
}
DETAIL: Final[dict[int, str]] = {
    401: "Send an API token: `Authorization: Bearer TOKEN`.",
    403: "The CSRF token is missing or not valid. Load the page again, or use an API token.",
    429: "Too many requests. Wait as long as Retry-After says.",
}

MOST_TOLD: Final = 20
LONGEST_TOLD: Final = 200
"""Of what is wrong with a request, so much is told and logged: a body can name a hundred thousand fields."""
UNSTORABLE: Final = "The request holds the character NUL, which no text here can have. Take it out."

_log = logging.getLogger(__name__)


def register(api: NinjaAPI) -> None:
    """Has the API answer every exception through this module."""
    handlers: dict[type[Exception], Callable[[HttpRequest, Any], HttpResponse]] = {
        **{kind: _refusal(status) for kind, status in STATUS.items()},
        TooManyError: _too_many,
        ValidationError: _invalid,
        HttpError: _http_error,
        Http404: not_found,
        SuspiciousOperation: _hopeless,
        Exception: _failure,
    }
    for kind, handler in handlers.items():
        api.add_exception_handler(kind, handler)


def respond(
    request: HttpRequest, status: HTTPStatus, detail: str, errors: Iterable[Mapping[str, str]] = ()
) -> HttpResponse:
    """The answer, told to the log with its id."""
    document = problem(status, detail, errors)
    _log.info("%s %s: %s %s [%s]", request.method, request.path, status.value, detail, document["id"])
    return HttpResponse(json.dumps(document), status=status, content_type=CONTENT_TYPE)


@csrf_exempt
def not_found(request: HttpRequest, error: Exception | None = None) -> HttpResponse:
    """The answer of addresses that the API does not have."""
    return respond(request, HTTPStatus.NOT_FOUND, f"There is nothing at {request.path}. See /api/v1/docs.")


def guarded(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """The view, with problem details for what never comes as far as an operation: wrong methods, hopeless requests."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if "\x00" in request.path or "%00" in request.META.get("QUERY_STRING", ""):
            return not_found(request)
        if int(request.META.get("CONTENT_LENGTH") or 0) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            limit = f"{settings.DATA_UPLOAD_MAX_MEMORY_SIZE:,}"
            return respond(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A body has at most {limit} bytes.")
        response = view(request, *args, **kwargs)
        if response.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
            return response
        allowed = response["Allow"]
        refusal = respond(request, HTTPStatus.METHOD_NOT_ALLOWED, f"Use {allowed} here, not {request.method}.")
        refusal["Allow"] = allowed
        return refusal

    return checked


def _refusal(status: HTTPStatus) -> Callable[[HttpRequest, Any], HttpResponse]:
    def handle(request: HttpRequest, error: DevflowError) -> HttpResponse:
        fields = error.errors.items() if isinstance(error, InvalidError) else ()
        return respond(request, status, str(error), [{"field": field, "message": message} for field, message in fields])

    return handle


def _too_many(request: HttpRequest, error: TooManyError) -> HttpResponse:
    response = respond(request, HTTPStatus.TOO_MANY_REQUESTS, str(error))
    response["Retry-After"] = str(error.retry_after_seconds)
    return response


def _invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    """What pydantic refused. An id in the path that is none is an object that is not there."""
    if any(found["loc"][0] == "path" for found in error.errors):
        return not_found(request)
    told = error.errors[:MOST_TOLD]
    errors = [{"field": _field(found["loc"])[:LONGEST_TOLD], "message": found["msg"][:LONGEST_TOLD]} for found in told]
    named = ", ".join(dict.fromkeys(found["field"] for found in errors if found["field"]))
    return respond(
        request, HTTPStatus.UNPROCESSABLE_ENTITY, f"The request is not valid: {named or errors[0]['message']}.", errors
    )


def _field(location: tuple[str | int, ...]) -> str:
    """`servers.0` of ("body", "payload", "servers", 0); `limit` of ("query", "limit")."""
    return ".".join(map(str, location[2:] if location[0] == "body" else location[1:]))


def _http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    """What Ninja itself refused: no login, a bad CSRF token, too many requests, a body that is not JSON; or what ours
    says of a body (bodies.py), which Ninja takes for its cause."""
    error = error.__cause__ if isinstance(error.__cause__, HttpError) else error
    status = HTTPStatus(error.status_code)
    is_own_word = error.message not in ("Unauthorized", "CSRF check Failed", "Too many requests.")
    response = respond(request, status, error.message if is_own_word else DETAIL[status])
    if status is HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = 'Bearer realm="DevFlow Pro"'
    if isinstance(error, Throttled) and error.wait:
        response["Retry-After"] = str(error.wait)
    return response


def _hopeless(request: HttpRequest, error: SuspiciousOperation) -> HttpResponse:
    """What Django refuses to read, like a thousand parameters."""
    return respond(request, HTTPStatus.BAD_REQUEST, "The request could not be read.")


def _failure(request: HttpRequest, error: Exception) -> HttpResponse:
    if is_unstorable(error):
        return respond(request, HTTPStatus.UNPROCESSABLE_ENTITY, UNSTORABLE)
    if reason := why_unavailable(error):
        _log.warning("%s %s: %s", request.method, request.path, error)
        response = respond(request, HTTPStatus.SERVICE_UNAVAILABLE, reason)
        response["Retry-After"] = "2"
        return response
    document = problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong in the panel. Its log tells more under this id."
    )
    _log.error("%s %s failed [%s]", request.method, request.path, document["id"], exc_info=error)
    return HttpResponse(json.dumps(document), status=HTTPStatus.INTERNAL_SERVER_ERROR, content_type=CONTENT_TYPE)
