"""`GET /api/v1/deployments/{id}/events`: a deployment's events as server-sent events, live and from any point on.

For a session's user who is a member of the deployment's team, and for an API token of that team; it ends within
seconds when they are not any more. `Last-Event-ID` (or `?after=`) names the last event that was seen. 204 when the
deployment has ended and all of it was seen: browsers then stop asking.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

import psycopg
from django.contrib.auth import get_user
from django.db import DatabaseError, connection
from django.http import HttpRequest, parse_cookie

from devflow.apps.accounts import rights
from devflow.apps.accounts.limits import Verdict, actor_hit, nobody_hit
from devflow.apps.accounts.rights import Actor
from devflow.apps.accounts.selectors import actors_of_user, token_find
from devflow.apps.accounts.session_store import SessionStore, session_key_of
from devflow.apps.audit import access_log
from devflow.apps.deployments.models import Deployment
from devflow.apps.deployments.selectors import deployment_get, event_list
from devflow.apps.readiness import why_unavailable
from devflow.core.errors import (
    DevflowError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    SecondFactorError,
    TooManyError,
)
from devflow.web.answers import send_body, send_problem
from devflow.web.feeds import Event, Hub
from devflow.web.threads import in_thread
from devflow.web.watching import Credentials, Watch

ROUTE: Final = "/api/v1/deployments/<deployment_id>/events"
RETRY_MILLISECONDS: Final = 1000
END_SECONDS: Final = 2.0
SEEN_SECONDS: Final = 4.0

_log = logging.getLogger(__name__)


class Streamed(Protocol):
    """What is followed: a deployment, or a container's log."""

    last_seq: int

    @property
    def pk(self) -> Any: ...

    @property
    def is_ended(self) -> bool: ...


class NotLoggedInError(DevflowError):
    """Neither a session nor a valid token."""


_STATUS: Final[dict[type[DevflowError], HTTPStatus]] = {
    InvalidError: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotLoggedInError: HTTPStatus.UNAUTHORIZED,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    SecondFactorError: HTTPStatus.FORBIDDEN,
    NotFoundError: HTTPStatus.NOT_FOUND,
}
STREAM_HEADERS: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class _Asked:
    """A request for a stream: noted in the API's log when it is answered, which for a stream is when it begins."""

    def __init__(self, route: str, scope: Any, send: Any) -> None:
        self.actor: Actor | None = None
        self._route, self._scope, self._send, self._began = route, scope, send, time.perf_counter()

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            access_log.answered(
                actor=self.actor,
                method=self._scope["method"],
                route=self._route,
                status=message["status"],
                duration_ms=(time.perf_counter() - self._began) * 1000,
                address=(self._scope.get("client") or ("",))[0],
            )
        await self._send(message)


class EventStreams:
    """The ASGI application of all event streams of this process: of deployments, or of what else `find` finds and
    `read` reads. While somebody follows one, `seen` is told so again and again."""

    def __init__(
        self,
        read: Callable[[str, int, int], Sequence[Event]] | None = None,
        find: Callable[[Actor, str], Streamed] | None = None,
        seen: Callable[[str], None] | None = None,
        route: str = ROUTE,
    ) -> None:
        self._hub = Hub(partial(_read, read or _event_list), connect_listener)
        self._watch = Watch(_find_actors)
        self._find = find or _deployment
        self._seen = seen
        self._route = route

    def close(self) -> None:
        self._hub.close()

    async def __call__(self, deployment_id: str, scope: Any, receive: Any, send: Any) -> None:
        asked = _Asked(self._route, scope, send)
        send = asked.send
        if scope["method"] != "GET":
            await send_problem(send, HTTPStatus.METHOD_NOT_ALLOWED, "Use GET.")
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            after = _last_seen(headers, scope["query_string"])
            address = (scope.get("client") or ("",))[0]
            credentials = Credentials(headers.get("authorization", ""), headers.get("cookie", ""), address)
            actor, deployment = await in_thread(_open, credentials, deployment_id, self._find)
            asked.actor = actor
        except TooManyError as error:
            retry_after = (b"retry-after", str(error.retry_after_seconds).encode())
            await send_problem(send, HTTPStatus.TOO_MANY_REQUESTS, str(error), retry_after)
        except DevflowError as error:
            await send_problem(send, _STATUS[type(error)], str(error))
        else:
            if deployment.is_ended and after >= deployment.last_seq:
                await send_body(send, HTTPStatus.NO_CONTENT)
            else:
                seen = min(after, deployment.last_seq)
                with self._watch.lost(credentials, actor) as lost:
                    await self._stream(str(deployment.pk), seen, lost, receive, send)

    async def _stream(self, deployment_id: str, after: int, lost: asyncio.Task[None], receive: Any, send: Any) -> None:
        """Send until the deployment has ended, the viewer has gone or may watch no more, or this process stops."""
        sending = asyncio.create_task(self._send_events(deployment_id, after, send))
        gone = asyncio.create_task(wait_gone(receive))
        telling = asyncio.create_task(self._tell_seen(deployment_id))
        try:
            ended, _ = await asyncio.wait({sending, gone, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (gone, sending, telling):
                task.cancel()
            await asyncio.gather(sending, gone, telling, return_exceptions=True)
        if ended == {lost}:
            await send_end(send)
        if sending in ended:
            sending.result()  # what it raised is a fault

    async def _tell_seen(self, followed_id: str) -> None:
        while self._seen:
            with suppress(DatabaseError):  # it comes back, or the stream ends by itself
                await in_thread(self._seen, followed_id)
            await asyncio.sleep(SEEN_SECONDS)

    async def _send_events(self, deployment_id: str, after: int, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
        await send_part(send, f"retry: {RETRY_MILLISECONDS}\n\n".encode())
        async with aclosing(self._hub.follow(deployment_id, after)) as parts:
            try:
                async for part in parts:
                    await send_part(send, part)
            except DatabaseError as error:  # the viewer comes again and goes on where it was
                if not await in_thread(why_unavailable, error):
                    raise
                _log.warning("a stream of deployment %s ends: %s", deployment_id, error)
        await send({"type": "http.response.body", "body": b""})


async def _read(
    read: Callable[[str, int, int], Sequence[Event]], followed_id: str, after: int, limit: int
) -> Sequence[Event]:
    return await in_thread(read, followed_id, after, limit)


def _event_list(deployment_id: str, after: int, limit: int) -> Sequence[Event]:
    return event_list(deployment_id=deployment_id, after_seq=after, limit=limit)


def _deployment(actor: Actor, deployment_id: str) -> Deployment:
    return deployment_get(actor=actor, deployment_id=deployment_id)


def _open(credentials: Credentials, followed_id: str, find: Callable[[Actor, str], Streamed]) -> tuple[Actor, Streamed]:
    """Who may read what is followed, and it, counted as a request. Raises TooManyError, and as `_find`."""
    try:
        actors = _actors(credentials)
    except NotLoggedInError:
        refuse_too_many(nobody_hit(credentials.address))
        raise
    if actors:
        refuse_too_many(actor_hit(actors[0]))
    return _find(actors, followed_id, find)


def refuse_too_many(verdict: Verdict | None) -> None:
    if verdict and not verdict.allowed:
        raise TooManyError(verdict.retry_after_seconds)


def _find(actors: Sequence[Actor], followed_id: str, find: Callable[[Actor, str], Streamed]) -> tuple[Actor, Streamed]:
    """Who may read it, and it. Raises ForbiddenError, NotFoundError."""
    for actor in actors:
        actor.require(rights.READ)
        try:
            return actor, find(actor, followed_id)
        except NotFoundError:
            continue
    raise NotFoundError("There is no such deployment or log.")


async def _find_actors(credentials: Credentials) -> list[Actor]:
    return await in_thread(_actors, credentials)


def _actors(credentials: Credentials) -> list[Actor]:
    """Who asks: a token speaks for one team, a user for each of theirs that lets them in. Raises NotLoggedInError."""
    scheme, _, raw = credentials.authorization.partition(" ")
    if scheme:
        actor = token_find(raw.strip(), address=credentials.address) if scheme.lower() == "bearer" else None
        if actor is None:
            raise NotLoggedInError("This token is not valid.")
        return [actor]
    request = HttpRequest()
    request.COOKIES = parse_cookie(credentials.cookie)
    request.session = SessionStore(session_key_of(request))
    user = get_user(request)
    if not user.is_authenticated:
        raise NotLoggedInError("Log in, or send an API token.")
    return actors_of_user(user=user, address=credentials.address)


def _last_seen(headers: dict[str, str], query: bytes) -> int:
    """The number of the last event that the viewer has. Raises InvalidError."""
    after = headers.get("last-event-id") or parse_qs(query.decode("latin-1")).get("after", ["0"])[0]
    if not after.isascii() or not after.isdecimal() or len(after) > 18:
        raise InvalidError("Last-Event-ID and after must be the number of an event.")
    return int(after)


async def connect_listener() -> psycopg.AsyncConnection[Any]:
    """A connection of its own to listen on, outside of the pool."""
    parameters = connection.get_connection_params()
    for key in ("cursor_factory", "context"):
        parameters.pop(key, None)
    return await psycopg.AsyncConnection.connect(**parameters, autocommit=True)


async def wait_gone(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_end(send: Any) -> None:
    """For a viewer who may watch no more; one who does not even read is cut off."""
    with suppress(TimeoutError):
        await asyncio.wait_for(send({"type": "http.response.body", "body": b""}), END_SECONDS)


async def send_part(send: Any, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})
