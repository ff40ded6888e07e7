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

from django.conf import settings  # noqa: E402

from devflow.api.cors import Cors  # noqa: E402
from devflow.apps.audit import access_log  # noqa: E402
from devflow.apps.sources.services import deliveries_trim  # noqa: E402
from devflow.settings.base import WEB_THREADS  # noqa: E402
from devflow.web.bodies import BoundedBodies, Memory  # noqa: E402
from devflow.web.changes import ChangeStreams  # noqa: E402
from devflow.web.container_logs import log_streams  # noqa: E402
from devflow.web.errors import Guarded  # noqa: E402
from devflow.web.fence import Fence  # noqa: E402
from devflow.web.headers import SafeHeaders  # noqa: E402
from devflow.web.health import healthz, metrics, readyz  # noqa: E402
from devflow.web.streams import EventStreams  # noqa: E402
from devflow.web.webhooks import Webhooks  # noqa: E402

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

_SEND_QUEUE: Final = 512
"""So many parts of an answer wait for who reads slowly, before a thread does: more than a file of ours has."""
_EVENTS: Final = re.compile(r"/api/v1/deployments/([^/]+)/events")
_LOG_EVENTS: Final = re.compile(r"/api/v1/container-logs/([^/]+)/events")
_WEBHOOK: Final = re.compile(r"/webhooks/([^/]+)/([^/]+)/?")


class Application:
    """Routes by path; `close_streams` ends all event streams, when the process is told to stop."""

    def __init__(self) -> None:
        memory = Memory()
        django = WSGIMiddleware(_django, workers=WEB_THREADS, send_queue_size=_SEND_QUEUE)
        self._django = BoundedBodies(django, memory)
        self._streams = EventStreams()
        self._logs = log_streams()
        self._changes = ChangeStreams()
        self._webhooks = Webhooks(trim=deliveries_trim, memory=memory)
        is_https = settings.PUBLIC_URL.startswith("https://")
        within = Fence(Cors(self._route, settings.CORS_ORIGINS), settings.ALLOWED_NETWORKS)
        self._answer = SafeHeaders(Guarded(within), is_https=is_https)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._answer(scope, receive, send)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["path"] == "/events":
            await self._changes(scope, receive, send)
        elif found := _EVENTS.fullmatch(scope["path"]):
            await self._streams(found[1], scope, receive, send)
        elif found := _LOG_EVENTS.fullmatch(scope["path"]):
            await self._logs(found[1], scope, receive, send)
        elif found := _WEBHOOK.fullmatch(scope["path"]):
            await self._webhooks(found[1], found[2], scope, receive, send)
        elif scope["path"] == "/healthz":
            await healthz(send)
        elif scope["path"] == "/readyz":
            await readyz(send)
        elif scope["path"] == "/metrics":
            await metrics(scope, send)
        else:
            await self._django(scope, receive, send)

    def close_streams(self) -> None:
        self._streams.close()
        self._logs.close()
        self._changes.close()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        access_log.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.close_streams()
        await send({"type": "lifespan.shutdown.complete"})


application = Application()
