"""The demo: a panel on a throw-away data folder, one server, and a sample project deployed to it.

The server is a container with sshd and nginx where a Docker engine answers; else this machine, with a small web server.
"""

from __future__ import annotations

import argparse
import errno
import functools
import http.server
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.apps import APPS
from tests.support.docker_engine import EngineUnavailableError, find_engine
from tests.support.gitrepo import GitRepository
from tests.support.vps import Vps
from tests.support.vps_image import ensure_image

DEVFLOW = Path(sys.executable).parent / "devflow"
EMAIL = "demo@example.test"
START_TIMEOUT_SECONDS = 60
# The panel's settings: those of the person's own panel are no business of the demo's.
SETTINGS = ("DEVFLOW_", "DJANGO_", "DATABASE_URL", "REDIS_URL", "EMAIL_URL", "SENTRY_DSN")
# But what the demo may reach, and how much it takes, is what somebody who tries it sets on purpose.
PASSED_ON = ("DEVFLOW_ALLOW_PRIVATE_ADDRESSES", "DEVFLOW_API_LIMIT", "DEVFLOW_API_LIMIT_NOBODY")


@dataclass(frozen=True)
class Target:
    """Where the demo deploys to.

    `options` are those of `devflow servers add`; the site answers here on `site_url`, there on `health_url`.
    """

    options: tuple[str, ...]
    root: str
    repository: GitRepository
    site_url: str
    health_url: str
    described: str


class Panel:
    """`devflow up` on a folder of its own, and the `devflow` commands sent to it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "panel.log"
        self._environment = {
            **{name: value for name, value in os.environ.items() if name in PASSED_ON or not name.startswith(SETTINGS)},
            "DEVFLOW_DATA_DIR": str(folder / "data"),
            "DEVFLOW_HOST": "127.0.0.1",
            "DEVFLOW_PORT": str(port),
            "DEVFLOW_URL": self.url,
        }

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """The panel's process, from when it is ready; stopped at the end."""
        with self.log.open("wb") as log:
            process = subprocess.Popen([DEVFLOW, "up"], env=self._environment, stdout=log, stderr=log)
        try:
            self._wait_until_ready(process)
            yield process
        finally:
            process.terminate()
            process.wait(timeout=30)

    def sign_in(self, password: str) -> str:
        """Creates the demo's user; commands are sent in the user's name from now on. Returns the token."""
        self.devflow("admin", "create-user", "--email", EMAIL, "--password-stdin", "--superuser", stdin=password)
        token = self.devflow("admin", "create-token", "--email", EMAIL, "--scopes", "read,deploy,admin").split()[-1]
        self._environment["DEVFLOW_TOKEN"] = token
        return token

    def devflow(self, *arguments: str, stdin: str = "") -> str:
        """One `devflow` command; returns what it printed. SystemExit with all it said when it fails."""
        done = subprocess.run(
            [DEVFLOW, *arguments], env=self._environment, input=stdin, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise SystemExit(f"devflow {' '.join(arguments)} (exit {done.returncode}):\n{done.stdout}{done.stderr}")
        return done.stdout

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            if _answer(f"{self.url}/readyz") is not None:
                return
            time.sleep(0.1)
        raise SystemExit(f"The panel did not start:\n{self.log.read_text(errors='replace')}")


@contextmanager
def container(folder: Path) -> Iterator[Target]:
    """A container running sshd and nginx. EngineUnavailableError when there is no engine, or no image can be made."""
    engine = find_engine()
    if not engine:
        raise EngineUnavailableError("no Docker engine answers")
    say("Starting a server in a container (the first time its image is made: a few minutes)")
    with Vps(engine, ensure_image(engine)) as vps:
        vps.serve("/srv/www/demo/current")
        yield Target(
            options=(
                *("--host", vps.host, "--port", str(vps.port), "--user", vps.user),
                *("--key-file", str(vps.key_file), "--host-key", vps.host_key),
            ),
            root="/srv/www/demo",
            repository=GitRepository.on_server(vps, f"/home/{vps.user}/demo.git", folder / "work"),
            site_url=f"http://{vps.host}:{vps.http_port}/",
            health_url="/",
            described=f"a container; ssh -i {vps.key_file} -p {vps.port} {vps.user}@{vps.host}",
        )


@contextmanager
def this_machine(folder: Path) -> Iterator[Target]:
    """This machine, deployed to without SSH, with a web server for the site."""
    root = folder / "site"
    handler = functools.partial(QuietHandler, directory=str(root / "current"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        site_url = f"http://127.0.0.1:{site.server_port}/"
        yield Target(
            options=("--local",),
            root=str(root),
            repository=GitRepository.local(folder / "demo.git", folder / "work"),
            site_url=site_url,
            health_url=site_url,
            described="this machine",
        )
        site.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files without a line on the terminal for each."""

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def enter_target(stack: ExitStack, folder: Path) -> Target:
    """A container where that can be had, else this machine."""
    try:
        return stack.enter_context(container(folder))
    except EngineUnavailableError as error:
        say(f"No server in a container ({error}): deploying to this machine.")
        return stack.enter_context(this_machine(folder))


def deploy(panel: Panel, target: Target) -> None:
    """Adds server, project and environment, deploys, and makes sure that the site answers."""
    commit = target.repository.commit_folder(APPS / "static", message="A first page")
    say(f"Deploying {commit[:8]}")
    panel.devflow("servers", "add", "demo", *target.options)
    panel.devflow("projects", "add", "demo", "--repository", target.repository.path)
    panel.devflow(
        *("environments", "add", "demo", "production", "--branch", "main"),
        *("--server", "demo", "--root", target.root, "--health-url", target.health_url),
    )
    panel.devflow("deploy", "demo", "production")
    text = _answer(target.site_url)
    if text is None or "Static sample" not in text:
        raise SystemExit(f"The deployed site does not answer on {target.site_url}: {text}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="bin/demo", description="A panel with a server and a deployed project.")
    parser.add_argument("--once", action="store_true", help="deploy, check that the site answers, stop")
    once: bool = parser.parse_args().once
    port = chosen_port()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="devflow-demo-")))
        panel = Panel(folder, port)
        say("Starting the panel")
        process = stack.enter_context(panel.running())
        password = secrets.token_urlsafe(12)
        token = panel.sign_in(password)
        target = enter_target(stack, folder)
        deploy(panel, target)
        say(
            f"\n  Panel   {panel.url}   (log in as {EMAIL} with the password {password})"
            f"\n  Site    {target.site_url}"
            f"\n  Server  {target.described}"
            f"\n  CLI     export DEVFLOW_URL={panel.url} DEVFLOW_TOKEN={token}"
            f"\n          {DEVFLOW} deployments list demo production\n"
        )
        if not once:
            say("Ctrl-C ends the demo and removes everything.")
            process.wait()
            raise SystemExit(f"The panel has stopped:\n{panel.log.read_text(errors='replace')}")
    return 0


def chosen_port() -> int:
    """The free port that PORT names. Ends the demo with exit code 2 when it names none, 1 when it is not free."""
    text = os.environ.get("PORT", "8080")
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 2**16:
        complain(f"PORT={text!r} is not a port: give a number from 1 to 65535.")
        sys.exit(2)
    try:
        socket.create_server(("127.0.0.1", int(text))).close()
    except OSError as error:
        reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        complain(f"port {text} on 127.0.0.1 {reason}: choose another one, like PORT=8081 bin/demo.")
        sys.exit(1)
    return int(text)


def complain(text: str) -> None:
    """A line on standard error."""
    print(f"bin/demo: {text}", file=sys.stderr)


def say(text: str) -> None:
    """A line on the terminal, at once."""
    print(text, flush=True)


def _answer(url: str) -> str | None:
    """What the address answers with a good status, else None."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            text: str = response.read().decode(errors="replace")
            return text
    except OSError:
        return None


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
