"""Clusters: who may ask for what, and what a worker does, with servers that exist in this test only."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django_scopes import scope

from devflow.apps.accounts.models import Role
from devflow.apps.servers import cluster_jobs, clusters
from devflow.apps.servers.models import Cluster, ClusterAction, Server
from devflow.apps.servers.reach import ServerReach
from devflow.apps.servers.services import server_remove
from devflow.commands import swarm
from devflow.core.errors import ConflictError, ConnectError, ForbiddenError, InvalidError, NotFoundError
from devflow.remote.transport import Completed
from tests.support.shop import Shop

TOKEN = "SWMTKN-1-secret"


class FakeSwarm:
    """Docker on all servers: knows which script was sent where, and answers as Docker does."""

    def __init__(self) -> None:
        self.managers: list[str] = []
        self.nodes: dict[str, dict[str, str]] = {}
        self.services: dict[str, int] = {}
        self.sent: list[tuple[str, str]] = []
        self.away: set[str] = set()
        self.fails: dict[str, str] = {}
        self.ignored: set[str] = set()
        self.faulty: set[str] = set()

    def answer(self, server: str, script: str) -> str:
        name = next(name for name in SCRIPTS if script.endswith(getattr(swarm, name)))
        self.sent.append((server, name))
        if server in self.away:
            raise ConnectError(f"{server} cannot be reached.", transient=True)
        if name in self.fails:
            raise ValueError(self.fails[name])
        if name in self.ignored:
            return self._swarm(server)
        if name in self.faulty:
            return f"{self._swarm(server)}\n{{"
        return str(getattr(self, f"_{name.lower()}", lambda *_: "")(server, _values(script)))

    def _form(self, server: str, values: dict[str, str]) -> str:
        self.managers.append(server)
        self.nodes[f"id-{server}"] = {"name": server, "Availability": "Active", "role": "Leader"}
        return self._swarm(server)

    def _token(self, server: str, values: dict[str, str]) -> str:
        return f"{TOKEN}\n{self._swarm(server)}"

    def _join(self, server: str, values: dict[str, str]) -> str:
        assert (values["token"], values["manager"]) == (TOKEN, f"{self.managers[0]}:2377")
        self.nodes[f"id-{server}"] = {"name": server, "Availability": "Active", "role": ""}
        return json.dumps({"NodeID": f"id-{server}", "LocalNodeState": "active", "ControlAvailable": False})

    def _drain(self, server: str, values: dict[str, str]) -> str:
        self.nodes[values["node"]]["Availability"] = "Drain"
        return ""

    def _activate(self, server: str, values: dict[str, str]) -> str:
        self.nodes[values["node"]]["Availability"] = "Active"
        return ""

    def _leave(self, server: str, values: dict[str, str]) -> str:
        return json.dumps({"NodeID": "", "LocalNodeState": "inactive"})

    def _remove_node(self, server: str, values: dict[str, str]) -> str:
        del self.nodes[values["node"]]
        return ""

    def _scale(self, server: str, values: dict[str, str]) -> str:
        self.services[values["service"]] = int(values["replicas"])
        return ""

    def _look(self, server: str, values: dict[str, str]) -> str:
        nodes = [
            {"ID": key, "Hostname": node["name"], "Status": "Ready", "Availability": node["Availability"]}
            | {"ManagerStatus": node["role"]}
            for key, node in self.nodes.items()
        ]
        rows = [
            {"ID": name, "Name": name, "Mode": "replicated", "Image": "x", "Replicas": f"{number}/{number}"}
            for name, number in self.services.items()
        ]
        tasks = [
            {"ID": f"{name}{n}", "Name": f"{name}.{n}", "Node": "web2", "DesiredState": "Running"}
            | {"CurrentState": "Running 1 second ago"}
            for name, number in self.services.items()
            for n in range(number)
        ]
        parts = {"swarm": [json.loads(self._swarm(server))], "nodes": nodes, "services": rows, "tasks": tasks}
        text = "".join(f"\x1e{part}\n" + "".join(f"{json.dumps(row)}\n" for row in of) for part, of in parts.items())
        return text + "\x1eend\n"

    def _swarm(self, server: str) -> str:
        told = {"NodeID": f"id-{server}", "LocalNodeState": "active", "ControlAvailable": True}
        peers = [{"NodeID": f"id-{server}", "Addr": f"{server}:2377"}]
        return json.dumps(told | {"RemoteManagers": peers, "Cluster": {"ID": "swarm-1"}})


SCRIPTS = ("FORM", "TOKEN", "ROTATE", "JOIN", "DRAIN", "ACTIVATE", "DEMOTE", "LEAVE", "REMOVE_NODE", "SCALE", "LOOK")


def _values(script: str) -> dict[str, str]:
    head = script.split("fail()", 1)[0]
    return {name: value.strip("'") for name, _, value in (line.partition("=") for line in head.splitlines())}


class FakeReach(ServerReach):
    def __init__(self, made: FakeSwarm) -> None:
        self.made, self._names = made, {}

    def remember(self, servers: Any) -> None:
        self._names |= {server.pk.hex: server.name for server in servers}

    async def get(self, server_id: str) -> Any:
        return FakeConnection(self.made, self._names[server_id])


class FakeConnection:
    def __init__(self, made: FakeSwarm, server: str) -> None:
        self._made, self._server = made, server

    async def run(self, command: str, stdin: bytes = b"", timeout_seconds: float = 60) -> Completed:
        assert command == "sh -s", "what a script holds is not in the arguments"
        try:
            return Completed(0, self._made.answer(self._server, stdin.decode()), "")
        except ValueError as error:
            return Completed(1, "", str(error))


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> FakeSwarm:
    monkeypatch.setattr(cluster_jobs, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(cluster_jobs, "SETTLE_SECONDS", 0.2)
    return FakeSwarm()


def done(shop: Shop, docker: FakeSwarm, action: ClusterAction) -> ClusterAction:
    async_to_sync(cluster_jobs.act)(action_id=str(action.pk), reach=FakeReach(docker))
    return clusters.action_get(actor=shop.actor(), cluster=action.cluster, action_id=action.pk)


def formed(shop: Shop, docker: FakeSwarm) -> Cluster:
    action = clusters.cluster_form(actor=shop.actor(), name="shops", server=shop.server("web1"))
    assert done(shop, docker, action).status == "done"
    return clusters.cluster_get(actor=shop.actor(), name="shops")


def joined(shop: Shop, docker: FakeSwarm) -> Cluster:
    cluster = formed(shop, docker)
    action = clusters.node_join(actor=shop.actor(), cluster=cluster, server=shop.server("web2"))
    ended = done(shop, docker, action)
    assert ended.status == "done", ended.message
    return clusters.cluster_get(actor=shop.actor(), name="shops")


def test_a_server_becomes_the_first_manager(shop: Shop, docker: FakeSwarm) -> None:
    cluster = formed(shop, docker)
    assert cluster.swarm_id == "swarm-1"
    server = shop.server("web1")
    assert (server.cluster_id, server.cluster_role, server.node_id) == (cluster.pk, "manager", "id-web1")
    (node,) = clusters.node_list(cluster=cluster)
    assert (node["server"], node["state"], node["manager_status"]) == ("web1", "ready", "leader")


def test_another_joins_by_a_token_that_is_worth_nothing_afterwards(shop: Shop, docker: FakeSwarm) -> None:
    cluster = joined(shop, docker)
    assert [name for _, name in docker.sent if name != "LOOK"] == ["FORM", "TOKEN", "JOIN", "ROTATE"]
    assert [node["server"] for node in clusters.node_list(cluster=cluster)] == ["web1", "web2"]
    with scope(team=shop.team):
        rows = ClusterAction.objects.all()
        assert not any(TOKEN in f"{row.given}{row.message}" for row in rows)


def test_a_join_that_fails_leaves_the_server_free(shop: Shop, docker: FakeSwarm) -> None:
    cluster = formed(shop, docker)
    docker.fails["JOIN"] = "Error response from daemon: connection refused"
    action = clusters.node_join(actor=shop.actor(), cluster=cluster, server=shop.server("web2"))
    ended = done(shop, docker, action)
    assert (ended.status, "connection refused" in ended.message) == ("failed", True)
    assert shop.server("web2").cluster_id is None


def test_a_server_is_in_one_cluster_at_most(shop: Shop, docker: FakeSwarm) -> None:
    cluster = formed(shop, docker)
    for act in (
        lambda: clusters.cluster_form(actor=shop.actor(), name="others", server=shop.server("web1")),
        lambda: clusters.node_join(actor=shop.actor(), cluster=cluster, server=shop.server("web1")),
    ):
        with pytest.raises(ConflictError, match="web1 is in the cluster shops already"):
            act()
    assert [each.name for each in clusters.cluster_list(actor=shop.actor())] == ["shops"]


def test_the_same_swarm_is_one_cluster(shop: Shop, docker: FakeSwarm) -> None:
    formed(shop, docker)
    action = clusters.cluster_form(actor=shop.actor(), name="others", server=shop.server("web2"))
    ended = done(shop, docker, action)
    assert (ended.status, "the swarm of the cluster shops already" in ended.message) == ("failed", True)
    assert shop.server("web2").cluster_id is None


def test_scaling_is_done_when_so_many_run(shop: Shop, docker: FakeSwarm) -> None:
    docker.services = {"shop_web": 2}
    cluster = joined(shop, docker)
    action = clusters.service_scale(actor=shop.actor(), cluster=cluster, service="shop_web", replicas=4)
    ended = done(shop, docker, action)
    assert (ended.status, ended.message) == ("done", "shop_web: 4 of 4 run, on web2.")


@pytest.mark.parametrize(
    ("service", "replicas", "error"),
    [
        ("shop_web", -1, InvalidError),
        ("shop_web", 5000, InvalidError),
        ("; id", 1, InvalidError),
        ("x", 1, NotFoundError),
    ],
)
def test_what_cannot_be_scaled(
    shop: Shop, docker: FakeSwarm, service: str, replicas: int, error: type[Exception]
) -> None:
    docker.services = {"shop_web": 2}
    cluster = joined(shop, docker)
    with pytest.raises(error):
        clusters.service_scale(actor=shop.actor(), cluster=cluster, service=service, replicas=replicas)


def test_alerts_scale_in_steps_between_bounds(shop: Shop, docker: FakeSwarm) -> None:
    docker.services = {"shop_web": 2}
    cluster = joined(shop, docker)
    bounds = {"service": "shop_web", "least": 2, "most": 4, "pause_seconds": 0}

    def alert(step: int, **how: Any) -> ClusterAction | None:
        return clusters.service_scale_on_alert(actor=shop.actor(), cluster=cluster, step=step, **{**bounds, **how})

    assert alert(-1) is None
    up = alert(3)
    assert up
    assert up.given["replicas"] == 4
    assert alert(1, most=9) is None, "the one before is still under way"
    assert done(shop, docker, up).status == "done"
    assert alert(1) is None, "as many as are allowed"
    assert alert(-1, pause_seconds=60) is None, "it was scaled a moment ago"
    assert alert(1, least=1, most=3) is None, "an alert that wants more takes none away"
    down = alert(-1)
    assert down
    assert done(shop, docker, down).message.startswith("shop_web: 3 of 3 run")


@pytest.mark.parametrize(
    ("change", "error"),
    [({"step": 0}, InvalidError), ({"least": 5}, InvalidError), ({"service": "x"}, NotFoundError)],
)
def test_alerts_that_make_no_sense(
    shop: Shop, docker: FakeSwarm, change: dict[str, Any], error: type[Exception]
) -> None:
    docker.services = {"shop_web": 2}
    cluster = joined(shop, docker)
    given = {"service": "shop_web", "step": 1, "least": 1, "most": 4, "pause_seconds": 0, **change}
    with pytest.raises(error):
        clusters.service_scale_on_alert(actor=shop.actor(), cluster=cluster, **given)


def test_a_node_on_which_tasks_stay_is_told(shop: Shop, docker: FakeSwarm) -> None:
    docker.services = {"shop_web": 2}  # they stay on web2, whatever is asked
    cluster = joined(shop, docker)
    ended = done(shop, docker, clusters.node_drain(actor=shop.actor(), cluster=cluster, server=shop.server("web2")))
    assert (ended.status, "2 still run there" in ended.message) == ("failed", True)


def test_a_server_leaves_and_is_free(shop: Shop, docker: FakeSwarm) -> None:
    cluster = joined(shop, docker)
    ended = done(shop, docker, clusters.node_leave(actor=shop.actor(), cluster=cluster, server=shop.server("web2")))
    assert ended.status == "done", ended.message
    assert [name for server, name in docker.sent if server == "web2"][-1] == "LEAVE"
    assert shop.server("web2").cluster_id is None
    assert "id-web2" not in docker.nodes


def test_a_server_that_is_gone_leaves_only_by_force(shop: Shop, docker: FakeSwarm) -> None:
    cluster = joined(shop, docker)
    docker.away.add("web2")
    leave: Callable[..., ClusterAction] = clusters.node_leave
    ended = done(shop, docker, leave(actor=shop.actor(), cluster=cluster, server=shop.server("web2")))
    assert (ended.status, "leave with force" in ended.message) == ("failed", True)
    ended = done(shop, docker, leave(actor=shop.actor(), cluster=cluster, server=shop.server("web2"), force=True))
    assert (ended.status, "when it is back" in ended.message) == ("done", True)
    assert shop.server("web2").cluster_id is None


def test_the_last_node_takes_services_with_it_only_by_force(shop: Shop, docker: FakeSwarm) -> None:
    docker.services = {"shop_web": 1}
    cluster = formed(shop, docker)
    ended = done(shop, docker, clusters.node_leave(actor=shop.actor(), cluster=cluster, server=shop.server("web1")))
    assert (ended.status, "these services run: shop_web" in ended.message) == ("failed", True)
    with pytest.raises(ConflictError, match="still has servers: web1"):
        clusters.cluster_remove(actor=shop.actor(), cluster=cluster)
    action = clusters.node_leave(actor=shop.actor(), cluster=cluster, server=shop.server("web1"), force=True)
    assert "dissolved" in done(shop, docker, action).message
    clusters.cluster_remove(actor=shop.actor(), cluster=cluster)
    assert clusters.cluster_list(actor=shop.actor()) == []


def test_a_manager_that_cannot_be_asked_is_told_and_what_was_seen_stays(shop: Shop, docker: FakeSwarm) -> None:
    cluster = joined(shop, docker)
    docker.away.add("web1")
    ended = done(shop, docker, clusters.cluster_look(actor=shop.actor(), cluster=cluster))
    now = clusters.cluster_get(actor=shop.actor(), name="shops")
    assert (ended.status, "web1 cannot be reached" in now.problem) == ("failed", True)
    assert len(now.observed["nodes"]) == 2


def test_a_server_in_a_cluster_is_not_removed(shop: Shop, docker: FakeSwarm) -> None:
    joined(shop, docker)
    with pytest.raises(ConflictError, match="in the cluster shops"):
        server_remove(actor=shop.actor(), server=shop.server("web2"))


def test_an_action_is_done_once(shop: Shop, docker: FakeSwarm) -> None:
    cluster = formed(shop, docker)
    action = clusters.cluster_look(actor=shop.actor(), cluster=cluster)
    done(shop, docker, action)
    sent = len(docker.sent)
    done(shop, docker, action)
    assert len(docker.sent) == sent


def test_a_node_takes_tasks_again_when_the_managers_see_it(shop: Shop, docker: FakeSwarm) -> None:
    cluster = joined(shop, docker)
    server = shop.server("web2")
    done(shop, docker, clusters.node_drain(actor=shop.actor(), cluster=cluster, server=server))
    docker.ignored.add("ACTIVATE")
    ended = done(shop, docker, clusters.node_activate(actor=shop.actor(), cluster=cluster, server=server))
    assert (ended.status, "see it as ready and drain" in ended.message) == ("failed", True)
    docker.ignored.clear()
    ended = done(shop, docker, clusters.node_activate(actor=shop.actor(), cluster=cluster, server=server))
    assert ended.status == "done", ended.message


@pytest.mark.parametrize(
    ("ignored", "told"), [("LEAVE", "web2 has not left"), ("REMOVE_NODE", "still a node for the managers")]
)
def test_who_has_not_left_is_told_whatever_docker_says(shop: Shop, docker: FakeSwarm, ignored: str, told: str) -> None:
    cluster = joined(shop, docker)
    docker.ignored.add(ignored)
    ended = done(shop, docker, clusters.node_leave(actor=shop.actor(), cluster=cluster, server=shop.server("web2")))
    assert (ended.status, told in ended.message) == ("failed", True)
    assert shop.server("web2").cluster_id


def test_a_swarm_that_is_not_dissolved_is_told(shop: Shop, docker: FakeSwarm) -> None:
    cluster = formed(shop, docker)
    docker.ignored.add("LEAVE")
    ended = done(shop, docker, clusters.node_leave(actor=shop.actor(), cluster=cluster, server=shop.server("web1")))
    assert (ended.status, "web1 has not left" in ended.message) == ("failed", True)
    assert shop.server("web1").cluster_id


@pytest.mark.parametrize("script", ["TOKEN", "JOIN"])
def test_a_fault_of_the_panel_ends_the_action(shop: Shop, docker: FakeSwarm, script: str) -> None:
    cluster = formed(shop, docker)
    docker.faulty.add(script)
    ended = done(shop, docker, clusters.node_join(actor=shop.actor(), cluster=cluster, server=shop.server("web2")))
    assert (ended.status, ended.message) == ("failed", cluster_jobs.FAULT)
    assert ended.ended_at
    assert shop.server("web2").cluster_id is None


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.VIEWER])
def test_who_may_not(shop: Shop, docker: FakeSwarm, role: str) -> None:
    docker.services = {"shop_web": 1}
    cluster, actor, server = joined(shop, docker), shop.actor(role), shop.server("web2")
    for act in (
        lambda: clusters.cluster_form(actor=actor, name="x", server=server),
        lambda: clusters.node_join(actor=actor, cluster=cluster, server=server),
        lambda: clusters.node_leave(actor=actor, cluster=cluster, server=server),
        lambda: clusters.node_drain(actor=actor, cluster=cluster, server=server),
        lambda: clusters.service_scale(actor=actor, cluster=cluster, service="shop_web", replicas=2),
        lambda: clusters.service_scale_on_alert(
            actor=actor, cluster=cluster, service="shop_web", step=1, least=1, most=3, pause_seconds=0
        ),
        lambda: clusters.cluster_remove(actor=actor, cluster=cluster),
    ):
        with pytest.raises(ForbiddenError):
            act()


def test_another_team_sees_none_of_it(shop: Shop, docker: FakeSwarm) -> None:
    joined(shop, docker)
    assert clusters.cluster_list(actor=shop.actor("stranger")) == []
    with pytest.raises(NotFoundError):
        clusters.cluster_get(actor=shop.actor("stranger"), name="shops")
    with scope(team=shop.team):
        assert Server.objects.filter(cluster__name="shops").count() == 2


def test_a_cluster_that_cannot_be_formed_leaves_the_server_free(shop: Shop, docker: FakeSwarm) -> None:
    docker.fails["FORM"] = "Docker is not installed."
    ended = done(shop, docker, clusters.cluster_form(actor=shop.actor(), name="shops", server=shop.server("web1")))
    assert ended.status == "failed"
    assert ended.message.startswith("web1: Docker is not installed. The cluster shops has no server: form it again")
    assert "devflow clusters remove shops" in ended.message
    assert shop.server("web1").cluster_id is None


def test_a_cluster_that_could_not_be_formed_is_formed_anew_by_the_same_name(shop: Shop, docker: FakeSwarm) -> None:
    docker.fails["FORM"] = "Docker is not installed."
    done(shop, docker, clusters.cluster_form(actor=shop.actor(), name="shops", server=shop.server("web1")))
    del docker.fails["FORM"]
    ended = done(shop, docker, clusters.cluster_form(actor=shop.actor(), name="shops", server=shop.server("web2")))
    assert ended.status == "done", ended.message
    assert [cluster.name for cluster in clusters.cluster_list(actor=shop.actor())] == ["shops"]
    with pytest.raises(ConflictError, match="a cluster 'shops'"):
        clusters.cluster_form(actor=shop.actor(), name="shops", server=shop.server("web1"))
