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
from devflow.apps.readiness import why_unavailable
from devflow.apps.sources.selectors import source_find
from devflow.apps.sources.services import Answer, Request, refused
from devflow.core.error_id import current_id
from devflow.web.answers import send_body
from devflow.web.bodies import Body, GoneError, Memory, NoRoomError, TooLargeError, content_length
from devflow.web.threads import in_thread

LARGEST: Final = 25 * 1024 * 1024
FIRST: Final = 64 * 1024
"""As much is read for whoever asks; for more, the address has to be one of ours."""
SMALL: Final = 1024 * 1024
"""A body that becomes larger waits until fewer than LARGE_AT_ONCE others are in memory."""
LARGE_AT_ONCE: Final = 2
AT_ONCE: Final = 50
"""So many deliveries of one webhook are taken in one transaction at most."""
REST_SECONDS: Final = 0.01
"""Between two transactions of one webhook where requests wait: what comes meanwhile is taken with them, which saves
most of the work where they come fast. One that comes alone is taken at once."""
TRIM_SECONDS: Final = 1.0
"""So long after a delivery old payloads of its webhook are removed: once for all that came meanwhile."""
BODY_SECONDS: Final = 60.0
"""How long a request may take to bring its body."""
THREADS: Final = 4

_NOT_KEPT: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.UNAUTHORIZED)
"""What is answered so left nothing: anybody may send it."""

Take = Callable[..., list[Answer]]
Trim = Callable[..., None]

_log = logging.getLogger(__name__)


class Webhooks:
    """The ASGI application of all webhooks of this process."""

    def __init__(self, take: Take = deliveries_take, trim: Trim | None = None, memory: Memory | None = None) -> None:
        self._memory = memory or Memory()
        self._take = take
        self._trim = trim
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="webhooks")
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self._lines: dict[tuple[str, str], list[tuple[Request, asyncio.Future[Answer]]]] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._trims: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def __call__(self, provider: str, token: str, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] != "POST":
            await _send(send, refused(405, "Use POST."), (b"allow", b"POST"))
            return
        try:
            await _send(send, await self._answer(provider, token, scope, receive))
        except GoneError:
            return
        except Exception as error:
            if reason := await in_thread(why_unavailable, error):
                _log.warning("a webhook of %s was not taken: %s", provider, error)
                await _send(send, refused(503, reason), (b"retry-after", b"5"))
                return
            _log.exception("a webhook of %s failed", provider)
            told = f"Something went wrong in the panel. Its log tells more under {current_id()}."
            await _send(send, refused(500, told))

    async def _answer(self, provider: str, token: str, scope: Any, receive: Any) -> Answer:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            if (content_length(scope) or 0) > LARGEST:
                raise TooLargeError
            with self._memory.body(receive) as body:
                if await _read(body, FIRST):
                    return await self._line_up(provider, token, Request(headers, body.taken()))
                if await in_thread(_is_unknown, provider, token, pool=self._threads):
                    return refused(404, "There is no such webhook.")
                if await _read(body, SMALL):
                    return await self._line_up(provider, token, Request(headers, body.taken()))
                async with self._large:
                    if not await _read(body, LARGEST):
                        raise TooLargeError
                    return await self._line_up(provider, token, Request(headers, body.taken()))
        except TooLargeError:
            return refused(413, f"A body has at most {LARGEST:,} bytes.")
        except NoRoomError:
            return refused(503, "The panel is taking too much at a time. Send it again soon.")
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
            if not line:
                del self._lines[provider, token]  # before anything is waited for: who comes now begins a new one
            else:
                await asyncio.sleep(REST_SECONDS)

    def _trim_later(self, provider: str, token: str) -> None:
        address = provider, token
        if self._trim is not None and address not in self._trims:
            self._trims[address] = asyncio.create_task(self._trim_quietly(self._trim, provider, token))

    async def _trim_quietly(self, trim: Trim, provider: str, token: str) -> None:
        """What nobody has to wait for; left undone, it is done the next time, or by a worker (`deliveries_clean`)."""
        await asyncio.sleep(TRIM_SECONDS)
        del self._trims[provider, token]  # before it begins: it may miss what is taken from now on
        try:
            await in_thread(trim, provider, token, pool=self._threads)
        except Exception as error:
            _log.warning("old payloads of a webhook of %s were not removed: %s", provider, error)

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
            if any(answer.status not in _NOT_KEPT for answer in answers):
                self._trim_later(provider, token)

    def _call(self, provider: str, token: str, requests: list[Request]) -> list[Answer]:
        return self._take(provider=provider, token=token, requests=requests)


async def _read(body: Body, limit: int) -> bool:
    async with asyncio.timeout(BODY_SECONDS):
        return await body.read(limit)


def _is_unknown(provider: str, token: str) -> bool:
    return source_find(provider=provider, token=token) is None


def _fail(batch: list[tuple[Request, "asyncio.Future[Answer]"]], error: Exception) -> None:
    for _, place in batch:
        if not place.done():
            place.set_exception(error)


async def _send(send: Any, answer: Answer, *headers: tuple[bytes, bytes]) -> None:
    body = json.dumps(answer.document).encode()
    await send_body(send, HTTPStatus(answer.status), body, b"application/json", *headers)
