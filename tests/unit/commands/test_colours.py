"""Two colours: which is live, which is next, and what a deployment notes to find its way back."""

from __future__ import annotations

import http.server
import threading

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


def stubs(**texts: str) -> str:
    """Functions of a runtime that write down when they are called; `texts` are what some of them do then."""
    names = ("start", "look", "stop", "remove", "enable", "disable", "words")
    return "".join(
        f'runtime_{name}() {{ echo "{name} $colour $release"; {texts.get(name, ":")}; }}\n' for name in names
    )


NGINX = "nginx_before=$root/.devflow/nginx.d2\nlock_nginx() { :; }\nput_back_nginx() { echo back; }\n"


def test_what_runs_on_standby_is_taken_as_it_is(site: Machine) -> None:
    run(site, "tell_colour live blue r3\ntell_colour standby green r2\n")
    ran = run(site, stubs() + colours.START)
    assert ran.lines == ["r2 still runs on standby (green)"]
    assert kept(site, "traffic.d2").splitlines()[2] == "green r2 standby"


def test_a_standby_that_has_stopped_is_like_a_new_release(site: Machine) -> None:
    run(site, "tell_colour live blue r3\ntell_colour standby green r2\n")
    dead = stubs(look="false")
    ran = run(site, dead + colours.START)
    assert ran.lines[0] == "r2 does not run on standby any more; it is started again, and checked like a new one"
    assert ran.lines[1:] == ["remove green r2", "Starting r2 as green on port 21001", "start green r2"]
    assert kept(site, "traffic.d2") == "blue r3\ngreen r2\ngreen r2 new\n"
    assert kept(site, "standby") == ""
    again = run(site, dead + colours.START)
    assert again.lines[-1] == "start green r2", "killed and run again, it is no standby either"
    assert kept(site, "traffic.d2").splitlines()[2] == "green r2 new"
    taken_back = run(site, dead + NGINX + colours.TAKE_BACK)
    assert "remove green r2" in taken_back.lines


def test_taking_back_waits_for_those_who_are_connected(site: Machine) -> None:
    (site.root / ".devflow" / "nginx.d2").mkdir()
    (site.home / "ss").write_text("ESTAB\n")
    run(site, "tell_colour live blue r1\nplan_traffic green r2 new\n")
    ran = run(site, f'drain_seconds=1\n{stubs()}{NGINX}drain() {{ echo "drain $*"; }}\n{colours.TAKE_BACK}')
    assert ran.lines.index("back") < ran.lines.index("drain 21001 1") < ran.lines.index("remove green r2")


class Answers:
    """An application on the green port: it answers so, one after the other, and then goes on with the last."""

    def __init__(self, *codes: int) -> None:
        left = list(codes)
        self.asked: list[str] = []
        asked = self.asked

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(f"{self.path} {self.headers['Host']}")
                self.send_response(200 if self.path.startswith("/warm") else left.pop(0) if left[1:] else left[0])
                self.end_headers()

            def log_message(self, *words: object) -> None:
                """Nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def check(self, site: Machine, *, checks: int, warm_paths: str = "", mode: str = "new") -> Ran:
        (site.tools / "curl").unlink(missing_ok=True)  # the real one
        options = {"checks": str(checks), "warm_paths": warm_paths, "start_seconds": "3"}
        values = "path_of_check=/up wanted='[23]??' host=shop.test text=''\n"
        plan = f"{colours.FUNCTIONS}tell_colour live blue r1\nplan_traffic green r2 {mode}\n"
        ran = site.run(
            plan + stubs() + values + colours.CHECK_COLOUR,
            port=self.port - 1,
            strategy_options=options,
        )
        self._server.shutdown()
        self._server.server_close()
        return ran


def test_the_paths_to_warm_up_are_asked_before_it_counts(site: Machine) -> None:
    app = Answers(500, 200)
    ran = app.check(site, checks=3, warm_paths="/warm /warm/cache?all=*")
    assert ran.code == 0, ran
    up = "/up shop.test"
    assert app.asked == [up, up, "/warm shop.test", "/warm/cache?all=* shop.test", up, up]
    assert "/warm answered 200" in ran.lines
    assert "green (r2) answered 200, 3 times in a row" in ran.lines


def test_good_answers_count_only_in_a_row(site: Machine) -> None:
    app = Answers(200, 200, 500, 200, 200, 200)
    ran = app.check(site, checks=3)
    assert ran.code == 0, ran
    assert len(app.asked) == 6


def test_one_that_answers_well_once_and_then_badly_never_serves(site: Machine) -> None:
    app = Answers(200, 500)
    ran = app.check(site, checks=2)
    assert ran.code == 1
    assert "does not stay healthy on web1" in ran.explained
    assert f"http://127.0.0.1:{app.port}/up answered 500 after it had answered well" in ran.explained
    assert "words green r2" in ran.lines


def test_one_on_standby_is_asked_once_and_not_warmed_up(site: Machine) -> None:
    app = Answers(200)
    assert app.check(site, checks=3, warm_paths="/warm", mode="standby").code == 0
    assert app.asked == ["/up shop.test"]
