"""The health check's shell text, with a stand-in for curl (the real one is tried in integration/)."""

from __future__ import annotations

import pytest

from devflow.commands import health
from tests.support.machine import Machine

ANSWERS = """\
while [ $# -gt 0 ]; do case $1 in -o) body=$2; shift ;; esac; url=$1; shift; done
echo "$url" >>"$HOME/asked"
printf '%s' "{body}" >"$body"
printf '%s in 0.001 s' "{status}"
"""


def answer(machine: Machine, status: int, body: str = "all well") -> None:
    machine.tool("curl", ANSWERS.replace("{status}", str(status)).replace("{body}", body))
    machine.tool("sleep", ":")


def check(*, url: str = "/up", status: int = 200, text: str = "", retries: int = 0) -> str:
    return health.check(url=url, status=status, text=text, timeout_seconds=3, retries=retries)


def asked(machine: Machine) -> list[str]:
    return (machine.home / "asked").read_text().splitlines()


def test_a_path_is_asked_on_the_server_itself(machine: Machine) -> None:
    answer(machine, 200)
    ran = machine.run(check())
    assert (ran.code, asked(machine)) == (0, ["http://127.0.0.1/up"])
    assert ran.lines == ["http://127.0.0.1/up answered 200 in 0.001 s"]


def test_another_status_can_be_wanted(machine: Machine) -> None:
    answer(machine, 204)
    assert machine.run(check(url="https://shop.example.com/", status=204)).code == 0


def test_a_wrong_status_is_tried_again_and_explained(machine: Machine) -> None:
    answer(machine, 500)
    ran = machine.run(check(retries=2))
    assert (ran.code, len(asked(machine))) == (1, 3)
    assert ran.explained.startswith(
        "The health check failed: http://127.0.0.1/up answered 500 in 0.001 s; wanted 200. Look at the application's"
    )


@pytest.mark.parametrize("text", ["well", "$(touch pwned)", "it's", "-v", "a.*b", '"'])
def test_the_text_is_looked_for_literally(machine: Machine, text: str) -> None:
    answer(machine, 200, body="all well")
    ran = machine.run(check(text=text))
    assert ran.code == (0 if text == "well" else 1)
    assert f"without the text '{text}'" in ran.explained or text == "well"
    assert not list(machine.folder.rglob("pwned"))


def test_no_answer_is_explained_by_curls_words(machine: Machine) -> None:
    machine.tool("curl", "echo 'curl: (7) Failed to connect' >&2; exit 7")
    ran = machine.run(check())
    assert (ran.code, "answered no answer: curl: (7) Failed to connect; wanted 200" in ran.explained) == (1, True)


def test_an_address_is_never_executed_nor_expanded(machine: Machine) -> None:
    answer(machine, 200)
    url = "/x[1-3]{a,b}?q='$(touch pwned)"
    assert machine.run(check(url=url)).code == 0
    assert asked(machine) == [f"http://127.0.0.1{url}"]
    assert " -g " in check()  # else curl itself would ask for several addresses
