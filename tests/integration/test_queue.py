"""Who goes first: one deployment at a time in an environment, the newest request wins, servers are not overrun."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from secrets import token_hex

import pytest
from django.db import connection
from django_scopes import scopes_disabled

from devflow.apps.deployments.models import Deployment, Trigger
from devflow.apps.servers.models import Server
from tests.support.deployer import ROOM, Deployer, WorkerProcess
from tests.support.panel import wait_until
from tests.support.sites import Estate, Site

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture
def site(estate: Estate, worker: WorkerProcess) -> Site:
    estate.commit("page")
    return estate.site(f"site-{token_hex(3)}")


@pytest.fixture
def room_for_one(estate: Estate) -> Iterator[None]:
    """The server takes one deployment at a time."""
    with scopes_disabled():
        server = Server.objects.filter(name=estate.servers[0].name)
        server.update(deployment_limit=1)
        yield
        server.update(deployment_limit=ROOM)


def begun(deployer: Deployer, deployments: list[Deployment]) -> list[Deployment]:
    """In the order in which they were begun."""
    return sorted((deployer.wait_ended(deployment) for deployment in deployments), key=lambda it: it.started_at)


def test_a_newer_request_supersedes_the_queued_one_and_never_the_running(site: Site, deployer: Deployer) -> None:
    site.hold("prepare")
    running = site.request()
    deployer.wait_for_step(running, "prepare command 1")
    older = site.request()
    newer = site.request()
    assert [deployer.read(it).status for it in (running, older, newer)] == ["running", "superseded", "queued"]
    assert deployer.read(older).error == f"Superseded by {newer.pk}."
    time.sleep(0.5)
    assert deployer.read(newer).status == "queued"
    site.let_go()
    assert [deployer.wait_ended(it, 5).status for it in (running, newer)] == ["success", "success"]
    assert deployer.read(running).finished_at <= deployer.read(newer).started_at
    assert deployer.read(older).started_at is None


def test_twenty_requests_at_once(site: Site, deployer: Deployer) -> None:
    made: list[Deployment] = []

    def request() -> None:
        try:
            made.append(site.request())
        finally:
            connection.close()

    threads = [threading.Thread(target=request) for _ in range(20)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        with scopes_disabled():
            rows = list(Deployment.objects.filter(environment=site.environment).values_list("status", flat=True))
        now = Counter(rows)
        assert now["queued"] <= 1
        assert now["running"] + now["verifying"] <= 1
    assert len(made) == 20
    ended = [deployer.wait_ended(deployment, 10) for deployment in made]
    assert {it.status for it in ended} == {"success", "superseded"}
    spans = sorted((it.started_at, it.finished_at) for it in ended if it.status == "success")
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_environments_deploy_side_by_side(estate: Estate, deployer: Deployer, worker: WorkerProcess) -> None:
    estate.commit("page")
    sites = [estate.site(f"beside-{number}") for number in range(3)]
    for site in sites:
        site.hold("prepare")
    deployments = [site.request() for site in sites]
    for deployment in deployments:
        deployer.wait_for_step(deployment, "prepare command 1")
    for site, deployment in zip(sites, deployments, strict=True):
        site.let_go()
        assert deployer.wait_ended(deployment).status == "success"


@pytest.mark.usefixtures("room_for_one")
def test_a_server_takes_no_more_than_its_limit_and_people_go_first(
    estate: Estate, deployer: Deployer, worker: WorkerProcess
) -> None:
    estate.commit("page")
    first, *others = (estate.site(f"limit-{number}") for number in range(5))
    first.hold("prepare")
    running = first.request()
    deployer.wait_for_step(running, "prepare command 1")
    hooks = [site.request(trigger=Trigger.WEBHOOK) for site in others[:2]]
    by_hand = [site.request() for site in others[2:]]
    time.sleep(2)
    assert {deployer.read(it).status for it in (*hooks, *by_hand)} == {"queued"}
    first.let_go()
    order = begun(deployer, [running, *hooks, *by_hand])
    assert [it.pk for it in order] == [it.pk for it in (running, *by_hand, *hooks)]
    assert all(before.finished_at <= after.started_at for before, after in pairwise(order))


def test_a_request_by_hand_replaces_a_queued_one_of_a_webhook(site: Site, deployer: Deployer) -> None:
    site.hold("prepare")
    running = site.request()
    deployer.wait_for_step(running, "prepare command 1")
    hook = site.request(trigger=Trigger.WEBHOOK)
    by_hand = site.request()
    site.let_go()
    assert deployer.wait_ended(by_hand).status == "success"
    assert deployer.read(hook).status == "superseded"


def test_a_queue_without_a_worker_waits(site: Site, deployer: Deployer, worker: WorkerProcess) -> None:
    worker.end()
    deployment = site.request()
    time.sleep(0.5)
    assert deployer.read(deployment).status == "queued"
    deployer.start_worker()
    assert deployer.wait_ended(deployment, 20).status == "success"


def test_a_lost_job_is_found_again(site: Site, deployer: Deployer) -> None:
    """The row says that it should happen: what became of its job in the queue does not matter."""
    site.hold("prepare")
    running = site.request()
    deployer.wait_for_step(running, "prepare command 1")
    queued = site.request()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_jobs WHERE args->>'deployment_id' = %s", [str(queued.pk)])
    site.let_go()
    wait_until(lambda: deployer.read(queued).status == "success", 20, what=lambda: deployer.describe(queued))
