"""How a Compose file becomes a stack, and how its state is judged: jq and awk as on a server."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from devflow.commands import stack
from tests.support.machine import Machine, Ran

RESOLVED: dict[str, Any] = {
    "name": "devflow-x",
    "services": {
        "web": {
            "build": {"context": "/srv"},
            "command": None,
            "environment": {"PRICE": "5$$"},
            "ports": [{"mode": "host", "target": 8000, "published": "8100", "protocol": "tcp"}],
            "depends_on": {"db": {"condition": "service_started", "required": True}},
            "deploy": {"replicas": 2, "resources": {"limits": {"cpus": 0.5}}},
            "restart": "always",
        },
        "db": {
            "image": "postgres:17",
            "mem_limit": "104857600",
            "volumes": [
                {"type": "volume", "source": "data", "target": "/data", "volume": {}},
                {"type": "bind", "source": "/srv/x", "target": "/x", "bind": {"create_host_path": True}},
            ],
        },
    },
    "networks": {"default": {"name": "devflow-x_default", "driver": "bridge", "ipam": {}}},
    "volumes": {"data": {"name": "devflow-x_data"}},
}


def jq(program: str, document: Any, **given: str) -> dict[str, Any]:
    words = [word for name, value in given.items() for word in ("--arg", name, value)]
    images = '{"web": "w:1", "db": "d:1"}'
    scaled = given.pop("scaled_json", "{}")
    command = ["jq", "--argjson", "images", images, "--argjson", "scaled", scaled, *words, program]
    done = subprocess.run(command, input=json.dumps(document), capture_output=True, text=True, check=True)
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def specified(**changes: Any) -> dict[str, Any]:
    document = json.loads(json.dumps(RESOLVED))
    for name, change in changes.items():
        document["services"][name] |= change
    return jq(stack._STACK, document, monitor="5", environment="e1", path="/srv/www/shop/releases/2")


def scaled(document: dict[str, Any], scaled_json: str, nodes: int = 3) -> dict[str, Any]:
    return jq(stack._SCALED, document, release="r2", nodes=str(nodes), scaled_json=scaled_json)


@pytest.mark.parametrize(
    ("change", "order"),
    [
        ({}, "start-first"),
        ({"volumes": [{"type": "bind", "source": "/srv/pg", "target": "/data"}]}, "stop-first"),
        ({"volumes": [{"type": "bind", "source": "/srv/pg", "target": "/data", "read_only": True}]}, "start-first"),
        ({"volumes": [{"type": "bind", "source": "/srv/www/shop/releases/2/x", "target": "/x"}]}, "start-first"),
        ({"volumes": [{"type": "bind", "source": "/var/run/docker.sock", "target": "/x"}]}, "start-first"),
        ({"volumes": [{"type": "volume", "target": "/data"}]}, "stop-first"),
        ({"labels": {"devflow.replace": "false"}}, "stop-first"),
        (
            {
                "labels": {"devflow.replace": "true"},
                "volumes": [{"type": "volume", "source": "data", "target": "/data"}],
            },
            "start-first",
        ),
    ],
)
def test_a_folder_of_the_server_or_a_label_decides_too(change: dict[str, Any], order: str) -> None:
    assert specified(web=change)["services"]["web"]["deploy"]["update_config"]["order"] == order


def test_what_a_swarm_does_not_know_is_left_out_and_the_rest_is_as_it_was() -> None:
    made = specified()
    web, db = made["services"]["web"], made["services"]["db"]
    assert {"build", "depends_on", "restart", "command"}.isdisjoint(web)
    assert web["environment"] == {"PRICE": "5$$"}
    assert web["ports"] == [{"mode": "host", "target": 8000, "published": 8100, "protocol": "tcp"}]
    assert (web["image"], db["image"]) == ("w:1", "d:1")
    assert web["deploy"]["resources"]["limits"]["cpus"] == "0.5"
    assert db["deploy"]["resources"]["limits"]["memory"] == "104857600"
    assert db["volumes"][1] == {"type": "bind", "source": "/srv/x", "target": "/x"}
    assert made["networks"]["default"] == {"name": "devflow-x_default"}
    assert made["volumes"] == RESOLVED["volumes"], "a volume keeps its identity"
    assert "name" not in made


def test_what_keeps_data_is_not_started_beside_itself() -> None:
    made = specified()["services"]
    order = {name: service["deploy"]["update_config"]["order"] for name, service in made.items()}
    assert order == {"web": "start-first", "db": "stop-first"}
    assert made["web"]["deploy"]["update_config"]["failure_action"] == "rollback"


def test_the_files_own_settings_of_an_update_win() -> None:
    own = {"deploy": {"replicas": 4, "update_config": {"order": "stop-first", "parallelism": 2}}}
    update = specified(web=own)["services"]["web"]["deploy"]["update_config"]
    assert update == {"order": "stop-first", "parallelism": 2, "failure_action": "rollback", "monitor": "5s"}


@pytest.mark.parametrize(
    ("now", "replicas"),
    [({}, 2), ({"web": ["2", "4"]}, 4), ({"web": ["3", "4"]}, 2)],
)
def test_a_number_set_by_hand_stays_until_the_files_own_is_another(now: dict[str, Any], replicas: int) -> None:
    web = scaled(specified(), json.dumps(now), nodes=9)["services"]["web"]
    assert web["deploy"]["replicas"] == replicas
    assert web["deploy"]["labels"]["devflow.release"] == "r2"


@pytest.mark.parametrize(("nodes", "order"), [(3, "start-first"), (2, "stop-first")])
def test_a_port_of_the_host_needs_a_node_that_is_left(nodes: int, order: str) -> None:
    web = scaled(specified(), "{}", nodes=nodes)["services"]["web"]
    assert web["deploy"]["update_config"]["order"] == order


# --- judging ----------------------------------------------------------------------------------------------------------


def judged(*lines: str) -> str:
    text = "\n".join(lines) + "\n"
    done = subprocess.run(["awk", "-v", "most=3", stack._JUDGE], input=text, capture_output=True, text=True, check=True)
    return done.stdout.strip()


GOOD = "t v1 running running abc"


def test_as_many_tasks_of_the_new_specification_as_wanted() -> None:
    assert judged("s shop_web v1 completed abc 2/2", GOOD, GOOD) == ""
    assert judged("s shop_web v1 - abc 2/2", GOOD, GOOD, "t v1 shutdown shutdown old") == ""


@pytest.mark.parametrize(
    "lines",
    [
        ("s shop_web v1 updating abc 2/2", GOOD, GOOD),
        ("s shop_web v1 - abc 2/2", GOOD, "t v1 running running old"),
        ("s shop_web v1 - abc 2/2", GOOD),
        ("s shop_web v1 completed abc 1/1", GOOD, "t v1 running running old"),
        ("s shop_web v1 - abc 1/1", "t v1 running starting abc"),
    ],
    ids=["updating", "an old one", "too few", "one too many", "starting"],
)
def test_what_is_waited_for(lines: tuple[str, ...]) -> None:
    assert judged(*lines).startswith("wait shop_web ")


def test_a_service_must_have_the_specification_of_the_release() -> None:
    assert judged("w shop_web new", "s shop_web v1 completed abc 1/1", GOOD).startswith("wait shop_web is not of")
    assert judged("w shop_web abc", "s shop_web v1 completed abc 1/1", GOOD) == ""


def test_the_error_of_the_new_specification_is_told_before_older_ones() -> None:
    older, newer = "t v1 shutdown failed old older error", "t v1 shutdown failed new newer error"
    told = judged("w shop_web new", "s shop_web v1 rollback_completed abc 1/1", older, newer, older)
    assert told.endswith("newer error")


@pytest.mark.parametrize("state", ["rollback_started", "rollback_completed", "rollback_paused", "paused"])
def test_an_update_that_the_swarm_took_back_is_bad_with_the_tasks_error(state: str) -> None:
    failed = "t v1 shutdown failed abc task: non-zero exit (7)"
    told = judged(f"s shop_web v1 {state} old 2/2", "t v1 running running old", failed)
    assert told.startswith("bad shop_web the ")
    assert told.endswith(": task: non-zero exit (7)")


def test_a_new_service_whose_tasks_end_again_and_again_is_bad() -> None:
    failed = "t v1 shutdown rejected abc No such image: shop:1"
    assert judged("s shop_web v1 - abc 0/1", failed, failed).startswith("wait")
    assert judged("s shop_web v1 - abc 0/1", failed, failed, failed) == (
        "bad shop_web its tasks end again and again: No such image: shop:1"
    )


def test_a_replica_that_runs_twice_is_told_once_no_update_is_under_way() -> None:
    assert judged("s shop_web v1 - abc 2/1", GOOD, GOOD) == "wait shop_web 2 of 1 run\nsurplus shop_web"
    assert judged("s shop_web v1 updating abc 2/1", GOOD, GOOD) == "wait shop_web 2 of 1 run"


def test_why_a_task_has_no_place_is_told_while_waiting() -> None:
    told = judged("s shop_web v1 - abc 0/1", "t v1 running pending abc no suitable node (port in use)")
    assert told == "wait shop_web 0 of 1 run (no suitable node (port in use))"


def check_swarm(machine: Machine, *, leads: int, state: str, nodes: int) -> Ran:
    """What a deployment to two servers is told where Docker says this."""
    listed = "".join(f"echo Ready Active {number}\n" for number in range(nodes))
    machine.tool("docker", f'case "$1 $2" in "info "*) echo "{state}" ;; "node ls") {listed or ":"} ;; esac')
    return machine.run(f"leads={leads} stack_servers=2\n{stack.CHECK_MANAGER}")


@pytest.mark.parametrize(
    ("leads", "state", "nodes", "told"),
    [
        (1, "active true", 2, ""),
        (0, "active false", 0, ""),
        (0, "active true", 2, ""),
        (0, "inactive false", 0, "web1 is a server of this environment, but in no swarm (Docker says: inactive)."),
        (1, "active true", 1, "has 1 nodes, and this environment 2 servers"),
        (1, "active true", 3, "The swarm has 3 nodes that take tasks"),
        (1, "inactive false", 0, "Form a cluster with it first"),
    ],
)
def test_all_servers_are_nodes_of_the_swarm(machine: Machine, leads: int, state: str, nodes: int, told: str) -> None:
    ran = check_swarm(machine, leads=leads, state=state, nodes=nodes)
    assert (ran.code, told in ran.explained, bool(ran.explained)) == (1 if told else 0, True, bool(told)), ran


@pytest.mark.parametrize("name", ["CHECK_MANAGER", "PREPARE", "SPECIFY", "DEPLOY", "BACK", "KEEPS", "PRUNE"])
def test_scripts_are_right_for_a_posix_shell(name: str) -> None:
    assert subprocess.run(["dash", "-n"], input=getattr(stack, name), text=True, check=False).returncode == 0
