"""`devflow up` as a person runs it: whichever of its processes dies, the deployment that is under way goes on."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from devflow.embedded import running_url
from devflow.engine.plan import COMMAND_PHASES
from tests.support.deployer import Deployer, copy_key
from tests.support.panel import Panel, kill_hard, wait_until
from tests.support.sites import Estate, Site
from tests.support.vps import Vps

GOES_ON_SECONDS = 30


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    data_dir = tmp_path_factory.mktemp("up") / "data"
    copy_key(data_dir)
    with Panel(data_dir) as running:
        yield running


@pytest.fixture(scope="module")
def site(panel: Panel, deployer: Deployer, vps: Vps, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site of that panel, deployed once."""
    folder = tmp_path_factory.mktemp("guest")
    guest = Deployer(folder / "data", running_url(panel.data_dir) or "").start()
    guest.log_files.append(panel.log_file)
    estate = Estate(guest, [vps], folder)
    estate.commit("page")
    made = estate.site("site")
    made.check(made.deploy(), status="success", serves="page")
    yield made
    guest.stop()
    deployer.use()


@pytest.mark.parametrize("victims", [["web"], ["worker"], ["postgres"], ["web", "worker", "postgres"]])
def test_a_process_is_killed(panel: Panel, site: Site, victims: list[str]) -> None:
    site.hold("activate")
    deployment = site.request()
    site.deployer.wait_for_step(deployment, "activate command 1")
    for victim in victims:
        kill_hard(panel.child(victim))
    site.let_go()
    wait_until(panel.is_ready, GOES_ON_SECONDS, what=panel.output)
    site.deployer.use()
    site.deployer.wait_ended(deployment, GOES_ON_SECONDS)
    site.check(deployment, status="success", serves="page")
    assert site.ran(deployment) == list(COMMAND_PHASES)
    assert httpx.get(f"{panel.url}/healthz").status_code == 200


def test_the_panel_is_stopped_and_started_again(panel: Panel, site: Site) -> None:
    """As for an upgrade: what runs on the server goes on meanwhile."""
    site.hold("reload")
    deployment = site.request()
    site.deployer.wait_for_step(deployment, "reload command 1")
    assert panel.stop() == 0
    site.let_go()
    wait_until(lambda: "finish" in site.ran(deployment), 10)
    panel.start()
    site.deployer.use()
    site.deployer.wait_ended(deployment, GOES_ON_SECONDS)
    site.check(deployment, status="success", serves="page")
    assert site.ran(deployment) == list(COMMAND_PHASES)
