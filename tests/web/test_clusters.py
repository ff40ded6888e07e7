"""The pages of clusters."""

from __future__ import annotations

import pytest
from django.test import Client
from django_scopes import scope
from procrastinate.contrib.django.models import ProcrastinateJob

from devflow.apps.servers import services as servers
from devflow.apps.servers.clusters import action_list, cluster_list
from devflow.apps.servers.models import Cluster
from tests.web.world import World


def asked(world: World) -> list[tuple[str, str, dict[str, object]]]:
    """What workers were asked to do to the world's cluster, the newest first."""
    actions = action_list(actor=world.actor(), cluster=world.cluster)
    return [(action.kind, action.server.name if action.server else "", action.given) for action in actions]


def test_a_cluster_is_formed_of_a_server(owner: Client, world: World) -> None:
    answer = owner.post("/add/cluster/", {"name": "shops", "server": "web-1", "address": "10.0.0.1"})
    assert answer["Location"] == "/clusters/shops/"
    page = owner.get("/clusters/shops/").content.decode()
    assert "Joining" in page
    assert 'data-every="1"' in page
    assert ProcrastinateJob.objects.filter(task_name="servers.cluster_act").count() == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "My shops"), ("server", "nobody"), ("server", ""), ("address", "$(id)"), ("name", "")],
)
def test_what_is_wrong_is_told_at_its_field(owner: Client, world: World, field: str, value: str) -> None:
    answer = owner.post("/add/cluster/", {"name": "shops", "server": "web-1", "address": "", field: value})
    assert answer.status_code == 422
    assert f'id="id_{field}_error"' in answer.content.decode()
    assert cluster_list(actor=world.actor()) == []


def test_nodes_and_services_are_shown(owner: Client, world: World) -> None:
    page = owner.get(f"/clusters/{world.cluster.name}/").content.decode()
    for shown in ("web-1", "Ready", "manager", "leader", "shop_web", "1 of 1", "shop_web.1", "completed"):
        assert shown in page
    assert "shops" in owner.get("/clusters/").content.decode()
    assert 'href="/clusters/"' in owner.get("/servers/").content.decode()


def test_what_a_look_could_not_do_is_shown(owner: Client, world: World) -> None:
    with scope(team=world.team):
        Cluster.objects.filter(pk=world.cluster.pk).update(problem="web-1 cannot be reached.")
    assert "web-1 cannot be reached." in owner.get("/clusters/shops/").content.decode()


def test_a_server_joins(owner: Client, world: World) -> None:
    servers.server_add(actor=world.actor(), name="web-2", host="203.0.113.8")
    assert world.cluster
    owner.post("/clusters/shops/join/", {"server": "web-2", "role": "manager", "address": ""})
    assert asked(world)[0] == ("join", "web-2", {"role": "manager", "address": ""})


def test_a_server_that_is_in_it_does_not_join_again(owner: Client, world: World) -> None:
    assert world.cluster
    assert owner.post("/clusters/shops/join/", {"server": "web-1", "role": "worker"}).status_code == 422
    assert len(asked(world)) == 1


@pytest.mark.parametrize(("act", "kind"), [("drain", "drain"), ("activate", "activate"), ("leave", "leave")])
def test_what_is_done_to_a_node(owner: Client, world: World, act: str, kind: str) -> None:
    assert world.cluster
    owner.post("/clusters/shops/node/", {"server": "web-1", "act": act})
    assert asked(world)[0][:2] == (kind, "web-1")


@pytest.mark.parametrize("given", [{"act": "explode"}, {}, {"act": "drain", "server": "nobody"}])
def test_nonsense_does_nothing_to_a_node(owner: Client, world: World, given: dict[str, str]) -> None:
    assert world.cluster
    assert owner.post("/clusters/shops/node/", {"server": "web-1", **given}).status_code == 302
    assert len(asked(world)) == 1


def test_a_service_is_scaled(owner: Client, world: World) -> None:
    assert world.cluster
    owner.post("/clusters/shops/scale/", {"service": "shop_web", "replicas": "4"})
    assert asked(world)[0] == ("scale", "", {"service": "shop_web", "replicas": 4})
    assert "shop_web to 4" in owner.get("/clusters/shops/").content.decode()


@pytest.mark.parametrize(
    "given", [{"replicas": "-1"}, {"replicas": "many"}, {"replicas": ""}, {"service": "other"}, {"service": "; id"}]
)
def test_what_cannot_be_scaled_is_told(owner: Client, world: World, given: dict[str, str]) -> None:
    assert world.cluster
    answer = owner.post("/clusters/shops/scale/", {"service": "shop_web", "replicas": "2", **given}, follow=True)
    assert answer.status_code == 200
    assert len(asked(world)) == 1


def test_a_cluster_with_servers_is_not_removed(owner: Client, world: World) -> None:
    assert world.cluster
    answer = owner.post("/clusters/shops/remove/", follow=True)
    assert "still has servers: web-1" in answer.content.decode()


def test_a_viewer_sees_no_buttons(viewer: Client, world: World) -> None:
    assert world.cluster
    page = viewer.get("/clusters/shops/").content.decode()
    for button in ("Drain", "Scale", "Leave", "Join", "Look now", "Remove"):
        assert f">{button}<" not in page


def test_without_a_cluster_the_list_says_the_next_step(owner: Client) -> None:
    assert "/add/cluster/" in owner.get("/clusters/").content.decode()
