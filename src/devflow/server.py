"""The process of `devflow web`: uvicorn with the application of `devflow.asgi`."""

import argparse
import resource
import socket
import sys
import time
from collections.abc import Sequence
from threading import Thread
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from django.db import Error, connection

from devflow.apps.accounts.addresses import Proxied
from devflow.core.crypto import MasterKeyError
from devflow.core.errors import DevflowError
from devflow.core.garbage import settle
from devflow.protocol import BoundedProtocol
from devflow.settings.env import Config, load_config
from devflow.settings.sentry import start_sentry

if TYPE_CHECKING:
    from devflow.asgi import Application

GRACE_SECONDS: Final = 1
"""What a stop leaves to requests that are being answered; the supervisor waits a little longer."""
KEY_SECONDS: Final = 2
"""How long a start waits for the database, to compare the master key with it."""

TURN_SECONDS: Final = 0.0005
"""How long a thread keeps Python to itself while others wait; its own figure is 0.005. Who works with the database asks
for it again after every statement: at 100 webhooks a second they were answered in four fifths of the time."""

OWN_FILES: Final = 128
"""Open files that the process needs for itself: connections to the database, files that it serves."""


class Server(uvicorn.Server):
    """Ends the event streams when it is told to stop: they do not end by themselves."""

    def __init__(self, config: uvicorn.Config, application: "Application") -> None:
        super().__init__(config)
        self._application = application

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._application.close_streams()
        super().handle_exit(sig, frame)


class KeyComparison(Thread):
    """Looks whether the master key is the database's, as soon as that answers: a web starts without a database too.
    With another key it ends the server, and has the `error`."""

    def __init__(self, server: Server) -> None:
        super().__init__(name="key", daemon=True)
        self.error: MasterKeyError | None = None
        self._server = server

    def run(self) -> None:
        while not self._is_done():
            time.sleep(1)

    def _is_done(self) -> bool:
        from devflow.apps.accounts.keys import master_key_compare  # models need Django to be set up

        try:
            master_key_compare()
        except MasterKeyError as error:
            self.error = error
            self._server.should_exit = True
        except Error:
            return False
        finally:
            connection.close()
        return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the process; returns its exit code."""
    try:
        config = load_config()
        options = _parse(arguments, config)
        start_sentry(config, "web")
        from devflow.asgi import application  # sets Django up, which may raise
    except DevflowError as error:
        sys.stderr.write(f"devflow web: {error}\n")
        return 1
    settle()
    sys.setswitchinterval(TURN_SECONDS)
    server = Server(_uvicorn_config(application, config, options), application)
    key = KeyComparison(server)
    key.start()
    key.join(KEY_SECONDS)
    if not key.error:
        server.run(sockets=[socket.socket(fileno=options.fd)] if options.fd is not None else None)
    if key.error:
        sys.stderr.write(f"devflow web: {key.error}\n")
        return 1
    return 0


def _parse(arguments: Sequence[str] | None, config: Config) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="devflow web", description="Serve pages, API and event streams.")
    parser.add_argument("--host", default=config.host, help="address to listen on")
    parser.add_argument("--port", default=config.port, type=int)
    parser.add_argument("--uds", metavar="PATH", help="listen on this Unix socket instead")
    parser.add_argument("--fd", type=int, help="serve this inherited socket instead")
    return parser.parse_args(arguments)


def _uvicorn_config(application: "Application", config: Config, options: argparse.Namespace) -> uvicorn.Config:
    proxied: Any = Proxied(application, config.trusted_proxies, is_local=bool(options.uds))
    return uvicorn.Config(
        proxied,
        host=options.host,
        port=options.port,
        uds=options.uds,
        loop="uvloop",
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        interface="asgi3",
        proxy_headers=False,  # they are read by Proxied alone
        server_header=False,
        access_log=False,
        log_config=None,
        limit_concurrency=_most_connections(),
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


def _most_connections() -> int:
    """Beyond these a request is answered by 503, before the process has no files left for what it does itself."""
    return max(64, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - OWN_FILES)


if __name__ == "__main__":
    sys.exit(main())
