"""Three servers behind a balancer go live one after the other: nobody who asks the balancer notices."""

from __future__ import annotations

import secrets
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django_scopes import scopes_disabled

from devflow.apps.deployments.models import Deployment
from devflow.apps.projects.models import Environment
from tests.support.balanced_load import Load
from tests.support.deployer import Deployer, WorkerProcess
from tests.support.docker_engine import Engine
from tests.support.gitrepo import GitRepository
from tests.support.panel import wait_until
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
READY = {
    "haproxy": "echo show stat | socat - /run/haproxy/admin.sock | awk -F, '$2 != \"BACKEND\" && $18 ~ /^UP/' | wc -l",
    "nginx": "grep ' server .*;.* # ' /etc/nginx/devflow.d/*-nodes.conf | grep -vc ' down;'",
}
"""How many nodes would get a request."""


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

    def load(self, **given: Any) -> Load:
        return Load(self.balancer.host, self.balancer.http_port, **given)

    def versions(self) -> list[str]:
        """What each node answers."""
        return [node.run(f"curl -s http://127.0.0.1:{PORT}/ || :").stdout for node in self.nodes]

    def watch_ready(self) -> None:
        """From now on the balancer's server writes down how many nodes would get a request, ten times a second."""
        script = f"while [ -e /run/watching ]; do {READY[self.kind]} >>/run/ready-nodes; sleep 0.1; done"
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
        nodes = sorted([first, second, third], key=lambda node: node.name)  # as they go live
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
def settled(park: Park, deployer: Deployer, worker: WorkerProcess) -> Iterator[Park]:
    """Everything as after a good deployment; what a test that failed left on its way is ended."""
    park.commands()
    yield park
    deployer.keep_one_worker()
    for node in park.nodes:
        node.run("rm -f /tmp/held; systemctl start app", user="root")
    with scopes_disabled():
        unended = list(Deployment.objects.filter(environment=park.environment, finished_at=None))
    for deployment in unended:
        deployer.cancel(deployment)
        deployer.wait_ended(deployment)


@pytest.mark.parametrize("kind", ["haproxy", "nginx"])
def test_no_request_fails(settled: Park, deployer: Deployer, kind: str) -> None:
    settled.use(kind)
    first = settled.deploy("before")
    assert first.status == "success", deployer.describe(first)
    settled.watch_ready()
    with settled.load(pause_seconds=0.03) as load:
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


def test_what_haproxy_began_before_its_reload_is_finished(settled: Park, deployer: Deployer) -> None:
    """The first server is drained just after a reload, and its requests are of the process of before."""
    settled.use("haproxy")
    first = settled.deploy("before")
    assert first.status == "success", deployer.describe(first)
    settled.use("haproxy", check_path="/well")
    with settled.load(slow=9) as load:
        time.sleep(1)
        ended = settled.deploy("after")
    assert ended.status == "success", deployer.describe(ended)
    assert load.failed == []


def test_a_server_that_is_back_gets_more_requests_little_by_little(settled: Park, deployer: Deployer) -> None:
    settled.use("haproxy", warm_seconds="4")
    show = "echo 'show stat' | socat - /run/haproxy/admin.sock | cut -d, -f 2,19 >>/run/weights"
    loop = shlex.quote(f"while [ -e /run/watching ]; do {show}; sleep 0.1; done")
    start = f"rm -f /run/weights; touch /run/watching; setsid sh -c {loop} </dev/null >/dev/null 2>&1 &"
    settled.balancer.run(start, user="root")
    with settled.load() as load:
        ended = settled.deploy("warm")
        time.sleep(1)
    assert ended.status == "success", deployer.describe(ended)
    lines = settled.balancer.run("rm /run/watching; cat /run/weights", user="root").stdout.split()
    for node in settled.nodes:
        weights = [int(line.split(",")[1]) for line in lines if line.startswith(f"{node.name},")]
        assert [weight for weight, before in zip(weights, [-1, *weights], strict=False) if weight != before] == [
            100, 10, 25, 50, 75, 100
        ]  # fmt: skip
    assert load.failed == []


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


@pytest.mark.parametrize("kind", ["haproxy", "nginx"])
def test_a_node_that_goes_down_in_the_middle(settled: Park, deployer: Deployer, kind: str) -> None:
    """Powered off while it goes live, and on again: it and those before it serve what they served."""
    settled.use(kind)
    first = settled.deploy("good")
    assert first.status == "success", deployer.describe(first)
    second = settled.nodes[1]
    settled.commands(verify=[f'[ "$(hostname)" != {second.name} ] || sleep 60'])
    settled.watch_ready()
    with settled.load() as load:
        settled.release("bad")
        deployment = deployer.request(settled.environment)
        deployer.wait_for_step(deployment, "verify command 1")
        deployer.wait(deployment, lambda _: settled.versions()[1] == "bad", 30)
        second.stop()
        time.sleep(1)
        second.start()
        ended = deployer.wait_ended(deployment, 90)
        time.sleep(1)
    assert ended.status == "rolled_back", deployer.describe(ended)
    assert f"{second.name}: the run was interrupted during 'verify command 1'" in ended.error
    assert settled.versions() == ["good"] * 3
    assert load.failed == []
    assert settled.fewest_ready() == 2


@pytest.mark.parametrize("how", ["systemctl reload haproxy", "pkill -9 -x haproxy"])
def test_haproxy_reloaded_or_killed_and_the_worker_killed_in_the_middle(
    settled: Park, deployer: Deployer, how: str
) -> None:
    settled.use("haproxy")
    first = settled.deploy("before")
    assert first.status == "success", deployer.describe(first)
    second = settled.nodes[1].name
    held = "while [ -e /tmp/held ]; do sleep 0.1; done"
    settled.nodes[1].run("touch /tmp/held")
    settled.commands(verify=[f'[ "$(hostname)" != {second} ] || {{ sudo -n systemctl stop app.service; {held}; }}'])
    settled.nodes[1].put(
        "deploy ALL=(root) NOPASSWD: /usr/bin/systemctl\n", "/etc/sudoers.d/app", user="root", mode="440"
    )
    settled.release("after")
    with settled.load() as load:
        deployment = deployer.request(settled.environment)
        deployer.wait(deployment, lambda _: settled.versions()[1:] == ["", "before"], 60)
        deployer.workers[-1].kill()
        settled.balancer.run(how)
        time.sleep(3)
        settled.nodes[1].run("sudo -n systemctl start app.service; rm /tmp/held")
        deployer.start_worker()
        ended = deployer.wait_ended(deployment, 60)
    assert ended.status == "success", deployer.describe(ended)
    assert settled.versions() == ["after"] * 3
    assert [answer for answer in load.failed if answer.status] == [], "no request went to the node that was away"
    assert load.failed == [] or "kill" in how, "HAProxy itself was away for a moment"


def test_a_configuration_that_haproxy_refuses_is_put_back(settled: Park, deployer: Deployer) -> None:
    settled.use("haproxy")
    first = settled.deploy("before")
    assert first.status == "success", deployer.describe(first)
    config = "/etc/haproxy/haproxy.cfg"
    before = settled.balancer.run(f"cat {config}").stdout

    settled.balancer.run("systemd-run --quiet --unit=squat-8099 python3 -m http.server 8099")
    settled.balancer.run(
        "for n in 1 2 3 4 5 6 7 8 9; do ss -Htln 'sport = :8099' | grep -q . && break; sleep 0.5; done"
    )
    settled.use("haproxy", listen="8099")
    try:
        ended = settled.deploy("taken port", timeout_seconds=150)
    finally:
        settled.balancer.run("systemctl stop squat-8099")
    assert ended.status == "failed", deployer.describe(ended)
    assert "Port 8099 on" in ended.error
    assert "is taken by python3 (process " in ended.error
    assert settled.balancer.run(f"cat {config}").stdout == before

    # which its own test of the file does not see
    times = "".join(f"  timeout {side} 1s\n" for side in ("client", "server", "connect"))
    own = f"listen own\n  mode tcp\n{times}  bind 192.0.2.7:8097\n"
    settled.balancer.run(f"printf %s {shlex.quote(own)} >>{config}")
    settled.use("haproxy", listen="8098")
    ended = settled.deploy("no such address", timeout_seconds=150)
    assert ended.status == "failed", deployer.describe(ended)
    assert "did not reload; its configuration was put back" in ended.error
    assert "[ALERT]" in ended.error, "why is in its journal"
    assert "192.0.2.7:8097" in ended.error
    assert settled.balancer.run(f"cat {config}").stdout == before + own
    settled.balancer.run(f"sed -i '/^listen own$/,$d' {config} && systemctl reload haproxy")
    assert settled.balancer.run(f"cat {config}").stdout == before

    settled.balancer.run(f"echo 'no such word' >>{config}")
    settled.use("haproxy", listen="8098")
    refused = settled.deploy("broken by hand")
    assert refused.status == "failed", deployer.describe(refused)
    assert "would not take its new configuration, so nothing was changed" in refused.error
    assert f"parsing [{config}:" in refused.error
    assert "[ALERT]" in refused.error
    assert settled.balancer.run(f"cat {config}").stdout == f"{before}no such word\n"
    assert settled.versions() == ["before"] * 3

    settled.balancer.run(f"sed -i '$d' {config}")
    settled.use("haproxy")
    again = settled.deploy("after")
    assert again.status == "success", deployer.describe(again)
    assert settled.balancer.run(f"ls {config}.devflow* 2>/dev/null || :").stdout == ""


@pytest.mark.parametrize("kind", ["haproxy", "nginx"])
def test_a_server_that_is_added_gets_requests_when_it_has_the_release(
    settled: Park, deployer: Deployer, kind: str
) -> None:
    """Nor is it in the way of the others: it goes live first, and the minimum of all holds from the first drain on."""
    everyone, added = list(settled.nodes), settled.nodes[1]
    settled.nodes.remove(added)
    settled.use(kind)
    deployer.change(settled.environment, servers=[node.name for node in settled.nodes])
    try:
        first = settled.deploy("two")
        assert first.status == "success", deployer.describe(first)
        added.run(f"echo 'of a stranger' >{ROOT}/current/version; sudo -n systemctl restart app")
        settled.nodes[:] = everyone
        deployer.change(settled.environment, servers=[node.name for node in everyone])
        settled.use(kind, minimum="2")
        settled.commands(verify=['[ "$(hostname)" != ' + everyone[0].name + " ]"])
        with settled.load() as load:
            settled.watch_ready()
            failed = settled.deploy("three, which fails")
            time.sleep(1)
            settled.commands()
            assert set(load.told(0)) <= {"two", "three, which fails"}
            ended = settled.deploy("three")
            time.sleep(1)
        assert failed.status == "rolled_back", deployer.describe(failed)
        assert ended.status == "success", deployer.describe(ended)
    finally:
        settled.nodes[:] = everyone
        deployer.change(settled.environment, servers=[node.name for node in everyone])
    assert settled.versions() == ["three"] * 3
    assert set(load.told(0)) == {"two", "three, which fails", "three"}
    assert load.failed == []
    assert settled.fewest_ready() == 2


def test_cancelled_in_the_middle(settled: Park, deployer: Deployer) -> None:
    settled.use("nginx")
    first = settled.deploy("good")
    assert first.status == "success", deployer.describe(first)
    second = settled.nodes[1].name
    settled.commands(verify=[f'[ "$(hostname)" != {second} ] || sleep 60'])
    with settled.load() as load:
        settled.release("new")
        deployment = deployer.request(settled.environment)
        deployer.wait(deployment, lambda _: settled.versions()[:2] == ["new", "new"], 60)
        deployer.cancel(deployment)
        ended = deployer.wait_ended(deployment, 60)
    assert ended.status == "cancelled", deployer.describe(ended)
    assert settled.versions() == ["good"] * 3
    assert load.failed == []


@pytest.mark.timeout(300)  # a minute of it is waited for the server that is down
def test_too_few_would_be_ready(settled: Park, deployer: Deployer) -> None:
    settled.use("haproxy", minimum="2")
    first = settled.deploy("good")
    assert first.status == "success", deployer.describe(first)
    third = settled.nodes[2]
    third.run("systemctl stop app", user="root")
    # HAProxy finds out after some of its checks
    wait_until(lambda: settled.balancer.run(READY["haproxy"], user="root").stdout.strip() == "2", 30)
    with settled.load() as load:
        ended = settled.deploy("new", timeout_seconds=200)
    third.run("systemctl start app", user="root")
    assert ended.status == "failed", deployer.describe(ended)
    assert "only 1 of at least 2 servers would be ready" in ended.error
    wait_until(lambda: settled.versions()[2], 30)  # it listens a moment after systemd has started it
    assert settled.versions() == ["good"] * 3
    assert load.failed == []


def test_a_file_that_was_edited_by_hand_is_left_alone(settled: Park, deployer: Deployer) -> None:
    for kind, file in (("nginx", "/etc/nginx/devflow.d/*-nodes.conf"), ("haproxy", "/etc/haproxy/haproxy.cfg")):
        settled.use(kind)
        first = settled.deploy(f"before {kind}")
        assert first.status == "success", deployer.describe(first)
        line = "    timeout server 1m" if kind == "haproxy" else "    keepalive 32;"
        settled.balancer.run(f"sed -i 's/^{line}$/{line} # mine/' {file}")
        ended = settled.deploy("after")
        assert ended.status == "failed", deployer.describe(ended)
        assert "edited by hand" in ended.error or "Somebody changed" in ended.error
        assert "# mine" in settled.balancer.run(f"cat {file}").stdout
        settled.balancer.run(f"sed -i 's/ # mine$//' {file}")
        again = settled.deploy(f"after {kind}")
        assert again.status == "success", deployer.describe(again)


def test_a_backend_of_ones_own_by_a_user_of_its_group(settled: Park, deployer: Deployer) -> None:
    """The panel only gives orders over the socket: it needs no root, and changes no file."""
    balancer = settled.balancers["haproxy"]
    servers = "".join(
        f"  server app{number} {settled.addresses[node.name]}:{PORT} check inter 500ms\n"
        for number, node in enumerate(settled.nodes, 1)
    )
    config = f"frontend own\n  bind :8081\n  default_backend own\nbackend own\n{servers}"
    balancer.run(f"printf %s {shlex.quote(config)} >>/etc/haproxy/haproxy.cfg && systemctl reload haproxy")
    before = balancer.run("md5sum /etc/haproxy/haproxy.cfg").stdout
    deploy = deployer.add_server(balancer, name=f"{balancer.name}-deploy", user="deploy")
    settled.use("haproxy", backend="own")
    with scopes_disabled():
        Environment.objects.filter(pk=settled.environment.pk).update(balancer=deploy)
        settled.environment.refresh_from_db()
    refused = settled.deploy("own 1")
    assert refused.status == "failed"
    assert "usermod -aG haproxy deploy" in refused.error, deployer.describe(refused)
    balancer.run("usermod -aG haproxy deploy; pkill -u deploy sshd; true")
    ended = settled.deploy("own 2")
    assert ended.status == "success", deployer.describe(ended)
    assert settled.versions() == ["own 2"] * 3
    assert balancer.run("md5sum /etc/haproxy/haproxy.cfg").stdout == before
