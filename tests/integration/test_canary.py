"""canary on a real server: nginx gives the new release a share of the requests, its log tells how good it is."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from devflow.apps.deployments import services
from devflow.apps.deployments.canary import Share, canary_shares
from devflow.apps.deployments.models import Deployment
from devflow.apps.projects.models import Environment
from tests.support.balanced_load import Load
from tests.support.deployer import Deployer, WorkerProcess
from tests.support.gitrepo import GitRepository
from tests.support.vps import Vps

APP = """
import http.server, itertools, os, time
version = open("version.txt").read().strip()
numbers = itertools.count(1)
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        number = next(numbers) if "health" not in self.headers.get("User-Agent", "") else 1
        if "slow" in version:
            time.sleep(0.2)
        text = version.encode()
        self.send_response(500 if "bad" in version and number % 20 == 0 else 200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *words):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
Server(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
"""
OPTIONS = {
    "steps": "5 50",
    "step_seconds": "8",
    "min_requests": "40",
    "watch_seconds": "1",
    "drain_seconds": "3",
    "start_seconds": "20",
}


class Shop:
    """One environment of the sample application that goes live by canary."""

    def __init__(self, deployer: Deployer, vps: Vps, work: Path) -> None:
        self.deployer, self.vps = deployer, vps
        name = f"canary-{secrets.token_hex(3)}"
        self.domain = f"{name}.test"
        self.repository = GitRepository.on_server(vps, f"/root/{name}.git", work)
        self.repository.commit({"app.py": APP, "requirements.txt": ""})
        project = deployer.add_project(name, self.repository.path, recipe="python")
        self.environment: Environment = deployer.add_environment(
            project,
            "production",
            servers=[vps.name],
            root=f"/srv/www/{name}",
            strategy="canary",
            strategy_options=OPTIONS,
            recipe_options={"start_command": "python3 app.py"},
            proxy="nginx",
            domains=[self.domain],
        )

    def release(self, version: str) -> None:
        self.repository.commit({"version.txt": version}, message=version)

    def deploy(self, version: str) -> Deployment:
        self.release(version)
        return self.deployer.deploy(self.environment, timeout_seconds=120)

    def begin(self, version: str) -> Deployment:
        """Asked for; returns when the first share is on its way and was looked at."""
        self.release(version)
        deployment = self.deployer.request(self.environment)
        self.deployer.wait(deployment, lambda now: bool(self.shares(now)), 60)
        return deployment

    def shares(self, deployment: Deployment) -> list[Share]:
        return canary_shares(actor=self.deployer.actor, deployment=self.deployer.read(deployment))

    def steer(self, deployment: Deployment, action: str) -> None:
        services.deployment_steer(actor=self.deployer.actor, deployment=deployment, action=action)

    def load(self) -> Load:
        return Load(self.vps.host, self.vps.http_port, self.domain, steady=6, fresh=4, slow=0, pause_seconds=0.01)


@pytest.fixture(scope="module")
def server(deployer: Deployer, docker_engine: Any, vps_image: str) -> Iterator[Vps]:
    with Vps(docker_engine, vps_image, systemd=True, user="root") as made:
        deployer.add_server(made)
        yield made


@pytest.fixture
def shop(deployer: Deployer, worker: WorkerProcess, server: Vps, tmp_path: Path) -> Shop:
    """Serves `one`."""
    made = Shop(deployer, server, tmp_path / "work")
    ended = made.deploy("one")
    assert ended.status == "success", deployer.describe(ended)
    return made


def test_a_good_release_is_promoted_also_over_a_rotation_of_the_log(shop: Shop, deployer: Deployer) -> None:
    with shop.load() as load:
        rotate = threading.Timer(9, shop.vps.run, ["logrotate -f /etc/logrotate.d/nginx"], {"user": "root"})
        rotate.start()
        ended = shop.deploy("two")
        time.sleep(0.5)
        since = time.monotonic()
        time.sleep(1)
    rotate.join()
    assert ended.status == "success", deployer.describe(ended)
    assert load.failed == []
    assert set(load.told(since)) == {"two"}
    first, second = shop.shares(ended)
    assert [(first.percent, first.state), (second.percent, second.state)] == [(5, "passed"), (50, "passed")]
    assert 0.03 < first.new.requests / (first.new.requests + first.stable.requests) < 0.07
    assert 0.4 < second.new.requests / (second.new.requests + second.stable.requests) < 0.6
    judged = [line for line in deployer.log(ended).splitlines() if " %: good. " in line]
    assert len(judged) == 2


def test_a_release_with_some_errors_is_taken_back(shop: Shop, deployer: Deployer) -> None:
    with shop.load() as load:
        ended = shop.deploy("bad")
        time.sleep(0.5)
        since = time.monotonic()
        time.sleep(1)
    assert ended.status == "rolled_back", deployer.describe(ended)
    assert "taken back at 5 %: more requests failed" in ended.error
    assert set(load.told(since)) == {"one"}
    assert load.failed
    assert len(load.failed) < 0.01 * len(load.answers), f"{len(load.failed)} of {len(load.answers)}"
    (share,) = shop.shares(ended)
    assert (share.state, share.percent) == ("bad", 5)
    assert share.stable.failed == 0
    print(f"{len(load.failed)} of {len(load.answers)} requests failed, {share}")


def test_a_slow_release_is_taken_back(shop: Shop, deployer: Deployer) -> None:
    with shop.load() as load:
        ended = shop.deploy("slow")
    assert ended.status == "rolled_back", deployer.describe(ended)
    assert "it is slower than 2 times the release before" in ended.error
    assert load.failed == []


def test_held_then_promoted_by_hand(shop: Shop, deployer: Deployer, worker: WorkerProcess) -> None:
    with shop.load() as load:
        deployment = shop.begin("two")
        shop.steer(deployment, "hold")
        deployer.wait(deployment, lambda now: shop.shares(now)[0].state == "held", 10)
        worker.kill()  # another goes on; what was wanted still holds
        deployer.start_worker()
        time.sleep(9)  # longer than a share lasts
        assert [share.state for share in shop.shares(deployment)] == ["held"]
        shop.steer(deployment, "promote")
        ended = deployer.wait_ended(deployment, 60)
        since = time.monotonic() + 0.3
        time.sleep(1)
    assert ended.status == "success", deployer.describe(ended)
    assert [share.state for share in shop.shares(ended)] == ["promoted"]
    assert set(load.told(since)) == {"two"}
    assert load.failed == []


def test_held_for_too_long_it_is_taken_back(shop: Shop, deployer: Deployer) -> None:
    deployer.change(shop.environment, strategy_options={**OPTIONS, "hold_minutes": "1"})
    with shop.load() as load:
        deployment = shop.begin("two")
        shop.steer(deployment, "hold")
        deployer.wait(deployment, lambda now: shop.shares(now)[0].state == "held", 10)
        (share,) = shop.shares(deployment)
        assert share.held_since
        assert share.held_until == share.held_since + timedelta(minutes=1)
        ended = deployer.wait_ended(deployment, 120)
        since = time.monotonic() + 0.3
        time.sleep(1)
    assert ended.status == "rolled_back", deployer.describe(ended)
    assert "it was held by hand for 1 minutes, and nobody said how to go on" in ended.error
    assert [share.told for share in shop.shares(ended)] == ["held for too long: taken back"]
    assert set(load.told(since)) == {"one"}
    assert load.failed == []


def test_aborted_by_hand(shop: Shop, deployer: Deployer) -> None:
    with shop.load() as load:
        deployment = shop.begin("two")
        shop.steer(deployment, "abort")
        ended = deployer.wait_ended(deployment, 30)
        since = time.monotonic() + 0.3
        time.sleep(1)
    assert ended.status == "rolled_back", deployer.describe(ended)
    assert "Aborted by hand at 5 %" in ended.error
    assert set(load.told(since)) == {"one"}
    assert load.failed == []
