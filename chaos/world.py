"""A panel as its users have it, a second worker, servers to hurt, and sites that tell what they serve."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import psycopg

from devflow.embedded import running_url
from tests.support.docker_engine import Engine
from tests.support.gitrepo import GitRepository
from tests.support.hooked_site import ENDED, admin_token
from tests.support.panel import Panel, is_alive, wait_until
from tests.support.vps import Vps

PROJECT = "chaos"
NOTES = "/var/tmp/chaos"
"""On the servers, on a disk that is never filled: what ran, and what ran at the same time as another."""
FILES = ("one", "two", "three")
KEEP = 3
LINES = 8
PHASES = ("prepare", "protect", "migrate", "activate", "reload", "verify", "finish")
# The home also holds the runs of the last day, and a round has as many deployments as a server elsewhere in weeks.
SMALL_DISK = {"/srv/www": "size=80m,uid=1000,gid=1000,mode=755", "/home/deploy": "size=160m,uid=1000,gid=1000,mode=700"}
SITES = {"first": ("a",), "second": ("b",), "pair": ("a", "b"), "small": ("c",), "all": ("a", "b", "c")}
HOOKED = ("second", "pair", "small")
"""The sites that a push deploys."""
START_SECONDS = 180
"""For a panel, and for the first deployments: a machine may have much else to do."""

PAGE = """\
<?php
$parts = [];
foreach (['one', 'two', 'three'] as $name) { $parts[] = trim(@file_get_contents(__DIR__ . "/$name.txt")); }
header('Cache-Control: no-store');
echo json_encode(['release' => basename(__DIR__), 'parts' => $parts]);
"""

STEP = f"""\
me=${{DEVFLOW_RUN:-by-hand}} folder=${{PWD##*/}}
[ "$folder" = current ] || echo "PHASE $me $folder" >>{NOTES}/ran
exec 9>>{NOTES}/busy-SITE
flock -n 9 || echo "SITE PHASE $me" >>{NOTES}/overlaps
n=0
while [ $n -lt {LINES} ]; do
  n=$((n + 1)); echo "chaos $me PHASE $folder $n/{LINES}"
  [ $n -ne {LINES // 2} ] || sleep 0.3
done
"""
"""A site's own command: it writes down that it ran, tells when another one runs, and prints numbered lines."""

SERVE = """\
mkdir -p /run/php
pgrep -x php-fpm8.4 >/dev/null || php-fpm8.4 -D
if pgrep -x nginx >/dev/null; then nginx -s reload; else nginx; fi
"""

NGINX = """\
server {
  listen 80;
  server_name SITE;
  root /srv/www/SITE/current;
  location / {
    fastcgi_pass unix:/run/php/php8.4-fpm.sock;
    include fastcgi_params;
    fastcgi_param SCRIPT_FILENAME $realpath_root/index.php;
  }
}
"""


@dataclass
class Outage:
    """A time in which a server's sites may be silent, since the server itself was: no fault of the panel's."""

    server: str
    began: float
    ended: float = float("inf")

    def covers(self, server: str, began: float, ended: float) -> bool:
        """Whether a request of that time may have gone unanswered; connections of before die with the server."""
        return server == self.server and ended >= self.began and began <= self.ended


class World:
    """Everything that a round needs. A context manager; what it starts goes with it."""

    def __init__(self, engine: Engine, image: str) -> None:
        self._engine, self._image = engine, image
        self.tokens: dict[str, str] = {}
        """What the pages of each commit show."""
        self.outages: list[Outage] = []
        self._committing = threading.Lock()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.folder = Path(tempfile.mkdtemp(prefix="devflow-chaos-"))
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self._start_servers(stack)
            self.panel = Panel(
                self.folder / "panel", HOME=str(self.folder), DEVFLOW_API_LIMIT="0", DEVFLOW_API_LIMIT_NOBODY="0"
            )
            self.panel.start(START_SECONDS)
            stack.callback(self._stop_panel)
            self.second = stack.enter_context(SecondWorker(self.panel))
            self.api = stack.enter_context(self._client())
            self._add_project()
            self._first_releases()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def outage(self, server: str) -> Iterator[None]:
        """What happens within silences the server, and everything on it."""
        outage = Outage(server, time.monotonic())
        self.outages.append(outage)
        try:
            yield
        finally:
            outage.ended = time.monotonic()

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection[dict[str, Any]]]:
        """The panel's database, as somebody sees it who only looks."""
        url = running_url(self.panel.data_dir) or ""
        with psycopg.connect(url, autocommit=True, row_factory=psycopg.rows.dict_row, connect_timeout=5) as opened:
            yield opened

    def workers(self) -> list[int]:
        """Process ids of both workers."""
        return [self.panel.child("worker"), self.second.pid]

    def commit(self) -> str:
        """Pushes a commit whose pages show a text of their own; returns its hash."""
        with self._committing:
            token = f"page-{len(self.tokens) + 1}"
            files = {f"{name}.txt": token for name in FILES} | {"index.php": PAGE}
            commit = self.repository.commit(files, message=token)
            self.tokens[commit] = token
            return commit

    def serve(self, server: str) -> None:
        """nginx and PHP answer for all sites of the server from now on."""
        vps = self.servers[server]
        vps.inside(SERVE)
        wait_until(lambda: _answers(vps), 20)

    def read(self, path: str, **query: Any) -> Any:
        return self.api.get(path, params=query).raise_for_status().json()

    def wait_ended(self, ids: Mapping[str, str]) -> None:
        """Waits for the deployments, which must succeed; by the site that each is of."""
        for site, deployment in ids.items():

            def ended(deployment: str = deployment) -> dict[str, Any] | None:
                found: dict[str, Any] = self.read(f"deployments/{deployment}")
                return found if found["status"] in ENDED else None

            found = wait_until(ended, START_SECONDS, what=self.panel.output)
            if found["status"] != "success":
                raise RuntimeError(f"the first deployment of {site} is {found['status']}: {found['error']}")

    # --- setting up ---

    def _start_servers(self, stack: ExitStack) -> None:
        self.forge = stack.enter_context(Vps(self._engine, self._image))
        self.servers = {
            name: stack.enter_context(Vps(self._engine, self._image, tmpfs=SMALL_DISK if name == "c" else None))
            for name in ("a", "b", "c")
        }
        work = self.folder / "work"
        self.repository = GitRepository.on_server(self.forge, f"/home/{self.forge.user}/{PROJECT}.git", work)
        self.commit()
        for name, vps in self.servers.items():
            vps.inside(f"mkdir -p {NOTES} && chmod 1777 {NOTES} && chown deploy /srv/www")
            for site, places in SITES.items():
                if name in places:
                    vps.put(NGINX.replace("SITE", site), f"/etc/nginx/sites-enabled/{site}", user="root")
            vps.inside("rm -f /etc/nginx/sites-enabled/default")
            self.serve(name)

    def _client(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {admin_token(self.panel)}"}
        return httpx.Client(base_url=f"{self.panel.url}/api/v1/", headers=headers, timeout=60)

    def _add_project(self) -> None:
        for name, vps in self.servers.items():
            self._post(
                "servers",
                name=name,
                host=vps.host,
                port=vps.port,
                user=vps.user,
                private_key=vps.private_key,
                host_key=vps.host_key,
            )
        address = f"ssh://{self.forge.user}@{self.forge.address}{self.repository.path}"
        self._post("projects", slug=PROJECT, repository=address, recipe="static", deploy_key=self.forge.private_key)
        for site, places in SITES.items():
            commands = {phase: [STEP.replace("SITE", site).replace("PHASE", phase)] for phase in PHASES}
            self._post(
                f"projects/{PROJECT}/environments",
                name=site,
                branch="main",
                servers=list(places),
                root=f"/srv/www/{site}",
                keep=KEEP,
                auto_deploy=site in HOOKED,
                phase_commands=commands,
            )
        webhook = self.api.put(f"projects/{PROJECT}/webhook", json={"provider": "github"}).raise_for_status().json()
        self.hook_address = self.panel.url + httpx.URL(webhook["url"]).path
        self.hook_secret: str = webhook["secret"]

    def _first_releases(self) -> None:
        """Each site has something to go back to."""
        for _ in range(2):
            self.commit()
            self.wait_ended(
                {site: self._post(f"projects/{PROJECT}/environments/{site}/deployments")["id"] for site in SITES}
            )

    def _post(self, path: str, **document: Any) -> dict[str, Any]:
        answer = self.api.post(path, json=document)
        if not answer.is_success:
            raise RuntimeError(f"POST {path}: {answer.text}")
        return dict(answer.json())

    def _stop_panel(self) -> None:
        if self.panel.process and self.panel.process.poll() is None:
            self.panel.stop()


@dataclass
class SecondWorker:
    """A worker beside the panel's own, as on another machine; one that ends is started again."""

    panel: Panel
    process: subprocess.Popen[bytes] | None = None
    _ending: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._start()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._keeper.join()
        assert self.process
        self.process.kill()
        self.process.wait()

    @property
    def pid(self) -> int:
        """Of the process that runs; waits where it is just being started."""
        return wait_until(lambda: self.process.pid if self.process and is_alive(self.process.pid) else None, 15)

    def _start(self) -> None:
        url = running_url(self.panel.data_dir)
        if url is None:
            return
        with self.panel.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "devflow.worker"],
                env={**self.panel.environment, "DATABASE_URL": url},
                stdout=log,
                stderr=log,
            )

    def _keep(self) -> None:
        while not self._ending.wait(0.2):
            if self.process is None or self.process.poll() is not None:
                self._start()


def page(vps: Vps, site: str, timeout_seconds: float = 10) -> tuple[int, dict[str, Any]]:
    """The status that the site answers with on this server, and what it shows. Raises OSError, HTTPException, and
    ValueError for what is no page of ours."""
    connection = http.client.HTTPConnection(vps.host, vps.http_port, timeout=timeout_seconds)
    try:
        connection.request("GET", "/", headers={"Host": site})
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        return answer.status, json.loads(text) if answer.status == 200 else {}
    finally:
        connection.close()


def _answers(vps: Vps) -> bool:
    try:
        return page(vps, "nobody", timeout_seconds=2)[0] > 0
    except ValueError:
        return True
    except (OSError, http.client.HTTPException):
        return False
