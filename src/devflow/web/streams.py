"""`GET /api/v1/deployments/{id}/events`: a deployment's events as server-sent events, live and from any point on.

For a session's user who is a member of the deployment's team, and for an API token of that team. `Last-Event-ID` (or
`?after=`) names the last event that was seen. 204 when the deployment has ended and all of it was seen: browsers then
stop asking.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from http import HTTPStatus
from importlib import import_module
from typing import Any, Final
from urllib.parse import parse_qs

import psycopg
from django.conf import settings
from django.contrib.auth import get_user
from django.db import DatabaseError, connection
from django.http import HttpRequest, parse_cookie

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.accounts.selectors import actor_get, team_list, token_find
from devflow.apps.deployments.models import Deployment
from devflow.apps.deployments.selectors import deployment_get, event_list
from devflow.core.errors import DevflowError, ForbiddenError, InvalidError, NotFoundError
from devflow.web.answers import send_body, send_problem
from devflow.web.feeds import Event, Hub
from devflow.web.threads import in_thread

RETRY_MILLISECONDS: Final = 1000

_log = logging.getLogger(__name__)


class NotLoggedInError(DevflowError):
    """Neither a session nor a valid token."""


_STATUS: Final[dict[type[DevflowError], HTTPStatus]] = {
    InvalidError: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotLoggedInError: HTTPStatus.UNAUTHORIZED,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    NotFoundError: HTTPStatus.NOT_FOUND,
}
_HEADERS: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class EventStreams:
    """The ASGI application of all event streams of this process."""

    def __init__(self) -> None:
        self._hub = Hub(_read, _connect)

    def close(self) -> None:
        self._hub.close()

    async def __call__(self, deployment_id: str, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] != "GET":
            await send_problem(send, HTTPStatus.METHOD_NOT_ALLOWED, "Use GET.")
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            after = _last_seen(headers, scope["query_string"])
            deployment = await in_thread(_find_deployment, headers, deployment_id)
        except DevflowError as error:
            await send_problem(send, _STATUS[type(error)], str(error))
        except DatabaseError:
            await send_problem(send, HTTPStatus.SERVICE_UNAVAILABLE, "The database cannot be reached. Try again soon.")
        else:
            if deployment.is_ended and after >= deployment.last_seq:
                await send_body(send, HTTPStatus.NO_CONTENT)
            else:
                await self._stream(str(deployment.pk), min(after, deployment.last_seq), receive, send)

    async def _stream(self, deployment_id: str, after: int, receive: Any, send: Any) -> None:
        """Send until the deployment has ended, the viewer has gone, or this process is told to stop."""
        sending = asyncio.create_task(self._send_events(deployment_id, after, send))
        gone = asyncio.create_task(_wait_gone(receive))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            sending.cancel()
            await asyncio.gather(sending, gone, return_exceptions=True)

    async def _send_events(self, deployment_id: str, after: int, send: Any) -> None:
        headers = [
            (b"content-type", b"text/event-stream"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await _send_part(send, f"retry: {RETRY_MILLISECONDS}\n\n".encode())
        async with aclosing(self._hub.follow(deployment_id, after)) as parts:
            try:
                async for part in parts:
                    await _send_part(send, part)
            except DatabaseError as error:  # the viewer comes again and goes on where it was
                _log.warning("a stream of deployment %s ends: %s", deployment_id, error)
        await send({"type": "http.response.body", "body": b""})


async def _read(deployment_id: str, after: int, limit: int) -> Sequence[Event]:
    return await in_thread(_event_list, deployment_id, after, limit)


def _event_list(deployment_id: str, after: int, limit: int) -> Sequence[Event]:
    return event_list(deployment_id=deployment_id, after_seq=after, limit=limit)


def _find_deployment(headers: dict[str, str], deployment_id: str) -> Deployment:
    """The deployment, for who may read it. Raises NotLoggedInError, ForbiddenError, NotFoundError."""
    for actor in _actors(headers):
        actor.require(rights.READ)
        try:
            return deployment_get(actor=actor, deployment_id=deployment_id)
        except NotFoundError:
            continue
    raise NotFoundError("There is no such deployment.")


def _actors(headers: dict[str, str]) -> list[Actor]:
    """Who asks: a token speaks for one team, a user for each of theirs."""
    scheme, _, raw = headers.get("authorization", "").partition(" ")
    if scheme:
        actor = token_find(raw.strip()) if scheme.lower() == "bearer" else None
        if actor is None:
            raise NotLoggedInError("This token is not valid.")
        return [actor]
    request = HttpRequest()
    request.COOKIES = parse_cookie(headers.get("cookie", ""))
    session_key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(request)
    if not user.is_authenticated:
        raise NotLoggedInError("Log in, or send an API token.")
    return [actor_get(user=user, team=team) for team in team_list(user=user)]


def _last_seen(headers: dict[str, str], query: bytes) -> int:
    """The number of the last event that the viewer has. Raises InvalidError."""
    after = headers.get("last-event-id") or parse_qs(query.decode("latin-1")).get("after", ["0"])[0]
    if not after.isascii() or not after.isdecimal() or len(after) > 18:
        raise InvalidError("Last-Event-ID and after must be the number of an event.")
    return int(after)


async def _connect() -> psycopg.AsyncConnection[Any]:
    """A connection of its own to listen on, outside of the pool."""
    parameters = connection.get_connection_params()
    for key in ("cursor_factory", "context"):
        parameters.pop(key, None)
    return await psycopg.AsyncConnection.connect(**parameters, autocommit=True)


async def _wait_gone(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_part(send: Any, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})
