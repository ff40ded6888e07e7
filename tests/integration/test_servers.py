"""Adding and checking servers: what is read, and what is said when that fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from secrets import token_hex

import pytest

from devflow.apps.servers import services
from devflow.apps.servers.models import Server
from devflow.remote import facts
from devflow.remote.transport import Address, connect
from tests.support.delay_proxy import DelayProxy
from tests.support.deployer import Deployer, WorkerProcess
from tests.support.gitrepo import GitRepository
from tests.support.keys import make_key_pair
from tests.support.panel import wait_until
from tests.support.vps import Vps

pytestmark = pytest.mark.usefixtures("worker")
Add = Callable[..., Server]


@pytest.fixture
def add(deployer: Deployer, vps: Vps, worker: WorkerProcess) -> Add:
    """Adds the test server, with something else about it, and gives it back checked."""

    def add_and_check(**given: object) -> Server:
        return deployer.wait_checked(deployer.add_server(vps, name=f"server-{token_hex(3)}", **given))

    return add_and_check


def check_again(deployer: Deployer, server: Server) -> Server:
    services.server_check_request(actor=deployer.actor, server=server)
    return wait_until(lambda: newer(deployer, server), 30, what=deployer.output)


def newer(deployer: Deployer, server: Server) -> Server | None:
    now = deployer.wait_checked(server)
    return now if now.checked_at != server.checked_at else None


def test_what_is_read(add: Add, vps: Vps) -> None:
    server = add()
    assert (server.status, server.status_message) == ("online", "")
    found = server.facts
    assert "Debian" in found["os"]
    assert {"git", "curl", "php", "composer", "node", "npm", "python3", "nginx"} <= set(found["tools"])
    assert (found["user"], found["home"]) == ("deploy", "/home/deploy")
    assert found["cpus"] > 0
    assert 0 < found["memory_free_kb"] <= found["memory_kb"]
    assert 0 < found["disk_free_kb"] <= found["disk_kb"]
    assert f"git version {found['git']}" in vps.run("git --version").stdout
    assert found["php"].startswith("8.4")


async def test_facts_take_one_command(vps: Vps) -> None:
    """Two round trips over an open connection are one command: its channel, and its answer."""
    with DelayProxy(vps.host, vps.port, round_trip_seconds=0.8) as proxy:
        address = Address("far", proxy.host, proxy.port, vps.user, vps.private_key, vps.host_key)
        connection = await connect(address)
        try:
            await connection.run("true")
            started = time.monotonic()
            assert (await facts.read(connection, "far"))["user"] == "deploy"
            assert time.monotonic() - started < 3 * 0.8
        finally:
            connection.close()


def test_the_first_host_key_is_pinned_and_another_one_refused(
    make_vps: Callable[..., Vps], deployer: Deployer, worker: WorkerProcess
) -> None:
    vps = make_vps()
    server = deployer.wait_checked(deployer.add_server(vps, host_key=""))
    assert (server.status, server.host_key) == ("online", vps.host_key)
    vps.run("rm /etc/ssh/ssh_host_* && ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key", user="root")
    vps.restart_sshd()
    server = check_again(deployer, server)
    assert server.status == "offline"
    for words in ("another host key than the pinned one", "Nothing was sent", "ssh-ed25519 ", "forget the old key"):
        assert words in server.status_message
    assert server.host_key == vps.host_key

    services.server_host_key_forget(actor=deployer.actor, server=server)
    server = wait_until(lambda: online(deployer, server), 20, what=deployer.output)
    assert server.host_key not in ("", vps.host_key)


def online(deployer: Deployer, server: Server) -> Server | None:
    now = deployer.wait_checked(server)
    return now if now.status == "online" else None


def test_a_wrong_host_key_from_the_start(add: Add) -> None:
    server = add(host_key=make_key_pair()[1])
    assert server.status == "offline"
    assert "another host key than the pinned one" in server.status_message


def test_a_refused_login(add: Add) -> None:
    server = add(private_key=make_key_pair()[0])
    assert server.status == "offline"
    for words in (server.name, "refused the login as deploy", "public key", "~deploy/.ssh/authorized_keys"):
        assert words in server.status_message
    assert "refused the login as nobody-there" in add(user="nobody-there").status_message


def test_the_key_that_the_panel_makes(add: Add, vps: Vps) -> None:
    server = add(private_key="")
    assert "refused the login" in server.status_message
    assert server.public_key.startswith("ssh-ed25519 ")
    vps.run(f"echo {server.public_key!r} >>~/.ssh/authorized_keys")
    assert server.public_key.split()[1] in vps.run("cat ~/.ssh/authorized_keys").stdout


def test_nothing_listens(add: Add) -> None:
    server = add(port=9)
    assert server.status == "offline"
    assert "nothing listens on 127.0.0.1:9. Is sshd running, and the port right?" in server.status_message


def test_a_name_that_nobody_knows(add: Add) -> None:
    message = add(host="no-such-host.invalid").status_message
    assert "the host name no-such-host.invalid is not known. Check it and the DNS" in message


def test_no_answer_then_offline_then_online_again(
    make_vps: Callable[..., Vps], deployer: Deployer, worker: WorkerProcess
) -> None:
    vps = make_vps()
    vps.cut()
    server = deployer.wait_checked(deployer.add_server(vps))
    assert server.status == "offline"
    assert f"no answer from 127.0.0.1:{vps.port}" in server.status_message
    assert "firewall" in server.status_message
    vps.mend()
    server = check_again(deployer, server)
    assert (server.status, server.status_message) == ("online", "")


@pytest.mark.parametrize("shell", ["/usr/sbin/nologin", "/bin/false"])
def test_a_login_shell_that_runs_no_commands(
    make_vps: Callable[..., Vps], deployer: Deployer, worker: WorkerProcess, shell: str
) -> None:
    vps = make_vps()
    vps.run(f"usermod --shell {shell} deploy", user="root")
    server = deployer.wait_checked(deployer.add_server(vps))
    assert server.status == "offline"
    for words in (server.name, "login shell does not run commands", "chsh -s /bin/sh"):
        assert words in server.status_message


def test_a_home_that_cannot_be_written(make_vps: Callable[..., Vps], deployer: Deployer, worker: WorkerProcess) -> None:
    vps = make_vps()
    vps.run("chown root /home/deploy && chmod 755 /home/deploy", user="root")
    server = deployer.wait_checked(deployer.add_server(vps))
    assert server.status == "offline"
    for words in (server.name, "home", "cannot be written", "make the home writable"):
        assert words in server.status_message


def test_something_else_than_ssh_listens(add: Add, vps: Vps) -> None:
    vps.serve("/srv/www")
    server = add(port=vps.http_port)
    assert server.status == "offline"
    assert f"{server.name} cannot be reached at 127.0.0.1:{vps.http_port}" in server.status_message


def test_this_machine(deployer: Deployer, worker: WorkerProcess, tmp_path: Path) -> None:
    """`--local`: the same scripts, without SSH."""
    server = deployer.wait_checked(services.server_add(actor=deployer.actor, name="here", is_local=True))
    assert server.status == "online", server.status_message
    assert "git" in server.facts["tools"]
    repository = GitRepository.local(tmp_path / "site.git", tmp_path / "work")
    root = tmp_path / "srv/site"
    project = deployer.add_project("local-site", repository.path)
    environment = deployer.add_environment(project, "production", servers=["here"], root=str(root))
    for page in ("one", "two"):
        repository.commit({"index.html": page})
        deployment = deployer.deploy(environment)
        assert deployment.status == "success", deployer.describe(deployment)
        assert (root / "current/index.html").read_text() == page
    assert deployer.wait_ended(deployer.roll_back(environment)).status == "success"
    assert (root / "current/index.html").read_text() == "one"
    deployer.change(environment, phase_commands={"reload": ['[ "${PWD##*/}" = current ] || sleep 600']})
    deployment = deployer.request(environment)
    deployer.wait_for_step(deployment, "reload command 1")
    worker.kill()
    deployer.start_worker()
    deployer.cancel(deployment)
    assert deployer.wait_ended(deployment, 30).status == "cancelled"
    assert (root / "current/index.html").read_text() == "one"
