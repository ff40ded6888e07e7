"""Two colours: which is live, which is next, and what a deployment notes to find its way back."""

from __future__ import annotations

import pytest

from devflow.commands import colours
from tests.support.machine import Machine, Ran

PORTS = {"port": 21000}


@pytest.fixture
def site(machine: Machine) -> Machine:
    (machine.root / ".devflow").mkdir()
    machine.tool("ss", 'cat "$HOME/ss" 2>/dev/null || :')
    machine.tool("curl", "exit 0")
    return machine


def run(site: Machine, text: str) -> Ran:
    return site.run(colours.FUNCTIONS + text, **PORTS)


def kept(site: Machine, name: str) -> str:
    path = site.root / ".devflow" / name
    return path.read_text() if path.exists() else ""


def test_without_any_colour_blue_is_next(site: Machine) -> None:
    ran = run(site, 'read_colours\necho "$(other_colour "${live_colour:-green}")" "[$live_release$standby_colour]"\n')
    assert ran.lines == ["blue []"]


def test_a_colour_has_its_port_and_its_release(site: Machine) -> None:
    show = 'show() { echo "$colour $port $release $path"; }\nwith_colour green r1 show\nwith_colour blue r2 show\n'
    ran = run(site, f'{show}as_colour green r7\necho "$colour $port $release_of_colour $release"\n')
    root = site.root
    assert ran.lines == [
        f"green 21001 r1 {root}/releases/r1",
        f"blue 21000 r2 {root}/releases/r2",
        "green 21001 r7 r2",
    ]


def test_what_is_live_is_told_and_forgotten_by_one_rename(site: Machine) -> None:
    run(site, "tell_colour live blue r1\ntell_colour standby green r0\n")
    assert (kept(site, "live"), kept(site, "standby")) == ("blue r1\n", "green r0\n")
    run(site, "tell_colour standby\ntell_colour standby\n")
    assert sorted(path.name for path in (site.root / ".devflow").iterdir()) == ["live"]


def test_a_deployment_notes_what_it_found_once(site: Machine) -> None:
    run(site, "tell_colour live blue r1\n")
    show = 'read_traffic\necho "$old_colour $old_release [$spare_colour] $next_colour $next_release $mode"\n'
    ran = run(site, f"plan_traffic green r2 new\ntell_colour live green r2\nplan_traffic blue r2 standby\n{show}")
    assert ran.lines == ["blue r1 [] green r2 new"]
    assert kept(site, "traffic.d2") == "blue r1\n- -\ngreen r2 new\n"


def test_a_probe_says_nothing_and_stops_at_the_first_failure(site: Machine) -> None:
    ran = run(site, 'ill() { echo words; false; echo never; }\nprobe ill\necho "$code"\nprobe true\necho "$code"\n')
    assert ran.lines == ["1", "0"]
    ran = run(site, 'ill() { explain no; }\nprobe ill\necho "$code"\n')
    assert (ran.lines, ran.explained) == (["1"], "")


def test_who_has_a_port_is_told_as_far_as_it_is_seen(site: Machine) -> None:
    row = "LISTEN 0 5 127.0.0.1:21000 0.0.0.0:*"
    (site.home / "ss").write_text(f'{row} users:(("python3",pid=7,fd=3))\n')
    assert run(site, "port_taken 21000\n").lines == ["python3 (process 7)"]
    ran = site.run(colours.CHECK, **PORTS)
    assert "Port 21000 of web1" in ran.explained
    assert "is taken by python3 (process 7)" in ran.explained
    (site.home / "ss").write_text(f"{row}\n")
    assert run(site, "port_taken 21000\n").lines == ["another process (see: sudo ss -ltnp sport = :21000)"]
    (site.home / "ss").write_text("")
    assert site.run(colours.CHECK, **PORTS).code == 0


def test_a_port_of_a_colour_that_is_there_may_be_taken(site: Machine) -> None:
    (site.home / "ss").write_text("LISTEN 0 5 127.0.0.1:21000 0.0.0.0:*\n")
    run(site, "tell_colour live blue r1\ntell_colour standby green r0\n")
    assert site.run(colours.CHECK, **PORTS).code == 0


def test_draining_ends_with_the_last_connection_or_the_time(site: Machine) -> None:
    assert run(site, "drain 21000 5\n").lines == []
    (site.home / "ss").write_text("ESTAB\nESTAB\n")
    ran = run(site, "drain 21000 1\n")
    assert ran.lines == [
        "Waiting for 2 connections to port 21000, at most 1 s",
        "2 connections to port 21000 are cut: the 1 s are over",
    ]
