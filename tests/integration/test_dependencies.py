"""Dependencies and built files that later releases take over, with Composer, npm and pip on a real server."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devflow.apps.deployments.models import Deployment
from tests.support.apps import commit_app, commit_laravel
from tests.support.deployer import Deployer
from tests.support.gitrepo import GitRepository
from tests.support.vps import Vps

pytestmark = [pytest.mark.usefixtures("worker"), pytest.mark.timeout(300)]

APP_KEY = f"base64:{base64.b64encode(bytes(32)).decode()}"
BUILD = """\
import fs from "node:fs";
import { greet } from "greeting";
fs.mkdirSync("public/build", { recursive: true });
fs.writeFileSync("public/build/app.js", greet(fs.readFileSync("resources/name.txt", "utf8")));
"""


class App:
    """A repository on the server and an environment that deploys it; `recipe` '' is detected."""

    def __init__(self, deployer: Deployer, server: Vps, work: Path, *, recipe: str = "", **given: Any) -> None:
        self.deployer, self.server = deployer, server
        name = f"kept-{work.name}".replace("_", "-").lower()[:40].strip("-")
        self.root = f"/srv/www/{name}"
        self.repository = GitRepository.on_server(server, f"/home/{server.user}/{name}.git", work)
        project = deployer.add_project(name, self.repository.path, recipe=recipe)
        self.environment = deployer.add_environment(
            project, "production", servers=[server.name], root=self.root, **given
        )

    def deploy(self, *, ends: str = "success", **given: Any) -> Deployment:
        deployment = self.deployer.deploy(self.environment, timeout_seconds=120, **given)
        assert deployment.status == ends, self.deployer.describe(deployment)
        return deployment

    def reused(self, **given: Any) -> list[str]:
        """What a deployment says that it reuses."""
        return re.findall(r"^Reused (.+?):", self.deployer.log(self.deploy(**given)), re.MULTILINE)

    def sh(self, command: str) -> str:
        """Run in the site's folder."""
        return self.server.run(f"cd {self.root} && {command}").stdout.strip()

    @property
    def kept(self) -> list[str]:
        return self.sh("ls -A .devflow/kept 2>/dev/null || true").split()


@pytest.fixture(scope="module")
def server(vps: Vps, deployer: Deployer) -> Vps:
    """The server, checked: its facts are known."""
    deployer.keep_one_worker()
    deployer.wait_checked(deployer.add_server(vps))
    return vps


@pytest.fixture
def make_app(server: Vps, deployer: Deployer, tmp_path: Path) -> Callable[..., App]:
    def make(**given: Any) -> App:
        return App(deployer, server, tmp_path, **given)

    return make


def npm_package(version: str, text: str) -> bytes:
    """A package `greeting` as `npm pack` makes it."""
    package = {"name": "greeting", "version": version, "type": "module", "main": "index.js"}
    files = {"package.json": json.dumps(package), "index.js": text}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content.encode()))
    return gzip.compress(packed.getvalue(), mtime=0)  # the lock file holds its checksum


def npm_project(server: Vps, version: str, **scripts: str) -> dict[str, str | bytes]:
    """package.json, its lock and the package that it needs, with a build."""
    package = {
        "name": "shop",
        "private": True,
        "type": "module",
        "scripts": {"build": "node build.mjs", **scripts},
        "dependencies": {"greeting": f"file:lib/greeting-{version}.tgz"},
    }
    archive = npm_package(version, f'export const greet = (name) => "{version} greets " + name;\n')
    folder = server.run("mktemp -d").stdout.strip()
    server.put(json.dumps(package), f"{folder}/package.json")
    server.put(base64.b64encode(archive).decode(), f"{folder}/lib/archive")
    make = f"base64 -d lib/archive >lib/greeting-{version}.tgz && npm install --package-lock-only --ignore-scripts -s"
    server.run(f"cd {folder} && {make}")
    lock = server.run(f"cat {folder}/package-lock.json && rm -r {folder}").stdout
    return {
        "package.json": json.dumps(package),
        "package-lock.json": lock,
        f"lib/greeting-{version}.tgz": archive,
        "build.mjs": BUILD,
        "resources/name.txt": "Ada",
    }


def wheel(version: str) -> bytes:
    """A package `greeting` with a console script of that name."""
    packed = io.BytesIO()
    info = f"greeting-{version}.dist-info"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("greeting.py", f'def main():\n    import sys\n    print("{version}", sys.prefix)\n')
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: greeting\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/entry_points.txt", "[console_scripts]\ngreet = greeting:main\n")
        archive.writestr(f"{info}/RECORD", "")
    return packed.getvalue()


# --- Laravel: Composer, npm and a build -------------------------------------------------------------------------------


def test_laravel_with_an_unchanged_lock_and_with_a_changed_one(make_app: Callable[..., App]) -> None:
    app = make_app(phase_commands={"prepare": ['touch "$DB_DATABASE"']}, keep=3)
    variables = {"APP_KEY": APP_KEY, "DB_DATABASE": f"{app.root}/shared/storage/database.sqlite"}
    app.deployer.set_variables(app.environment, variables)
    commit_laravel(app.repository, app.server)
    app.repository.commit(npm_project(app.server, "1.0.0"))
    assert app.reused() == []
    assert app.sh("cat current/public/build/app.js") == "1.0.0 greets Ada"
    assert len(app.kept) == 3

    app.repository.commit({"app/Extra.php": "<?php namespace App; class Extra {}", "resources/name.txt": "Eve"})
    assert app.reused() == ["vendor", "node_modules"]
    assert app.sh("cat current/public/build/app.js") == "1.0.0 greets Eve"
    assert "App\\\\Extra" in app.sh("cat current/vendor/composer/autoload_classmap.php")
    assert app.sh("cd current && php artisan --version && ls bootstrap/cache").startswith("Laravel Framework 10")
    assert "packages.php" in app.sh("ls current/bootstrap/cache")  # Composer's scripts ran in this release
    assert app.reused() == ["vendor", "node_modules", "what it made before"]  # the same commit again
    assert app.sh("cat current/public/build/app.js") == "1.0.0 greets Eve"

    for version, reused in (("2.0.0", ["vendor"]), ("1.0.0", ["vendor", "node_modules"])):
        app.repository.commit({**npm_project(app.server, version), "resources/name.txt": "Eve"})
        assert app.reused() == reused
        assert app.sh("cat current/public/build/app.js") == f"{version} greets Eve"
    assert app.sh("ls releases | wc -l") == "3"


def test_what_the_build_reads_can_be_named(make_app: Callable[..., App]) -> None:
    app = make_app(recipe="static", recipe_options={"build_inputs": "resources build.mjs"})
    app.repository.commit({**npm_project(app.server, "1.0.0"), "index.html": "one"})
    assert app.reused() == []
    app.repository.commit({"index.html": "two"})
    assert app.reused() == ["node_modules", "what it made before"]
    assert app.sh("cat current/index.html current/public/build/app.js") == "two1.0.0 greets Ada"
    app.repository.commit({"resources/name.txt": "Eve"})
    assert app.reused() == ["node_modules"]
    assert app.sh("cat current/public/build/app.js") == "1.0.0 greets Eve"


def test_scripts_of_the_project_run_in_each_release(make_app: Callable[..., App]) -> None:
    app = make_app(recipe="static")
    app.repository.commit(npm_project(app.server, "1.0.0", postinstall="pwd >here", prepare="echo prepared >>here"))
    assert app.reused() == []
    app.repository.commit({"page.html": "new"})
    assert app.reused() == ["node_modules"]
    assert app.sh("cat current/here").split() == [app.sh("cd current && pwd -P"), "prepared"]


# --- releases are apart -----------------------------------------------------------------------------------------------


def test_releases_share_nothing_and_one_is_pruned_without_harm(make_app: Callable[..., App]) -> None:
    app = make_app(recipe="php", keep=2)
    commit_app(app.repository, "php")
    assert app.reused() == []
    assert app.reused() == ["vendor"]
    linked = app.sh("find releases .devflow/kept -type f -links +1 | wc -l")
    assert linked == "0"
    first, second = app.sh("ls releases").split()
    app.sh(f"sh -c 'find releases/{second}/vendor -type f | while read -r file; do echo broken >>\"$file\"; done'")
    assert app.sh(f"grep -rl broken releases/{first} .devflow/kept || true") == ""
    assert app.reused() == ["vendor"]  # `first` is pruned
    assert app.sh("ls releases").split()[0] == second
    assert app.sh("cd current && REQUEST_URI=/ php public/index.php") == "PHP sample"
    assert len(app.kept) == 1
    assert app.reused(is_clean=True) == []
    assert app.reused() == ["vendor"]


def test_a_script_of_composer_that_fails(make_app: Callable[..., App]) -> None:
    app = make_app(recipe="php")
    commit_app(app.repository, "php")
    app.deploy()
    kept = app.kept
    composer = app.server.run(f"cat {app.root}/current/composer.json").stdout
    bad = {**json.loads(composer), "scripts": {"post-install-cmd": ["echo before; exit 3"]}}
    app.repository.commit({"composer.json": json.dumps(bad)}, message="A script that fails")
    failed = app.deploy(ends="failed")
    assert "step 'composer install' failed with exit code 3" in failed.error
    assert app.sh("cd current && REQUEST_URI=/ php public/index.php") == "PHP sample"
    assert app.kept == kept
    app.repository.commit({"composer.json": composer}, message="Back")
    assert app.reused() == ["vendor"]


def test_a_cancelled_install_leaves_nothing_kept(make_app: Callable[..., App]) -> None:
    app = make_app(recipe="static", task_commands={"npm ci": "mkdir node_modules; echo half >node_modules/x; sleep 60"})
    app.repository.commit(npm_project(app.server, "1.0.0"))
    deployment = app.deployer.request(app.environment)
    app.deployer.wait_for_step(deployment, "npm ci")
    app.deployer.cancel(deployment)
    assert app.deployer.wait_ended(deployment).status == "cancelled"
    assert [entry for entry in app.kept if not entry.startswith(".")] == []


def test_a_disk_without_room_for_what_is_kept(deployer: Deployer, make_vps: Callable[..., Vps], tmp_path: Path) -> None:
    server = make_vps(tmpfs={"/srv/www": "size=90m,uid=1000"})
    deployer.wait_checked(deployer.add_server(server))
    app = App(deployer, server, tmp_path, recipe="php")
    commit_app(app.repository, "php")
    deployment = app.deploy()
    assert "There is too little free space for it on the disk" in deployer.log(deployment)
    assert (app.kept, app.reused()) == ([], [])


# --- Python -----------------------------------------------------------------------------------------------------------


def test_a_virtual_environment_works_in_the_release_that_takes_it_over(make_app: Callable[..., App]) -> None:
    app = make_app(recipe="python", keep=2)
    requirements = "--no-index\n--find-links wheels\ngreeting=={}\n"
    files = {f"wheels/greeting-{version}-py3-none-any.whl": wheel(version) for version in ("1.0", "2.0")}
    app.repository.commit({**files, "requirements.txt": requirements.format("1.0"), "app.py": "one"})
    assert app.reused() == []
    made_for = app.sh("ls releases")
    for text in ("two", "three"):
        app.repository.commit({"app.py": text})
        assert app.reused() == [".venv"]
    place = app.sh("cd current && pwd -P")
    assert made_for not in app.sh("ls releases")
    assert app.sh("current/.venv/bin/greet") == f"1.0 {place}/.venv"
    assert app.sh("current/.venv/bin/python -c 'import sys; print(sys.prefix)'") == f"{app.root}/current/.venv"
    assert "greeting 1.0" in re.sub(" +", " ", app.sh("current/.venv/bin/pip list"))
    assert app.sh("grep -rlI /releases/ current/.venv/bin | xargs grep -ho 'releases/[0-9a-f-]*' | sort -u") == (
        f"releases/{place.rpartition('/')[2]}"
    )
    app.repository.commit({"requirements.txt": requirements.format("2.0")})
    assert app.reused() == []
    assert app.sh("current/.venv/bin/greet").startswith("2.0 ")
