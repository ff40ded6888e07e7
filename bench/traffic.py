"""Deployments under constant traffic: requests that fail, answers of the wrong version, how long a switch takes.

`bin/bench traffic` runs all cases; `python -m bench.traffic [WORD]... [--deployments N]` those with a word in the name.
docs/performance.md says what is counted.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.common import Result
from bench.ours import Ended, OurPanel
from tests.support.apps import APPS
from tests.support.docker_engine import Engine, ensure_engine
from tests.support.gitrepo import GitRepository
from tests.support.traffic import Traffic, Turn, slowest
from tests.support.vps import Vps
from tests.support.vps_image import ensure_docker_image, ensure_image

DEPLOYMENTS = 20
ROLLBACK_EACH = 4
"""After so many deployments, one way back."""
RATE = 300
SETTLE_SECONDS = 2.0
CLOCK_SECONDS = 0.02
"""How exactly the end of a step is known: servers tell it in hundredths of a second since they started."""
REPOSITORY = "/home/deploy/app.git"
ROOT = "/srv/www/app"
DOMAIN = "app.example.test"
PROJECT = "app"
PHP_WORKERS = 20
NODES = 3


@dataclass(frozen=True)
class Change:
    """One change of version, as the panel told it and as it was seen from outside; times by the monotonic clock."""

    asked: float
    turn: Turn
    wrong: int
    is_back: bool

    @property
    def seconds(self) -> float:
        """From the request until only the new version answered."""
        return max(self.turn.first_new, self.turn.last_old) - self.asked


@dataclass
class Case(ABC):
    """A site that versions are brought to. Made in a folder of its own; `stack` takes down what it has started."""

    folder: Path
    stack: ExitStack
    engine: Engine
    app = "traffic"
    has_websocket = True
    servers: list[Vps] = field(default_factory=list)

    @abstractmethod
    def set_up(self) -> None:
        """Servers, repository and project; nothing is deployed yet."""

    @abstractmethod
    def change(self, *, back: bool = False) -> Ended:
        """Brings what was committed last, or the release before, to the site."""

    @property
    def entrance(self) -> Vps:
        """The server that answers requests."""
        return self.servers[0]

    def commit(self, version: str) -> None:
        """The application, of this version."""
        files = {str(path.relative_to(APPS / self.app)): path.read_text() for path in self._files()}
        self.repository.commit({**files, **self.version_files(version)}, message=f"Version {version}")

    def version_files(self, version: str) -> dict[str, str]:
        return {"version.txt": f"{version}\n"}

    def add_server(self, *, docker: bool = False, balances: bool = False) -> Vps:
        image = ensure_docker_image(self.engine) if docker or balances else ensure_image(self.engine)
        vps = self.stack.enter_context(Vps(self.engine, image, systemd=True, docker=docker))
        vps.put("deploy ALL=(ALL) NOPASSWD: ALL\n", "/etc/sudoers.d/all", user="root", mode="440")
        if docker:
            vps.base_image()
        self.servers.append(vps)
        return vps

    def add_repository(self) -> None:
        self.repository = GitRepository.on_server(self.servers[0], REPOSITORY, self.folder / "work")

    def _files(self) -> Iterator[Path]:
        return (path for path in sorted((APPS / self.app).rglob("*")) if path.is_file() and path.suffix != ".pyc")


@dataclass
class OurCase(Case):
    """Deployed by the panel."""

    recipe = ""

    def start_panel(self, servers: Sequence[Vps], repository: str = REPOSITORY, **settings: object) -> None:
        """The panel, and the project on these servers; the last one of all is the balancer where there is one."""
        self.panel = self.stack.enter_context(OurPanel(self.folder))
        if "balancer" in settings:
            self.panel.add_server("balancer", self.entrance, self.entrance.port)
        reached = [(vps, vps.port) for vps in servers]
        nothing: dict[str, object] = {"shared_files": [], "shared_folders": [], "phase_commands": {}}
        self.panel.add_project(PROJECT, repository, ROOT, reached, self.recipe, **{**nothing, **settings})

    def change(self, *, back: bool = False) -> Ended:
        return self.panel.change_version(PROJECT, back=back)


class Atomic(OurCase):
    """PHP-FPM behind nginx, which serves the link `current`."""

    app = "traffic-php"
    recipe = "php"
    has_websocket = False

    def set_up(self) -> None:
        vps = self.add_server()
        vps.run(
            f"sed -i 's/^pm.max_children = .*/pm.max_children = {PHP_WORKERS}/' /etc/php/8.4/fpm/pool.d/www.conf"
            " && systemctl restart php8.4-fpm && gpasswd --add deploy www-data",
            user="root",
        )
        self.add_repository()
        self.start_panel([vps])
        vps.serve(f"{ROOT}/current/public", php=True)

    def version_files(self, version: str) -> dict[str, str]:
        source = (APPS / self.app / "src/Version.php").read_text()
        return {**super().version_files(version), "src/Version.php": source.replace("'1'", f"'{version}'")}


class BlueGreenProcess(OurCase):
    """A Python application as a systemd unit on two ports, behind nginx."""

    recipe = "python"

    def set_up(self) -> None:
        self.add_server()
        self.add_repository()
        options = {"start_command": "python3 server.py"}
        self.start_panel(self.servers, **BLUE_GREEN, recipe_options=options)


class BlueGreenContainer(OurCase):
    """The same application, built from its Dockerfile."""

    recipe = "dockerfile"

    def set_up(self) -> None:
        self.add_server(docker=True)
        self.add_repository()
        options = {"container_port": "8000", "build_free_memory": "0"}
        self.start_panel(self.servers, **BLUE_GREEN, recipe_options=options)


class Compose(OurCase):
    """The same application from its Compose file."""

    recipe = "compose"

    def set_up(self) -> None:
        self.add_server(docker=True)
        self.add_repository()
        self.start_panel(self.servers, **BLUE_GREEN)


class Rolling(OurCase):
    """The same application as a unit of systemd on three servers, which a deployment restarts, behind nginx."""

    recipe = "python"
    balancer = "nginx"

    def set_up(self) -> None:
        for _ in range(NODES):
            node = self.add_server()
            node.put(UNIT, "/etc/systemd/system/app.service", user="root")
            node.run("systemctl daemon-reload && systemctl --quiet enable app", user="root")
        nodes = list(self.servers)
        addresses = " ".join(f"{PROJECT}-{number}={node.address}:8080" for number, node in enumerate(nodes, 1))
        self.add_server(balances=True)
        self.add_repository()
        self.start_panel(
            nodes,
            f"ssh://deploy@{nodes[0].address}{REPOSITORY}",
            deploy_key=nodes[0].private_key,
            strategy="rolling",
            strategy_options={"balancer": self.balancer, "nodes": addresses, "drain_seconds": "10"},
            domains=[DOMAIN],
            balancer="balancer",
            phase_commands={"reload": ["sudo -n systemctl restart app"]},
        )

    @property
    def entrance(self) -> Vps:
        return self.servers[-1]


class RollingHaproxy(Rolling):
    """The same behind HAProxy."""

    balancer = "haproxy"


class PlainCompose(Case):
    """By hand, for the comparison: git pull and `docker compose up --detach --build`, behind nginx."""

    def set_up(self) -> None:
        vps = self.add_server(docker=True)
        self.add_repository()
        vps.run(f"git clone --quiet {REPOSITORY} app")
        vps.put(PLAIN_PROXY, "/etc/nginx/sites-enabled/app", user="root")
        vps.run("systemctl restart nginx", user="root")

    def change(self, *, back: bool = False) -> Ended:
        asked = time.time()
        checkout = "git checkout --quiet HEAD~1" if back else "git fetch --quiet && git checkout --quiet origin/main"
        self.servers[0].run(f"cd app && {checkout} && docker compose up --detach --build", timeout_seconds=300)
        return Ended(asked, time.time())


BLUE_GREEN = {
    "strategy": "blue-green",
    "strategy_options": {"drain_seconds": "10", "watch_seconds": "2"},
    "proxy": "nginx",
    "domains": [DOMAIN],
}
UNIT = f"""\
[Service]
WorkingDirectory={ROOT}/current
Environment=HOST=0.0.0.0 PORT=8080
ExecStart=/usr/bin/python3 server.py
[Install]
WantedBy=multi-user.target
"""
PLAIN_PROXY = """\
map $http_upgrade $connection_upgrade { default upgrade; '' close; }
server {
    listen 80 default_server;
    location / {
        proxy_pass http://127.0.0.1:8080;
        proxy_http_version 1.1;
        proxy_set_header Host $host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
    }
}
"""

CASES: dict[str, type[Case]] = {
    "atomic, php-fpm and nginx": Atomic,
    "blue-green, process": BlueGreenProcess,
    "blue-green, container": BlueGreenContainer,
    "blue-green, compose": Compose,
    "rolling over 3 servers, nginx": Rolling,
    "rolling over 3 servers, HAProxy": RollingHaproxy,
    "plain docker compose up": PlainCompose,
}


def main() -> None:
    run(list(CASES), DEPLOYMENTS)


def run(names: Sequence[str], deployments: int) -> None:
    engine = ensure_engine()
    for name in names:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="devflow-bench-")))
            case = CASES[name](folder, stack, engine)
            for result in measure(name, case, deployments):
                result.print()


def measure(name: str, case: Case, deployments: int) -> Iterator[Result]:
    case.set_up()
    case.commit("1")
    case.change()
    entrance = case.entrance
    with Traffic(
        entrance.host, entrance.http_port, host_name=DOMAIN, rate=RATE, has_websocket=case.has_websocket
    ) as traffic:
        traffic.run_for(SETTLE_SECONDS)
        changes = list(change_versions(case, traffic, deployments))
    yield from results(name, traffic, changes)


def change_versions(case: Case, traffic: Traffic, deployments: int) -> Iterator[Change]:
    """The deployments, and now and then a way back."""
    serving = "1"
    before = "1"
    for number in range(2, deployments + 2):
        case.commit(str(number))
        yield change(case, traffic, serving, str(number), back=False)
        before, serving = serving, str(number)
        if (number - 1) % ROLLBACK_EACH == 0:
            yield change(case, traffic, serving, before, back=True)
            serving = before


def change(case: Case, traffic: Traffic, old: str, new: str, *, back: bool) -> Change:
    """One of them, and what was seen until a while later."""
    began = traffic.now()
    wall = time.time() - began
    done = case.change(back=back)
    traffic.run_for(SETTLE_SECONDS)
    moved = done.moved - wall + CLOCK_SECONDS
    wrong = [answer for answer in traffic.wrong(new, began) if answer.sent >= moved or answer.version != old]
    return Change(done.asked - wall, traffic.turn(old, new, began), len(wrong), back)


def results(name: str, traffic: Traffic, changes: Sequence[Change]) -> Iterator[Result]:
    """One line for each figure of the case."""

    def result(what: str, unit: str, value: float, runs: int, goal: str | None = None) -> Result:
        return Result(
            bench="traffic", case=f"{name}: {what}", unit=unit, value=round(value, 4), runs=runs, against=goal
        )

    deployments = [change for change in changes if not change.is_back]
    rollbacks = [change for change in changes if change.is_back]
    quick = [answer for answer in traffic.answers if answer.path == "/" and not answer.failure]
    sent = len(traffic.answers)
    yield result("failed", "requests", len(traffic.failed), sent, "goal 0")
    yield result("of the wrong version after the switch", "answers", sum(c.wrong for c in changes), sent, "goal 0")
    yield result("sent again (the server had closed a kept connection)", "requests", len(traffic.retried), sent)
    if traffic.sockets:
        yield result("WebSockets cut without a word", "connections", len(traffic.cut_sockets), len(traffic.sockets))
        lasted = [socket.closed - socket.opened for socket in traffic.sockets]
        yield result("a WebSocket lasted, at least", "s", min(lasted), len(lasted))
    mixed = [change.turn.mixed_seconds for change in changes]
    yield result("both versions answer, at most", "s", max(mixed), len(mixed))
    yield result("deployment, median until only the new version answers", "s", _median(deployments), len(deployments))
    if rollbacks:
        most = max(change.seconds for change in rollbacks)
        yield result("rollback, median until only the old version answers", "s", _median(rollbacks), len(rollbacks))
        goal = "goal 2 s" if name.startswith("blue-green") else None  # the others have nothing on standby
        yield result("rollback, at most", "s", most, len(rollbacks), goal)
    yield result("slowest answer of /", "s", slowest(quick), len(quick))
    yield result("a request was sent late by, at most", "s", traffic.late_seconds, sent)
    for end, count in Counter(socket.end for socket in traffic.cut_sockets).items():
        yield result(f"WebSocket {end}", "connections", count, len(traffic.sockets))
    for failure, count in Counter(f"{answer.path} {answer.failure}" for answer in traffic.failed).items():
        yield result(f"failed, {failure}", "requests", count, sent)


def _median(changes: Sequence[Change]) -> float:
    return statistics.median(change.seconds for change in changes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.traffic", description="; ".join(CASES))
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--deployments", type=int, default=DEPLOYMENTS)
    given = parser.parse_args()
    run([name for name in CASES if all(word in name for word in given.words)], given.deployments)
