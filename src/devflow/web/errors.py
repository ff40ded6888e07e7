"""What is shown when something goes wrong: pages in the house's look, problem details under `/api/`.

Every request has an id (`core.error_id`). Where the panel is at fault it is shown, and the log has the traceback under
the same id; the traceback itself never leaves the panel.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.template import loader
from django.utils.translation import override
from django.views import csrf, defaults

from devflow.apps.readiness import is_unstorable, why_unavailable
from devflow.apps.told import told
from devflow.core.error_id import begin, current_id, identified
from devflow.core.errors import TooManyError
from devflow.core.problems import CONTENT_TYPE, problem
from devflow.web.answers import send_body, send_problem
from devflow.web.language import language_asked
from devflow.web.threads import in_thread
from devflow.web.views.theme import theme_of

API: Final = "/api/"
RETRY_SECONDS: Final = 5
FAULT: Final = "Something went wrong in the panel. Its log tells more under this id."

_NO_PART: Final = (429, 500, 503)

_log = logging.getLogger(__name__)


# --- Django's part ----------------------------------------------------------------------------------------------------


class ErrorPages:
    """Django's middleware, the outermost: gives requests their id, and answers what views raise."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        with identified() as error_id:
            request.error_id = error_id  # type: ignore[attr-defined]
            response = self._get_response(request)
        if request.headers.get("HX-Request") == "true" and response.status_code in _NO_PART:
            # Such a page is no part of a page: what polls keeps what it shows, what a person did shows it as a whole.
            name, value = ("HX-Reswap", "none") if request.method == "GET" else ("HX-Retarget", "body")
            response[name] = value
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponseBase | None:
        return _expected(request, error)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Django's `handler400`."""
    if isinstance(exception, DisallowedHost):
        detail = "The panel is not reached under this name. Its address is set by DEVFLOW_URL."
    else:
        detail = "The request could not be read."
    return _problem_or(request, HTTPStatus.BAD_REQUEST, detail, lambda: _plain(request, HTTPStatus.BAD_REQUEST, detail))


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Django's `handler403`."""
    detail = str(exception) or "This is not allowed."
    return _problem_or(request, HTTPStatus.FORBIDDEN, detail, lambda: defaults.permission_denied(request, exception))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Django's `handler404`."""
    detail = f"There is nothing at {request.path}."
    return _problem_or(request, HTTPStatus.NOT_FOUND, detail, lambda: defaults.page_not_found(request, exception))


def forged(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    """Django's `CSRF_FAILURE_VIEW`."""
    detail = "The CSRF token is missing or not valid. Load the page again, or use an API token."
    return _problem_or(request, HTTPStatus.FORBIDDEN, detail, lambda: csrf.csrf_failure(request, reason))


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Django's `handler500`, which is called while the error is being handled."""
    error = sys.exc_info()[1]
    if isinstance(error, Exception) and (answer := _expected(request, error)):
        answer._has_been_logged = True  # type: ignore[attr-defined]
        return answer
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    return _problem_or(request, status, FAULT, lambda: _plain(request, status))


def _expected(request: HttpRequest, error: Exception) -> HttpResponseBase | None:
    """The answer to errors that are no fault of the code: too much asked, no database."""
    if isinstance(error, TooManyError):
        return _too_many(request, error)
    # the second is a number in JSON that Python will not read: Django's field for JSON lets that through
    if is_unstorable(error) or (isinstance(error, ValueError) and "integer string conversion" in str(error)):
        return bad_request(request, error)
    if reason := why_unavailable(error):
        _log.warning("%s %s: %s (%s)", request.method, request.path, reason, error)
        status = HTTPStatus.SERVICE_UNAVAILABLE
        answer = _problem_or(request, status, reason, lambda: _plain(request, status, reason))
        answer["Retry-After"] = str(RETRY_SECONDS)
        return answer
    return None


def _too_many(request: HttpRequest, error: TooManyError) -> HttpResponse:
    status = HTTPStatus.TOO_MANY_REQUESTS
    page = {"detail": told(str(error)), "retry_after_seconds": error.retry_after_seconds}
    answer = _problem_or(request, status, str(error), lambda: render(request, "429.html", page, status=status))
    answer["Retry-After"] = str(error.retry_after_seconds)
    return answer


def _problem_or(
    request: HttpRequest, status: HTTPStatus, detail: str, page: Callable[[], HttpResponse]
) -> HttpResponse:
    """Problem details for the API, else the page."""
    if not request.path.startswith(API):
        return page()
    return HttpResponse(json.dumps(problem(status, detail)), status=status, content_type=CONTENT_TYPE)


def _plain(request: HttpRequest, status: HTTPStatus, detail: str = "") -> HttpResponse:
    return HttpResponse(plain_page(status, told(detail), theme_of(request)), status=status)


# --- the part beside Django -------------------------------------------------------------------------------------------


class Guarded:
    """ASGI: gives every request its id, which its answer carries, and answers what the application did not catch."""

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        request_id = begin(scope.get("request_id", ""))
        is_begun = False

        async def send_noting(message: Any) -> None:
            nonlocal is_begun
            is_begun = True
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"x-request-id", request_id.encode())]}
            await send(message)

        try:
            await self._application(scope, receive, send_noting)
        except Exception as error:
            if is_begun:
                raise  # the server logs it, under this id, and cuts the connection
            await _send_failure(scope, send, error)


async def _send_failure(scope: Any, send: Any, error: Exception) -> None:
    if reason := await in_thread(why_unavailable, error):
        _log.warning("%s %s: %s (%s)", scope["method"], scope["path"], reason, error)
        retry = (b"retry-after", str(RETRY_SECONDS).encode())
        await send_error(scope, send, HTTPStatus.SERVICE_UNAVAILABLE, reason, retry)
    else:
        _log.error("%s %s failed [%s]", scope["method"], scope["path"], current_id(), exc_info=error)
        await send_error(scope, send, HTTPStatus.INTERNAL_SERVER_ERROR, FAULT)


async def send_error(scope: Any, send: Any, status: HTTPStatus, detail: str, *headers: tuple[bytes, bytes]) -> None:
    """A page, or problem details under `/api/`, from beside Django."""
    if scope["path"].startswith(API):
        await send_problem(send, status, detail, *headers)
    else:
        asked = dict(scope.get("headers", ())).get(b"accept-language", b"").decode("latin-1")
        with override(language_asked(asked)):
            page = plain_page(status, told(detail))
        await send_body(send, status, page, b"text/html; charset=utf-8", *headers)


# --- pages that need nothing ------------------------------------------------------------------------------------------

_OWN_PAGE: Final = (HTTPStatus.BAD_REQUEST, HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE)
_LAST_RESORT: Final = "<!doctype html><html lang=en><title>{title}</title><h1>{title}</h1><p>Error {id}</p>"


def plain_page(status: HTTPStatus, detail: str = "", theme: str = "system") -> bytes:
    """An error page without request, user or database; without a template too, where that cannot be shown."""
    error_id = current_id()
    name = f"{status.value}.html" if status in _OWN_PAGE else "refused.html"
    try:
        return loader.render_to_string(name, {"detail": detail, "error_id": error_id, "theme": theme}).encode()
    except Exception:
        _log.exception("the page of error %s cannot be shown", status.value)
        return _LAST_RESORT.format(title=status.phrase, id=error_id).encode()
