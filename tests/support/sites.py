"""Sites to deploy in tests: they count what ran, can be held in any phase, and are looked at from all sides."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django_scopes import scopes_disabled

from devflow.apps.deployments.models import Deployment, Event, StepStatus
from devflow.apps.projects.models import Environment
from devflow.engine.plan import COMMAND_PHASES

from .deployer import Deployer
from .gitrepo import GitRepository
from .vps import Vps

WEB_ROOT = "/srv/www"
"""Served as it is by nginx: a site's release is at `/<site>/current/`."""


@dataclass(frozen=True)
class Left:
    """What a site's server holds after a deployment. `processes` are those that still belong to the deployment."""

    lock: str
    current: str
    releases: list[str]
    processes: list[str]
    litter: list[str]


@dataclass
class Site:
    """An environment of its own on `servers`, and the folder where its commands write down that they ran."""

    deployer: Deployer
    environment: Environment
    servers: Sequence[Vps]
    root: str
    notes: str
    held: set[str] = field(default_factory=set)
    deployments: list[Deployment] = field(default_factory=list)

    def deploy(self, **given: Any) -> Deployment:
        return self.deployer.deploy(self.environment, **given)

    def request(self, **given: Any) -> Deployment:
        return self.deployer.request(self.environment, **given)

    def page(self, server: Vps | None = None, path: str = "") -> str:
        """What the site answers over HTTP; its status where that is not 200."""
        answer = (server or self.servers[0]).get(f"{self.root.removeprefix(WEB_ROOT)}/current/{path}")
        return answer.text if answer.status == 200 else str(answer.status)

    def hold(self, phase: str) -> None:
        """The site's own command of `phase` does not end from now on, until `let_go`."""
        self.held.add(phase)
        for server in self.servers:
            server.run(f"touch {self.notes}/hold-{phase}")

    def let_go(self) -> None:
        self.held.clear()
        for server in self.servers:
            server.run(f"rm -f {self.notes}/hold-*")

    def let_go_after(self, seconds: float) -> None:
        """The server itself lets go, a moment from now: it needs no connection then."""
        self.held.clear()
        for server in self.servers:
            server.run(f"(sleep {seconds}; rm -f {self.notes}/hold-*) </dev/null >/dev/null 2>&1 &")

    def ran(self, deployment: Deployment, server: Vps | None = None) -> list[str]:
        """The phases whose own command was started in this deployment, in order, as often as it was.

        Without the reloading that is repeated, in the folder `current`, when a release is taken back.
        """
        lines = (server or self.servers[0]).run(f"cat {self.notes}/ran").stdout.splitlines()
        notes = (line.split() for line in lines)
        return [phase for phase, run, folder in notes if run.startswith(deployment.pk.hex) and folder != "current"]

    def left(self, deployment: Deployment, server: Vps) -> Left:
        """One look at the server; as its user, who alone may see what belongs to a process."""
        script = f"""\
cd {shlex.quote(self.root)} 2>/dev/null || exit 0
echo lock "$(cat .devflow/lock 2>/dev/null)"
echo current "$(readlink current | cut -d/ -f2)"
for folder in releases/*/; do [ -d "$folder" ] && echo releases "$(basename "$folder")"; done
for file in current.next.* shared/.env.next.* .devflow/before.* \\
  $HOME/.devflow/runs/{deployment.pk.hex}-*/script $HOME/.devflow/runs/.new.*
do
  [ ! -e "$file" ] && [ ! -L "$file" ] || echo litter "$file"
done
for process in $(grep -slz "^DEVFLOW_RUN={deployment.pk.hex}" /proc/[0-9]*/environ | cut -d/ -f3); do
  echo processes "$process $(tr '\\0' ' ' </proc/$process/cmdline 2>/dev/null)"
done"""
        found: dict[str, list[str]] = {}
        for line in server.run(script).stdout.splitlines():
            key, _, value = line.partition(" ")
            if value:
                found.setdefault(key, []).append(value)
        return Left(
            lock="".join(found.get("lock", [])),
            current="".join(found.get("current", [])),
            releases=found.get("releases", []),
            processes=found.get("processes", []),
            litter=found.get("litter", []),
        )

    def check(self, deployment: Deployment, *, status: str, serves: str, error: Iterable[str] = ()) -> Deployment:
        """All that must hold once a deployment has ended: its status, the words of its error, the page that is served,
        and nothing left over on any server or in the database."""
        ended = self.deployer.read(deployment)
        shown = self.deployer.describe(ended)
        assert ended.status == status, shown
        for words in error:
            assert words in ended.error, shown
        assert bool(ended.error) == (status != "success"), shown
        for server in self.servers:
            assert self.page(server) == serves, shown
            self._check_server(ended, server, shown)
        self._check_rows(ended, shown)
        return ended

    def _check_server(self, ended: Deployment, server: Vps, shown: str) -> None:
        left = self.left(ended, server)
        assert (left.lock, left.processes, left.litter) == ("", [], []), f"{left}\n{shown}"
        if ended.rollback_to_id is None:
            assert (ended.release in left.releases) == (ended.status == "success"), f"{left}\n{shown}"
        assert (left.current == ended.release) == (ended.status == "success"), f"{left}\n{shown}"
        if self.notes:
            ran = self.ran(ended, server)
            assert sorted(set(ran)) == sorted(ran), f"ran twice: {ran}\n{shown}"

    def _check_rows(self, ended: Deployment, shown: str) -> None:
        statuses = {step.status for step in self.deployer.steps(ended)}
        assert not statuses & {StepStatus.RUNNING, StepStatus.PENDING}, shown
        assert ended.claim is None
        assert ended.finished_at is not None
        with scopes_disabled():
            events = list(Event.objects.filter(deployment=ended).values_list("seq", "kind", "text"))
        assert [seq for seq, _, _ in events] == list(range(1, ended.last_seq + 1))
        assert [kind for _, kind, _ in events].count("deployment.completed") == 1
        assert events[-1][1] == "deployment.completed"
        log = "".join(text for _, _, text in events)
        assert (log.count("\n"), len(log.encode())) == (ended.log_lines, ended.log_bytes)


class Estate:
    """A project on some servers, its repository on the first of them, and as many sites of it as a test wants."""

    def __init__(self, deployer: Deployer, servers: Sequence[Vps], work: Path) -> None:
        """Puts the servers into the panel, with nginx serving all their sites. `work` is an empty folder."""
        first = servers[0]
        slug = first.name
        self.deployer, self.servers = deployer, servers
        self.repository = GitRepository.on_server(first, f"/home/{first.user}/{slug}.git", work)
        for server in servers:
            server.serve(WEB_ROOT)
            deployer.add_server(server)
        address, key = self.repository.path, ""
        if len(servers) > 1:  # the others fetch it over ssh
            address, key = f"ssh://{first.user}@{first.run('hostname -i').stdout.strip()}{address}", first.private_key
        self.project = deployer.add_project(slug, address, deploy_key=key)

    def commit(self, page: str) -> str:
        """A commit whose page has this text; returns its hash."""
        return self.repository.commit({"index.html": page}, message=page)

    def site(self, name: str, *, root: str = "", **given: Any) -> Site:
        """A new site whose own command in every phase is counted and can be held."""
        notes = f"/home/{self.servers[0].user}/notes/{self.project.slug}-{name}"
        root = root or f"{WEB_ROOT}/{self.project.slug}-{name}"
        for server in self.servers:
            server.run(f"mkdir -p {notes} && touch {notes}/ran")
        commands = {phase: [counted(notes, phase)] for phase in COMMAND_PHASES}
        environment = self.deployer.add_environment(
            self.project,
            name,
            servers=[server.name for server in self.servers],
            root=root,
            **{"phase_commands": commands, **given},
        )
        return Site(self.deployer, environment, self.servers, root, notes)


class Row:
    """Sites side by side, one for each phase: each can have a deployment that is held in its phase. Deployed once."""

    def __init__(self, estate: Estate, phases: Iterable[str] = COMMAND_PHASES) -> None:
        self._estate, self._number = estate, 0
        self.sites = {phase: estate.site(phase) for phase in phases}
        self.page = self.page_before = ""
        self.level()

    def deploy_and_hold(self) -> None:
        """Every site has a new release on its way, in its phase."""
        for phase, site in self.sites.items():
            site.hold(phase)
        self.request()
        for phase, deployment in self.deployments.items():
            self._estate.deployer.wait_for_step(deployment, f"{phase} command 1")

    def let_go(self) -> None:
        for site in self.sites.values():
            site.let_go()

    def wait_ended(self, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        for deployment in self.deployments.values():
            self._estate.deployer.wait_ended(deployment, max(0.1, deadline - time.monotonic()))

    def level(self) -> None:
        """Every site serves the same page, a new one."""
        self.request()
        self.wait_ended(60)
        for deployment in self.deployments.values():
            ended = self._estate.deployer.read(deployment)
            assert ended.status == "success", self._estate.deployer.describe(ended)
        assert {phase: site.page() for phase, site in self.sites.items()} == dict.fromkeys(self.sites, self.page)

    def request(self) -> None:
        """A new page, and a deployment of it to every site."""
        self._number += 1
        self.page_before = self.page
        self.page = f"page {self._number}"
        self._estate.commit(self.page)
        self.deployments = {phase: site.request() for phase, site in self.sites.items()}


def counted(notes: str, phase: str) -> str:
    """A command that writes down that it ran, and goes on once nobody holds it; when it is repeated, at once."""
    hold = f'[ -e {notes}/hold-{phase} ] && [ "${{PWD##*/}}" != current ]'
    return f'echo "{phase} ${{DEVFLOW_RUN:-by-hand}} ${{PWD##*/}}" >>{notes}/ran; while {hold}; do sleep 0.1; done'
