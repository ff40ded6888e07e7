"""Answers its version, its variables, and what others of the project answer; keeps lines in /data as `db` does."""

import os
import signal
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROLE = os.environ.get("ROLE", "web")


def read(path: str) -> str:
    try:
        with Path(path).open() as file:
            return file.read().strip()
    except OSError:
        return ""


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        with Path("/data/lines").open("a") as file:
            file.write(self.path[1:] + "\n")
        self.answer()

    def answer(self) -> None:
        status, text = 200, f"version {read('/version.txt')}"
        if self.path == "/health":
            status = 500 if read("/mode.txt") == "sick" else 200
        elif self.path.startswith("/env/"):
            text = os.environ.get(self.path[5:], "(none)")
        elif self.path.startswith("/ask/"):
            host, _, path = self.path[5:].partition("/")
            text = urllib.request.urlopen(f"http://{host}:8000/{path}", timeout=5).read().decode()
        elif self.path == "/lines":
            text = " ".join(read("/data/lines").split())
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass


def give_up() -> None:
    print("the application gives up", flush=True)
    os._exit(7)


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # the first process of a container ends by what it handles only
if ROLE == "web" and read("/mode.txt").startswith("ends after "):
    threading.Timer(float(read("/mode.txt").split()[-1]), give_up).start()
if ROLE == "once":
    mode = read("/mode.txt")
    time.sleep(float(mode.split()[-1]) if mode.startswith("prepares ") else 0.5)
    sys.exit(0)
if ROLE == "web" and read("/mode.txt").startswith("starts after "):
    time.sleep(float(read("/mode.txt").split()[-1]))
ThreadingHTTPServer(("", 8000), Answer).serve_forever()
