"""A deployment in a freeze waits, and begins by itself when the time has come; going back does not wait."""

from __future__ import annotations

from datetime import datetime, timedelta
from secrets import token_hex

import pytest
from django.utils import timezone

from tests.support.deployer import Deployer, WorkerProcess
from tests.support.sites import Estate, Site


@pytest.fixture
def site(estate: Estate, worker: WorkerProcess) -> Site:
    estate.commit("first")
    return estate.site(f"site-{token_hex(3)}")


def freeze(deployer: Deployer, site: Site, *, seconds: float | None) -> datetime | None:
    """From an hour ago, for some seconds more or without end; returns until when."""
    now = timezone.now().replace(microsecond=0)
    ends = now + timedelta(seconds=seconds) if seconds else None
    frozen = {"from": (now - timedelta(hours=1)).isoformat(), "to": ends and ends.isoformat(), "reason": "Fair"}
    deployer.change(site.environment, freezes=[frozen])
    return ends


def test_it_begins_when_the_freeze_ends(site: Site, estate: Estate, deployer: Deployer) -> None:
    site.deploy()
    commit = estate.commit("second")
    ends = freeze(deployer, site, seconds=8)
    waits = site.request()
    assert deployer.read(waits).status == "waiting"
    assert site.page() == "first"
    done = deployer.wait_ended(waits, 60)
    assert (done.status, done.commit, done.waiting_for, done.due_at) == ("success", commit, "", None)
    assert done.started_at is not None
    assert ends is not None
    assert done.started_at >= ends
    assert site.page() == "second"
    log = deployer.log(done)
    assert "Frozen: Fair. It begins on " in log
    assert "Its window is open." in log


def test_it_waits_over_a_restart_of_the_worker_until_the_freeze_is_lifted(
    site: Site, deployer: Deployer, worker: WorkerProcess
) -> None:
    freeze(deployer, site, seconds=None)
    waits = site.request()
    worker.end()
    deployer.change(site.environment, freezes=[])
    assert deployer.read(waits).status == "waiting"
    deployer.start_worker()
    assert deployer.wait_ended(waits, 60).status == "success"


def test_going_back_does_not_wait(site: Site, estate: Estate, deployer: Deployer) -> None:
    site.deploy()
    estate.commit("second")
    site.deploy()
    freeze(deployer, site, seconds=None)
    back = deployer.roll_back(site.environment)
    assert deployer.wait_ended(back, 60).status == "success"
    assert site.page() == "first"
