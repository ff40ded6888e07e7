"""What a swarm's manager tells, as it was recorded; scripts carry what they are given, quoted."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from devflow.commands import swarm

LOOK = (Path(__file__).parent / "swarm_look.txt").read_text().replace("\n=", "\n\x1e").replace("=", "\x1e", 1)
"""Of a service with two replicas, whose update was rolled back and which was then deployed again."""


def service(**given: Any) -> dict[str, Any]:
    return {"update": "completed", "running": 1, "wanted": 1, "tasks": [{"is_wanted": True, "error": ""}], **given}


def test_nodes_and_services_are_read() -> None:
    seen = swarm.parse_look(LOOK)
    assert seen["swarm"] == "e2yank8gokymapvj8x9pg6nc9"
    assert [(node["name"], node["state"], node["role"]) for node in seen["nodes"]] == [
        ("host-66fb18d4", "ready", "worker"),
        ("host-94405a02", "ready", "manager"),
        ("host-f161d5d4", "ready", "worker"),
    ]
    (web,) = seen["services"]
    assert (web["name"], web["running"], web["wanted"], web["update"]) == ("shop_web", 2, 2, "completed")
    assert [task["state"] for task in web["tasks"] if task["is_wanted"]] == ["running", "running", "ready"]
    assert web["tasks"][1]["since"] == "21 seconds ago"


def test_a_task_that_is_still_on_its_way_is_not_converged() -> None:
    (web,) = swarm.parse_look(LOOK)["services"]
    assert not swarm.is_converged(web)
    web["tasks"] = [task for task in web["tasks"] if task["state"] != "ready"]
    assert swarm.is_converged(web)


@pytest.mark.parametrize(
    "given",
    [
        {"update": "updating"},
        {"update": "paused"},
        {"running": 0},
        {"wanted": 2},
        {"tasks": []},
    ],
)
def test_what_is_not_converged(given: dict[str, Any]) -> None:
    assert swarm.is_converged(service())
    assert not swarm.is_converged(service(**given))


def test_each_error_is_told_once() -> None:
    (web,) = swarm.parse_look(LOOK)["services"]
    assert swarm.errors_of(web) == [
        "task: non-zero exit (1)",
        "no suitable node (host-mode port already in use on 3 nodes)",
    ]


def test_what_a_task_waits_for_that_is_wanted_comes_before_what_failed_earlier() -> None:
    rows = [
        ("Failed 3 minutes ago", "Shutdown", "network sandbox not found"),
        ("Rejected About a minute ago", "Shutdown", "no such image"),
        ("Pending 4 minutes ago", "Running", "no suitable node"),
    ]
    tasks = [
        {"CurrentState": now, "DesiredState": wanted, "Error": f'"{error}"', "ID": "a1", "Name": "shop_web.1"}
        for now, wanted, error in rows
    ]
    told = "".join(f"{json.dumps(task)}\n" for task in tasks)
    (web,) = swarm.parse_look(LOOK.replace("\x1eend", f"{told}\x1eend"))["services"]
    assert swarm.errors_of(web) == [
        "no suitable node",
        "task: non-zero exit (1)",
        "no suitable node (host-mode port already in use on 3 nodes)",
        "no such image",
        "network sandbox not found",
    ]


def test_only_what_is_wanted_and_on_a_node_that_is_up_counts_as_running() -> None:
    """Docker goes on counting tasks of a node that is down: 2/2 of one that runs, and 2/1."""
    (web,) = swarm.parse_look(LOOK.replace('"Status":"Ready"', '"Status":"Down"', 1))["services"]
    assert (web["running"], web["wanted"]) == (1, 2)
    assert not swarm.is_converged(web)
    (web,) = swarm.parse_look(LOOK.replace('"Replicas":"2/2"', '"Replicas":"3/2"'))["services"]
    assert (web["running"], web["wanted"]) == (2, 2)


def test_an_answer_that_was_cut_is_refused() -> None:
    with pytest.raises(ValueError, match="not whole"):
        swarm.parse_look(LOOK[: LOOK.index("\x1eend")])


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ('{"NodeID":"","LocalNodeState":"inactive","ControlAvailable":false,"RemoteManagers":null}', "inactive"),
        ('{"NodeID":"n2","NodeAddr":"10.0.0.2","LocalNodeState":"active","ControlAvailable":false}', "active"),
    ],
)
def test_who_is_no_manager_has_no_address_to_join_by(line: str, state: str) -> None:
    told = swarm.parse_swarm(f"token\n{line}\n")
    assert (told["state"], told["manager"], told["swarm"]) == (state, "", "")


def test_a_script_is_read_from_standard_input_and_quotes_what_it_is_given() -> None:
    nasty = "a'; rm -rf ~; $(id)"
    text = swarm.script('printf %s "$token"\n', token=nasty).replace(swarm.DOCKER, "")
    done = subprocess.run(["sh", "-s"], input=text, capture_output=True, text=True, check=True)
    assert done.stdout == nasty


@pytest.mark.parametrize("has_curl", [True, False])
def test_a_join_token_is_no_argument_where_the_socket_takes_it(tmp_path: Path, has_curl: bool) -> None:
    """Only Docker's own command wants it as an argument."""
    socket = tmp_path / "docker.sock"
    socket.touch()
    state = f"{tmp_path}/state"
    answers = f'case $* in *.LocalNodeState*) cat {state} ;; "swarm join"*) echo active >{state} ;; esac'
    (tmp_path / "state").write_text("inactive\n")
    joins = f"cat >{tmp_path}/body; echo active >{state}"
    for name, text in {"docker": answers, **({"curl": joins} if has_curl else {})}.items():
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{tmp_path}/calls\n{text}\n')
        (tmp_path / name).chmod(0o755)
    for name in ("cat", "tail", "id", "sudo"):
        (tmp_path / name).symlink_to(f"/bin/{name}")
    text = swarm.script(swarm.JOIN, token="SWMTKN-1-x", manager="10.0.0.1:2377", address="10.0.0.2")
    environment = {"PATH": str(tmp_path), "DOCKER_HOST": f"unix://{socket}"}
    done = subprocess.run(["/bin/dash", "-s"], input=text, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "state").read_text() == "active\n"
    assert ("SWMTKN-1-x" in (tmp_path / "calls").read_text()) == (not has_curl)
    if has_curl:
        assert json.loads((tmp_path / "body").read_text()) == {
            "ListenAddr": "0.0.0.0:2377",
            "AdvertiseAddr": "10.0.0.2",
            "RemoteAddrs": ["10.0.0.1:2377"],
            "JoinToken": "SWMTKN-1-x",
        }


@pytest.mark.parametrize(
    "name", ["FORM", "TOKEN", "ROTATE", "JOIN", "DRAIN", "DEMOTE", "LEAVE", "REMOVE_NODE", "SCALE", "LOOK"]
)
def test_scripts_are_right_for_a_posix_shell(name: str) -> None:
    text = swarm.script(getattr(swarm, name))
    assert subprocess.run(["dash", "-n"], input=text, text=True, check=False).returncode == 0


SERVICE = """\
n:shop_db
c:node.role == worker
v:shop_far:local:nfs
v:shop_data:
"""


@pytest.mark.parametrize(
    ("told", "force", "is_refused"),
    [
        (SERVICE, "", True),
        (SERVICE.replace("shop_data:", "shop_data:local:"), "", True),
        (SERVICE, "yes", False),
        (SERVICE.replace("shop_data:", "shop_data:rexray:"), "", False),
        (SERVICE.replace("node.role == worker", "node.hostname==web2"), "", False),
        (SERVICE.replace("node.role == worker", "node.labels.disk == ssd"), "", False),
        (SERVICE.replace("node.role == worker", "node.hostname != web2"), "", True),
        (SERVICE.replace("c:node.role == worker", "global"), "", False),
        ("n:shop_web\n", "", False),
    ],
)
def test_a_node_with_the_only_copy_of_data_is_not_drained(
    tmp_path: Path, told: str, force: str, is_refused: bool
) -> None:
    docker = tmp_path / "docker"
    (tmp_path / "told").write_text(told)
    docker.write_text(
        "#!/bin/sh\n"
        'case "$1 $2" in "node ps") echo task1 ;; "inspect --type") echo service1 ;;\n'
        f'  "service inspect") cat {tmp_path}/told ;; "node update") touch {tmp_path}/drained ;; esac\n'
    )
    docker.chmod(0o755)
    text = swarm.script(swarm.DRAIN, node="n1", force=force)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(["sh", "-s"], input=text, env={"PATH": path}, capture_output=True, text=True, check=False)
    assert (tmp_path / "drained").exists() is not is_refused
    assert (done.returncode != 0) is is_refused
    if is_refused:
        assert "shop_db keeps data there in shop_data, which no other node has" in done.stderr
