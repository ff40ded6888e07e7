"""A WSGI application without dependencies; `python wsgi.py` serves it on PORT."""

import os
from wsgiref.simple_server import make_server


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok" if environ["PATH_INFO"] == "/up" else b"Python sample"]


if __name__ == "__main__":
    make_server("127.0.0.1", int(os.environ.get("PORT", "8000")), application).serve_forever()
