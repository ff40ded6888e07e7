"""The sample application of each recipe, deployed for real: recognised, built, served and requested."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from devflow.apps.deployments.models import Deployment
from devflow.apps.projects import selectors as projects
from devflow.apps.projects.models import Environment
from tests.support.apps import commit_app, commit_laravel
from tests.support.deployer import Deployer
from tests.support.gitrepo import GitRepository
from tests.support.vps import Vps

pytestmark = pytest.mark.usefixtures("worker")

APP_KEY = f"base64:{base64.b64encode(bytes(32)).decode()}"
MIGRATION = r"Illuminate\Database\Migrations\Migration"
SUPERVISED = """\
[program:{name}]
command={command}
directory={root}/current
environment=PORT="{port}"
user=deploy
stopasgroup=true
"""


@pytest.fixture(scope="module")
def server(vps_systemd: Vps, deployer: Deployer) -> Vps:
    """The server, checked: its facts are known."""
    deployer.keep_one_worker()
    deployer.wait_checked(deployer.add_server(vps_systemd))
    return vps_systemd


class App:
    """A sample application in its repository, with an environment `production`; nobody says which framework it is."""

    def __init__(self, deployer: Deployer, server: Vps, name: str, work: Path, **given: object) -> None:
        self.deployer, self.server, self.name = deployer, server, name
        self.root = f"/srv/www/{name}"
        self.repository = GitRepository.on_server(server, f"/home/{server.user}/{name}.git", work)
        project = deployer.add_project(name, self.repository.path, recipe="")
        self.environment: Environment = deployer.add_environment(
            project, "production", servers=[server.name], root=self.root, **given
        )

    def deploy(self) -> Deployment:
        deployment = self.deployer.deploy(self.environment, timeout_seconds=90)
        assert deployment.status == "success", self.deployer.describe(deployment)
        return deployment

    def detected(self) -> str:
        found = projects.environment_get(actor=self.deployer.actor, slug=self.name, name="production")
        return str(found.detected["recipe"])

    def supervise(self, command: str, port: int) -> None:
        """Has supervisor run the application from `current`, as a server does that was set up for it."""
        text = SUPERVISED.format(name=self.name, command=command, root=self.root, port=port)
        self.server.put(text, f"/etc/supervisor/conf.d/{self.name}.conf", user="root")
        self.server.run("supervisorctl update", user="root")

    def ask(self, port: int, path: str = "/") -> str:
        """What the application answers on its own port."""
        command = f"curl -sS --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:{port}{path}"
        return self.server.run(command).stdout


def test_static(server: Vps, deployer: Deployer, tmp_path: Path) -> None:
    app = App(deployer, server, "static", tmp_path)
    commit_app(app.repository, "static")
    app.deploy()
    assert app.detected() == "static"
    server.serve(f"{app.root}/current")
    assert "Static sample" in server.get("/").text
    assert "font-family" in server.get("/site.css").text


def test_php_with_composer(server: Vps, deployer: Deployer, tmp_path: Path) -> None:
    app = App(deployer, server, "php", tmp_path)
    commit_app(app.repository, "php")
    app.deploy()
    assert app.detected() == "php"
    server.serve(f"{app.root}/current/public", php=True)
    assert (server.get("/").text, server.get("/up").text) == ("PHP sample", "ok")
    page = "<?php require dirname(__DIR__) . '/vendor/autoload.php'; echo 'second ' . Example\\Page::text('/');"
    app.repository.commit({"public/index.php": page})
    app.deploy()
    assert server.get("/").text == "second PHP sample"


def test_laravel(server: Vps, deployer: Deployer, tmp_path: Path) -> None:
    app = App(
        deployer, server, "laravel", tmp_path, health_url="/up", phase_commands={"prepare": ['touch "$DB_DATABASE"']}
    )
    database = f"{app.root}/shared/storage/database.sqlite"
    variables = {"APP_KEY": APP_KEY, "DB_DATABASE": database, "APP_GREETING": 'Ada\'s £5 "shop" $HOME'}
    deployer.set_variables(app.environment, variables)
    commit_laravel(app.repository, server)
    server.serve(f"{app.root}/current/public", php=True)
    first = app.deploy()
    assert app.detected() == "laravel"
    greeting = "Ada&#039;s £5 &quot;shop&quot; $HOME"
    assert f"<h1>{greeting}</h1><p>1 visits</p>" in server.get("/").text

    app.repository.commit({"resources/views/home.blade.php": "{{ $greeting }}: {{ $visits }}"}, message="New page")
    deployer.set_variables(app.environment, {"APP_GREETING": "second"})
    app.deploy()
    assert server.get("/").text == "second: 2"

    migration = "database/migrations/2026_02_01_000000_bad.php"
    up = "public function up() { throw new Exception('no such thing'); }"
    bad = f"<?php return new class extends {MIGRATION} {{ {up} }};"
    app.repository.commit({migration: bad}, message="Bad migration")
    failed = deployer.deploy(app.environment, timeout_seconds=90)
    assert failed.status == "failed"
    assert "step 'artisan migrate' failed with exit code 1" in failed.error
    assert "no such thing" in deployer.log(failed)
    assert server.get("/").text == "second: 3"

    back = deployer.wait_ended(deployer.roll_back(app.environment, to=first))
    assert back.status == "success", deployer.describe(back)
    assert f"<h1>{greeting}</h1><p>4 visits</p>" in server.get("/").text


def test_node(server: Vps, deployer: Deployer, tmp_path: Path) -> None:
    app = App(deployer, server, "node", tmp_path, phase_commands={"reload": ["sudo supervisorctl restart node"]})
    app.supervise("node server.mjs", 3100)
    commit_app(app.repository, "node")
    app.deploy()
    assert app.detected() == "node"
    assert "Node sample" in app.ask(3100)
    server.serve(f"{app.root}/current/dist")
    assert "Node sample" in server.get("/").text
    app.repository.commit(
        {"build.mjs": 'import fs from "node:fs"; fs.mkdirSync("dist"); fs.writeFileSync("dist/index.html", "second");'}
    )
    app.deploy()
    assert app.ask(3100) == server.get("/").text == "second"


def test_python(server: Vps, deployer: Deployer, tmp_path: Path) -> None:
    app = App(deployer, server, "python", tmp_path, phase_commands={"reload": ["sudo supervisorctl restart python"]})
    app.supervise(f"{app.root}/current/.venv/bin/python wsgi.py", 8123)
    commit_app(app.repository, "python")
    app.deploy()
    assert app.detected() == "python"
    assert (app.ask(8123), app.ask(8123, "/up")) == ("Python sample", "ok")
