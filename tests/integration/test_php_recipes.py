"""Symfony, Shopware and Laravel with tenants, deployed for real and requested; and what goes wrong with PHP."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from devflow.apps.projects import services as projects
from tests.integration.test_recipes import App
from tests.support.apps import commit_app, commit_locked
from tests.support.deployer import Deployer
from tests.support.panel import wait_until
from tests.support.vps import Vps

pytestmark = [pytest.mark.usefixtures("worker"), pytest.mark.timeout(300)]  # each deploys several times

APP_KEY = f"base64:{base64.b64encode(bytes(32)).decode()}"


@pytest.fixture(scope="module")
def php_server(vps_systemd: Vps, deployer: Deployer) -> Vps:
    """The server, checked: its facts are known."""
    deployer.keep_one_worker()
    deployer.wait_checked(deployer.add_server(vps_systemd))
    return vps_systemd


def test_symfony(php_server: Vps, deployer: Deployer, tmp_path: Path) -> None:
    app = App(deployer, php_server, "symfony", tmp_path, health_url="/up")
    commit_locked(app.repository, php_server, "symfony")
    php_server.serve(f"{app.root}/current/public", php=True)
    first = app.deploy()
    assert app.detected() == "symfony"
    assert php_server.get("/").text == "Symfony sample prod: 1"
    log = deployer.log(first)
    assert "migrated Version1.sql" in log
    assert "No assets were provided by any bundle" in log
    assert php_server.run(f"cat {app.root}/shared/.env.local").stdout == "APP_ENV=prod\nAPP_DEBUG=0\n"

    deployer.set_variables(app.environment, {"APP_GREETING": "it's £5 $HOME", "APP_ENV": "prod"})
    app.repository.commit({"config/packages/messenger.yaml": "# used\n"}, message="Use messenger")
    second = app.deploy()
    assert php_server.get("/").text == "it's £5 $HOME prod: 2", "defaults of .env, variables of .env.local"
    assert "Signal successfully sent to stop any running workers" in deployer.log(second)

    app.repository.commit({"migrations/Version2.sql": "bad"}, message="Bad migration")
    failed = deployer.deploy(app.environment, timeout_seconds=90)
    assert failed.status == "failed"
    assert "step 'doctrine:migrations:migrate' failed with exit code 1" in failed.error
    assert php_server.get("/").text == "it's £5 $HOME prod: 3"

    back = deployer.wait_ended(deployer.roll_back(app.environment, to=first))
    assert back.status == "success", deployer.describe(back)
    assert php_server.get("/").text == "Symfony sample prod: 4"


def test_shopware(php_server: Vps, deployer: Deployer, tmp_path: Path) -> None:
    app = App(deployer, php_server, "shopware", tmp_path, health_url="/up")
    commit_locked(app.repository, php_server, "shopware")
    php_server.serve(f"{app.root}/current/public", php=True)
    app.deploy()
    assert app.detected() == "shopware"
    assert php_server.get("/").text == "Shopware sample, prod, 1-first, made by what serves"
    assert "black" in php_server.get("/theme/all.css").text
    php_server.run(f"echo photo >{app.root}/current/public/media/photo.txt")

    app.repository.commit({"theme/base.css": "body { color: navy }", "updates/2-second": "", "updates/1-first": "bad"})
    app.deploy()
    assert php_server.get("/").text == "Shopware sample, prod, 1-first 2-second, made by what serves"
    assert "navy" in php_server.get("/theme/all.css").text
    assert php_server.get("/media/photo.txt").text == "photo\n"

    app.repository.commit({"theme/base.css": "body { color: red }", "updates/3-third": "bad"}, message="Bad update")
    failed = deployer.deploy(app.environment, timeout_seconds=90)
    assert failed.status == "failed"
    assert "step 'system:update:finish' failed with exit code 1" in failed.error
    assert "navy" in php_server.get("/theme/all.css").text


@pytest.fixture(scope="module")
def tenants(php_server: Vps, deployer: Deployer, tmp_path_factory: pytest.TempPathFactory) -> App:
    """Laravel with the tenants acme and gamma."""
    app = App(deployer, php_server, "tenants", tmp_path_factory.mktemp("tenants"), health_url="/up")
    shared = f"{app.root}/shared/storage"
    deployer.set_variables(app.environment, {"APP_KEY": APP_KEY, "DB_DATABASE": f"{shared}/central.sqlite"})
    php_server.run(f"mkdir -p {shared}/tenants && touch {shared}/central.sqlite")
    php_server.run(f"cd {shared}/tenants && touch acme.sqlite gamma.sqlite")
    commit_locked(app.repository, php_server, "laravel", "tenants")
    return app


class TestTenants:
    @pytest.fixture(autouse=True)
    def _served(self, tenants: App) -> None:
        tenants.server.serve(f"{tenants.root}/current/public", php=True)

    def set_options(self, tenants: App, **options: str) -> None:
        projects.environment_update(
            actor=tenants.deployer.actor, environment=tenants.environment, recipe_options=options
        )

    def test_one_command_for_all(self, tenants: App) -> None:
        deployment = tenants.deploy()
        assert tenants.detected() == "tenants"
        assert [tenants.server.get(f"/{name}").text for name in ("acme", "gamma")] == ["acme: id", "gamma: id"]
        log = tenants.deployer.log(deployment)
        assert "Tenant: acme" in log
        assert "Cached for all tenants" in log
        assert "Application cache cleared successfully" in log
        skipped = {step.name for step in tenants.deployer.steps(deployment) if step.status == "skipped"}
        assert {"artisan tenants:migrate", "migrate each tenant", "artisan config:cache"} <= skipped

    def test_a_tenant_that_fails_fails_the_deployment_and_the_others_are_migrated(self, tenants: App) -> None:
        self.break_beta(tenants)
        served = tenants.server.run(f"readlink {tenants.root}/current").stdout
        self.set_options(tenants, tenant_command="php artisan tenants:migrate --force --tenants={tenant}")
        failed = tenants.deployer.deploy(tenants.environment, timeout_seconds=90)
        assert failed.status == "failed"
        name = tenants.server.name
        assert failed.error == (
            f"{name}: step 'migrate each tenant' failed with exit code 1: "
            "1 of 3 tenants failed, the others are migrated: beta"
        )
        log = tenants.deployer.log(failed)
        assert "already exists" in log
        assert "Tenant beta: FAILED with exit code 1" in log
        assert "Tenant gamma: migrated" in log
        assert tenants.server.get("/gamma").text == "gamma: id total"
        assert tenants.server.run(f"readlink {tenants.root}/current").stdout == served

    def test_it_goes_on_where_that_is_chosen(self, tenants: App) -> None:
        self.break_beta(tenants)
        command = "php artisan tenants:migrate --force --tenants={tenant}"
        self.set_options(tenants, tenant_command=command, on_tenant_failure="continue")
        log = tenants.deployer.log(tenants.deploy())
        assert "1 of 3 tenants failed, the others are migrated: beta" in log
        assert tenants.server.get("/acme").text == "acme: id total"

    def break_beta(self, tenants: App) -> None:
        """Somebody made a table of the next migration in beta's database by hand."""
        database = f"{tenants.root}/shared/storage/tenants/beta.sqlite"
        tenants.server.run(
            f'php -r \'new PDO("sqlite:{database}")->exec("CREATE TABLE IF NOT EXISTS invoices (id INT)");\''
        )
        base = r"Illuminate\Database\Migrations\Migration"
        column = "fn ($table) => $table->integer('total')->default(0)"
        add = rf"Illuminate\Support\Facades\Schema::table('invoices', {column});"
        migration = f"<?php return new class extends {base} {{ public function up() {{ {add} }} }};"
        tenants.repository.commit(
            {"database/migrations/tenant/2026_02_01_000000_total.php": migration}, message="Totals"
        )


def test_queue_workers_take_up_the_release(php_server: Vps, deployer: Deployer, tmp_path: Path) -> None:
    app = App(deployer, php_server, "queue", tmp_path)
    deployer.set_variables(app.environment, {"APP_KEY": APP_KEY, "DB_DATABASE": f"{app.root}/shared/db.sqlite"})
    php_server.run(f"mkdir -p {app.root}/shared && touch {app.root}/shared/db.sqlite")
    commit_locked(app.repository, php_server, "laravel")
    app.deploy()
    program = f"command=php artisan queue:work sync --sleep=0.2\ndirectory={app.root}/current\nuser=deploy"
    php_server.put(f"[program:queue]\n{program}\nautorestart=true\n", "/etc/supervisor/conf.d/queue.conf", user="root")
    php_server.run("supervisorctl update", user="root")
    first = wait_until(lambda: worker_of(php_server, "queue"), 60)
    second = app.deploy()
    folder = f"{app.root}/releases/{second.release}"
    wait_until(lambda: (worker_of(php_server, "queue") or first)[1:] == [folder], 60)
    assert worker_of(php_server, "queue")[0] != first[0]


def worker_of(server: Vps, program: str) -> list[str]:
    """Process and folder of a program that supervisor runs; empty while it does not."""
    find = f"pid=$(supervisorctl pid {program}) && echo $pid $(readlink /proc/$pid/cwd)"
    return server.run(find, user="root", check=False).stdout.split()


def test_a_failing_script_of_composer(php_server: Vps, deployer: Deployer, tmp_path: Path) -> None:
    app = App(deployer, php_server, "script", tmp_path)
    commit_app(app.repository, "php")
    app.deploy()
    php_server.serve(f"{app.root}/current/public", php=True)
    composer = json.loads((Path(__file__).parent / "apps/php/composer.json").read_text())
    composer["scripts"] = {"post-install-cmd": ["echo 'the licence has expired' >&2; exit 7"]}
    app.repository.commit({"composer.json": json.dumps(composer), "src/Page.php": "<?php broken"})
    failed = deployer.deploy(app.environment, timeout_seconds=60)
    assert failed.status == "failed"
    assert "step 'composer install' failed with exit code 7" in failed.error
    assert "the licence has expired" in deployer.log(failed)
    assert (php_server.get("/").text, php_server.get("/up").text) == ("PHP sample", "ok")


class TestVersions:
    def test_composer_its_scripts_and_own_commands_run_with_the_version(
        self, php_server: Vps, deployer: Deployer, tmp_path: Path
    ) -> None:
        wrapper = '#!/bin/sh\nexport SAMPLE_PHP=8.9\nexec /usr/bin/php8.4 "$@"\n'
        php_server.put(wrapper, "/usr/local/bin/php8.9", user="root", mode="755")
        app = App(
            deployer,
            php_server,
            "version",
            tmp_path,
            recipe_options={"php_version": "8.9"},
            phase_commands={"prepare": ["php -r 'echo getenv(\"SAMPLE_PHP\");' >own"]},
        )
        commit_app(app.repository, "php")
        composer = json.loads((Path(__file__).parent / "apps/php/composer.json").read_text())
        composer["scripts"] = {"post-install-cmd": ["@php -r 'echo getenv(\"SAMPLE_PHP\");' >script"]}
        app.repository.commit({"composer.json": json.dumps(composer)})
        log = deployer.log(app.deploy())
        assert php_server.run(f"cd {app.root}/current && cat own script").stdout == "8.98.9"
        assert "php8.9-fpm does not run here: nothing to reload" in log

    def test_one_that_is_not_there(self, php_server: Vps, deployer: Deployer, tmp_path: Path) -> None:
        app = App(deployer, php_server, "missing", tmp_path, recipe_options={"php_version": "7.3"})
        commit_app(app.repository, "php")
        failed = deployer.deploy(app.environment, timeout_seconds=60)
        assert failed.status == "failed"
        assert (
            f"PHP 7.3 is not installed on {php_server.name}. Install it there: apt-get install php7.3-cli"
            in failed.error
        )
        assert php_server.run(f"ls {app.root}/releases").stdout == ""

    def test_only_fpm_of_the_version_is_reloaded(self, php_server: Vps, deployer: Deployer, tmp_path: Path) -> None:
        app = App(deployer, php_server, "fpm", tmp_path, recipe_options={"php_version": "8.4"})
        commit_app(app.repository, "php")
        php_server.serve(f"{app.root}/current/public", php=True)
        # with the path of the link, for otherwise nothing has to be reloaded
        link = "sed -i 's/realpath_root/document_root/' /etc/nginx/sites-enabled/site && systemctl reload nginx"
        php_server.run(link, user="root")
        since = php_server.run("date +%s").stdout.strip()
        app.deploy()
        journal = f"journalctl -u php8.4-fpm --since @{since} --no-pager"
        assert "Reload" in php_server.run(journal, user="root").stdout
        assert php_server.get("/up").text == "ok"
