"""Answers its version; told to end, it takes no new connection, and ends when all that it has taken are answered."""

import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

VERSION = Path("/version.txt").read_text().strip()


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        text = os.environ.get("SECRET", "") if self.path == "/secret" else VERSION
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *words: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128


if Path("/mode.txt").read_text().strip() == "ends":
    print("the application gives up", flush=True)
    sys.exit(7)
server = Server(("", 8000), Answer)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
server.server_close()
