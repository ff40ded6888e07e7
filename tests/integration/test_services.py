"""Node, Python and built sites as they really run: by systemd or Supervisor, restarted by deployments, requested."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devflow.apps.deployments.models import Deployment
from devflow.apps.projects import selectors as projects
from devflow.apps.projects.models import Environment
from devflow.core.errors import InvalidError
from tests.support.apps import APPS, commit_app
from tests.support.deployer import Deployer
from tests.support.gitrepo import GitRepository
from tests.support.vps import Vps

pytestmark = [pytest.mark.usefixtures("worker"), pytest.mark.timeout(600)]

CERTIFICATES = "/usr/local/share/host-certificates.crt"
SYSTEMD = """\
[Unit]
Description={name}
[Service]
{user}
WorkingDirectory={root}/current
EnvironmentFile={root}/current/.env
ExecStart={command}
Restart=always
[Install]
WantedBy=multi-user.target
"""
SUPERVISED = """\
[program:{name}]
command={command}
directory={root}/current
environment=PORT="{port}"
user=deploy
"""
BROKEN = "throw new Error('broken at its start');"


@pytest.fixture(scope="module")
def server(vps_systemd: Vps, deployer: Deployer) -> Vps:
    """The server, checked: its facts are known."""
    deployer.keep_one_worker()
    deployer.wait_checked(deployer.add_server(vps_systemd))
    return vps_systemd


class Service:
    """A sample application in its repository, with an environment `production`; nobody says which framework it is."""

    def __init__(
        self, deployer: Deployer, server: Vps, work: Path, *, app: str, name: str, port: int = 0, **given: object
    ) -> None:
        self.deployer, self.server, self.name, self.port = deployer, server, name, port
        self.root = f"/srv/www/{name}"
        self.repository = GitRepository.on_server(server, f"/home/{server.user}/{name}.git", work)
        commit_app(self.repository, app)
        project = deployer.add_project(name, self.repository.path, recipe="")
        self.environment: Environment = deployer.add_environment(
            project, "production", servers=[server.name], root=self.root, **given
        )

    def attempt(self) -> Deployment:
        return self.deployer.deploy(self.environment, timeout_seconds=180)

    def deploy(self) -> Deployment:
        deployment = self.attempt()
        assert deployment.status == "success", self.deployer.describe(deployment)
        return deployment

    def fails(self, *words: str, status: str = "failed") -> Deployment:
        """A deployment that ends so, with all these words in what is told of it."""
        deployment = self.attempt()
        assert deployment.status == status, self.deployer.describe(deployment)
        missing = [word for word in words if word not in deployment.error]
        assert not missing, deployment.error
        return deployment

    @property
    def found(self) -> Environment:
        """The environment as it is now: a deployment may have recognised its recipe."""
        return projects.environment_get(actor=self.deployer.actor, slug=self.name, name="production")

    def detected(self) -> str:
        return str(self.found.detected["recipe"])

    def systemd(self, command: str) -> None:
        """Sets up a system unit, as a server's owner does once."""
        text = SYSTEMD.format(name=self.name, user=f"User={self.server.user}", root=self.root, command=command)
        self.server.put(text, f"/etc/systemd/system/{self.name}.service", user="root")
        self.server.run("systemctl daemon-reload", user="root")

    def supervise(self, command: str) -> None:
        text = SUPERVISED.format(name=self.name, command=command, root=self.root, port=self.port)
        self.server.put(text, f"/etc/supervisor/conf.d/{self.name}.conf", user="root")
        self.server.run("supervisorctl reread; supervisorctl add " + self.name, user="root", check=False)

    def ask(self, path: str = "/") -> str:
        """What the application answers on its own port."""
        options = "-sS --retry 30 --retry-connrefused --retry-delay 1"
        return self.server.run(f"curl {options} http://127.0.0.1:{self.port}{path}").stdout

    def set_options(self, **values: str) -> None:
        self.deployer.change(self.found, recipe_options=values)


@contextmanager
def away(server: Vps, path: str) -> Iterator[None]:
    """The file is not there for a while."""
    server.run(f"mv {path} {path}.away", user="root")
    try:
        yield
    finally:
        server.run(f"mv {path}.away {path}", user="root")


# --- Node -------------------------------------------------------------------------------------------------------------


def test_node_under_systemd(server: Vps, deployer: Deployer, tmp_path: Path) -> None:
    app = Service(
        deployer, server, tmp_path, app="node-packages", name="hello", port=3201, recipe_options={"unit": "hello"}
    )
    deployer.set_variables(app.environment, {"PORT": "3201", "GREETED": 'Ada L. "O\'Neil"', "NODE_ENV": "production"})
    app.repository.commit({"pnpm-lock.yaml": None, "yarn.lock": None})
    app.fails("There is no unit hello on this server", "neither systemd nor Supervisor knows it")
    app.systemd("/usr/bin/node server.js")

    first = app.deploy()
    assert app.detected() == "node"
    assert app.ask() == 'Hello Ada L. "O\'Neil"'
    assert app.ask("/page") == "built"  # NODE_ENV did not keep the builder, a dev dependency, from being installed
    assert app.ask("/builder") == "gone"
    assert app.ask("/release") == f"{app.root}/releases/{first.release}"

    app.repository.commit({"greeting/index.js": "exports.greeting = () => 'second';"})
    second = app.deploy()
    assert (app.ask(), app.ask("/release")) == ("second", f"{app.root}/releases/{second.release}")

    builder = (APPS / "node-packages/builder/build.js").read_text()
    failing = "#!/usr/bin/env node\nconsole.error('no such theme'); process.exit(3);\n"
    app.repository.commit({"builder/build.js": failing})
    main_pid = "systemctl show --property=MainPID hello"
    before = server.run(main_pid).stdout
    failed = app.fails("step 'npm run build' failed with exit code 3")
    assert "no such theme" in deployer.log(failed)
    assert (app.ask(), server.run(main_pid).stdout) == ("second", before)  # untouched

    app.repository.commit({"builder/build.js": builder, "server.js": BROKEN})
    taken_back = app.fails("step 'restart units' failed", "hello", status="rolled_back")
    assert "restart units again" in [step.name for step in deployer.steps(taken_back) if step.status == "success"]
    assert (app.ask(), app.ask("/release")) == ("second", f"{app.root}/releases/{second.release}")

    back = deployer.wait_ended(deployer.roll_back(app.environment, to=first))
    assert back.status == "success", deployer.describe(back)
    assert app.ask("/release") == f"{app.root}/releases/{first.release}"
    server.run(f"~/.devflow/bin/devflow-run rollback {app.root} {second.release}")  # without the panel
    assert app.ask("/release") == f"{app.root}/releases/{second.release}"


def test_what_runs_on_in_an_old_release_is_noticed(server: Vps, deployer: Deployer, tmp_path: Path) -> None:
    app = Service(
        deployer, server, tmp_path, app="node", name="stuck", port=3202, recipe_options={"unit": "stuck.service"}
    )
    deployer.set_variables(app.environment, {"PORT": "3202"})
    app.systemd("/usr/bin/node server.mjs\nExecReload=/bin/true")
    first = app.deploy()
    app.set_options(unit="stuck.service", unit_action="reload")
    app.fails(f"stuck.service still works in {app.root}/releases/{first.release}", status="rolled_back")
    assert "Node sample" in app.ask()
    server.put("[Service]\nExecReload=\n", "/etc/systemd/system/stuck.service.d/none.conf", user="root")
    server.run("systemctl daemon-reload", user="root")
    app.fails("stuck.service cannot be reloaded", "Choose restart", status="rolled_back")


def test_who_may_not_restart_a_unit_is_told_how(server: Vps, deployer: Deployer, tmp_path: Path) -> None:
    app = Service(deployer, server, tmp_path, app="node", name="forbidden", port=3203)
    deployer.set_variables(app.environment, {"PORT": "3203"})
    app.set_options(unit="forbidden")
    app.systemd("/usr/bin/node server.mjs")
    app.deploy()
    line = "deploy ALL=(root) NOPASSWD: /usr/bin/systemctl restart forbidden"
    with away(server, "/etc/sudoers.d/deploy"):
        app.fails("deploy may not restart forbidden", line, status="rolled_back")
        server.put(f"{line}\n", "/etc/sudoers.d/forbidden", user="root", mode="440")
        app.deploy()
        server.run("rm /etc/sudoers.d/forbidden", user="root")
    assert "Node sample" in app.ask()


def test_node_under_supervisor(server: Vps, deployer: Deployer, tmp_path: Path) -> None:
    app = Service(deployer, server, tmp_path, app="node", name="supervised", port=3204)
    app.set_options(unit="supervised")
    app.supervise("node server.mjs")
    app.deploy()
    assert "Node sample" in app.ask()
    app.repository.commit({"server.mjs": BROKEN})
    app.fails("step 'restart units' failed", "supervised did not come up", status="rolled_back")
    assert "Node sample" in app.ask()
    app.set_options(unit="supervised", unit_manager="systemd")
    app.fails("There is no unit supervised on this server: systemd does not know it")
    with away(server, "/etc/sudoers.d/deploy"):
        app.set_options(unit="supervised", unit_manager="supervisor")
        app.fails("deploy cannot ask Supervisor", "NOPASSWD: /usr/bin/supervisorctl")


def test_node_as_a_unit_of_the_user(server: Vps, deployer: Deployer, tmp_path: Path) -> None:
    app = Service(deployer, server, tmp_path, app="node", name="personal", port=3205)
    deployer.set_variables(app.environment, {"PORT": "3205"})
    app.set_options(unit="personal")
    # Without logind nobody else tells a user's manager where its sockets are.
    runtime = "[Service]\nEnvironment=XDG_RUNTIME_DIR=/run/user/%i\n"
    server.put(runtime, "/etc/systemd/system/user@.service.d/runtime.conf", user="root")
    server.run("systemctl daemon-reload && systemctl start user@$(id -u deploy)", user="root")
    text = SYSTEMD.format(name=app.name, user="", root=app.root, command="/usr/bin/node server.mjs")
    server.put(text, "/home/deploy/.config/systemd/user/personal.service")
    server.run("XDG_RUNTIME_DIR=/run/user/$(id -u) systemctl --user daemon-reload")
    try:
        with away(server, "/etc/sudoers.d/deploy"):
            app.deploy()
            assert "Node sample" in app.ask()
            app.repository.commit({"server.mjs": BROKEN})
            app.fails("step 'restart units' failed", "journalctl --user -u personal", status="rolled_back")
            assert "Node sample" in app.ask()
    finally:
        server.run("systemctl stop user@$(id -u deploy)", user="root")


def test_values_that_are_no_units_are_refused(server: Vps, deployer: Deployer, tmp_path: Path) -> None:
    app = Service(deployer, server, tmp_path, app="node", name="refused", port=3206)
    app.deploy()
    for wrong in ("a;b", "$(id)", "-H", "a  b", "../a", "*"):
        with pytest.raises(InvalidError, match="cannot be used here"):
            app.set_options(unit=wrong)
    with pytest.raises(InvalidError, match="Choose one of: auto, systemd, supervisor"):
        app.set_options(unit="refused", unit_manager="upstart")
    with pytest.raises(InvalidError, match="Choose one of: restart, reload"):
        app.set_options(unit="refused", unit_action="stop")
    with pytest.raises(InvalidError, match="has no option 'output'"):
        app.set_options(output="dist")


# --- the other package managers ---------------------------------------------------------------------------------------


def _packages(server: Vps, app: Service) -> tuple[str, set[str]]:
    """What the build of the current release made, and the packages that it has."""
    page = server.run(f"cat {app.root}/current/dist/page.txt").stdout
    names = {"greeting", "sample-builder"}
    return page, names & set(server.run(f"ls {app.root}/current/node_modules").stdout.split())


def test_pnpm(server: Vps, deployer: Deployer, tmp_path: Path) -> None:
    app = Service(deployer, server, tmp_path, app="node-packages", name="with-pnpm")
    package = (APPS / "node-packages/package.json").read_text()
    with away(server, "/usr/bin/corepack"):
        app.fails("step 'pnpm install'", "pnpm (or corepack) is not installed", "npm install -g pnpm")
        server.run("npm install -g --silent pnpm@10", user="root")
        app.deploy()
    assert _packages(server, app) == ("built", {"greeting"})
    app.repository.commit({"package.json": package.replace("file:./greeting", "file:./builder")})
    app.fails("step 'pnpm install' failed")  # frozen: the lock file does not say this
    assert _packages(server, app) == ("built", {"greeting"})


def test_yarn_by_corepack(server: Vps, deployer: Deployer, tmp_path: Path) -> None:
    app = Service(deployer, server, tmp_path, app="node-packages", name="with-yarn")
    package = (APPS / "node-packages/package.json").read_text()
    pinned = package.replace('"private"', '"packageManager": "yarn@1.22.22",\n  "private"')
    app.repository.commit({"pnpm-lock.yaml": None, "package.json": pinned})
    deployer.set_variables(app.environment, {"COREPACK_NPM_REGISTRY": "http://127.0.0.1:9"})
    app.fails("corepack cannot bring yarn here", "npm install -g yarn")
    deployer.set_variables(app.environment, {"COREPACK_NPM_REGISTRY": "", "NODE_EXTRA_CA_CERTS": CERTIFICATES})
    app.deploy()
    assert _packages(server, app) == ("built", {"greeting", "sample-builder"})
    app.repository.commit({"yarn.lock": "# yarn lockfile v1\n"})
    app.fails("step 'yarn install' failed")


def test_yarn_berry(server: Vps, deployer: Deployer, tmp_path: Path) -> None:
    app = Service(deployer, server, tmp_path, app="node-packages", name="with-berry")
    server.run("npm install -g --silent yarn@1.22.22", user="root")
    server.run("npm install --silent --prefix /opt/berry @yarnpkg/cli-dist@4", user="root")
    settings = "yarnPath: /opt/berry/node_modules/@yarnpkg/cli-dist/bin/yarn.js\nnodeLinker: node-modules\n"
    app.repository.commit({"pnpm-lock.yaml": None, "yarn.lock": "", ".yarnrc.yml": settings})
    app.fails("step 'yarn install immutable' failed")
    lock = server.run(
        f"cd $(mktemp -d) && git clone --quiet {app.repository.path} . && yarn install >&2 && cat yarn.lock"
    ).stdout
    app.repository.commit({"yarn.lock": lock})
    app.deploy()
    assert _packages(server, app) == ("built", {"greeting", "sample-builder"})


def test_yarn_berry_with_a_registry(server: Vps, deployer: Deployer, tmp_path: Path) -> None:
    app = Service(deployer, server, tmp_path, app="node-packages", name="berry-registry")
    server.run("npm install --silent --prefix /opt/berry @yarnpkg/cli-dist@4", user="root")
    registry = server.run("npm config get registry").stdout.strip()
    settings = (
        "yarnPath: /opt/berry/node_modules/@yarnpkg/cli-dist/bin/yarn.js\nnodeLinker: node-modules\n"
        f"npmRegistryServer: {registry}\nhttpsCaFilePath: {CERTIFICATES}\n"
    )
    package = '{"name": "berry", "private": true, "dependencies": {"is-number": "7.0.0"}}'
    app.repository.commit({"pnpm-lock.yaml": None, "package.json": package, "yarn.lock": "", ".yarnrc.yml": settings})
    lock = server.run(
        f"cd $(mktemp -d) && git clone --quiet {app.repository.path} . && yarn install >&2 && cat yarn.lock"
    ).stdout
    app.repository.commit({"yarn.lock": lock})
    first = app.deploy()
    app.repository.commit({"page.txt": "changed"})
    again = app.deploy()
    assert ("Reused node_modules:" in deployer.log(first), "Reused node_modules:" in deployer.log(again)) == (
        False,
        True,
    )
    assert "module" in server.run(f"head -c 2000 {app.root}/current/node_modules/is-number/index.js").stdout


# --- Python -----------------------------------------------------------------------------------------------------------


def test_django_with_gunicorn(server: Vps, deployer: Deployer, tmp_path: Path) -> None:
    app = Service(deployer, server, tmp_path, app="django", name="django", port=8201, shared_folders=["data"])
    app.set_options(unit="django")
    variables = {"SECRET_KEY": "only for $ this 'test'", "DATABASE": f"{app.root}/shared/data/db.sqlite3"}
    deployer.set_variables(app.environment, variables)
    app.systemd(f"{app.root}/current/.venv/bin/gunicorn --bind 127.0.0.1:8201 --workers 1 sample.wsgi")

    first = app.deploy()
    assert app.detected() == "python"
    assert (app.ask(), app.ask()) == ("Django sample, 1 visits", "Django sample, 2 visits")
    server.serve(f"{app.root}/current/static")
    assert "sans-serif" in server.get("/visits.css").text

    view = (APPS / "django/visits/views.py").read_text()
    app.repository.commit({"visits/views.py": view.replace("Django sample", "second")})
    app.deploy()
    assert app.ask() == "second, 3 visits"

    migration = "from django.db import migrations\ndef fail(*_):\n    raise Exception('no such thing')\n"
    migration += "class Migration(migrations.Migration):\n    dependencies = [('visits', '0001_initial')]\n"
    bad = f"{migration}    operations = [migrations.RunPython(fail)]\n"
    app.repository.commit({"visits/migrations/0002_bad.py": bad})
    app.fails("step 'migrate' failed with exit code 1", "no such thing")
    assert app.ask() == "second, 4 visits"

    app.repository.commit({"visits/migrations/0002_bad.py": None, "sample/wsgi.py": "raise Exception('broken')"})
    app.fails("step 'restart units' failed", status="rolled_back")
    assert app.ask() == "second, 5 visits"
    back = deployer.wait_ended(deployer.roll_back(app.environment, to=first))
    assert back.status == "success", deployer.describe(back)
    assert app.ask() == "Django sample, 6 visits"


def test_django_packages(server: Vps, deployer: Deployer, tmp_path: Path) -> None:
    app = Service(deployer, server, tmp_path, app="django", name="packages", shared_folders=["data"])
    deployer.set_variables(app.environment, {"SECRET_KEY": "secret", "DATABASE": f"{app.root}/shared/data/db.sqlite3"})
    requirements = (APPS / "django/requirements.txt").read_text()
    forged = re.sub(r"sha256:.{8}", f"sha256:{'0' * 8}", requirements)
    app.repository.commit({"requirements.txt": forged})
    failed = app.fails("step 'pip install' failed")
    assert "DO NOT MATCH THE HASHES" in deployer.log(failed)

    app.repository.commit({"requirements.txt": requirements})
    app.set_options(python="python3.7")
    app.fails("python3.7 is not installed", "apt-get install python3.7 python3.7-venv")
    app.set_options(python="/usr/bin/python3.13")
    app.deploy()
    assert server.run(f"readlink {app.root}/current/.venv/bin/python3.13").stdout == "/usr/bin/python3.13\n"
    for wrong in ("python2", "python3; id", "/usr/../bin/python3", "node"):
        with pytest.raises(InvalidError, match="cannot be used here"):
            app.set_options(python=wrong)


def test_uv_and_poetry(server: Vps, deployer: Deployer, tmp_path: Path) -> None:
    app = Service(deployer, server, tmp_path, app="python-locked", name="locked", port=8202)
    app.set_options(unit="locked")
    app.supervise(f"{app.root}/current/.venv/bin/python wsgi.py")
    # this machine's authority, for tools that bring their own
    deployer.set_variables(
        app.environment, {"SSL_CERT_FILE": CERTIFICATES, "REQUESTS_CA_BUNDLE": CERTIFICATES, "PORT": "8202"}
    )
    app.fails("uv is not installed", "'uv sync' needs it")
    server.run("python3 -m venv /opt/tools && /opt/tools/bin/pip install --quiet uv poetry", user="root")
    server.run("ln -s /opt/tools/bin/uv /usr/local/bin/", user="root")
    app.deploy()
    assert app.detected() == "python"
    assert (app.ask(), app.ask("/dev")) == ("bottle 0.13.4", "left out")

    app.repository.commit({"uv.lock": None})
    app.fails("poetry is not installed", "'poetry install' needs it")
    server.run("ln -s /opt/tools/bin/poetry /usr/local/bin/", user="root")
    last = app.deploy()
    assert (app.ask(), app.ask("/dev")) == ("bottle 0.13.4", "left out")
    pid = server.run("sudo supervisorctl pid locked").stdout.strip()
    assert server.run(f"readlink /proc/{pid}/cwd").stdout.strip() == f"{app.root}/releases/{last.release}"
    assert "Reused .venv:" not in deployer.log(last)
    app.repository.commit({"page.txt": "changed"})
    assert "Reused .venv:" in deployer.log(app.deploy()), "what Poetry brought from the registry was not reused"

    app.repository.commit({"poetry.lock": None})
    app.deploy()  # by pip, from pyproject.toml
    assert app.ask() == "bottle 0.13.4"


# --- a site that is built ---------------------------------------------------------------------------------------------


def test_a_static_site_with_a_build(server: Vps, deployer: Deployer, tmp_path: Path) -> None:
    app = Service(deployer, server, tmp_path, app="static-build", name="built", recipe_options={"output": "dist"})
    app.deploy()
    assert app.detected() == "static"
    server.serve(f"{app.root}/current/dist")
    page = server.get("/").text
    assert "Static build sample" in page
    style = page.split('href="')[1].split('"')[0]
    assert style.startswith("/assets/site-")
    assert "sans-serif" in server.get(style).text

    build = (APPS / "static-build/build.mjs").read_text()
    app.repository.commit({"build.mjs": build.replace("dist/", "out/").replace('"dist', '"out')})
    failed = app.fails("step 'check output' failed", "There is no folder dist in the release")
    assert "./out" in deployer.log(failed)
    assert server.get("/").text == page
    app.repository.commit({"build.mjs": "throw new Error('no such page');"})
    app.fails("step 'npm run build' failed")
    assert server.get("/").text == page
    for wrong in ("../x", "/etc", "a//b", "a b", "..", "-x/$(id)"):
        with pytest.raises(InvalidError, match="cannot be used here"):
            app.set_options(output=wrong)
