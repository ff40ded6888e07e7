"""What a swarm's manager tells, as it was recorded; scripts carry what they are given, quoted."""

from __future__ import annotations

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


@pytest.mark.parametrize(
    "name", ["FORM", "TOKEN", "ROTATE", "JOIN", "DRAIN", "DEMOTE", "LEAVE", "REMOVE_NODE", "SCALE", "LOOK"]
)
def test_scripts_are_right_for_a_posix_shell(name: str) -> None:
    text = swarm.script(getattr(swarm, name))
    assert subprocess.run(["dash", "-n"], input=text, text=True, check=False).returncode == 0
