"""Everything that `devflow web` answers: event streams, webhooks and health by itself, the rest by Django in its
threads."""

import os
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "devflow.settings.web")

from a2wsgi import WSGIMiddleware
from django.core.wsgi import get_wsgi_application

_django: Any = get_wsgi_application()  # sets Django up, so it comes before all that needs models

from devflow.settings.base import WEB_THREADS  # noqa: E402
from devflow.web.health import healthz, readyz  # noqa: E402
from devflow.web.streams import EventStreams  # noqa: E402
from devflow.web.webhooks import Webhooks  # noqa: E402

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

_EVENTS: Final = re.compile(r"/api/v1/deployments/([^/]+)/events")
_WEBHOOK: Final = re.compile(r"/webhooks/([^/]+)/([^/]+)/?")


class Application:
    """Routes by path; `close_streams` ends all event streams, when the process is told to stop."""

    def __init__(self) -> None:
        self._django: Any = WSGIMiddleware(_django, workers=WEB_THREADS)
        self._streams = EventStreams()
        self._webhooks = Webhooks()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif found := _EVENTS.fullmatch(scope["path"]):
            await self._streams(found[1], scope, receive, send)
        elif found := _WEBHOOK.fullmatch(scope["path"]):
            await self._webhooks(found[1], found[2], scope, receive, send)
        elif scope["path"] == "/healthz":
            await healthz(send)
        elif scope["path"] == "/readyz":
            await readyz(send)
        else:
            await self._django(scope, receive, send)

    def close_streams(self) -> None:
        self._streams.close()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.close_streams()
        await send({"type": "lifespan.shutdown.complete"})


application = Application()
