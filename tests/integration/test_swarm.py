"""A swarm of three servers: formed, deployed to under requests, rolled back, scaled, drained, and with a node lost."""

from __future__ import annotations

import http.client
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from django_scopes import scopes_disabled

from devflow.apps.deployments.models import Deployment
from devflow.apps.projects.models import Environment
from devflow.apps.servers import clusters
from devflow.apps.servers.models import Cluster, ClusterAction
from tests.support.deployer import Deployer
from tests.support.gitrepo import GitRepository
from tests.support.panel import wait_until
from tests.support.vps import Vps

APP = Path(__file__).parent / "apps" / "stacked"
PORT = 8100
ACTION_SECONDS = 200
pytestmark = pytest.mark.timeout(800)  # replica by replica, watched, and back again


@dataclass
class Swarm:
    """Three servers of the panel, the first of them (by name) a manager, and an environment on all of them."""

    deployer: Deployer
    nodes: list[Vps]
    name: str = "shops"
    addresses: dict[str, str] = field(default_factory=dict)

    @property
    def cluster(self) -> Cluster:
        return clusters.cluster_get(actor=self.deployer.actor, name=self.name)

    def act(self, act: Callable[..., ClusterAction], *, status: str = "done", **given: Any) -> str:
        """What came of an action, once it has ended."""
        action = act(actor=self.deployer.actor, cluster=self.cluster, **given)
        return self.ended(action, status)

    def ended(self, action: ClusterAction, status: str = "done") -> str:
        def found() -> ClusterAction | None:
            with scopes_disabled():
                return ClusterAction.objects.filter(pk=action.pk, ended_at__isnull=False).first()

        ended = wait_until(found, ACTION_SECONDS, what=self.deployer.output)
        assert ended.status == status, ended.message
        return ended.message

    def node(self, vps: Vps) -> dict[str, Any]:
        return next(node for node in clusters.node_list(cluster=self.cluster) if node["server"] == vps.name)

    def service(self, name: str) -> dict[str, Any]:
        return next(each for each in self.cluster.observed["services"] if each["name"] == name)

    def docker(self, command: str) -> str:
        return self.nodes[0].run(f"docker {command}").stdout.strip()


@dataclass
class Stack:
    """An environment of the swarm, and its repository."""

    swarm: Swarm
    repository: GitRepository
    environment: Environment
    name: str

    def deploy(self, version: str, mode: str = "well", *, status: str = "success") -> Deployment:
        self.repository.commit({"version.txt": version, "mode.txt": mode}, message=version)
        return self.ended(self.swarm.deployer.request(self.environment), status)

    def ended(self, requested: Deployment, status: str = "success") -> Deployment:
        ended = self.swarm.deployer.wait_ended(requested, 300)
        assert ended.status == status, self.swarm.deployer.describe(ended)
        return ended

    def answers(self) -> set[str]:
        return {text for address in self.swarm.addresses.values() if (text := ask(address)) is not None}

    def tasks(self, service: str) -> dict[str, str]:
        """The nodes by the ids of the tasks that run."""
        shown = self.swarm.docker(
            f"service ps --filter desired-state=running --format '{{{{.ID}}}} {{{{.Node}}}}' {self.name}_{service}"
        )
        return dict(line.split() for line in shown.splitlines())


def ask(address: str, path: str = "/") -> str | None:
    """None where nothing listens, or the connection was shut before an answer, which a balancer sends to the next node;
    an answer that is not whole is an error."""
    connection = http.client.HTTPConnection(address, PORT, timeout=5)
    try:
        connection.connect()
    except OSError:
        return None
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
        return text if answer.status == 200 else f"status {answer.status}"
    except (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected):
        return None
    finally:
        connection.close()


def address_of(node: Vps) -> str:
    return node.run("ip -4 -o addr show eth0").stdout.split()[3].split("/")[0]


class Load:
    """Asks one node after the other, the next where nothing listens, as a balancer does, until it is left."""

    def __init__(self, addresses: list[str]) -> None:
        self._addresses = addresses
        self.failed: list[str] = []
        self.answers: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,), daemon=True) for number in range(3)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def _ask(self, number: int) -> None:
        while not self._stop.is_set():
            number += 1
            try:
                told = next(filter(None, (ask(self._addresses[(number + n) % 3]) for n in range(3))), None)
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
            else:
                if told is None or told.startswith("status"):
                    self.failed.append(str(told))
                else:
                    self.answers[told] += 1
            time.sleep(0.02)


@pytest.fixture(scope="module")
def swarm(deployer: Deployer, docker_engine: Any, docker_image: str) -> Iterator[Swarm]:
    with (
        Vps(docker_engine, docker_image, systemd=True, docker=True) as one,
        Vps(docker_engine, docker_image, systemd=True, docker=True) as two,
        Vps(docker_engine, docker_image, systemd=True, docker=True) as three,
    ):
        made = Swarm(deployer, sorted((one, two, three), key=lambda node: node.name))
        for node in made.nodes:
            node.base_image()
            deployer.add_server(node)
            made.addresses[node.name] = address_of(node)
        deployer.keep_one_worker()
        first, *others = (deployer.server_of(node) for node in made.nodes)
        action = clusters.cluster_form(actor=deployer.actor, name=made.name, server=first)
        assert "is the first manager" in made.ended(action)
        for server in others:
            assert "has joined as worker" in made.act(clusters.node_join, server=server)
        yield made


@pytest.fixture(scope="module")
def stack(swarm: Swarm, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """With release v1."""
    first, name = swarm.nodes[0], f"shop-{secrets.token_hex(3)}"
    repository = GitRepository.on_server(first, f"/home/{first.user}/{name}.git", tmp_path_factory.mktemp("work"))
    files = {path.name: path.read_text() for path in APP.iterdir()}
    repository.commit(files)
    address = f"ssh://{first.user}@{swarm.addresses[first.name]}{repository.path}"
    project = swarm.deployer.add_project(name, address, recipe="compose", deploy_key=first.private_key)
    environment = swarm.deployer.add_environment(
        project,
        "live",
        servers=[node.name for node in swarm.nodes],
        root=f"/srv/www/{name}",
        strategy="swarm",
        strategy_options={"stack": name, "monitor_seconds": "3", "wait_seconds": "120"},
    )
    swarm.deployer.set_variables(environment, {"SECRET": "it's $ecret"})
    made = Stack(swarm, repository, environment, name)
    made.deploy("v1")
    return made


def test_a_swarm_is_formed_of_servers(swarm: Swarm) -> None:
    nodes = clusters.node_list(cluster=swarm.cluster)
    assert [(node["state"], node["availability"]) for node in nodes] == [("ready", "active")] * 3
    assert swarm.node(swarm.nodes[0])["manager_status"] == "leader"
    assert swarm.docker("node ls --format '{{.Status}}'").split() == ["Ready"] * 3
    assert "SWMTKN" not in swarm.deployer.output()


def test_a_release_replaces_another_under_requests_and_none_fails(swarm: Swarm, stack: Stack) -> None:
    before = stack.deploy("v2")
    plan = swarm.deployer.read(before).plan
    assert plan
    assert [each for each in plan["warnings"] if "The service db writes the volume data, which each node has" in each]
    db = stack.tasks("db")
    assert stack.answers() == {"v2"}
    with Load(list(swarm.addresses.values())) as load:
        ended = stack.deploy("v3")
    assert load.failed == []
    assert load.answers["v2"] > 10
    assert load.answers["v3"] > 10
    assert stack.answers() == {"v3"}
    assert stack.tasks("db") == db, "what is unchanged is left alone"
    assert len(stack.tasks("web")) == 2
    assert "updated start-first" in swarm.deployer.log(ended)
    assert "$ecret" not in swarm.deployer.log(ended)
    address = next(address for address in swarm.addresses.values() if ask(address))
    assert ask(address, "/secret") == "it's $ecret"
    stack.ended(swarm.deployer.roll_back(stack.environment, to=before))
    assert stack.answers() == {"v2"}


def test_a_release_that_ends_is_rolled_back_and_told(swarm: Swarm, stack: Stack) -> None:
    stack.deploy("good")
    with Load(list(swarm.addresses.values())) as load:
        ended = stack.deploy("bad", "ends", status="rolled_back")
    assert load.failed == []
    assert set(load.answers) == {"good"}
    assert "non-zero exit (7)" in ended.error
    assert "the application gives up" in swarm.deployer.log(ended)
    assert stack.answers() == {"good"}
    assert swarm.docker(f"service inspect --format '{{{{.Spec.TaskTemplate.ContainerSpec.Image}}}}' {stack.name}_web")


def test_a_cancelled_release_leaves_the_one_before(swarm: Swarm, stack: Stack) -> None:
    stack.deploy("kept")
    stack.repository.commit({"version.txt": "never"}, message="never")
    requested = swarm.deployer.request(stack.environment)
    swarm.deployer.wait_for_step(requested, "deploy stack", 150)
    time.sleep(2)
    swarm.deployer.cancel(requested)
    stack.ended(requested, "cancelled")
    assert stack.answers() == {"kept"}
    assert len(stack.tasks("web")) == 2


def test_services_are_scaled_and_stay_so(swarm: Swarm, stack: Stack) -> None:
    service = f"{stack.name}_worker"
    swarm.act(clusters.cluster_look)
    assert "4 of 4 run" in swarm.act(clusters.service_scale, service=service, replicas=4)
    assert len(stack.tasks("worker")) == 4
    stack.deploy("scaled")
    assert len(stack.tasks("worker")) == 4, "the Compose file's number has not changed"
    assert "1 of 1 run" in swarm.act(clusters.service_scale, service=service, replicas=1)
    assert (swarm.service(service)["running"], swarm.service(service)["wanted"]) == (1, 1)
    swarm.act(clusters.service_scale, service=service, replicas=2)


def test_a_drained_node_runs_nothing(swarm: Swarm, stack: Stack) -> None:
    node = swarm.nodes[2]
    server = swarm.deployer.server_of(node)
    assert "no task runs there" in swarm.act(clusters.node_drain, server=server)
    shown = swarm.node(node)
    assert (shown["availability"], shown["tasks"]) == ("drain", [])
    hosts = {host for service in ("web", "worker", "db") for host in stack.tasks(service).values()}
    assert node.name not in hosts
    assert len(stack.tasks("web")) == 2
    swarm.act(clusters.node_activate, server=server)
    assert swarm.node(node)["availability"] == "active"


def test_a_node_with_the_only_copy_of_data_is_not_drained(swarm: Swarm, stack: Stack) -> None:
    node = swarm.nodes[0]
    before = stack.tasks("db")
    refused = swarm.act(clusters.node_drain, status="failed", server=swarm.deployer.server_of(node))
    assert f"{stack.name}_db keeps data there in " in refused
    assert "_data, which no other node has" in refused
    assert swarm.node(node)["availability"] == "active"
    assert stack.tasks("db") == before


def test_what_ran_on_a_lost_node_runs_elsewhere(swarm: Swarm, stack: Stack) -> None:
    node = swarm.nodes[1]
    node.stop()
    try:
        wait_until(lambda: swarm.node(node)["state"] == "down", 90, what=lambda: str(swarm.cluster.observed))

        def is_moved() -> bool:
            service = swarm.service(f"{stack.name}_web")
            running = [task for task in service["tasks"] if task["is_wanted"] and task["state"] == "running"]
            return len(running) == 2 and node.name not in {task["node"] for task in running}

        wait_until(is_moved, 90, what=lambda: str(swarm.cluster.observed))
    finally:
        node.start()
        swarm.addresses[node.name] = address_of(node)
    wait_until(lambda: swarm.node(node)["state"] == "ready", 90, what=lambda: str(swarm.cluster.observed))


def test_a_server_leaves_and_joins_again_as_a_manager(swarm: Swarm) -> None:
    node = swarm.nodes[2]
    server = swarm.deployer.server_of(node)
    assert "has left the cluster" in swarm.act(clusters.node_leave, server=server)
    assert node.run("docker info --format '{{.Swarm.LocalNodeState}}'").stdout.strip() == "inactive"
    assert len(clusters.node_list(cluster=swarm.cluster)) == 2
    server = swarm.deployer.server_of(node)
    assert "joined as manager" in swarm.act(clusters.node_join, server=server, role="manager")
    assert swarm.node(node)["role"] == "manager"
    swarm.act(clusters.node_leave, server=server)
    swarm.act(clusters.node_join, server=swarm.deployer.server_of(node))
    assert swarm.node(node)["role"] == "worker"
