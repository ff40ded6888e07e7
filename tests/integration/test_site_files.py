"""The site file of nginx for what is served from a folder: static sites and PHP, deployed under load."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.colour_load import Load
from tests.support.deployer import Deployer, WorkerProcess
from tests.support.gitrepo import GitRepository
from tests.support.vps import Vps

PHP = """<?php echo "version ", require __DIR__ . "/version.php", " ", $_SERVER["REQUEST_URI"] === "/" ? "" : "?";"""


@pytest.fixture(scope="module")
def server(docker_engine: Any, vps_image: str, deployer: Deployer) -> Iterator[Vps]:
    with Vps(docker_engine, vps_image, systemd=True, user="root") as made:
        made.run("usermod -aG root deploy; systemctl restart php8.4-fpm")
        deployer.add_server(made)
        yield made


def files(kind: str, version: str) -> dict[str, str | bytes | None]:
    if kind == "php":
        return {"index.php": PHP, "version.php": f"<?php return '{version}';", ".env.example": ""}
    return {"dist/index.html": f"version {version}\n"}


@pytest.mark.parametrize(("kind", "options"), [("php", {"php_version": "8.4"}), ("static", {"output": "dist"})])
def test_served_from_the_folder_without_a_request_lost(
    server: Vps, deployer: Deployer, worker: WorkerProcess, tmp_path: Path, kind: str, options: dict[str, str]
) -> None:
    name = f"site-{secrets.token_hex(3)}"
    repository = GitRepository.on_server(server, f"/root/{name}.git", tmp_path / name)
    repository.commit(files(kind, "one"))
    project = deployer.add_project(name, repository.path, recipe=kind)
    given: dict[str, Any] = {"proxy": "nginx", "domains": [f"{name}.test"], "recipe_options": options}
    environment = deployer.add_environment(
        project, "production", servers=[server.name], root=f"/srv/www/{name}", **given
    )
    first = deployer.deploy(environment)
    assert first.status == "success", deployer.describe(first)
    with Load(server.http_port, f"{name}.test") as load:
        time.sleep(0.5)
        for version in ("two", "three", "four"):
            repository.commit(files(kind, version))
            done = deployer.deploy(environment)
            assert done.status == "success", deployer.describe(done)
            time.sleep(0.5)
        rolled = deployer.wait_ended(deployer.roll_back(environment))
        assert rolled.status == "success", deployer.describe(rolled)
        time.sleep(0.5)
    assert load.failed == []
    assert list(load.first) == [f"version {version}" for version in ("one", "two", "three", "four")]
    assert max(load.last, key=lambda text: load.last[text]) == "version three"
