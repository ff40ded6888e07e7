"""Faults at moments that nobody chose: seven deployments at a time are hit by one of them anywhere on their way."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable

import pytest

from devflow.engine.plan import COMMAND_PHASES
from tests.support.deployer import Deployer, WorkerProcess
from tests.support.sites import WEB_ROOT, Estate, Row
from tests.support.vps import Vps

ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "2"))
LATEST_SECONDS = 1.5
"""By then seven deployments at once are over."""
GOES_ON_SECONDS = 30


@pytest.fixture(scope="module")
def row(estate: Estate, deployer: Deployer) -> Row:
    deployer.keep_one_worker()
    return Row(estate)


def kill_worker(deployer: Deployer, vps: Vps) -> None:
    deployer.keep_one_worker().kill()
    deployer.start_worker()


def restart_database(deployer: Deployer, vps: Vps) -> None:
    deployer.restart_database()


def restart_sshd(deployer: Deployer, vps: Vps) -> None:
    vps.restart_sshd()


def reboot(deployer: Deployer, vps: Vps) -> None:
    vps.stop()
    vps.start()
    vps.serve(WEB_ROOT)


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("strike", [kill_worker, restart_database, restart_sshd, reboot])
def test_a_fault_at_any_moment(
    row: Row, deployer: Deployer, vps: Vps, worker: WorkerProcess, strike: Callable[..., None], number: int
) -> None:
    moment = random.Random(f"{strike.__name__} {number}").uniform(0, LATEST_SECONDS)
    row.request()
    time.sleep(moment)
    strike(deployer, vps)
    row.wait_ended(GOES_ON_SECONDS)
    for phase, site in row.sites.items():
        deployment = deployer.read(row.deployments[phase])
        is_live = deployment.status == "success"
        site.check(deployment, status=deployment.status, serves=row.page if is_live else row.page_before)
        if strike is not reboot:
            assert is_live, deployer.describe(deployment)
            assert site.ran(deployment) == list(COMMAND_PHASES)
    assert deployer.open_deployments() == []
    row.level()
