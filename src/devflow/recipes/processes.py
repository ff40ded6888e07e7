"""How an application that answers requests itself is run by systemd, two releases side by side where needed."""

from __future__ import annotations

from devflow.commands import processes
from devflow.engine.task import Option, Runtime

START_COMMAND = Option(
    name="start_command",
    title="Start command",
    help="For the strategies that run two releases side by side: starts the application in the release's folder, on "
    "127.0.0.1 and the port in $PORT, like: node server.js, or .venv/bin/gunicorn -b 127.0.0.1:$PORT app:app",
)

PROCESS = Runtime(
    title="systemd units",
    check=processes.CHECK,
    start=processes.START,
    look=processes.LOOK,
    stop=processes.STOP,
    remove=processes.REMOVE,
    keeps=processes.KEEPS,
    enable=processes.ENABLE,
    disable=processes.DISABLE,
    words=processes.WORDS,
)
