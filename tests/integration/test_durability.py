"""Whatever dies in the middle of a deployment: it goes on or is taken back by itself, and nothing runs twice."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from devflow.engine.plan import COMMAND_PHASES
from devflow.worker.main import DEAD_AFTER_SECONDS, SWEEP_SECONDS
from tests.support.deployer import Deployer, WorkerProcess
from tests.support.panel import wait_until
from tests.support.sites import WEB_ROOT, Estate, Row
from tests.support.vps import Vps

GOES_ON_SECONDS = 30
"""From the moment when everything is there again."""


@pytest.fixture(scope="module")
def sites(estate: Estate, deployer: Deployer) -> Row:
    deployer.keep_one_worker()
    return Row(estate)


@pytest.fixture
def row(sites: Row, worker: WorkerProcess, deployer: Deployer) -> Iterator[Row]:
    """A site for each phase, with a deployment that is held in it; afterwards nothing is under way."""
    sites.deploy_and_hold()
    yield sites
    sites.let_go()
    assert deployer.open_deployments() == []


def assert_all_went_on(row: Row) -> None:
    """All of them succeeded, each command of each phase ran once, in order, and the new page is served."""
    row.let_go()
    row.wait_ended(GOES_ON_SECONDS)
    for phase, site in row.sites.items():
        deployment = row.deployments[phase]
        site.check(deployment, status="success", serves=row.page)
        assert site.ran(deployment) == list(COMMAND_PHASES), phase


def test_the_worker_is_killed(row: Row, worker: WorkerProcess, deployer: Deployer) -> None:
    worker.kill()
    deployer.start_worker()
    assert_all_went_on(row)


def test_a_frozen_worker_is_replaced_and_writes_nothing_when_it_thaws(
    row: Row, worker: WorkerProcess, deployer: Deployer
) -> None:
    worker.freeze()
    second = deployer.start_worker()
    time.sleep(DEAD_AFTER_SECONDS + SWEEP_SECONDS)
    worker.thaw()
    assert_all_went_on(row)
    wait_until(lambda: "was taken over by another worker" in worker.output(), 10)
    assert second.is_alive
    assert_takes_new_work(row, deployer)


def test_one_of_two_workers_is_killed(row: Row, worker: WorkerProcess, deployer: Deployer) -> None:
    second = deployer.start_worker()
    worker.kill()
    assert_all_went_on(row)
    assert second.is_alive


def test_postgresql_is_restarted(row: Row, worker: WorkerProcess, deployer: Deployer) -> None:
    deployer.restart_database()
    assert_all_went_on(row)
    assert worker.is_alive
    assert_takes_new_work(row, deployer)


def test_sshd_is_restarted(row: Row, vps: Vps) -> None:
    vps.restart_sshd()
    assert_all_went_on(row)


def test_the_connection_is_cut_for_20_seconds(row: Row, vps: Vps) -> None:
    for site in row.sites.values():
        site.let_go_after(1)
    vps.cut()
    time.sleep(20)
    vps.mend()
    assert_all_went_on(row)


def test_the_server_is_rebooted(row: Row, vps: Vps, deployer: Deployer) -> None:
    vps.stop()
    vps.start()
    vps.serve(WEB_ROOT)
    row.let_go()
    row.wait_ended(GOES_ON_SECONDS)
    live = COMMAND_PHASES[COMMAND_PHASES.index("activate") + 1 :]
    for phase, site in row.sites.items():
        status = "rolled_back" if phase in live else "failed"
        step = f"during '{phase} command 1'"
        ended = site.check(
            row.deployments[phase], status=status, serves=row.page_before, error=[vps.name, step, "restarted"]
        )
        begun = [step.started_at for step in deployer.steps(ended) if step.started_at]
        assert ended.started_at <= min(begun)


def assert_takes_new_work(row: Row, deployer: Deployer) -> None:
    site = row.sites["prepare"]
    assert site.deploy(timeout_seconds=10).status == "success", deployer.output()
