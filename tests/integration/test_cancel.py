"""Cancelled at any moment: its processes are gone, the lock is free, the site answers as before."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from devflow.apps.deployments.models import Deployment
from devflow.core.errors import ConflictError
from devflow.engine.plan import COMMAND_PHASES
from devflow.engine.script import UNDO_SECONDS
from tests.support.deployer import Deployer, WorkerProcess
from tests.support.docker_engine import Engine
from tests.support.panel import wait_until
from tests.support.sites import Estate, Row, Site
from tests.support.vps import Vps

pytestmark = pytest.mark.usefixtures("worker")
KILL_AFTER_SECONDS = 10
"""What ignores TERM gets KILL then."""
STUBBORN = """\
[ "${PWD##*/}" != current ] || exit 0  # not again while it is taken back
trap '' TERM
setsid sleep 600 &
sh -c 'sleep 600; :' &
sleep 600
"""


@pytest.fixture
def site(estate: Estate, worker: WorkerProcess) -> Site:
    """Deployed once, with the page `before`."""
    estate.commit("before")
    made = estate.site(f"site-{secrets.token_hex(3)}")
    assert made.deploy().status == "success"
    return made


@pytest.fixture(scope="module", autouse=True)
def hanging(
    deployer: Deployer, docker_engine: Engine, vps_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Site, Deployment]]:
    """A cancelled deployment that hangs in taking back; begun first of all and looked at last, since it takes long."""
    deployer.keep_one_worker()
    with Vps(docker_engine, vps_image) as server:
        estate = Estate(deployer, [server], tmp_path_factory.mktemp("hanging"))
        estate.commit("before")
        site = estate.site("hanging")
        assert site.deploy().status == "success"
        deployer.change(site.environment, phase_commands={"reload": ["sleep 600"]})
        deployment = site.request()
        deployer.wait_for_step(deployment, "reload command 1")
        deployer.cancel(deployment)
        deployer.wait_for_step(deployment, "reload command 1 again")
        yield site, deployment


def test_in_every_phase(estate: Estate, deployer: Deployer, worker: WorkerProcess) -> None:
    row = Row(estate)
    row.deploy_and_hold()
    started = time.monotonic()
    for deployment in row.deployments.values():
        deployer.cancel(deployment)
    row.wait_ended(KILL_AFTER_SECONDS)
    assert time.monotonic() - started < KILL_AFTER_SECONDS
    for number, (phase, site) in enumerate(row.sites.items(), 1):
        site.check(row.deployments[phase], status="cancelled", serves=row.page_before, error=["Cancelled"])
        assert site.ran(row.deployments[phase]) == list(COMMAND_PHASES[:number])
        site.let_go()
        assert site.deploy().status == "success"


def test_while_queued(site: Site, deployer: Deployer) -> None:
    site.hold("prepare")
    running = site.request()
    deployer.wait_for_step(running, "prepare command 1")
    queued = site.request()
    deployer.cancel(queued)
    assert deployer.read(queued).status == "cancelled"
    site.let_go()
    assert deployer.wait_ended(running).status == "success"
    assert deployer.read(queued).started_at is None
    with pytest.raises(ConflictError, match="ended already: cancelled"):
        deployer.cancel(queued)


def test_at_once(site: Site, deployer: Deployer) -> None:
    """The request and its cancel race with the worker: whoever wins, nothing is left over."""
    for pause in (0, 0.01, 0.03, 0.06, 0.1, 0.2):
        deployment = site.request()
        time.sleep(pause)
        with suppress(ConflictError):
            deployer.cancel(deployment)
        ended = deployer.wait_ended(deployment)
        assert ended.status in ("cancelled", "success")
        site.check(deployment, status=ended.status, serves="before")


def test_processes_that_ignore_term_or_leave_their_group(
    estate: Estate, vps: Vps, deployer: Deployer, worker: WorkerProcess
) -> None:
    estate.commit("before")
    sites = {phase: estate.site(f"stubborn-{phase}") for phase in ("prepare", "reload")}
    for phase, site in sites.items():
        assert site.deploy().status == "success"
        deployer.change(site.environment, phase_commands={phase: [STUBBORN]})
    deployments = {phase: site.request() for phase, site in sites.items()}
    wait_until(lambda: len(_sleepers(vps)) == 6, 10)
    for phase, deployment in deployments.items():
        deployer.wait_for_step(deployment, f"{phase} command 1")
        deployer.cancel(deployment)
    for phase, deployment in deployments.items():
        deployer.wait_ended(deployment, KILL_AFTER_SECONDS + 15)
        sites[phase].check(deployment, status="cancelled", serves="before")
    assert _sleepers(vps) == []


def test_while_the_server_is_out_of_reach(site: Site, vps: Vps, deployer: Deployer) -> None:
    site.hold("activate")
    deployment = site.request()
    deployer.wait_for_step(deployment, "activate command 1")
    vps.cut()
    deployer.cancel(deployment)
    time.sleep(3)
    vps.mend()
    deployer.wait_ended(deployment, 30)
    site.check(deployment, status="cancelled", serves="before")


def test_just_before_the_worker_is_killed(site: Site, deployer: Deployer, worker: WorkerProcess) -> None:
    site.hold("verify")
    deployment = site.request()
    deployer.wait_for_step(deployment, "verify command 1")
    worker.kill()
    deployer.cancel(deployment)
    deployer.start_worker()
    deployer.wait_ended(deployment, 30)
    site.check(deployment, status="cancelled", serves="before")


def test_a_reload_that_hangs_does_not_hang_the_taking_back(
    hanging: tuple[Site, Deployment], deployer: Deployer
) -> None:
    site, deployment = hanging
    deployer.wait_ended(deployment, UNDO_SECONDS + 20)
    site.check(deployment, status="cancelled", serves="before", error=["Taking back", "reload command 1 again"])
    assert _sleepers(site.servers[0]) == []


def _sleepers(vps: Vps) -> list[str]:
    return vps.run("pgrep -a -x -f 'sleep 600'", check=False).stdout.splitlines()
