"""`POST /webhooks/<provider>/<token>`: takes what git providers send, in bounded memory, and answers before any work.

Requests to one address are taken in the order in which they came, and together where they come faster than one
transaction each would allow: a burst of pushes costs little more than one.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, Final

from django.db import DatabaseError

from devflow.apps.deployments.pushes import deliveries_take
from devflow.apps.sources.selectors import source_find
from devflow.apps.sources.services import Answer, Request, refused
from devflow.web.answers import send_body
from devflow.web.threads import in_thread

LARGEST: Final = 25 * 1024 * 1024
SMALL: Final = 1024 * 1024
"""A body that becomes larger waits until fewer than LARGE_AT_ONCE others are in memory."""
LARGE_AT_ONCE: Final = 2
AT_ONCE: Final = 50
"""So many deliveries of one webhook are taken in one transaction at most."""
REST_SECONDS: Final = 0.02
"""Between two transactions of one webhook where requests wait: what comes meanwhile is taken with them, which saves
most of the work where they come fast. One that comes alone is taken at once."""
BODY_SECONDS: Final = 60.0
"""How long a request may take to bring its body."""
THREADS: Final = 4

Take = Callable[..., list[Answer]]

_log = logging.getLogger(__name__)


class TooLargeError(Exception):
    """The body is larger than LARGEST."""


class GoneError(Exception):
    """Who asked has gone."""


class Webhooks:
    """The ASGI application of all webhooks of this process."""

    def __init__(self, take: Take = deliveries_take) -> None:
        self._take = take
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="webhooks")
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self._lines: dict[tuple[str, str], list[tuple[Request, asyncio.Future[Answer]]]] = {}
        self._workers: set[asyncio.Task[None]] = set()

    async def __call__(self, provider: str, token: str, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] != "POST":
            await _send(send, refused(405, "Use POST."), (b"allow", b"POST"))
            return
        try:
            await _send(send, await self._answer(provider, token, scope, receive))
        except DatabaseError as error:
            _log.warning("a webhook of %s was not taken: %s", provider, error)
            answer = refused(503, "The database cannot be reached. Send it again soon.")
            await _send(send, answer, (b"retry-after", b"5"))
        except GoneError:
            return
        except Exception:
            _log.exception("a webhook of %s failed", provider)
            await _send(send, refused(500, "Something went wrong in the panel. Its log tells more."))

    async def _answer(self, provider: str, token: str, scope: Any, receive: Any) -> Answer:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        body = _Body(receive)
        try:
            if _length(headers) > LARGEST:
                raise TooLargeError
            async with asyncio.timeout(BODY_SECONDS):
                is_whole = await body.read(SMALL)
            if is_whole:
                return await self._line_up(provider, token, Request(headers, body.taken()))
            if await in_thread(_is_unknown, provider, token, pool=self._threads):
                return refused(404, "There is no such webhook.")
            async with self._large:
                async with asyncio.timeout(BODY_SECONDS):
                    await body.read(LARGEST)
                return await self._line_up(provider, token, Request(headers, body.taken()))
        except TooLargeError:
            return refused(413, f"A body has at most {LARGEST:,} bytes.")
        except TimeoutError:
            return refused(408, f"The body did not come within {BODY_SECONDS:.0f} s.")

    async def _line_up(self, provider: str, token: str, request: Request) -> Answer:
        """The answer to the request, when those before it in the line of this address are taken."""
        place: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        line = self._lines.setdefault((provider, token), [])
        line.append((request, place))
        if len(line) == 1:
            worker = asyncio.create_task(self._work(provider, token))
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)
        return await place

    async def _work(self, provider: str, token: str) -> None:
        """Takes the line of one address until it is empty; what came meanwhile is taken next, together."""
        line = self._lines[provider, token]
        while line:
            batch = line[:AT_ONCE]
            await self._take_batch(provider, token, batch)
            del line[: len(batch)]
            if line:
                await asyncio.sleep(REST_SECONDS)
        del self._lines[provider, token]

    async def _take_batch(self, provider: str, token: str, batch: list[tuple[Request, asyncio.Future[Answer]]]) -> None:
        try:
            requests = [request for request, _ in batch]
            answers = await in_thread(self._call, provider, token, requests, pool=self._threads)
        except DatabaseError as error:
            _fail(batch, error)
        except Exception as error:
            if len(batch) == 1:
                _fail(batch, error)
                return
            for each in batch:  # one of them does harm: the others shall not suffer
                await self._take_batch(provider, token, [each])
        else:
            for (_, place), answer in zip(batch, answers, strict=True):
                if not place.done():
                    place.set_result(answer)

    def _call(self, provider: str, token: str, requests: list[Request]) -> list[Answer]:
        return self._take(provider=provider, token=token, requests=requests)


class _Body:
    """A request's body, read no further than it is asked to be."""

    def __init__(self, receive: Any) -> None:
        self._receive = receive
        self._bytes = bytearray()
        self._is_whole = False

    async def read(self, limit: int) -> bool:
        """True when all of it is here, False when it is longer than the limit. Raises TooLargeError, GoneError."""
        while not self._is_whole and len(self._bytes) <= limit:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise GoneError
            self._bytes += message.get("body", b"")
            self._is_whole = not message.get("more_body", False)
        if len(self._bytes) > LARGEST:
            raise TooLargeError
        return self._is_whole

    def taken(self) -> bytes:
        body = bytes(self._bytes)
        self._bytes.clear()
        return body


def _is_unknown(provider: str, token: str) -> bool:
    return source_find(provider=provider, token=token) is None


def _length(headers: dict[str, str]) -> int:
    given = headers.get("content-length", "")
    return int(given) if given.isascii() and given.isdecimal() and len(given) < 20 else 0


def _fail(batch: list[tuple[Request, "asyncio.Future[Answer]"]], error: Exception) -> None:
    for _, place in batch:
        if not place.done():
            place.set_exception(error)


async def _send(send: Any, answer: Answer, *headers: tuple[bytes, bytes]) -> None:
    body = json.dumps(answer.document).encode()
    await send_body(send, HTTPStatus(answer.status), body, b"application/json", *headers)
