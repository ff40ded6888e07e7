"""HAProxy's configuration, in a real shell with stand-ins of HAProxy: several environments change it, it may refuse."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from devflow.commands import balancer, haproxy
from tests.support.machine import Machine, Ran

OWN = "frontend own\n    bind :8000\n    default_backend own\n"
SPEAKS = """\
read -r order
case $order in
  'show cli level') echo admin ;;
  'show info') echo "Pid: $(cat "$HOME/pid")" ;;
  'show servers state '*) ! grep -q "^backend ${order##* }" "$HOME/served" || echo "1 ${order##* } 1 web1" ;;
esac
"""
TESTS = 'sleep 0.3; for file in "$@"; do :; done\nif grep -n "no such word" "$file"; then exit 1; fi\n'
RELOADS = """\
sleep 0.2
if grep -q 10.9.9.9 "$CONFIG"; then echo 'cannot bind socket'; exit 1; fi
cp "$CONFIG" "$HOME/served"; echo "$(($(cat "$HOME/pid") + 1))" >"$HOME/pid"
"""


@dataclass
class Balancer:
    """A server that balances for two environments."""

    machine: Machine
    config: Path
    socket: str

    def run(
        self,
        text: str,
        *,
        environment: str = "e1",
        node: str = "10.0.0.1",
        port: int = 80,
        added: str = "",
        fresh: tuple[str, ...] = (),
    ) -> Ran:
        root = self.machine.home / environment
        (root / ".devflow").mkdir(parents=True, exist_ok=True)
        checked = balancer.check(
            kind="haproxy",
            environment_id=environment,
            nodes=[("web1", f"{node}:80"), *([(added, "10.0.0.2:80")] if added else [])],
            fresh=fresh,
            minimum=0,
            drain_seconds=1,
            path="/",
            port=port,
            domains=(),
            backend="",
            socket=self.socket,
        )
        return self.machine.run(
            checked + text, environment_id=environment, root=str(root), deployment=f"d-{environment}"
        )

    def write(self, environment: str = "e1", node: str = "10.0.0.1", port: int = 80) -> Ran:
        return self.run(balancer.WRITE, environment=environment, node=node, port=port)

    @property
    def served(self) -> str:
        return (self.machine.home / "served").read_text()

    def files(self) -> list[str]:
        return sorted(path.name for path in self.config.parent.iterdir() if "devflow-" in path.name)


@pytest.fixture
def lb(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Balancer]:
    folder = tmp_path / "haproxy"
    folder.mkdir()
    config = folder / "haproxy.cfg"
    config.write_text(OWN)
    config.chmod(0o640)
    (machine.home / "served").write_text(OWN)
    (machine.home / "pid").write_text("1")
    monkeypatch.setattr(haproxy, "CONFIG", str(config))
    machine.tool("id", "echo 0")
    machine.tool("curl", "exit 0")
    machine.tool("socat", SPEAKS)
    machine.tool("ss", ":")
    machine.tool("journalctl", ":")
    machine.tool("haproxy", TESTS)
    machine.tool("systemctl", f'CONFIG="{config}"\n{RELOADS}')
    path = str(tmp_path / "admin.sock")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path)
        yield Balancer(machine, config, path)


def test_the_part_is_put_beside_what_is_there(lb: Balancer) -> None:
    ran = lb.write()
    assert ran.lines == ["HAProxy serves devflow_e1 on port 80"], ran
    text = lb.config.read_text()
    assert text.startswith(OWN)
    assert "    server web1 10.0.0.1:80 " in text
    assert lb.served == text
    assert (lb.config.stat().st_mode & 0o777, lb.files()) == (0o640, ["haproxy.cfg.before-devflow-e1"])
    assert lb.write().lines == [], "what is there already is not written again"


def test_two_environments_at_once_lose_nothing(lb: Balancer) -> None:
    with ThreadPoolExecutor() as pool:
        first = pool.submit(lb.write, "e1", "10.0.0.1", 81)
        second = pool.submit(lb.write, "e2", "10.0.0.2", 82)
    assert (first.result().code, second.result().code) == (0, 0), (first.result(), second.result())
    for text in (lb.config.read_text(), lb.served):
        assert text.startswith(OWN)
        assert "server web1 10.0.0.1:80 " in text
        assert "server web1 10.0.0.2:80 " in text


def test_what_one_takes_back_leaves_the_other(lb: Balancer) -> None:
    """Each puts back what was there when it came, and nobody comes in between."""
    with ThreadPoolExecutor() as pool:
        bad = pool.submit(lb.write, "e1", "10.9.9.9", 81)
        good = pool.submit(lb.write, "e2", "10.0.0.2", 82)
    assert good.result().code == 0, good.result()
    assert "did not reload; its configuration was put back: cannot bind socket" in bad.result().explained
    assert "10.9.9.9" not in lb.config.read_text()
    assert "server web1 10.0.0.2:80 " in lb.config.read_text()
    assert lb.config.read_text() == lb.served


def test_what_haproxy_does_not_take_is_never_in_place(lb: Balancer) -> None:
    lb.config.write_text(f"{OWN}no such word\n")
    ran = lb.write()
    assert "would not take its new configuration, so nothing was changed: 4:no such word" in ran.explained
    assert lb.config.read_text() == f"{OWN}no such word\n"
    assert (lb.served, lb.files()) == (OWN, [])


def test_what_is_not_reloaded_is_put_back(lb: Balancer) -> None:
    lb.write()
    before = lb.config.read_text()
    ran = lb.write(node="10.9.9.9")
    assert "did not reload; its configuration was put back: cannot bind socket" in ran.explained
    assert (lb.config.read_text(), lb.config.stat().st_mode & 0o777) == (before, 0o640)
    assert lb.write(node="10.0.0.3").code == 0, "which was no edit by hand"
    assert "10.0.0.3" in lb.served


def test_a_run_killed_before_the_reload_is_gone_on_with(lb: Balancer) -> None:
    lb.write()
    dies = 'as_root() { "$@"; [ "$1" != mv ] || exit 9; }\n'
    killed = lb.run(f'. "$root/.devflow/balancer.$deployment"\n{dies}write_balancer\n', node="10.0.0.3")
    assert killed.code != 0
    assert "10.0.0.3" in lb.config.read_text()
    assert "10.0.0.3" not in lb.served
    again = lb.write(node="10.0.0.3")
    assert again.code == 0, again
    assert "10.0.0.3" in lb.served


def test_an_edit_by_hand_is_not_overwritten(lb: Balancer) -> None:
    lb.write()
    edited = lb.config.read_text().replace("retries 2", "retries 5")
    lb.config.write_text(edited)
    ran = lb.write(node="10.0.0.3")
    assert "Somebody changed the part between" in ran.explained
    assert lb.config.read_text() == edited


def test_a_port_that_another_environment_has_taken(lb: Balancer) -> None:
    lb.write("e1", "10.0.0.1", 81)
    assert "takes requests on port 81" in lb.write("e2", "10.0.0.2", 81).explained


def test_who_waits_too_long_is_told(lb: Balancer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(haproxy, "LOCK_SECONDS", 1)
    lb.machine.tool("haproxy", "sleep 3")
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(lb.write, f"e{number}", f"10.0.0.{number}", 80 + number) for number in (1, 2)]
    assert sorted(run.result().code for run in runs) == [0, 1]
    assert any("Something else changes" in run.result().explained for run in runs)


def test_an_added_server_begins_in_maintenance(lb: Balancer) -> None:
    """HAProxy takes a server for good until it is asked; only the file says that for the next start of HAProxy."""
    lb.write()
    assert lb.run(balancer.WRITE, added="web2", fresh=("web2",)).code == 0
    served = [line.strip() for line in lb.served.splitlines() if " server web" in line]
    assert [line.endswith(" disabled") for line in served] == [False, True]
    assert lb.config.read_text() == lb.served.replace(" disabled", "")
    assert lb.run(balancer.WRITE, added="web2", fresh=("web2",)).lines == []


def test_an_added_server_whose_run_was_killed_after_the_reload(lb: Balancer) -> None:
    lb.write()
    file = '. "$root/.devflow/balancer.$deployment"\n'
    assert lb.run(f"{file}new_haproxy() {{ exit 9; }}\nwrite_balancer\n", added="web2", fresh=("web2",)).code != 0
    assert " disabled" in lb.config.read_text()
    assert lb.run(balancer.WRITE, added="web2", fresh=("web2",)).code == 0
    assert (" disabled" in lb.served, " disabled" in lb.config.read_text()) == (True, False)


def test_all_servers_of_a_first_deployment_are_asked_by_haproxy(lb: Balancer) -> None:
    assert lb.run(balancer.WRITE, added="web2").code == 0
    assert " disabled" not in lb.served


def test_what_haproxy_says_is_wrong_is_told_with_the_line(lb: Balancer) -> None:
    says = "[NOTICE] (7) : haproxy version is 3.0.11\n[ALERT] (7) : config : parsing [$file:4] : unknown keyword"
    lb.machine.tool("haproxy", f'quiet=$2; for file in "$@"; do :; done\n[ "$quiet" = -q ] || echo "{says}"\nexit 1')
    said = lb.write().explained
    assert f"nothing was changed: [ALERT] (7) : config : parsing [{lb.config}:4] : unknown keyword" in said
    assert "NOTICE" not in said


def test_why_haproxy_did_not_reload_is_told(lb: Balancer) -> None:
    lb.machine.tool("journalctl", "echo 'Reloading'; echo '[ALERT] (9) : Binding [:80] for frontend e1: no address'")
    assert "cannot bind socket [ALERT] (9) : Binding [:80]" in lb.write(node="10.9.9.9").explained


def test_a_port_that_another_program_has(lb: Balancer) -> None:
    listens = 'LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:(("nginx",pid=77,fd=6))'
    lb.machine.tool("ss", f"[ \"$3\" != 'sport = :80' ] && [ \"$2\" != 'sport = :80' ] || echo '{listens}'")
    assert "Port 80 on web1 is taken by nginx (process 77)" in lb.write().explained
    assert lb.config.read_text() == OWN
    assert lb.write(port=81).code == 0
    lb.machine.tool("ss", f"echo '{listens.replace('nginx', 'haproxy')}'")
    assert lb.write().code == 0
    lb.machine.tool("ss", f"echo '{listens.replace('0.0.0.0:80', '[::]:80', 1)}'")
    assert lb.write(node="10.0.0.3").code == 0, "which takes IPv6 only"


def test_the_list_of_servers_that_nginx_had_is_told(lb: Balancer, tmp_path: Path) -> None:
    (tmp_path / "e1-nodes.conf").write_text("")
    own = f'. "$root/.devflow/balancer.$deployment"\nnginx_folder={tmp_path}\nwrite_balancer\n'
    ran = lb.run(own)
    assert f"remove it: sudo rm {tmp_path}/e1-nodes.conf && sudo systemctl reload nginx" in ran.lines[0]
    assert (tmp_path / "e1-nodes.conf").exists()


def test_an_added_server_stays_out_when_another_environment_has_haproxy_reload(lb: Balancer) -> None:
    lb.write()
    states = 'hap_field() { [ "$1" = web1 ] && echo UP || echo MAINT; }\nkeep_out() { ls "$state"; }\n'
    ran = lb.run(f'. "$root/.devflow/balancer.$deployment"\n{states}write_balancer\n', added="web2", fresh=("web2",))
    assert ran.lines == ["HAProxy serves devflow_e1 on port 80", "out.web2"]


def test_a_server_that_is_put_in_while_haproxy_is_told_again_stays_in(lb: Balancer) -> None:
    """What keeps it out may have asked for its state just before, and would have it go out for good."""
    state = lb.machine.home / "state"
    state.write_text("UP")  # HAProxy has forgotten
    lb.machine.tool(
        "socat",
        """\
read -r order
case $order in
  'show cli level') echo admin ;;
  'show servers state '*) echo "1 ${order##* } 1 web1" ;;
  'show stat '*) said=$(cat "$HOME/state"); : >"$HOME/asked"; sleep 0.5; echo "devflow_e1,web1,,,,,,,,,,,,,,,,$said" ;;
  *' state maint') printf MAINT >"$HOME/state" ;;
  *' state ready') printf UP >"$HOME/state" ;;
esac
""",
    )
    text = """\
. "$root/.devflow/balancer.$deployment"
find_way explain
echo "1 $deployment -" >"$root/.devflow/lock"
mkdir -p "$state"
: >"$state/out.web1"
keep_out
until [ -e "$HOME/asked" ]; do sleep 0.05; done
put_in web1
sleep 1.5
rm -r "$state"
"""
    assert lb.run(text).code == 0
    assert state.read_text() == "UP"
