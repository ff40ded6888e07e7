"""The test servers themselves: the faults that other tests rely on are real faults."""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.delay_proxy import DelayProxy
from tests.support.docker_engine import Engine
from tests.support.gitrepo import GitRepository
from tests.support.vps import NAME_PREFIX, OWNER_LABEL, Vps, network_folder, sweep

OTHER_RUN = """\
import sys
from tests.support.docker_engine import ensure_engine
from tests.support.vps import Vps
with Vps(ensure_engine(), sys.argv[1]):
    pass
"""


def test_both_users_are_let_in(vps: Vps) -> None:
    assert vps.run("whoami").stdout == "deploy\n"
    assert vps.run("whoami", user="root").stdout == "root\n"


def test_a_file_is_written_with_its_folders_and_mode(vps: Vps) -> None:
    vps.put("it's\n", "/srv/www/put/a 'file'", mode="600")
    assert vps.run("""stat -c '%a %U' /srv/www/put/*; cat /srv/www/put/*""").stdout == "600 deploy\nit's\n"


@pytest.mark.parametrize("kind", ["vps", "vps_systemd"])
def test_nginx_serves_static_files_and_php(request: pytest.FixtureRequest, kind: str) -> None:
    server: Vps = request.getfixturevalue(kind)
    server.put("hello", "/srv/www/site/index.html")
    server.put("<?php echo PHP_SAPI, ' ', posix_getpwuid(posix_geteuid())['name'];", "/srv/www/php/index.php")
    server.serve("/srv/www/site")
    assert server.get("/").text == "hello"
    assert server.get("/absent").status == 404
    server.serve("/srv/www/php", php=True)
    assert server.get("/any/path").text == "fpm-fcgi deploy"


def test_a_cut_connection_hangs_and_goes_on_after_mending(vps: Vps) -> None:
    with subprocess.Popen(
        [*vps.ssh_command, f"{vps.user}@{vps.host}", "cat"], stdin=-1, stdout=-1, text=True
    ) as session:
        assert session.stdin
        assert session.stdout
        print("before", file=session.stdin, flush=True)
        assert session.stdout.readline() == "before\n"
        vps.cut()
        print("during", file=session.stdin, flush=True)
        time.sleep(0.5)
        assert session.poll() is None
        vps.mend()
        assert session.stdout.readline() == "during\n"
        session.stdin.close()


def test_a_disconnected_server_refuses_and_comes_back_on_its_port(vps: Vps) -> None:
    vps.disconnect()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((vps.host, vps.port), timeout=2)
    vps.reconnect()
    assert vps.run("true").returncode == 0


@pytest.mark.parametrize("kind", ["vps", "vps_systemd"])
def test_restarting_sshd_ends_sessions_but_no_detached_process(request: pytest.FixtureRequest, kind: str) -> None:
    server: Vps = request.getfixturevalue(kind)
    server.run("setsid sleep 300 </dev/null >/dev/null 2>&1 & echo $! >/tmp/detached")
    with subprocess.Popen(
        [*server.ssh_command, f"{server.user}@{server.host}", "sleep 60"], stdin=subprocess.DEVNULL
    ) as session:
        while not server.run("pgrep -x -f 'sleep 60'", check=False).stdout:
            time.sleep(0.05)
        server.restart_sshd()
        assert session.wait(timeout=10) == 255
    assert server.run("kill -0 $(cat /tmp/detached)").returncode == 0


def test_a_server_keeps_its_ports_and_host_key_over_a_power_cut_and_no_numbers_of_processes(vps: Vps) -> None:
    vps.run("echo 1 >/run/lost.pid", user="root")
    vps.stop()
    vps.start()
    assert vps.run("ls /run/lost.pid", check=False).returncode != 0


@pytest.mark.parametrize(("away", "back"), [(Vps.stop, Vps.start), (Vps.disconnect, Vps.reconnect)])
def test_nobody_takes_the_address_of_a_server_that_is_away(
    vps: Vps, vps_image: str, away: Callable[[Vps], None], back: Callable[[Vps], None]
) -> None:
    address = vps.run("hostname -i").stdout.split()[0]
    away(vps)
    with subprocess.Popen([sys.executable, "-c", OTHER_RUN, vps_image]) as other:
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(timeout=3)
        back(vps)
        assert other.wait(timeout=30) == 0
    assert vps.run("hostname -i").stdout.split()[0] == address


def test_a_lower_address_that_becomes_free_is_not_taken(make_vps: Callable[..., Vps]) -> None:
    lower, vps = make_vps(), make_vps()
    address = vps.address
    vps.stop()
    lower.stop()  # like one that is removed
    vps.start()
    assert vps.address == address


def test_the_clock_can_be_off(vps: Vps) -> None:
    vps.set_clock(-600)
    assert abs(int(vps.run("date +%s").stdout) - (time.time() - 600)) < 5
    vps.set_clock(0)
    assert abs(int(vps.run("date +%s").stdout) - time.time()) < 5


def test_a_small_disk_fills_up(make_vps: Callable[..., Vps]) -> None:
    server = make_vps(tmpfs={"/srv/www": "size=1m,uid=1000"})
    assert "No space left" in server.run("head -c 2000000 /dev/zero >/srv/www/big", check=False).stderr


def test_servers_of_dead_runs_are_swept_and_no_others(docker_engine: Engine, vps_image: str, vps: Vps) -> None:
    dead = ("--label", f"{OWNER_LABEL}=999999999-1")
    network = f"{NAME_PREFIX}{secrets.token_hex(4)}"
    docker_engine.run("network", "create", *dead, network)
    network_folder(network).mkdir()
    left = docker_engine.output("create", *dead, "--network", network, vps_image, "true")
    sweep(docker_engine)
    assert docker_engine.run("inspect", left, check=False).returncode != 0
    assert docker_engine.run("network", "inspect", network, check=False).returncode != 0
    assert not network_folder(network).exists()
    assert vps.run("true").returncode == 0


def test_a_repository_on_the_server_grows_by_commits(vps: Vps, repository: GitRepository) -> None:
    first = repository.commit({"a/b.txt": "1", "run": "#!/bin/sh"}, executable=["run"])
    second = repository.commit({"a/b.txt": None}, message="Remove", branch="other")
    assert (
        vps.run(f"git -C {repository.path} log --format='%H %s' other").stdout == f"{second} Remove\n{first} Change\n"
    )
    assert "100755" in vps.run(f"git -C {repository.path} ls-tree main run").stdout


def test_a_repository_on_this_machine(tmp_path: Path) -> None:
    made = GitRepository.local(tmp_path / "bare.git", tmp_path / "work")
    commit = made.commit({"index.html": "hi"})
    assert (tmp_path / "bare.git/refs/heads/main").read_text().strip() == commit


def test_the_delay_proxy_makes_a_distance_and_can_be_cut(vps: Vps) -> None:
    with DelayProxy(vps.host, vps.port, round_trip_seconds=0.1) as proxy:
        started = time.monotonic()
        with socket.create_connection((proxy.host, proxy.port), timeout=5) as connection:
            assert connection.recv(4) == b"SSH-"
            assert 0.14 < time.monotonic() - started < 0.4  # the handshake, and half a way back
            proxy.cut()
            connection.settimeout(5)
            assert connection.recv(1000) == b"" or connection.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((proxy.host, proxy.port), timeout=2)
        proxy.mend()
        with socket.create_connection((proxy.host, proxy.port), timeout=5) as connection:
            assert connection.recv(4) == b"SSH-"
