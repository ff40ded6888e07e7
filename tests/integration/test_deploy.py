"""Deployments to one server: what comes of them when all goes well, and when a step fails."""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from devflow.apps.deployments import selectors
from devflow.engine.plan import COMMAND_PHASES
from tests.support.deployer import Deployer, WorkerProcess
from tests.support.panel import wait_until
from tests.support.sites import Estate, Row, Site
from tests.support.vps import Vps

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture
def site(estate: Estate, worker: WorkerProcess) -> Site:
    """Not deployed yet."""
    return estate.site(f"site-{secrets.token_hex(3)}")


def test_deploy_and_deploy_again(site: Site, estate: Estate) -> None:
    first = estate.commit("one")
    deployment = site.check(site.deploy(), status="success", serves="one")
    assert (deployment.commit, deployment.commit_message) == (first, "one")
    assert deployment.author == "Ada Example <ada@example.test>"
    assert site.ran(deployment) == list(COMMAND_PHASES)
    second = estate.commit("two")
    deployment = site.check(site.deploy(), status="success", serves="two")
    assert deployment.commit == second
    deployment = site.check(site.deploy(), status="success", serves="two")
    assert deployment.commit == second
    deployment = site.check(site.deploy(commit=first), status="success", serves="one")
    assert (deployment.commit, site.page(path="REVISION")) == (first, f"{first}\n")


def test_old_releases_are_pruned_and_the_two_that_matter_never(site: Site, estate: Estate, deployer: Deployer) -> None:
    deployer.change(site.environment, keep=3)
    estate.commit("page")
    done = [site.deploy() for _ in range(5)]
    kept = [deployment.release for deployment in done[2:]]
    assert site.left(done[-1], site.servers[0]).releases == kept
    known = selectors.release_list(actor=deployer.actor, environment=site.environment)
    assert [release.name for release in known] == kept[::-1]
    assert [release.name for release in known if release.is_current] == [done[-1].release]

    deployer.wait_ended(deployer.roll_back(site.environment, to=done[2]))
    deployer.change(site.environment, keep=2)
    last = site.deploy()
    assert site.left(last, site.servers[0]).releases == [done[2].release, last.release]
    site.check(deployer.wait_ended(deployer.roll_back(site.environment)), status="success", serves="page")


def test_a_servers_home_does_not_fill_with_what_deployments_leave(site: Site, estate: Estate, vps: Vps) -> None:
    """Runs of days ago, and the single objects of years of fetches."""
    first = estate.commit("one")
    site.check(site.deploy(), status="success", serves="one")
    mirror = vps.run(f"dirname $(grep -l {first} ~/.devflow/repos/*.git/refs/devflow/main)").stdout.strip()
    mirror = mirror.removesuffix("/refs/devflow")
    vps.run(
        "set -e; cd ~/.devflow/runs; for n in $(seq 300); do mkdir old-$n; echo 0 >old-$n/rc; done\n"
        f"touch -d '2 days ago' old-*; export GIT_DIR={mirror}; git repack -a -d -q; mkdir ~/objects; cd ~/objects\n"
        "seq 3000 | split -l 1 -a 4; ls | git hash-object -w --stdin-paths; rm -r ~/objects"
    )
    look = f"ls -d ~/.devflow/runs/old-* | wc -l; find {mirror}/objects/?? -type f | wc -l"
    old, loose = map(int, vps.run(look).stdout.split())
    assert (old, loose > 2900) == (300, True)
    estate.commit("two")
    site.check(site.deploy(), status="success", serves="two")
    wait_until(lambda: vps.run(look).stdout.split()[1] == "0", 30)
    assert 0 < int(vps.run(look).stdout.split()[0]) < 200  # those of today count, too
    site.check(site.deploy(commit=first), status="success", serves="one")


def test_shared_files_and_folders_outlive_releases(estate: Estate, vps: Vps) -> None:
    estate.repository.commit({"index.html": "page", "uploads/sample.txt": "of the commit", "settings.ini": "a=1"})
    site = estate.site("shared", shared_folders=["uploads", "logs/app"], shared_files=["settings.ini"])
    site.deploy()
    vps.run(
        f"cd {site.root}/current && echo visitor >uploads/picture && echo a=2 >settings.ini && echo line >logs/app/log"
    )
    estate.repository.commit({"uploads/sample.txt": "changed", "settings.ini": "a=3"})
    site.check(site.deploy(), status="success", serves="page")
    assert (site.page(path="uploads/sample.txt"), site.page(path="uploads/picture")) == ("of the commit", "visitor\n")
    assert (site.page(path="settings.ini"), site.page(path="logs/app/log")) == ("a=2\n", "line\n")
    estate.repository.commit({"uploads/sample.txt": None, "settings.ini": None})


def test_no_request_fails_while_releases_change(site: Site, estate: Estate) -> None:
    estate.commit("page 0")
    site.deploy()
    with asking(site) as answers:
        for number in range(1, 6):
            estate.commit(f"page {number}")
            site.check(site.deploy(), status="success", serves=f"page {number}")
    assert set(answers) == {f"page {number}" for number in range(6)}
    assert answers.total() > 100


def test_a_failing_step_in_every_phase(estate: Estate, deployer: Deployer) -> None:
    row = Row(estate)
    for phase, site in row.sites.items():
        command = f"echo 'reading the oracle'; echo no luck in {phase} >&2; [ \"${{PWD##*/}}\" = current ]"
        commands = site.environment.phase_commands | {phase: [*site.environment.phase_commands[phase], command]}
        deployer.change(site.environment, phase_commands=commands)
    deployments = {phase: site.request() for phase, site in row.sites.items()}
    is_live = False
    for number, (phase, site) in enumerate(row.sites.items(), 1):
        deployer.wait_ended(deployments[phase])
        error = [estate.servers[0].name, f"step '{phase} command 2' failed with exit code 1: no luck in {phase}"]
        status = "rolled_back" if is_live else "failed"
        site.check(deployments[phase], status=status, serves=row.page, error=error)
        assert site.ran(deployments[phase]) == list(COMMAND_PHASES[:number])
        is_live = is_live or phase == "activate"


def test_the_reason_survives_what_is_said_after_it(site: Site, estate: Estate, deployer: Deployer) -> None:
    """The log tells the whole story, in order, and the step list says where it ended."""
    estate.commit("page")
    deployer.change(
        site.environment, phase_commands={"prepare": ["echo one; echo two >&2; echo three; nonsense --now"]}
    )
    deployment = site.deploy()
    assert deployment.status == "failed"
    assert "step 'prepare command 1' failed with exit code 127" in deployment.error
    assert "A program is missing" in deployment.error
    assert deployer.log(deployment).splitlines()[-4:-1] == ["one", "two", "three"]
    failed = [step.name for step in deployer.steps(deployment) if step.status == "failed"]
    assert failed == ["prepare command 1"]


@contextmanager
def asking(site: Site) -> Iterator[Counter[str]]:
    """Requests the site again and again meanwhile; counts the answers."""
    answers: Counter[str] = Counter()
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(0.005):
            answers[site.page()] += 1

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()
