"""One environment on three servers: all of them go on together, or none does."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

import pytest

from devflow.apps.deployments.models import Deployment
from devflow.engine.plan import COMMAND_PHASES
from tests.support.deployer import Deployer, WorkerProcess
from tests.support.docker_engine import Engine
from tests.support.sites import WEB_ROOT, Estate, Site
from tests.support.vps import Vps

FIRST_CONTACT_SECONDS = 20


@pytest.fixture(scope="module")
def fleet(
    deployer: Deployer, vps: Vps, docker_engine: Engine, vps_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Estate]:
    with Vps(docker_engine, vps_image) as second, Vps(docker_engine, vps_image) as third:
        by_name = sorted([vps, second, third], key=lambda server: server.name)  # the first fetches before the others
        yield Estate(deployer, by_name, tmp_path_factory.mktemp("fleet"))


@pytest.fixture
def site(fleet: Estate, worker: WorkerProcess) -> Site:
    """Deployed once, with the page `before`; the page `after` is committed."""
    fleet.commit("before")
    made = fleet.site(f"site-{secrets.token_hex(3)}")
    made.check(made.deploy(), status="success", serves="before")
    fleet.commit("after")
    return made


def test_every_server_gets_the_release_once_all_are_ready(site: Site, deployer: Deployer) -> None:
    first, second, third = site.servers
    third.run(f"touch {site.notes}/hold-migrate")
    deployment = site.request()
    deployer.wait(deployment, lambda _: site.ran(deployment, third)[-1:] == ["migrate"], 30)
    deployer.wait(deployment, lambda _: site.ran(deployment, first)[-1:] == ["migrate"], 10)
    assert "activate" not in site.ran(deployment, first) + site.ran(deployment, second)
    assert [site.page(server) for server in site.servers] == ["before"] * 3
    site.let_go()
    deployer.wait_ended(deployment)
    site.check(deployment, status="success", serves="after")
    for server in site.servers:
        assert site.ran(deployment, server) == list(COMMAND_PHASES)
    assert {site.page(server, "REVISION") for server in site.servers} == {f"{deployer.read(deployment).commit}\n"}


@pytest.mark.parametrize(("phase", "status"), [("prepare", "failed"), ("migrate", "failed"), ("verify", "rolled_back")])
def test_one_server_fails(site: Site, deployer: Deployer, phase: str, status: str) -> None:
    second = site.servers[1]
    commands = site.environment.phase_commands | {phase: [f'[ "$(hostname)" != {second.name} ]']}
    deployer.change(site.environment, phase_commands=commands)
    deployment = site.deploy()
    error = [f"{second.name}: step '{phase} command 1' failed with exit code 1"]
    ended = site.check(deployment, status=status, serves="before", error=error)
    assert site.servers[0].name not in ended.error


def test_cancelled_on_all_of_them(site: Site, deployer: Deployer) -> None:
    site.hold("reload")
    deployment = site.request()
    deployer.wait(deployment, lambda _: all(site.ran(deployment, it)[-1:] == ["reload"] for it in site.servers), 30)
    deployer.cancel(deployment)
    deployer.wait_ended(deployment, 30)
    site.check(deployment, status="cancelled", serves="before")


def test_one_server_goes_down_and_comes_back(site: Site, deployer: Deployer) -> None:
    third = site.servers[2]
    site.hold("verify")
    deployment = site.request()
    deployer.wait(deployment, lambda _: site.ran(deployment, third)[-1:] == ["verify"], 30)
    third.stop()
    site.held.clear()
    for server in site.servers[:2]:
        server.run(f"rm {site.notes}/hold-*")
    third.start()
    third.serve(WEB_ROOT)
    deployer.wait_ended(deployment, 30)
    error = [f"{third.name}: the run was interrupted during 'verify command 1'"]
    site.check(deployment, status="rolled_back", serves="before", error=error)
    third.run(f"rm {site.notes}/hold-*")


def test_one_server_goes_down_when_the_others_have_cleaned_up(site: Site, deployer: Deployer) -> None:
    """They have forgotten what they served before: it goes on with them instead of going back alone."""
    first, second, third = site.servers
    pipe = f"{site.root}/.devflow/reload"  # what unlocking writes, and waits at until somebody reads
    third.run(f"rm -f {pipe}; mkfifo {pipe}")
    deployment = site.request()
    deployer.wait(deployment, lambda _: all(site.left(deployment, it).lock == "" for it in (first, second)), 30)
    deployer.wait_for_step(deployment, "unlock")
    third.stop()
    third.start()
    third.serve(WEB_ROOT)
    third.run(f"timeout 30 cat {pipe} >/dev/null; rm {pipe}")
    deployer.wait_ended(deployment, 30)
    site.check(deployment, status="success", serves="after")
    assert site.deploy().status == "success"


def test_one_server_cannot_be_reached(site: Site, deployer: Deployer) -> None:
    third = site.servers[2]
    third.disconnect()
    deployment = site.request()
    deployer.wait_ended(deployment, FIRST_CONTACT_SECONDS + 20)
    third.reconnect()
    error = [f"{third.name} cannot be reached", "nothing listens on", "Is sshd running"]
    site.check(deployment, status="failed", serves="before", error=error)


def test_one_server_is_frozen(site: Site, deployer: Deployer) -> None:
    """The connection to it is kept from the deployment before, and takes what is sent."""
    first, _, third = site.servers
    third.freeze()
    try:
        deployment = site.request()
        deployer.wait(deployment, lambda _: "Waiting for" in deployer.log(deployment), FIRST_CONTACT_SECONDS)
        deployer.wait_ended(deployment, FIRST_CONTACT_SECONDS + 25)
        assert site.left(deployment, first).lock == ""
    finally:
        third.thaw()
    _assert_nothing_begins(site, deployment, third)
    error = [f"{third.name} cannot be reached: no answer", "Is it up", "never answered"]
    assert all(part in deployer.read(deployment).error for part in error), deployer.describe(deployment)
    again = site.deploy()
    site.check(again, status="success", serves="after")


@pytest.mark.parametrize("number", [0, 2])
def test_cancelled_while_one_server_is_frozen(site: Site, deployer: Deployer, number: int) -> None:
    """Also the one that the others wait for, which fetches first."""
    frozen, second = site.servers[number], site.servers[1]
    frozen.freeze()
    try:
        deployment = site.request()
        if number:
            deployer.wait(deployment, lambda _: len(site.ran(deployment, second)) > 0, FIRST_CONTACT_SECONDS)
        else:
            deployer.wait(deployment, lambda _: "Waiting for" in deployer.log(deployment), FIRST_CONTACT_SECONDS)
        deployer.cancel(deployment)
        deployer.wait_ended(deployment, FIRST_CONTACT_SECONDS + 10)
        assert site.left(deployment, second).lock == ""
    finally:
        frozen.thaw()
    assert deployer.read(deployment).status == "cancelled"
    _assert_nothing_begins(site, deployment, frozen)
    again = site.deploy()
    site.check(again, status="success", serves="after")


def _assert_nothing_begins(site: Site, deployment: Deployment, frozen: Vps) -> None:
    """Neither at once nor later, of what a frozen server was sent."""
    time.sleep(3)
    left = site.left(deployment, frozen)
    assert (site.ran(deployment, frozen), left.lock, left.processes) == ([], "", [])
    assert site.page(frozen) == "before"
