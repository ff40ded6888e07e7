"""Deployments under constant traffic, with the strategy atomic: not one request is lost. A short form of
`bin/bench traffic`."""

from __future__ import annotations

import pytest

from devflow.apps.deployments.models import Deployment
from tests.integration.test_recipes import App
from tests.support.apps import APPS
from tests.support.deployer import Deployer
from tests.support.traffic import Traffic
from tests.support.vps import Vps

pytestmark = [pytest.mark.usefixtures("worker"), pytest.mark.timeout(180)]

POOL = "/etc/php/8.4/fpm/pool.d/www.conf"
OPCACHE = "/etc/php/8.4/fpm/conf.d/99-test.ini"
LEFT_ALONE = "php-fpm is not reloaded, and no request is broken off"


@pytest.fixture(scope="module")
def shop(vps_systemd: Vps, deployer: Deployer, tmp_path_factory: pytest.TempPathFactory) -> App:
    """PHP behind nginx, with so many workers that slow requests leave some free."""
    deployer.keep_one_worker()
    vps_systemd.run("gpasswd --add deploy www-data", user="root")  # may use php-fpm's socket
    deployer.wait_checked(deployer.add_server(vps_systemd))
    vps_systemd.run(f"sed -i 's/^pm.max_children = .*/pm.max_children = 20/' {POOL}", user="root")
    vps_systemd.run("systemctl restart php8.4-fpm", user="root")
    app = App(deployer, vps_systemd, "traffic-php", tmp_path_factory.mktemp("traffic"))
    commit(app, "1")
    app.deploy()
    vps_systemd.serve(f"{app.root}/current/public", php=True)
    return app


def commit(app: App, version: str) -> None:
    folder = APPS / "traffic-php"
    files = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    files["src/Version.php"] = files["src/Version.php"].replace("'1'", f"'{version}'")
    app.repository.commit({**files, "version.txt": f"{version}\n"}, message=f"Version {version}")


def traffic_of(app: App) -> Traffic:
    return Traffic(app.server.host, app.server.http_port, rate=150, has_websocket=False)


def test_no_request_is_lost_and_no_answer_is_of_the_old_release_after_the_switch(shop: App) -> None:
    deployer = shop.deployer
    with traffic_of(shop) as traffic:
        traffic.run_for(1)
        deployments: list[Deployment] = []
        for old, new in (("1", "2"), ("2", "3"), ("3", "4"), ("4", "3")):
            began = traffic.now()
            if new < old:
                back = deployer.wait_ended(deployer.roll_back(shop.environment))
                assert back.status == "success", deployer.describe(back)
            else:
                commit(shop, new)
                deployments.append(shop.deploy())
            traffic.run_for(1)
            turn = traffic.turn(old, new, began)
            assert traffic.wrong(new, turn.first_new) == [], "one rename: nobody gets the old release any more"
        traffic.run_for(1)
    assert traffic.failed == [], traffic.summary()
    assert len([answer for answer in traffic.answers if answer.path == "/slow"]) >= 8
    assert {answer.version for answer in traffic.answers} == {"1", "2", "3", "4"}
    log = deployer.log(deployments[-1])
    assert LEFT_ALONE in log
    assert "It cannot be seen" not in log, "php-fpm was asked"


def test_php_fpm_with_little_memory_left_for_compiled_files_is_reloaded(shop: App) -> None:
    shop.server.put("opcache.memory_consumption=10\nopcache.interned_strings_buffer=8\n", OPCACHE, user="root")
    shop.server.run("systemctl restart php8.4-fpm", user="root")
    commit(shop, "5")
    log = shop.deployer.log(shop.deploy())
    assert "nearly full of old releases" in log
    assert LEFT_ALONE not in log
    assert "reload" in shop.server.run("journalctl -u php8.4-fpm --no-pager", user="root").stdout.lower()
    shop.server.run(f"rm {OPCACHE} && systemctl restart php8.4-fpm", user="root")


def test_where_nginx_passes_the_link_php_fpm_is_reloaded(shop: App) -> None:
    shop.server.run(
        "sed -i 's/realpath_root/document_root/' /etc/nginx/sites-enabled/site && systemctl reload nginx", user="root"
    )
    commit(shop, "6")
    log = shop.deployer.log(shop.deploy())
    assert LEFT_ALONE not in log
    assert shop.server.get("/").text.startswith("6\n")
