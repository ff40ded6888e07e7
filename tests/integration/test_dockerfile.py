"""The recipe Dockerfile with blue-green on a server with Docker: built, run, refused, taken back."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from devflow.apps.deployments.canary import canary_shares
from devflow.apps.deployments.models import Deployment
from devflow.apps.projects.models import Environment
from tests.support import container_app
from tests.support.balanced_load import Load
from tests.support.container_app import DOCKERFILE, HEALTHCHECK
from tests.support.deployer import Deployer, WorkerProcess
from tests.support.gitrepo import GitRepository
from tests.support.vps import Vps

CANARY = {"steps": "20 60", "step_seconds": "4", "min_requests": "20", "latency_factor": "0"}
QUICK = {"checks": "2", "watch_seconds": "1", "drain_seconds": "2", "standby_minutes": "5", "start_seconds": "20"}


class Shop:
    """An environment of its own on one server, with a repository there."""

    def __init__(self, deployer: Deployer, vps: Vps, folder: Path, **given: object) -> None:
        name = f"shop-{secrets.token_hex(3)}"
        self.deployer, self.vps, self.domain = deployer, vps, f"{name}.test"
        self.root = f"/srv/www/{name}"
        self.repository = GitRepository.on_server(vps, f"/home/deploy/{name}.git", folder / name)
        project = deployer.add_project(name, self.repository.path, recipe="dockerfile")
        self.environment: Environment = deployer.add_environment(
            project,
            "production",
            servers=[server_of(deployer, vps)],
            root=self.root,
            strategy="blue-green",
            strategy_options=QUICK,
            proxy="nginx",
            domains=[self.domain],
            **given,
        )

    def commit(self, version: str, dockerfile: str = DOCKERFILE, **how: float) -> str:
        files = {"Dockerfile": dockerfile, "server.py": container_app.server(version, **how)}
        return self.repository.commit(files, message=version)

    def deploy(self, status: str = "success") -> Deployment:
        ended = self.deployer.deploy(self.environment, timeout_seconds=150)
        assert ended.status == status, self.deployer.describe(ended)
        return ended

    def log(self, deployment: Deployment) -> str:
        return self.deployer.log(deployment)

    def page(self, path: str = "/") -> str:
        return self.vps.run(f"curl -sS -m 10 -H 'Host: {self.domain}' http://127.0.0.1{path}").stdout

    def containers(self) -> dict[str, str]:
        """State and restart policy of those of this environment, by colour."""
        form = '{{index .Config.Labels "devflow.colour"}}={{.State.Status}} {{.HostConfig.RestartPolicy.Name}}'
        found = self.vps.run(
            f"docker ps -aq --filter label=devflow.environment={self.environment.pk.hex}"
            f" | xargs -r docker inspect --format '{form}'"
        ).stdout
        return dict(line.split("=") for line in found.splitlines())

    def images(self) -> list[str]:
        return self.vps.run(
            f"docker image ls --no-trunc --format '{{{{.ID}}}}' devflow/{self.environment.pk.hex}"
        ).stdout.split()

    def live(self) -> str:
        return self.vps.run(f"cut -d ' ' -f 1 {self.root}/.devflow/live").stdout.strip()


def server_of(deployer: Deployer, vps: Vps) -> str:
    """The name of the server in the panel, which is told of it the first time."""
    known = getattr(deployer, "known_servers", None)
    if known is None:
        known = deployer.known_servers = set()  # type: ignore[attr-defined]
    if vps.name not in known:
        vps.put("deploy ALL=(ALL) NOPASSWD: ALL\n", "/etc/sudoers.d/deploy", user="root", mode="440")
        deployer.add_server(vps)
        known.add(vps.name)
    return vps.name


@pytest.fixture
def shop(deployer: Deployer, vps_docker: Vps, worker: WorkerProcess, tmp_path: Path) -> Iterator[Shop]:
    made = Shop(deployer, vps_docker, tmp_path)
    yield made
    found = f"docker ps -aq --filter label=devflow.environment={made.environment.pk.hex}"
    vps_docker.run(f"{found} | xargs -r docker rm -f; sudo rm -f /etc/nginx/devflow/*{made.environment.pk.hex}*")


def test_a_commit_is_built_run_replaced_and_gone_back_to(shop: Shop, deployer: Deployer) -> None:
    deployer.set_variables(shop.environment, {"GREETING": "it's\ntwo lines", "NAME": "Ada"})
    shop.commit("one")
    first = shop.deploy()
    assert shop.page() == "one"
    assert shop.page("/env/GREETING") == "it's\ntwo lines"
    assert shop.page("/env/NAME") == "Ada"
    assert first.observed["image"] in shop.images()
    assert shop.containers() == {shop.live(): "running unless-stopped"}
    listening = shop.vps.run(f"ss -Htln 'sport = :{shop.environment.port}'").stdout
    assert {line.split()[3].rpartition(":")[0] for line in listening.splitlines()} == {"127.0.0.1"}

    shop.commit("two")
    before = shop.live()
    shop.deploy()
    assert shop.page() == "two"
    assert shop.live() != before
    assert shop.containers() == {shop.live(): "running unless-stopped", before: "running no"}

    again = shop.deploy()
    assert "is here already" in shop.log(again)
    back = deployer.wait_ended(deployer.roll_back(shop.environment, to=first), 60)
    assert back.status == "success", deployer.describe(back)
    assert shop.page() == "one"
    assert "docker build" not in shop.log(back)


def test_what_the_image_is_built_and_run_with(shop: Shop, deployer: Deployer) -> None:
    deployer.set_variables(shop.environment, {"EDITION": "gold", "TOKEN": "s3cret-of-the-build"})
    volume = f"data-{secrets.token_hex(3)}"
    options = {
        "build_secrets": "TOKEN",
        "volumes": f"{volume}:/data ./uploads:/uploads",
        "command": "python3 '/server.py'",
    }
    deployer.change(shop.environment, recipe_options=options)
    digest = hashlib.sha256(b"s3cret-of-the-build").hexdigest()
    wants = f'RUN --mount=type=secret,id=TOKEN echo "{digest}  /run/secrets/TOKEN" | sha256sum -c\n'
    shop.commit("one", DOCKERFILE + wants)
    deployment = shop.deploy()
    assert shop.page("/count") == "1"
    history = shop.vps.run(
        f"docker history --no-trunc {deployment.observed['image']}; docker inspect {deployment.observed['image']}"
    )
    assert "s3cret" not in history.stdout
    shop.commit("two", DOCKERFILE + wants)
    shop.deploy()
    assert shop.page("/count") == "2"
    shop.vps.run(f"docker ps -aq --filter volume={volume} | xargs docker rm -f && docker volume rm {volume}")
    shop.commit("three", DOCKERFILE + wants)
    refused = shop.deploy("failed")
    assert f"The volume {volume}, which held this environment's data, is not on" in refused.error
    assert volume not in shop.vps.run("docker volume ls -q").stdout


@pytest.mark.parametrize(
    ("dockerfile", "told"),
    [
        ("FROM devflow-base\nRUN false\n", "returned a non-zero code"),
        ("FROM devflow-base\nFLY away\n", "unknown instruction"),
        (None, "There is no file Dockerfile in the commit"),
    ],
)
def test_an_image_that_cannot_be_built(shop: Shop, dockerfile: str | None, told: str) -> None:
    shop.repository.commit({"Dockerfile": dockerfile or "", "other": "x"})
    if dockerfile is None:
        shop.repository.commit({"Dockerfile": None})
    ended = shop.deploy("failed")
    assert told.lower() in ended.error.lower() or "did not complete successfully" in ended.error, ended.error
    assert shop.containers() == {}


@pytest.mark.parametrize(
    ("how", "dockerfile", "told"),
    [
        ({"health": 500}, DOCKERFILE + HEALTHCHECK, "is not healthy, by its own health check"),
        ({"ends_after": 3}, DOCKERFILE, "ended and was started again"),
        ({"starts_after": 60}, DOCKERFILE, "does not become healthy"),
    ],
)
def test_a_release_that_is_ill_never_serves(
    shop: Shop, deployer: Deployer, how: dict[str, float], dockerfile: str, told: str
) -> None:
    deployer.change(shop.environment, strategy_options=QUICK | {"watch_seconds": "8", "start_seconds": "8"})
    shop.commit("good")
    shop.deploy()
    was = shop.live()
    shop.commit("ill", dockerfile, **how)
    ended = deployer.deploy(shop.environment, timeout_seconds=120)
    assert ended.status in ("failed", "rolled_back"), deployer.describe(ended)
    assert told in ended.error, deployer.describe(ended)
    assert "version ill wakes up" in shop.log(ended)
    assert shop.page() == "good"
    assert shop.containers() == {was: "running unless-stopped"}


def test_thirty_seconds_to_start_are_waited_for(shop: Shop, deployer: Deployer) -> None:
    deployer.change(shop.environment, strategy_options=QUICK | {"start_seconds": "60"})
    shop.commit(
        "slow", DOCKERFILE + HEALTHCHECK.replace("--retries=2", "--start-period=60s --retries=2"), starts_after=30
    )
    deployment = shop.deploy()
    assert shop.page() == "slow"
    assert "Waiting for the container's own health check" in shop.log(deployment)


def test_a_slow_start_that_docker_calls_ill_meanwhile_is_waited_for(shop: Shop, deployer: Deployer) -> None:
    deployer.change(shop.environment, strategy_options=QUICK | {"start_seconds": "60"})
    assert "--interval=1s" in HEALTHCHECK
    shop.commit("slow", DOCKERFILE + HEALTHCHECK, starts_after=8)
    deployment = shop.deploy()
    assert shop.page() == "slow"
    assert "Waiting for the container's own health check" in shop.log(deployment)


def test_a_taken_port_is_told_before_anything_is_done(shop: Shop) -> None:
    shop.commit("one")
    port = shop.environment.port
    shop.vps.run(f"docker run -d --name taker --publish 127.0.0.1:{port}:80 devflow-base sleep 600")
    try:
        assert f"Port {port} of" in shop.deploy("failed").error
        assert shop.images() == []
    finally:
        shop.vps.run("docker rm -f taker")


def test_a_user_without_rights_and_a_docker_that_is_restarted(shop: Shop, deployer: Deployer) -> None:
    shop.commit("one")
    shop.deploy()
    shop.vps.run("systemctl restart docker", user="root")
    deployer.wait(shop.deployer.request(shop.environment), lambda now: now.is_ended, 90)
    assert shop.page() == "one"
    assert shop.containers()[shop.live()] == "running unless-stopped"
    # in the middle: the new container is gone with the daemon, the one that serves comes back
    deployer.change(shop.environment, strategy_options=QUICK | {"watch_seconds": "15"})
    shop.commit("two")
    deployment = deployer.request(shop.environment)
    deployer.wait_for_step(deployment, "watch", 60)
    shop.vps.run("systemctl restart docker", user="root")
    ended = deployer.wait_ended(deployment, 120)
    assert shop.page() == ("two" if ended.status == "success" else "one"), deployer.describe(ended)
    assert shop.containers()[shop.live()] == "running unless-stopped"


def test_old_images_go_and_nothing_else(shop: Shop, deployer: Deployer) -> None:
    deployer.change(shop.environment, keep=2)
    shop.vps.run("docker tag devflow-base someone/elses:1")
    for version in ("one", "two", "three", "four"):
        shop.commit(version)
        shop.deploy()
    kept = shop.vps.run(f"cat {shop.root}/releases/*/.devflow-image").stdout
    assert {line.split()[0] for line in kept.splitlines()} == set(shop.images())
    assert 2 <= len(shop.images()) <= 3
    assert "someone/elses" in shop.vps.run("docker image ls").stdout


def test_canary_gives_a_container_a_share_of_the_requests_first(shop: Shop, deployer: Deployer) -> None:
    shop.commit("one")
    shop.deploy()
    deployer.change(shop.environment, strategy="canary", strategy_options={**QUICK, **CANARY})
    with Load(shop.vps.host, shop.vps.http_port, shop.domain, slow=0) as load:
        shop.commit("two")
        good = shop.deploy()
        shop.commit("three", fails_every=4)
        bad = shop.deploy("rolled_back")
    shares = canary_shares(actor=deployer.actor, deployment=good)
    assert [(share.percent, share.state) for share in shares] == [(20, "passed"), (60, "passed")]
    assert "taken back at 20 %: more requests failed" in bad.error, deployer.describe(bad)
    assert {answer.text for answer in load.failed} == {"three"}
    assert shop.page() == "two"
    assert shop.containers()[shop.live()] == "running unless-stopped"


def test_in_place_of_the_old_one_for_those_who_accept_it(shop: Shop, deployer: Deployer) -> None:
    deployer.change(
        shop.environment, strategy="recreate", strategy_options={"watch_seconds": "1", "start_seconds": "20"}
    )
    shop.commit("one")
    first = shop.deploy()
    assert shop.page() == "one"
    shop.commit("two")
    shop.deploy()
    assert shop.page() == "two"
    assert list(shop.containers().values()) == ["running unless-stopped"]
    shop.commit("ill", ends_after=0.1)
    assert deployer.deploy(shop.environment, timeout_seconds=120).status in ("failed", "rolled_back")
    assert shop.page() == "two"
    back = deployer.wait_ended(deployer.roll_back(shop.environment, to=first), 60)
    assert back.status == "success", deployer.describe(back)
    assert shop.page() == "one"


def test_a_user_outside_of_the_group_docker(shop: Shop, deployer: Deployer) -> None:
    shop.commit("one")
    shop.vps.run("gpasswd -d deploy docker", user="root")
    try:
        shop.vps.restart_sshd()
        assert "sudo usermod -aG docker deploy" in shop.deploy("failed").error
    finally:
        shop.vps.run("usermod -aG docker deploy", user="root")
        shop.vps.restart_sshd()
    shop.deploy()
