"""Looks again and again whether those who follow a stream still may: once for all streams of the same credentials."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from django.db import DatabaseError

from devflow.apps.accounts.rights import Actor
from devflow.core.errors import DevflowError

LOOK_SECONDS: Final = 3.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request said of who sends it, and where it came from."""

    authorization: str
    cookie: str
    address: str


@dataclass(slots=True)
class _Watched:
    task: asyncio.Task[None]
    viewers: int = 0


class Watch:
    """All that is watched in this process. `find(credentials)` tells who asks, as far as teams let them in."""

    def __init__(self, find: Callable[[Credentials], Awaitable[list[Actor]]]) -> None:
        self._find = find
        self._watched: dict[tuple[Credentials, Actor], _Watched] = {}

    @contextmanager
    def lost(self, credentials: Credentials, actor: Actor) -> Iterator[asyncio.Task[None]]:
        """A task that ends when these credentials do not stand for this actor any more: the session or token has ended,
        the membership too, or the role, scopes or projects are others."""
        key = (credentials, actor)
        if key not in self._watched:
            self._watched[key] = _Watched(asyncio.create_task(self._look(credentials, actor)))
        watched = self._watched[key]
        watched.viewers += 1
        try:
            yield watched.task
        finally:
            watched.viewers -= 1
            if watched.viewers == 0:
                watched.task.cancel()
                del self._watched[key]

    async def _look(self, credentials: Credentials, actor: Actor) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if actor not in await self._find(credentials):
                    return
            except DatabaseError as error:  # it comes back, or the stream ends by itself
                _log.warning("cannot look whether a viewer still may watch: %s", error)
            except DevflowError:
                return
