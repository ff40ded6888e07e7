"""Real servers for the tests in this folder.

Where no Docker engine can be had, the tests are skipped by name, with the reason; in CI they fail.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from pytest_django import DjangoDbBlocker

from tests.support.deployer import Deployer, WorkerProcess
from tests.support.docker_engine import Engine, EngineUnavailableError, ensure_engine
from tests.support.gitrepo import GitRepository
from tests.support.sites import Estate
from tests.support.vps import Vps, sweep
from tests.support.vps_image import ensure_docker_image, ensure_image

Made = TypeVar("Made")

LONGEST = (
    "blue_green",
    "compose",
    "canaries",
    "rolling",
    "dockerfile",
    "swarm",
    "services",
    "install",
    "bad_input",
    "panel_backup",
    "container_pages",
    "privacy",
    "images",
    "canary",
    "up",
    "demo",
    "wheel",
    "php_recipes",
    "recipes",
    "chaos",
)
"""Files that take a minute and more. They begin first, so that none is under way alone when all others are done."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test below this folder is an integration test. A process takes the next file in the order of `items`."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker("integration")
    place = {here / f"test_{name}.py": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture(scope="session")
def docker_engine() -> Engine:
    """A Docker engine that answers, freed of what dead runs left."""
    engine = _or_explain(ensure_engine)
    sweep(engine)
    return engine


@pytest.fixture(scope="session")
def vps_image(docker_engine: Engine) -> str:
    """The tag of the test servers' image; the first time it is built, which takes a few minutes."""
    return _or_explain(lambda: ensure_image(docker_engine))


@pytest.fixture(scope="session")
def docker_image(docker_engine: Engine, vps_image: str) -> str:
    """The tag of the image with Docker and HAProxy; the first time it is made, which takes a minute."""
    return _or_explain(lambda: ensure_docker_image(docker_engine))


@pytest.fixture(scope="module")
def vps(docker_engine: Engine, vps_image: str) -> Iterator[Vps]:
    """A server of the module's own: sshd, no systemd; `deploy` is its user."""
    with Vps(docker_engine, vps_image) as server:
        yield server


@pytest.fixture(scope="module")
def vps_systemd(docker_engine: Engine, vps_image: str) -> Iterator[Vps]:
    """A server of the module's own with systemd, nginx and PHP-FPM running."""
    with Vps(docker_engine, vps_image, systemd=True) as server:
        yield server


@pytest.fixture(scope="module")
def vps_docker(docker_engine: Engine, docker_image: str) -> Iterator[Vps]:
    """A server of the module's own with systemd that runs containers; `vps_docker.base_image()` to build on."""
    with Vps(docker_engine, docker_image, systemd=True, docker=True) as server:
        server.base_image()
        yield server


@pytest.fixture
def make_vps(docker_engine: Engine, vps_image: str) -> Iterator[Callable[..., Vps]]:
    """Starts more servers for one test: `make_vps(tmpfs={"/srv/www": "size=20m,uid=1000"})`."""
    servers: list[Vps] = []

    def make(**options: object) -> Vps:
        server = Vps(docker_engine, vps_image, **options)  # type: ignore[arg-type]
        servers.append(server)
        return server.__enter__()

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def repository(vps: Vps, tmp_path: Path) -> GitRepository:
    """An empty bare repository on `vps`, for the one test."""
    return GitRepository.on_server(vps, f"/home/{vps.user}/{tmp_path.name}.git", tmp_path / "work")


@pytest.fixture(scope="session")
def deployer(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker) -> Iterator[Deployer]:
    """Database, workers and services: a panel without pages. Its database is open to every test of this folder."""
    with django_db_blocker.unblock():
        made = Deployer(tmp_path_factory.mktemp("deployer") / "data").start()
        try:
            yield made
        finally:
            made.stop()


@pytest.fixture
def worker(deployer: Deployer) -> WorkerProcess:
    """The one worker there is. A test may do anything to it."""
    return deployer.keep_one_worker()


@pytest.fixture(scope="module")
def estate(deployer: Deployer, vps: Vps, tmp_path_factory: pytest.TempPathFactory) -> Estate:
    """A project whose repository (`estate.repository`) lies on `vps`, where nginx serves all its sites."""
    return Estate(deployer, [vps], tmp_path_factory.mktemp("work"))


def _or_explain(make: Callable[[], Made]) -> Made:
    try:
        return make()
    except EngineUnavailableError as error:
        reason = f"needs a test server in a container: {error}"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
