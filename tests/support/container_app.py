"""An application in a container, for tests: small, and ill in the ways that a test wants."""

from __future__ import annotations

DOCKERFILE = """\
FROM devflow-base
COPY server.py /server.py
EXPOSE 8000
CMD ["python3", "/server.py"]
"""
HEALTHCHECK = "HEALTHCHECK --interval=1s --retries=2 CMD wget -qO- http://127.0.0.1:8000/health\n"

_SERVER = """\
import itertools, os, signal, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION, STARTS_AFTER, ENDS_AFTER = {version!r}, {starts_after!r}, {ends_after!r}
HEALTH, FAILS_EVERY = {health!r}, {fails_every!r}
asked = itertools.count(1)


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/health":
            status, text = HEALTH, "health"
        elif self.path.startswith("/env/"):
            status, text = 200, os.environ.get(self.path[5:], "(none)")
        elif self.path == "/count":
            status, text = 200, str(count())
        else:
            fails = FAILS_EVERY and not next(asked) % FAILS_EVERY
            status, text = 500 if fails else 200, VERSION
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


def count():
    with open("/data/count", "a+") as file:
        file.write("x")
        return file.tell()


def end():
    print("the application gives up", flush=True)
    os._exit(7)


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # the first process of a container ends by what it handles only
print("version", VERSION, "wakes up", flush=True)
time.sleep(STARTS_AFTER)
if ENDS_AFTER:
    threading.Timer(ENDS_AFTER, end).start()
ThreadingHTTPServer(("", int(os.environ["PORT"])), Answer).serve_forever()
"""


def server(
    version: str, *, starts_after: float = 0, ends_after: float = 0, health: int = 200, fails_every: int = 0
) -> str:
    """The text of `server.py`: answers `version`, on /health with the status `health`, on /env/NAME with a variable's
    value, on /count with how often it was asked, kept in /data; every so many of its answers `version` are errors."""
    return _SERVER.format(
        version=version, starts_after=starts_after, ends_after=ends_after, health=health, fails_every=fails_every
    )
