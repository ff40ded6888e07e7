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


NEW_PORTS = {"port": 23000}


def started(site: Machine, release: str) -> None:
    """Releases that were started one after the other on PORTS, the one before on standby."""
    site.release(release)
    live = 'if [ -n "$old_colour" ]; then tell_colour standby "$old_colour" "$old_release"; fi\n'
    live += 'tell_colour live "$next_colour" "$release"\n'
    ran = site.run(
        f"{colours.FUNCTIONS}drain_seconds=1\n{stubs()}{colours.START}{live}",
        release=release,
        deployment=f"d-{release}",
        **PORTS,
    )
    assert ran.code == 0, ran


def drained(site: Machine, text: str, *, options: dict[str, str] | None = None, release: str = "r2") -> Ran:
    """With the new port in the settings, and a drain that only says what it would wait for."""
    head = f'{colours.FUNCTIONS}drain_seconds=1\ndrain() {{ echo "drain $*"; }}\n{stubs()}{NGINX}'
    return site.run(head + text, release=release, strategy_options=options, **NEW_PORTS)


def test_a_release_keeps_the_port_it_was_started_on(site: Machine) -> None:
    started(site, "r1")
    started(site, "r2")
    assert kept(site, "ports") == "blue r1 21000\ngreen r2 21001\n"
    show = 'show() { echo "$colour $port $release"; }\n'
    ran = drained(site, f"{show}with_colour blue r1 show\nwith_colour green r2 show\nwith_colour green r9 show\n")
    assert ran.lines == ["blue 21000 r1", "green 21001 r2", "green 23001 r9"]
    assert (kept(site, "live"), kept(site, "standby")) == ("green r2\n", "blue r1\n")


def test_after_a_change_of_the_port_each_colour_is_drained_and_taken_back_on_its_own(site: Machine) -> None:
    for release in ("r1", "r2"):
        started(site, release)
    site.release("r3")
    ran = drained(site, colours.START, release="r3")
    assert ran.lines == ["drain 21000 1", "remove blue r3", "Starting r3 as blue on port 23000", "start blue r3"]
    assert kept(site, "ports") == "blue r1 21000\ngreen r2 21001\nblue r3 23000\n"
    retired = drained(site, colours.RETIRE, release="r3", options={"standby_minutes": "0"})
    assert retired.lines[1:3] == ["drain 21001 1", "stop green r2"]
    (site.root / ".devflow" / "nginx.d2").mkdir()
    dead = stubs(look='[ "$colour" != green ]', start='echo "on $port"')
    back = drained(site, f"{dead}sleep() {{ :; }}\n{colours.TAKE_BACK}", release="r3")
    assert "on 21001" in back.lines
    assert back.lines.index("back") < back.lines.index("drain 23000 1") < back.lines.index("remove blue r3")


def test_a_standby_is_asked_on_the_port_it_runs_on(site: Machine) -> None:
    """Deployed, the port changed, and rolled back: one switch."""
    for release in ("r1", "r2"):
        started(site, release)
    app = Answers(200)
    (site.root / ".devflow" / "ports").write_text(f"blue r1 {app.port}\ngreen r2 21001\n")
    ran = drained(site, f"({colours.START})\n", release="r1")
    assert ran.lines[-1] == "r1 still runs on standby (blue)"
    (site.tools / "curl").unlink()  # the real one
    values = "path_of_check=/up wanted='[23]??' host=shop.test text=''\n"
    ran = drained(site, values + colours.CHECK_COLOUR, release="r1", options={"start_seconds": "2"})
    app.stop()
    assert ran.code == 0, ran
    assert app.asked == ["/up shop.test"]


def test_a_standby_that_has_stopped_is_started_on_the_new_port(site: Machine) -> None:
    for release in ("r1", "r2"):
        started(site, release)
    ran = drained(site, stubs(look="false") + colours.START, release="r1")
    assert "Starting r1 as blue on port 23000" in ran.lines
    assert kept(site, "ports") == "green r2 21001\nblue r1 23000\n"


def test_ports_of_releases_that_are_gone_are_forgotten(site: Machine) -> None:
    for release in ("r1", "r2"):
        started(site, release)
    (site.root / "releases" / "r1").rmdir()
    started(site, "r3")
    assert kept(site, "ports") == "green r2 21001\nblue r3 21000\n"


def test_a_new_port_is_looked_at_before_anything_is_done(site: Machine) -> None:
    site.tool("ss", 'grep -s -e "${2#sport = } " "$HOME/ss" || :')
    for release in ("r1", "r2"):
        started(site, release)
    (site.home / "ss").write_text('LISTEN 0 5 127.0.0.1:23000 0.0.0.0:* users:(("python3",pid=7,fd=3))\n')
    ran = site.run(colours.CHECK, release="r3", **NEW_PORTS)
    assert "Port 23000 of web1, which is this environment's for its blue colour, is taken by python3" in ran.explained
    assert site.run(colours.CHECK, release="r1", **NEW_PORTS).code == 0, "what is on standby needs none of them"
    (site.home / "ss").write_text("LISTEN 0 5 127.0.0.1:21000 0.0.0.0:*\n")
    ran = site.run(colours.CHECK, release="r3", port=21001)
    assert "is the one on which green (r2) still serves" in ran.explained
    assert site.run(colours.CHECK, release="r3", port=20999).code == 0, "on standby now: it is drained first"


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

    def check(self, site: Machine, *, checks: int, warm_paths: str = "", mode: str = "new", texts: str = "") -> Ran:
        (site.tools / "curl").unlink(missing_ok=True)  # the real one
        options = {"checks": str(checks), "warm_paths": warm_paths, "start_seconds": "3"}
        values = "path_of_check=/up wanted='[23]??' host=shop.test text=''\n"
        plan = f"{colours.FUNCTIONS}tell_colour live blue r1\nplan_traffic green r2 {mode}\n"
        ran = site.run(
            plan + stubs() + texts + values + colours.CHECK_COLOUR,
            port=self.port - 1,
            strategy_options=options,
        )
        self.stop()
        return ran

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


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


@pytest.mark.parametrize(("mode", "wanted"), [("new", 3), ("standby", 0)])
def test_only_a_new_release_has_time_to_be_ill(site: Machine, mode: str, wanted: int) -> None:
    texts = 'runtime_look() { read -r now _ </proc/uptime; echo "left $((${ill_until:-${now%%.*}} - ${now%%.*}))"; }\n'
    ran = Answers(200).check(site, checks=1, mode=mode, texts=texts)
    (left,) = [int(line.removeprefix("left ")) for line in ran.lines if line.startswith("left ")]
    assert wanted - 1 <= left <= wanted, "until the time to start is over"


def test_after_the_switch_nobody_has(site: Machine) -> None:
    plan = f"{colours.FUNCTIONS}plan_traffic green r2 new\n"
    look = 'runtime_look() { echo "until ${ill_until:-now}"; }\n'
    ran = site.run(plan + stubs() + look + colours.WATCH, strategy_options={"watch_seconds": "0"})
    assert ran.lines == ["until now"]
