"""Back to a kept release: by hand, by a failed health check, and on the server itself without the panel."""

from __future__ import annotations

import secrets
import time

import pytest

from devflow.core.errors import ConflictError
from tests.support.deployer import Deployer, WorkerProcess
from tests.support.sites import Estate, Site
from tests.support.vps import Vps

ROLLBACK_SECONDS = 3
"""From the request to its end, on a kept connection."""
DEVFLOW_RUN = "~/.devflow/bin/devflow-run"


@pytest.fixture
def site(estate: Estate, worker: WorkerProcess) -> Site:
    """Three releases, the pages `one`, `two` and `three`."""
    made = estate.site(f"site-{secrets.token_hex(3)}")
    made.deployments = [deploy_page(estate, made, page) for page in ("one", "two", "three")]
    return made


def deploy_page(estate: Estate, site: Site, page: str):
    estate.commit(page)
    deployment = site.deploy()
    site.check(deployment, status="success", serves=page)
    return deployment


@pytest.mark.alone
def test_to_the_release_before_in_under_three_seconds(site: Site, deployer: Deployer) -> None:
    started = time.monotonic()
    deployment = deployer.wait_ended(deployer.roll_back(site.environment))
    assert time.monotonic() - started < ROLLBACK_SECONDS
    ended = deployer.read(deployment)
    two = site.deployments[1]
    assert (ended.trigger, ended.rollback_to, ended.release, ended.commit) == ("rollback", two, two.release, two.commit)
    site.check(deployment, status="success", serves="two")
    assert site.ran(deployment) == ["reload"]
    assert site.left(deployment, site.servers[0]).releases == [done.release for done in site.deployments]


def test_to_any_kept_release_and_forth(site: Site, deployer: Deployer) -> None:
    one, _, three = site.deployments
    for target, page in ((one, "one"), (three, "three")):
        site.check(deployer.wait_ended(deployer.roll_back(site.environment, to=target)), status="success", serves=page)
    with pytest.raises(ConflictError, match="the current one already"):
        deployer.roll_back(site.environment, to=three)


def test_not_to_a_release_that_is_gone(site: Site, estate: Estate, vps: Vps, deployer: Deployer) -> None:
    one, two, _ = site.deployments
    deployer.change(site.environment, keep=3)
    deploy_page(estate, site, "four")
    with pytest.raises(ConflictError, match="not kept any more"):
        deployer.roll_back(site.environment, to=one)
    vps.run(f"rm -r {site.root}/releases/{two.release}")
    deployment = deployer.wait_ended(deployer.roll_back(site.environment, to=two))
    error = [vps.name, two.release, "not on", "Choose a newer one"]
    site.check(deployment, status="failed", serves="four", error=error)


def test_a_failed_health_check_takes_the_old_release_back(site: Site, estate: Estate, deployer: Deployer) -> None:
    path = site.root.removeprefix("/srv/www") + "/current/"
    deployer.change(site.environment, health_url=path, health_text="healthy", health_retries=1)
    deploy_page(estate, site, "four is healthy")
    estate.commit("five is ill")
    deployment = site.deploy()
    error = ["The health check failed", "200", "without the text 'healthy'"]
    site.check(deployment, status="rolled_back", serves="four is healthy", error=error)
    assert site.ran(deployment)[-2:] == ["reload", "verify"]
    deployer.change(site.environment, health_url="http://127.0.0.1:9/", health_text="", health_retries=0)
    deployment = site.deploy()
    site.check(deployment, status="rolled_back", serves="four is healthy", error=["http://127.0.0.1:9/", "no answer"])


def test_a_rollback_that_is_ill_itself_goes_back_to_what_served(site: Site, deployer: Deployer) -> None:
    path = site.root.removeprefix("/srv/www") + "/current/"
    deployer.change(site.environment, health_url=path, health_text="three", health_retries=0)
    deployment = deployer.wait_ended(deployer.roll_back(site.environment))
    assert (deployment.status, site.page()) == ("rolled_back", "three")
    assert "The health check failed" in deployment.error


def test_a_first_release_that_is_ill_leaves_nothing_that_serves(estate: Estate, worker: WorkerProcess) -> None:
    estate.commit("ill")
    site = estate.site("first", health_url="/first/current/absent", health_retries=0)
    deployment = site.deploy()
    site.check(deployment, status="rolled_back", serves="404", error=["404", "wanted 200"])


def test_without_the_panel(site: Site, estate: Estate, vps: Vps, deployer: Deployer) -> None:
    done = vps.run(f"{DEVFLOW_RUN} rollback {site.root}")
    one, two, _ = site.deployments
    assert two.release in done.stdout
    assert site.page() == "two"
    vps.run(f"{DEVFLOW_RUN} rollback {site.root} {one.release}")
    assert site.page() == "one"
    assert "no release before" in vps.run(f"{DEVFLOW_RUN} rollback {site.root}", check=False).stderr
    assert "not a folder that a panel deploys to" in vps.run(f"{DEVFLOW_RUN} rollback /srv/www", check=False).stderr
    assert vps.run(f"grep -c '^reload.*{one.release}' {site.notes}/ran").stdout == "2\n"
    deploy_page(estate, site, "four")


def test_the_lock_of_a_panel_that_is_gone(site: Site, vps: Vps) -> None:
    vps.put("other-environment 0 Old panel: shop production\n", f"{site.root}/.devflow/lock")
    deployment = site.deploy()
    assert (deployment.status, site.page()) == ("failed", "three")
    for words in (vps.name, site.root, "Old panel: shop production", "devflow-run unlock"):
        assert words in deployment.error
    assert "locked by" in vps.run(f"{DEVFLOW_RUN} rollback {site.root}", check=False).stderr
    vps.run(f"{DEVFLOW_RUN} unlock {site.root}")
    site.check(site.deploy(), status="success", serves="three")
