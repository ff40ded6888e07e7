"""The unit of a colour: what systemd is told to start, and with which variables."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from devflow.commands import processes
from tests.support.machine import Machine

SYSTEMD = """\
case "$*" in
  *ActiveState*) echo inactive ;;
  *) exit 0 ;;
esac
"""


@pytest.fixture
def site(machine: Machine) -> Machine:
    machine.tool("id", "case $1 in -u) echo 1000 ;; *) echo deploy ;; esac")
    machine.tool("sudo", "exit 1")
    machine.tool("systemctl", SYSTEMD)
    machine.release("r2")
    (machine.root / "shared" / ".env.d").mkdir(parents=True)
    return machine


def started(site: Machine, command: str, **variables: str) -> tuple[str, list[str]]:
    """What the command prints where it is run as systemd runs it, and what the panel said."""
    file = site.root / "shared" / ".env.d" / "r2"
    file.write_text("".join(f"{key}={value}\n" for key, value in variables.items()))
    start = f"colour=green port=21001\n{processes.START}"
    ran = site.run(start, options={"start_command": command})
    assert ran.code == 0, ran
    unit = (site.home / ".config/systemd/user/devflow-e0e0e0e0-green.service").read_text()
    settings = [line.partition("=") for line in unit.splitlines()]
    environment = dict(value.split("=", 1) for key, _, value in settings if key == "Environment")
    files = [value for key, _, value in settings if key == "EnvironmentFile"]
    assert files == [f"-{file}"]
    environment |= variables  # systemd.exec(5): the files override Environment=
    (words,) = [value for key, _, value in settings if key == "ExecStart"]
    argv = [word.replace("$$", "$").replace("%%", "%") for word in shlex.split(words)]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
    return done.stdout, ran.lines


def test_the_port_is_the_colours_whatever_the_variables_say(site: Machine) -> None:
    said, told = started(site, 'echo "$PORT $GREETING"', PORT="3000", GREETING="hello")
    assert said == "21001 hello\n"
    assert "The variable PORT is not used: this colour's port is 21001" in told


def test_nothing_is_told_without_such_a_variable(site: Machine) -> None:
    said, told = started(site, "printf '%s %s' \"$PORT\" 'a\\b 100%'", SUPPORT="3000")
    assert said == "21001 a\\b 100%"
    assert not [line for line in told if "not used" in line]
