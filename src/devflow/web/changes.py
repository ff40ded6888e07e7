"""`GET /events`: what changes in a team, as server-sent events, one stream for each tab of a browser.

Told are topics only (apps/changes): a page asks for its parts again by their ordinary addresses, which check rights.
`Last-Event-ID` or `?after=` says how far one was told; what happened since is told first. Every part of the stream
carries an id to go on from. Events: `change` ({"topics": […]}), `reset` (too much was missed: ask for everything),
`beat` (the stream lives). It ends within seconds when the session, the membership or the role does.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs
from uuid import UUID

import psycopg
from django.contrib.auth import get_user
from django.db import DatabaseError
from django.http import HttpRequest, parse_cookie

from devflow.apps.accounts.limits import actor_hit, nobody_hit
from devflow.apps.accounts.rights import Actor
from devflow.apps.accounts.selectors import actor_of_session
from devflow.apps.accounts.session_store import SessionStore, session_key_of
from devflow.apps.changes.selectors import CHANGES_CHANNEL, Mark, changes_since, mark_now, mark_read
from devflow.core.errors import DevflowError, ForbiddenError, NotFoundError, SecondFactorError, TooManyError
from devflow.web.answers import send_problem
from devflow.web.feeds import RECONNECT_SECONDS
from devflow.web.streams import (
    STREAM_HEADERS,
    NotLoggedInError,
    connect_listener,
    refuse_too_many,
    send_end,
    send_part,
    wait_gone,
)
from devflow.web.threads import in_thread
from devflow.web.watching import Credentials, Watch

BEAT_SECONDS: Final = 15.0
GATHER_SECONDS: Final = 0.03
"""What one transaction after the other changes goes out together."""

_STATUS: Final[dict[type[DevflowError], HTTPStatus]] = {
    NotLoggedInError: HTTPStatus.UNAUTHORIZED,
    NotFoundError: HTTPStatus.FORBIDDEN,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    SecondFactorError: HTTPStatus.FORBIDDEN,
}
_log = logging.getLogger(__name__)


class Viewer:
    """Somebody who is told. `mark` is how far; None before they said where to begin."""

    def __init__(self, team_id: UUID, mark: Mark | None) -> None:
        self.team_id, self.mark = team_id, mark
        self.topics: set[str] = set()
        self.is_behind = True
        """Whether something may have been missed: it is read from the table."""
        self.beats = 0
        self.news = asyncio.Event()

    def tell(self, topics: Iterable[str], mark: Mark) -> None:
        if not self.is_behind:
            self.topics |= set(topics)
            self.reach(mark)
        self.news.set()

    def reach(self, mark: Mark) -> None:
        """A mark is safe for good: the highest one is kept."""
        if self.mark is None or mark.transaction >= self.mark.transaction:
            self.mark = mark


class ChangeHub:
    """All viewers of this process, and its one connection that listens for changes while there are any."""

    def __init__(self, connect: Callable[[], Awaitable[psycopg.AsyncConnection[Any]]]) -> None:
        self._connect = connect
        self._viewers: set[Viewer] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._listens = asyncio.Event()
        self.is_closed = False

    @contextmanager
    def viewer(self, team_id: UUID, mark: Mark | None) -> Iterator[Viewer]:
        viewer = Viewer(team_id, mark)
        self._viewers.add(viewer)
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._beat())]
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)
            if not self._viewers:
                for task in self._tasks:
                    task.cancel()
                self._tasks = []
                self._listens.clear()

    async def catch_up(self, viewer: Viewer) -> list[str] | None:
        """What the viewer was not told yet, from the table; None where that is not known any more."""
        await self._listens.wait()  # so that what happens meanwhile is heard of
        viewer.is_behind = False
        if viewer.mark is None:
            viewer.mark = await in_thread(mark_now)
            return []
        topics, viewer.mark = await in_thread(partial(changes_since, team_id=viewer.team_id, mark=viewer.mark))
        return topics

    def close(self) -> None:
        """End all streams."""
        self.is_closed = True
        for viewer in self._viewers:
            viewer.news.set()

    async def _listen(self) -> None:
        attempt = 0
        while True:
            try:
                async with await self._connect() as connection:
                    await connection.execute(f"LISTEN {CHANGES_CHANNEL}")
                    attempt = 0
                    self._listens.set()
                    self._all_behind()
                    async for notice in connection.notifies():
                        self._tell(json.loads(notice.payload))
            except psycopg.OperationalError as error:
                _log.warning("lost the database while listening for changes: %s", error)
            self._listens.clear()
            await asyncio.sleep(RECONNECT_SECONDS[min(attempt, len(RECONNECT_SECONDS) - 1)])
            attempt += 1

    def _all_behind(self) -> None:
        for viewer in self._viewers:
            viewer.is_behind = True
            viewer.news.set()

    def _tell(self, change: dict[str, Any]) -> None:
        """To all of the team. Notices come in the order of commits, so what finished before the transaction of this
        one began was told: the mark is safe to go on from."""
        mark = Mark(int(change["mark"]), int(time.time()))
        team_id = UUID(change["team"])
        for viewer in self._viewers:
            if viewer.team_id == team_id:
                viewer.tell(change["topics"], mark)

    async def _beat(self) -> None:
        """Shows that the streams live, and brings their marks on: to that of the beat before, since notices of what
        has ended by now may still be on their way."""
        before: Mark | None = None
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            mark = before
            try:
                before = await in_thread(mark_now)
            except DatabaseError as error:
                _log.warning("cannot read how far changes have come: %s", error)
                before = None
            for viewer in self._viewers:
                viewer.beats += 1
                if mark and not viewer.is_behind:
                    viewer.reach(mark)
                viewer.news.set()


class ChangeStreams:
    """The ASGI application of `/events`."""

    def __init__(self) -> None:
        self._hub = ChangeHub(connect_listener)
        self._watch = Watch(_find_actors)

    def close(self) -> None:
        self._hub.close()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] != "GET":
            await send_problem(send, HTTPStatus.METHOD_NOT_ALLOWED, "Use GET.", (b"allow", b"GET"))
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        credentials = Credentials("", headers.get("cookie", ""), (scope.get("client") or ("",))[0])
        given = parse_qs(scope["query_string"].decode("latin-1")).get("after", [""])[0]
        after = headers.get("last-event-id") or given
        mark = mark_read(after)
        if after and mark is None:
            detail = "Last-Event-ID and after must be the id of an event."
            await send_problem(send, HTTPStatus.UNPROCESSABLE_ENTITY, detail)
            return
        try:
            actor = await in_thread(_open, credentials)
        except TooManyError as error:
            retry_after = (b"retry-after", str(error.retry_after_seconds).encode())
            await send_problem(send, HTTPStatus.TOO_MANY_REQUESTS, str(error), retry_after)
        except DevflowError as error:
            await send_problem(send, _STATUS[type(error)], str(error))
        else:
            with self._watch.lost(credentials, actor) as lost:
                await self._stream(actor.team.pk, mark, lost, receive, send)

    async def _stream(
        self, team_id: UUID, mark: Mark | None, lost: asyncio.Task[None], receive: Any, send: Any
    ) -> None:
        sending = asyncio.create_task(self._send_changes(team_id, mark, send))
        gone = asyncio.create_task(wait_gone(receive))
        try:
            ended, _ = await asyncio.wait({sending, gone, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (gone, sending):
                task.cancel()
            await asyncio.gather(sending, gone, return_exceptions=True)
        if ended == {lost}:
            await send_end(send)
        if sending in ended:
            sending.result()  # what it raised is a fault

    async def _send_changes(self, team_id: UUID, mark: Mark | None, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
        await send_part(send, b": hello\n\n")
        with self._hub.viewer(team_id, mark) as viewer, suppress(DatabaseError):  # the browser comes again
            beats = viewer.beats
            while not self._hub.is_closed:
                if viewer.is_behind:
                    topics = await self._hub.catch_up(viewer)
                    await send_part(send, _event("reset" if topics is None else "change", topics or [], viewer.mark))
                elif viewer.topics:
                    topics, viewer.topics = sorted(viewer.topics), set()
                    await send_part(send, _event("change", topics, viewer.mark))
                elif viewer.beats != beats:
                    beats = viewer.beats
                    await send_part(send, _event("beat", [], viewer.mark))
                else:
                    viewer.news.clear()
                    await viewer.news.wait()
                    await asyncio.sleep(GATHER_SECONDS)
        await send({"type": "http.response.body", "body": b""})


def _event(kind: str, topics: list[str], mark: Mark | None) -> bytes:
    return f"id: {mark}\nevent: {kind}\ndata: {json.dumps({'topics': topics})}\n\n".encode()


def _open(credentials: Credentials) -> Actor:
    """Whose session it is, counted as a request. Raises TooManyError, and as `_actor`."""
    try:
        actor = _actor(credentials)
    except NotLoggedInError:
        refuse_too_many(nobody_hit(credentials.address))
        raise
    refuse_too_many(actor_hit(actor))
    return actor


def _actor(credentials: Credentials) -> Actor:
    """Raises NotLoggedInError, NotFoundError (in no team), ForbiddenError, SecondFactorError."""
    request = HttpRequest()
    request.COOKIES = parse_cookie(credentials.cookie)
    request.session = SessionStore(session_key_of(request))
    user = get_user(request)
    if not user.is_authenticated:
        raise NotLoggedInError("Log in first.")
    return actor_of_session(user=user, session=request.session, address=credentials.address)


async def _find_actors(credentials: Credentials) -> list[Actor]:
    return [await in_thread(_actor, credentials)]
