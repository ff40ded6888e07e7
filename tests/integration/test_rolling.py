"""Three servers behind a balancer go live one after the other: nobody who asks the balancer notices."""

from __future__ import annotations

import secrets
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from django_scopes import scopes_disabled

from devflow.apps.deployments.models import Deployment
from devflow.apps.projects.models import Environment
from tests.support.balanced_load import Load
from tests.support.deployer import Deployer, WorkerProcess
from tests.support.docker_engine import Engine
from tests.support.gitrepo import GitRepository
from tests.support.vps import Vps

ROOT = "/srv/www/app"
PORT = 8080
APP = """\
import http.server, pathlib, socket, time
version = pathlib.Path("version").read_text().strip()
time.sleep(0.3)
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/slow":
            time.sleep(2)
        body = version.encode()
        self.send_response(500 if "broken" in version else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Node", socket.gethostname())
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        pass
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""
UNIT = f"""\
[Unit]
StartLimitIntervalSec=0
[Service]
WorkingDirectory={ROOT}/current
ExecStart=/usr/bin/python3 /usr/local/bin/app
[Install]
WantedBy=multi-user.target
"""


@dataclass
class Park:
    """Three nodes that run an application as a unit, and one server for each kind of balancer."""

    deployer: Deployer
    nodes: list[Vps]
    balancers: dict[str, Vps]
    repository: GitRepository
    environment: Environment
    kind: str = "haproxy"
    addresses: dict[str, str] = field(default_factory=dict)

    @property
    def balancer(self) -> Vps:
        return self.balancers[self.kind]

    def use(self, kind: str, **options: str) -> None:
        """Balances with nginx or HAProxy from the next deployment on."""
        self.kind = kind
        nodes = " ".join(f"{node.name}={self.addresses[node.name]}:{PORT}" for node in self.nodes)
        with scopes_disabled():
            Environment.objects.filter(pk=self.environment.pk).update(
                strategy="rolling",
                strategy_options={"balancer": kind, "nodes": nodes, "drain_seconds": "10", **options},
                balancer=self.deployer.server_of(self.balancer),
                domains=["shop.example.test"],
            )
            self.environment.refresh_from_db()

    def commands(self, **phases: list[str]) -> None:
        self.deployer.change(self.environment, phase_commands={"reload": ["sudo -n systemctl restart app"], **phases})

    def release(self, version: str) -> str:
        return self.repository.commit({"version": version}, message=version)

    def deploy(self, version: str, timeout_seconds: float = 90) -> Deployment:
        self.release(version)
        return self.deployer.deploy(self.environment, timeout_seconds=timeout_seconds)

    def load(self) -> Load:
        return Load(self.balancer.host, self.balancer.http_port)

    def versions(self) -> list[str]:
        """What each node answers."""
        return [node.run(f"curl -s http://127.0.0.1:{PORT}/").stdout for node in self.nodes]

    def watch_ready(self) -> None:
        """From now on the balancer's server writes down how many nodes would get a request, ten times a second."""
        count = {
            "haproxy": "echo 'show stat' | socat - /run/haproxy/admin.sock | cut -d, -f 2,18 | grep -c ',UP'",
            "nginx": "grep ' server .*;.* # ' /etc/nginx/devflow.d/*-nodes.conf | grep -vc ' down;'",
        }[self.kind]
        if self.kind == "haproxy":
            count = f"echo $(( $({count}) - 1 ))"  # the backend itself
        script = f"while [ -e /run/watching ]; do {count} >>/run/ready-nodes; sleep 0.1; done"
        start = f"setsid sh -c {shlex.quote(script)} </dev/null >/dev/null 2>&1 &"
        self.balancer.run(f"rm -f /run/ready-nodes; touch /run/watching; {start}", user="root")

    def fewest_ready(self) -> int:
        """The lowest count since `watch_ready`, which ends."""
        return int(
            self.balancer.run("rm /run/watching; sleep 0.3; sort -n /run/ready-nodes | head -n 1", user="root").stdout
        )


@pytest.fixture(scope="module")
def park(
    deployer: Deployer,
    docker_engine: Engine,
    vps_image: str,
    docker_image: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Park]:
    with (
        Vps(docker_engine, vps_image, systemd=True) as first,
        Vps(docker_engine, vps_image, systemd=True) as second,
        Vps(docker_engine, vps_image, systemd=True) as third,
        Vps(docker_engine, docker_image, systemd=True, user="root") as haproxy,
        Vps(docker_engine, docker_image, systemd=True, user="root") as nginx,
    ):
        nodes = [first, second, third]
        made = Park(
            deployer, nodes, {"haproxy": haproxy, "nginx": nginx}, *_environment(deployer, nodes, tmp_path_factory)
        )
        for balancer in made.balancers.values():
            deployer.add_server(balancer)
        made.addresses = {node.name: node.run("hostname -i").stdout.split()[0] for node in nodes}
        deployer.keep_one_worker()
        made.use("haproxy")
        made.commands()
        ended = made.deploy("v0")
        assert ended.status == "success", deployer.describe(ended)
        yield made


def _environment(
    deployer: Deployer, nodes: list[Vps], tmp_path_factory: pytest.TempPathFactory
) -> tuple[GitRepository, Environment]:
    first = nodes[0]
    repository = GitRepository.on_server(first, f"/home/{first.user}/app.git", tmp_path_factory.mktemp("work"))
    for node in nodes:
        node.put(APP, "/usr/local/bin/app", user="root")
        node.put(UNIT, "/etc/systemd/system/app.service", user="root")
        node.run("systemctl daemon-reload && systemctl enable app 2>&1", user="root")
        deployer.add_server(node)
    address = f"ssh://{first.user}@{first.run('hostname -i').stdout.split()[0]}{repository.path}"
    project = deployer.add_project(f"rolling-{secrets.token_hex(3)}", address, deploy_key=first.private_key)
    environment = deployer.add_environment(project, "production", servers=[node.name for node in nodes], root=ROOT)
    return repository, environment


@pytest.fixture
def settled(park: Park, worker: WorkerProcess) -> Park:
    """Everything as after a good deployment."""
    park.commands()
    return park


@pytest.mark.parametrize("kind", ["haproxy", "nginx"])
def test_no_request_fails(settled: Park, deployer: Deployer, kind: str) -> None:
    settled.use(kind)
    first = settled.deploy("before")
    assert first.status == "success", deployer.describe(first)
    settled.watch_ready()
    with settled.load() as load:
        time.sleep(1)
        for number in range(3):
            ended = settled.deploy(f"after {number}")
            assert ended.status == "success", deployer.describe(ended)
            assert settled.versions() == [f"after {number}"] * 3
            since = time.monotonic()
            time.sleep(1)
            assert set(load.told(since)) == {f"after {number}"}
    assert load.failed == []
    assert settled.fewest_ready() == 2
    print(kind, len(load.answers), "answers,", load.opened_anew, "connections opened anew")


@pytest.mark.parametrize("kind", ["haproxy", "nginx"])
def test_a_second_batch_that_fails_is_taken_back_with_the_first(settled: Park, deployer: Deployer, kind: str) -> None:
    settled.use(kind)
    first = settled.deploy("good")
    assert first.status == "success", deployer.describe(first)
    second = settled.nodes[1].name
    settled.commands(verify=[f'[ "$(hostname)" != {second} ]'])
    settled.watch_ready()
    with settled.load() as load:
        ended = settled.deploy("bad")
        time.sleep(1)
    assert ended.status == "rolled_back", deployer.describe(ended)
    assert second in ended.error
    assert settled.versions() == ["good"] * 3
    assert load.failed == []
    assert settled.fewest_ready() == 2
