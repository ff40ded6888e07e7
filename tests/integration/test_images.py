"""An image that is built on one server and runs on others: brought over SSH or by a registry, and what may fail."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from devflow.apps.deployments.models import Deployment
from devflow.apps.projects.models import Environment
from tests.support import container_app
from tests.support.colour_load import Load
from tests.support.container_app import DOCKERFILE
from tests.support.deployer import Deployer, WorkerProcess
from tests.support.docker_engine import Engine
from tests.support.gitrepo import GitRepository
from tests.support.vps import Vps

QUICK = {"checks": "1", "watch_seconds": "1", "drain_seconds": "1", "standby_minutes": "5", "start_seconds": "20"}
HTPASSWD = "panel:$2b$05$abcdefghijklmnopqrstuue2ck70fZ.9PKNXfGwHVz77xcx.X3Aaq\n"  # panel-pass
BIG = "RUN dd if=/dev/urandom of=/big bs=1M count=30\n"
LAYERED = DOCKERFILE.replace("COPY", f"{BIG}COPY")
"""A layer of 30 MB that is made once, below the one that changes with each commit."""


@pytest.fixture(scope="module")
def servers(docker_engine: Engine, docker_image: str, deployer: Deployer) -> Iterator[list[Vps]]:
    """A builder, and two that serve."""
    made = [Vps(docker_engine, docker_image, systemd=True, docker=True) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(Vps.__enter__, made))
    try:
        for server in made:
            server.put("deploy ALL=(ALL) NOPASSWD: ALL\n", "/etc/sudoers.d/deploy", user="root", mode="440")
            deployer.add_server(server)
        made[0].base_image()
        yield made
    finally:
        for server in made:
            server.close()


@pytest.fixture(scope="module")
def registry(servers: list[Vps]) -> str:
    """The address of a registry on the builder that wants a login (panel, panel-pass)."""
    builder = servers[0]
    address = builder.run("ip -4 -o addr show eth0 | sed 's/.*inet \\([0-9.]*\\).*/\\1/'").stdout.strip() + ":5000"
    builder.put(HTPASSWD, "/etc/docker/registry/htpasswd", user="root")
    builder.run("systemctl start docker-registry", user="root")
    for server in servers:
        server.put(f'{{"insecure-registries": ["{address}"]}}\n', "/etc/docker/daemon.json", user="root")
        server.run("systemctl reload docker", user="root")
    return address


class Shop:
    """An environment of its own on the two servers, built on the third."""

    def __init__(self, deployer: Deployer, servers: list[Vps], folder: Path, **given: Any) -> None:
        self.deployer, self.builder, self.targets = deployer, servers[0], servers[1:]
        name = f"shop-{secrets.token_hex(3)}"
        self.domain = f"{name}.test"
        path = f"/home/deploy/{name}.git"
        self.repositories = [GitRepository.on_server(each, path, folder / each.name) for each in servers]
        project = deployer.add_project(name, path, recipe="dockerfile")
        self.environment: Environment = deployer.add_environment(
            project,
            "production",
            servers=[each.name for each in self.targets],
            builder=self.builder.name,
            root=f"/srv/www/{name}",
            strategy="blue-green",
            strategy_options=QUICK,
            proxy="nginx",
            domains=[self.domain],
            **given,
        )

    def commit(self, version: str, dockerfile: str = LAYERED, *, ends_after: float = 0) -> None:
        files = {"Dockerfile": dockerfile, "server.py": container_app.server(version, ends_after=ends_after)}
        commits = {each.commit(files, message=version) for each in self.repositories}
        assert len(commits) == 1, "the repositories are not the same"

    def deploy(self, status: str = "success") -> Deployment:
        ended = self.deployer.deploy(self.environment, timeout_seconds=150)
        assert ended.status == status, self.deployer.describe(ended)
        return ended

    def pages(self) -> list[str]:
        ask = f"curl -sS -m 10 -H 'Host: {self.domain}' http://127.0.0.1/"
        return [each.run(ask).stdout for each in self.targets]

    def locks(self) -> list[str]:
        found = (
            f"cat /srv/www/*/.devflow/lock ~/.devflow/sites/{self.environment.pk.hex}/.devflow/lock 2>/dev/null || :"
        )
        return [each.run(found).stdout for each in (self.builder, *self.targets)]


@pytest.fixture
def shop(
    deployer: Deployer, servers: list[Vps], worker: WorkerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shop]:
    for key in ("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"):
        monkeypatch.setenv(key, "2026-01-01T00:00:00Z")
    made = Shop(deployer, servers, tmp_path)
    yield made
    for server in servers:
        found = f"docker ps -aq --filter label=devflow.environment={made.environment.pk.hex}"
        server.run(f"{found} | xargs -r docker rm -f; sudo rm -f /etc/nginx/devflow/*{made.environment.pk.hex}*")


def test_only_missing_layers_come_over_ssh_and_the_builder_serves_nothing(shop: Shop, deployer: Deployer) -> None:
    shop.commit("one")
    first = shop.deploy()
    assert shop.pages() == ["one", "one"]
    assert deployer.log(first).count("The image was brought from") == 2
    shop.commit("two")
    second = shop.deploy()
    assert shop.pages() == ["two", "two"]
    log = deployer.log(second)
    assert log.count("0.0 MB; 2 of its layers were there already") == 2, log
    ids = {
        each.run(f"docker image ls -q --no-trunc devflow/{shop.environment.pk.hex} | head -n 1").stdout
        for each in shop.targets
    }
    assert ids == {f"{second.observed['image']}\n"}
    assert shop.builder.run(f"docker ps -aq --filter label=devflow.environment={shop.environment.pk.hex}").stdout == ""
    assert shop.locks() == ["", "", ""]
    shop.builder.run("docker rmi -f $(docker image ls -q devflow/" + shop.environment.pk.hex + ")")
    back = deployer.wait_ended(deployer.roll_back(shop.environment, to=first), 60)
    assert back.status == "success", deployer.describe(back)
    assert shop.pages() == ["one", "one"]


def test_rolling_over_servers_with_containers(shop: Shop, deployer: Deployer) -> None:
    """The builder balances, too."""
    address = {each.name: each.run("hostname -i").stdout.split()[0] for each in shop.targets}
    deployer.change(
        shop.environment,
        strategy="rolling",
        balancer=shop.builder.name,
        strategy_options={
            **{name: QUICK[name] for name in ("checks", "watch_seconds", "start_seconds")},
            **{"balancer": "haproxy", "drain_seconds": "5"},
            "nodes": " ".join(f"{name}={ip}:80" for name, ip in address.items()),
        },
    )
    shop.commit("one")
    first = shop.deploy()
    assert shop.pages() == ["one", "one"]
    with Load(shop.builder.http_port, shop.domain) as load:
        shop.commit("two")
        shop.deploy()
        assert shop.pages() == ["two", "two"]
        shop.commit("ill", ends_after=0.2)
        shop.deploy("rolled_back")
        assert shop.pages() == ["two", "two"]
        back = deployer.wait_ended(deployer.roll_back(shop.environment, to=first), 90)
        assert back.status == "success", deployer.describe(back)
    assert load.failed == []
    assert set(load.answers) == {"one", "two"}
    assert shop.pages() == ["one", "one"]
    assert shop.locks() == ["", "", ""]


def test_a_worker_that_dies_while_an_image_is_brought(shop: Shop, deployer: Deployer) -> None:
    shop.commit("one", DOCKERFILE.replace("COPY", f"{BIG.replace('30', '200')}COPY"))
    deployment = deployer.request(shop.environment)
    deployer.wait_for_step(deployment, "bring image", 90)
    deployer.workers[-1].kill()
    deployer.keep_one_worker()
    ended = deployer.wait_ended(deployment, 150)
    assert ended.status == "success", deployer.describe(ended)
    assert shop.pages() == ["one", "one"]


def test_through_a_registry_by_digest(shop: Shop, deployer: Deployer, registry: str) -> None:
    deployer.set_variables(shop.environment, {"REGISTRY_PASSWORD": "panel-pass", "NAME": "Ada"})
    options = {"registry": f"{registry}/shop", "registry_user": "panel", "registry_password": "REGISTRY_PASSWORD"}
    deployer.change(shop.environment, recipe_options=options)
    shop.commit("one")
    deployment = shop.deploy()
    assert shop.pages() == ["one", "one"]
    assert deployment.observed["digest"].startswith("sha256:")
    log = deployer.log(deployment)
    assert log.count(f"Pulling {registry}/shop@{deployment.observed['digest']}") == 2
    assert "panel-pass" not in log
    for server in (shop.builder, *shop.targets):
        left = server.run("cat ~/.docker/config.json ~/.devflow/runs/*/docker/config.json 2>/dev/null || :").stdout
        assert registry not in left
    told = shop.targets[0].run(
        f"docker ps -q --filter label=devflow.environment={shop.environment.pk.hex} | xargs docker inspect"
    )
    assert "panel-pass" not in told.stdout
    assert "NAME=Ada" in told.stdout

    deployer.change(shop.environment, recipe_options={"registry": f"{registry}/shop"})
    shop.commit("two")
    assert "does not let" in shop.deploy("failed").error
    deployer.set_variables(shop.environment, {"REGISTRY_PASSWORD": "wrong"})
    deployer.change(shop.environment, recipe_options=options)
    assert "log in as panel" in shop.deploy("failed").error
    shop.builder.run("systemctl stop docker-registry", user="root")
    try:
        assert f"The registry {registry} cannot be reached" in shop.deploy("failed").error
    finally:
        shop.builder.run("systemctl start docker-registry", user="root")
    assert shop.pages() == ["one", "one"]
    assert shop.locks() == ["", "", ""]


def test_a_disk_that_is_full(shop: Shop, deployer: Deployer) -> None:
    deployer.change(shop.environment, recipe_options={"build_disk": "9999999"})
    shop.commit("one")
    assert "building an image wants 9999999 MB" in shop.deploy("failed").error
    deployer.change(shop.environment, recipe_options={"build_disk": "1"})
    folder = "/var/lib/docker"
    shop.builder.run(
        f"systemctl stop docker.socket docker && mount -t tmpfs -o size=60m tmpfs {folder} && systemctl start docker",
        user="root",
    )
    try:
        shop.builder.base_image()
        assert "The disk of" in shop.deploy("failed").error
        shop.builder.run(f"mount -o remount,size=80m {folder}", user="root")  # there is no room to save it
        assert "no space left" in shop.deploy("failed").error
    finally:
        shop.builder.run(f"systemctl stop docker.socket docker; umount {folder}; systemctl start docker", user="root")
    assert shop.locks() == ["", "", ""]
    shop.deploy()
    assert shop.pages() == ["one", "one"]
