"""A WSGI application with one dependency; `python wsgi.py` serves it on PORT."""

import importlib.util
import os

from bottle import __version__, route, run


@route("/")
def home() -> str:
    return f"bottle {__version__}"


@route("/dev")
def dev() -> str:
    return "there" if importlib.util.find_spec("iniconfig") else "left out"


run(host="127.0.0.1", port=int(os.environ.get("PORT", "8000")), quiet=True)
