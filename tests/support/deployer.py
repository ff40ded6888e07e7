"""A panel without its pages: a database, worker processes that tests may hurt, and the services called by the tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import psycopg
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from django_scopes import scopes_disabled

from devflow.apps.accounts import selectors as accounts
from devflow.apps.accounts.rights import Actor
from devflow.apps.accounts.services import team_create, user_create
from devflow.apps.deployments import selectors, services
from devflow.apps.deployments.models import ACTIVE, ENDED, WAITING, Deployment, Step, StepStatus
from devflow.apps.projects import services as projects
from devflow.apps.projects.models import Environment, Project
from devflow.apps.servers import services as servers
from devflow.apps.servers.models import Server
from devflow.embedded import EmbeddedPostgres

from .database import use_database
from .panel import SOURCE, wait_until
from .template import begin_migrated
from .vps import Vps

# What a killed PostgreSQL has acknowledged must be there again: only the sync to the disk is left out.
POSTGRES_SETTINGS = {"fsync": "off", "full_page_writes": "off"}
ROOM = 50
"""Deployments that a test server takes at once."""


class Deployer:
    """Database, workers and one person (`actor`) who deploys. `folder` does not exist yet.

    With `url` it is a guest in another panel's database, whose master key is that of the test process (`copy_key`).
    One of a test process is in use at a time: `use` brings another one's database back.
    """

    def __init__(self, folder: Path, url: str = "") -> None:
        folder.mkdir(mode=0o700)
        self.folder = folder
        self.workers: list[WorkerProcess] = []
        self.log_files: list[Path] = []
        self._postgres = None if url else EmbeddedPostgres(folder, POSTGRES_SETTINGS)
        self._url = url

    def start(self) -> Deployer:
        """Everything but a worker."""
        if self._postgres:
            begin_migrated(self.folder)
            self._url = self._postgres.start()
        self.use()
        call_command("migrate", verbosity=0, interactive=False)
        user = user_create(email="ada@example.test", password=None)
        team_create(name="Tests", owner=user)
        self.actor: Actor = accounts.actor_get(user=user)
        return self

    def stop(self) -> None:
        for worker in self.workers:
            worker.end()
        connection.close()
        if self._postgres:
            self._postgres.stop()

    def use(self) -> None:
        """Services and selectors work on this one's database from now on."""
        use_database(self._url)
        connection.close()

    # --- workers and database ----------------------------------------------------------------------------------------

    def start_worker(self) -> WorkerProcess:
        """One more worker, ready to take jobs."""
        worker = WorkerProcess(self.folder / f"worker-{len(self.workers)}.log", self._url)
        self.workers.append(worker)
        self.log_files.append(worker.log_file)
        with psycopg.connect(self._url, autocommit=True) as database:
            query = "SELECT 1 FROM procrastinate_workers WHERE last_heartbeat > %s"
            wait_until(lambda: database.execute(query, [worker.started_at]).fetchone(), 20, what=worker.output)
        return worker

    def keep_one_worker(self) -> WorkerProcess:
        """Exactly one worker, alive; the same as before where nothing has happened to it."""
        alive = [worker for worker in self.workers if worker.is_alive]
        for worker in alive[1:]:
            worker.end()
        return alive[0] if alive else self.start_worker()

    def restart_database(self) -> None:
        """PostgreSQL dies at once, with everything that was under way in it, and starts again."""
        assert self._postgres
        process = self._postgres.process
        assert process
        process.send_signal(signal.SIGQUIT)
        process.wait(10)
        connection.close()
        self._postgres.spawn()
        self._postgres.wait_ready()

    def open_deployments(self) -> list[str]:
        """What has not ended: none, once a test is over."""
        with scopes_disabled():
            found = Deployment.objects.filter(status__in=[*ACTIVE, *WAITING])
            return [f"{deployment} {deployment.status}" for deployment in found.select_related("environment__project")]

    # --- servers, projects, environments -----------------------------------------------------------------------------

    def add_server(self, vps: Vps, *, name: str = "", **given: Any) -> Server:
        """The test server under its own name, with its host key pinned."""
        server = servers.server_add(
            actor=self.actor,
            **{
                "name": name or vps.name,
                "host": vps.host,
                "port": vps.port,
                "user": vps.user,
                "private_key": vps.private_key,
                "host_key": vps.host_key,
                **given,
            },
        )
        with scopes_disabled():
            Server.objects.filter(pk=server.pk).update(deployment_limit=ROOM)
        return server

    def server_of(self, vps: Vps) -> Server:
        """The test server as the panel has it, under its own name."""
        with scopes_disabled():
            return Server.objects.get(name=vps.name)

    def wait_checked(self, server: Server) -> Server:
        """The server once a worker has checked it."""

        def checked() -> Server | None:
            with scopes_disabled():
                return Server.objects.filter(pk=server.pk).exclude(checked_at=None).first()

        return wait_until(checked, 30, what=self.output)

    def add_project(self, slug: str, repository: str, *, recipe: str = "static", **given: Any) -> Project:
        return projects.project_add(actor=self.actor, slug=slug, repository=repository, recipe=recipe, **given)

    def add_environment(
        self, project: Project, name: str, *, servers: Iterable[str], root: str, branch: str = "main", **given: Any
    ) -> Environment:
        return projects.environment_add(
            actor=self.actor, project=project, name=name, branch=branch, servers=servers, root=root, **given
        )

    def set_variables(self, environment: Environment, values: Mapping[str, str]) -> None:
        projects.variables_set(actor=self.actor, environment=environment, values=values)

    def change(self, environment: Environment, **given: Any) -> None:
        projects.environment_update(actor=self.actor, environment=environment, **given)

    # --- deployments -------------------------------------------------------------------------------------------------

    def remove(self, environment: Environment) -> None:
        """Forgets the environment; its folder stays as it is, free for another."""
        projects.environment_remove(actor=self.actor, environment=environment)

    def request(self, environment: Environment, **given: Any) -> Deployment:
        return services.deployment_request(actor=self.actor, environment=environment, **given)

    def deploy(self, environment: Environment, *, timeout_seconds: float = 120, **given: Any) -> Deployment:
        """Requested, and carried to its end."""
        return self.wait_ended(self.request(environment, **given), timeout_seconds)

    def roll_back(self, environment: Environment, *, to: Deployment | None = None) -> Deployment:
        return services.deployment_rollback(actor=self.actor, environment=environment, to=to)

    def cancel(self, deployment: Deployment) -> None:
        services.deployment_cancel(actor=self.actor, deployment=deployment)

    def read(self, deployment: Deployment) -> Deployment:
        """The deployment as it is now."""
        return selectors.deployment_get(actor=self.actor, deployment_id=str(deployment.pk))

    def wait_ended(self, deployment: Deployment, timeout_seconds: float = 120) -> Deployment:
        """The deployment once it has ended. To look costs next to nothing: the servers need the processor."""
        wait_until(lambda: self._status(deployment) in ENDED, timeout_seconds, what=lambda: self._shown(deployment))
        return self.read(deployment)

    def wait(self, deployment: Deployment, is_so: Callable[[Deployment], bool], timeout_seconds: float) -> Deployment:
        """The deployment once it is so. Fails with what is known of it after the timeout."""

        def found() -> Deployment | None:
            now = self.read(deployment)
            return now if is_so(now) else None

        return wait_until(found, timeout_seconds, what=lambda: self._shown(deployment))

    def wait_for_step(self, deployment: Deployment, name: str, timeout_seconds: float = 30) -> Step:
        """The step of this name, once a worker knows that it runs."""

        def found() -> Step | None:
            is_ended = self._status(deployment) in ENDED
            assert not is_ended, f"ended before {name!r}: {self.describe(deployment)}"
            with scopes_disabled():
                return Step.objects.filter(deployment=deployment, name=name, status=StepStatus.RUNNING).first()

        return wait_until(
            found, timeout_seconds, what=lambda: f"{name!r}: {self.describe(deployment)}\n{self.output()}"
        )

    def steps(self, deployment: Deployment) -> list[Step]:
        return selectors.step_list(actor=self.actor, deployment=deployment)

    def log(self, deployment: Deployment) -> str:
        return b"".join(selectors.log_read(actor=self.actor, deployment=self.read(deployment))).decode()

    def describe(self, deployment: Deployment) -> str:
        """Status, error, steps and log: what a failing test should show."""
        now = self.read(deployment)
        steps = " ".join(f"{step.name}={step.status}" for step in self.steps(now))
        return f"{now} is {now.status}: {now.error}\n{steps}\n{self.log(now)[-1500:]}"

    def output(self) -> str:
        """What the workers have printed."""
        return "".join(log_file.read_text(errors="replace") for log_file in self.log_files)

    def _shown(self, deployment: Deployment) -> str:
        return f"{self.describe(deployment)}\n{self.output()[-1500:]}"

    def _status(self, deployment: Deployment) -> str:
        with scopes_disabled():
            return Deployment.objects.values_list("status", flat=True).get(pk=deployment.pk)


def copy_key(data_dir: Path) -> None:
    """Makes the folder of a panel that shall have the master key of the test process."""
    data_dir.mkdir(mode=0o700)
    shutil.copy2(os.environ["DEVFLOW_KEY_FILE"], data_dir / "master.key")


class WorkerProcess:
    """`devflow worker`, with the master key of the test process."""

    def __init__(self, log_file: Path, database_url: str) -> None:
        self.started_at = timezone.now()
        self.log_file = log_file
        environment = {key: value for key, value in os.environ.items() if key in ("PATH", "LANG", "TMPDIR")}
        environment |= {
            "PYTHONPATH": os.pathsep.join([str(SOURCE / "src"), str(SOURCE)]),
            "HOME": str(log_file.parent),  # what a local server (`is_local`) leaves belongs to the test
            "DEVFLOW_DATA_DIR": os.environ["DEVFLOW_DATA_DIR"],
            "DEVFLOW_KEY_FILE": os.environ["DEVFLOW_KEY_FILE"],
            "DATABASE_URL": database_url,
        }
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "devflow.worker"], env=environment, stdout=log, stderr=log
            )

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """Ends it with -9: it can do nothing more."""
        self._process.kill()
        self._process.wait(10)

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Asks it to end, and kills it when it does not."""
        self.thaw()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()

    def output(self) -> str:
        return self.log_file.read_text(errors="replace")
