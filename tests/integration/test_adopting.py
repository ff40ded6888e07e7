"""A site that somebody had set up behind nginx by hand: seen, adopted by a deployment under load, or put back."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django_scopes import scopes_disabled

from devflow.apps.deployments import proxy
from devflow.apps.deployments.models import Deployment
from devflow.apps.projects.models import Environment
from devflow.core.errors import ConflictError
from tests.support.colour_load import Load
from tests.support.deployer import Deployer, WorkerProcess
from tests.support.gitrepo import GitRepository
from tests.support.panel import wait_until
from tests.support.vps import Vps

APP = Path(__file__).parent / "apps" / "two-colours"
QUICK = {"watch_seconds": "0", "drain_seconds": "3", "start_seconds": "20", "checks": "2"}
BY_HAND = """\
# written by hand
upstream {name} {{ server 127.0.0.1:{port}; keepalive 4; }}
server {{
    listen 80;
    server_name {name}.test;
    add_header X-By-Hand yes always;
    location / {{
        proxy_pass http://{name};
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
    }}
}}
"""


@dataclass
class Site:
    """An application that runs, and is served, without the panel; and an environment that is to take its place."""

    deployer: Deployer
    vps: Vps
    name: str
    environment: Environment
    repository: GitRepository

    @property
    def enabled(self) -> str:
        return f"/etc/nginx/sites-enabled/{self.name}"

    @property
    def kept(self) -> str:
        return f"/etc/nginx/devflow.d/{self.environment.pk.hex}.adopted"

    def commit(self, version: str) -> None:
        self.repository.commit({"version.txt": version, "mode.txt": "well"})

    def deploy(self, status: str = "success") -> Deployment:
        with scopes_disabled():
            self.environment = Environment.objects.select_related("project").get(pk=self.environment.pk)
        ended = self.deployer.deploy(self.environment, timeout_seconds=120)
        assert ended.status == status, self.deployer.describe(ended)
        return ended

    def look(self) -> dict[str, Any]:
        before = self.environment.proxy_state.get("at")
        proxy.proxy_look_request(actor=self.deployer.actor, environment=self.environment)

        def found() -> dict[str, Any] | None:
            with scopes_disabled():
                self.environment = Environment.objects.select_related("project").get(pk=self.environment.pk)
            state = self.environment.proxy_state
            return state["servers"][self.vps.name] if state.get("at") != before else None

        return wait_until(found, 20, what=self.deployer.output)

    def adopt(self) -> None:
        proxy.proxy_adopt(
            actor=self.deployer.actor, environment=self.environment, server=self.vps.name, path=self.enabled
        )

    def page(self) -> str:
        return self.vps.run(f"curl -sS -m 10 -D - -H 'Host: {self.name}.test' http://127.0.0.1/").stdout

    def load(self) -> Load:
        return Load(self.vps.http_port, f"{self.name}.test")


@pytest.fixture(scope="module")
def server(docker_engine: Any, vps_image: str, deployer: Deployer) -> Iterator[Vps]:
    with Vps(docker_engine, vps_image, systemd=True, user="root") as made:
        deployer.add_server(made)
        yield made


@pytest.fixture
def make_site(deployer: Deployer, server: Vps, worker: WorkerProcess, tmp_path: Path) -> Callable[..., Site]:
    def make(**given: Any) -> Site:
        name, port = f"site-{secrets.token_hex(3)}", 40000 + secrets.randbelow(9000)
        repository = GitRepository.on_server(server, f"/root/{name}.git", tmp_path / name)
        repository.commit_folder(APP)
        settings: dict[str, Any] = {
            "recipe_options": {"start_command": "node server.js"},
            "strategy": "blue-green",
            "strategy_options": QUICK,
            "proxy": "nginx",
            "domains": [f"{name}.test"],
            **given,
        }
        project = deployer.add_project(name, repository.path, recipe="node")
        environment = deployer.add_environment(
            project, "production", servers=[server.name], root=f"/srv/www/{name}", **settings
        )
        server.put(f"{APP.joinpath('server.js').read_text()}", f"/srv/{name}/server.js")
        server.run(f"echo 0 >/srv/{name}/version.txt; echo well >/srv/{name}/mode.txt")
        run = f"--unit={name} --property=WorkingDirectory=/srv/{name} --setenv=PORT={port}"
        server.run(f"systemd-run --quiet {run} node server.js")
        server.put(BY_HAND.format(name=name, port=port), f"/etc/nginx/sites-available/{name}")
        server.run(f"ln -s ../sites-available/{name} /etc/nginx/sites-enabled/{name}; nginx -t 2>&1")
        server.run("systemctl reload-or-restart nginx")
        site = Site(deployer, server, name, environment, repository)
        wait_until(lambda: "version 0" in site.page(), 20, what=site.page)
        return site

    return make


def test_adopted_without_a_request_lost(make_site: Callable[..., Site]) -> None:
    site = make_site()
    site.commit("one")
    refused = site.deploy("failed")
    assert f"served by {site.enabled}" in refused.error
    [seen] = site.look()["foreign"]
    assert seen["path"] == site.enabled
    assert "# written by hand" in seen["text"]
    site.adopt()
    with site.load() as load:
        time.sleep(0.5)
        first = site.deploy()
        time.sleep(0.5)
        site.commit("two")
        site.deploy()
        time.sleep(0.5)
    assert load.failed == []
    assert list(load.first) == ["version 0", "version one", "version two"]
    assert "X-By-Hand: yes" in site.page()
    log = site.deployer.log(first)
    assert f"{site.enabled} (a link to /etc/nginx/sites-available/{site.name}, which stays) is out of nginx now" in log
    left = site.vps.run(f"ls -d {site.enabled} {site.kept} /etc/nginx/sites-available/{site.name}", check=False).stdout
    assert left.split() == [site.kept, f"/etc/nginx/sites-available/{site.name}"]
    found = site.look()
    assert (found["state"], found["foreign"]) == ("ours", [])
    _edit_where_the_traffic_goes(site)


def _edit_where_the_traffic_goes(site: Site) -> None:
    """It is noticed, and not overwritten before somebody says so."""
    upstream = site.kept.replace(".adopted", ".upstream")
    site.vps.run(f"sed -i 's/;$/ max_fails=7;/' {upstream}")
    edited = site.vps.run(f"cat {upstream}").stdout
    assert f"{upstream} on {site.vps.name} was edited by hand" in site.deploy("failed").error
    assert site.look()["upstream"] == edited == site.vps.run(f"cat {upstream}").stdout
    proxy.proxy_replace(actor=site.deployer.actor, environment=site.environment)
    site.deploy()
    assert "max_fails" not in site.vps.run(f"cat {upstream}").stdout
    site.vps.run(f"cat >{upstream} <<'end'\n{edited}end")
    assert "was edited by hand" in site.deploy("failed").error, "what was accepted once is not accepted again"


def test_a_deployment_that_fails_puts_the_file_back(make_site: Callable[..., Site]) -> None:
    """It fails after the switch, when the release has the traffic."""
    site = make_site(phase_commands={"verify": ["sleep 1; exit 3"]})
    site.commit("one")
    site.look()
    site.adopt()
    before = site.vps.run(f"readlink {site.enabled}; cat {site.enabled}").stdout
    with site.load() as load:
        time.sleep(0.3)
        site.deploy("rolled_back")
        time.sleep(0.3)
    assert load.failed == []
    assert "version one" in load.answers
    assert "version 0" in site.page()
    assert site.vps.run(f"readlink {site.enabled}; cat {site.enabled}").stdout == before
    assert site.vps.run(f"ls {site.kept.replace('.adopted', '')}* 2>/dev/null || :").stdout == ""
    site.deployer.change(site.environment, phase_commands={})
    with site.load() as load:
        site.deploy()
        time.sleep(0.3)
    assert load.failed == [], "what was adopted is adopted still"
    assert "version one" in site.page()


def test_a_file_that_was_changed_since_is_left(make_site: Callable[..., Site]) -> None:
    site = make_site()
    site.commit("one")
    site.look()
    site.adopt()
    site.vps.run(f"echo '# mine' >>/etc/nginx/sites-available/{site.name}")
    assert f"{site.enabled} on {site.vps.name} was changed since" in site.deploy("failed").error
    assert "version 0" in site.page()
    site.vps.run(f"sed -i 's/server_name /server_name other.test /' /etc/nginx/sites-available/{site.name}")
    site.look()
    with pytest.raises(ConflictError, match=r"serves other\.test too"):
        site.adopt()


def test_right_after_the_switch_no_new_request_is_answered_by_the_old(make_site: Callable[..., Site]) -> None:
    """nginx is busy with taking its configuration up: it has many workers, and little of a processor."""
    asks = "for n in $(seq 40); do curl -sS -m 10 -H 'Host: {host}' http://127.0.0.1/; echo; done | sort | uniq -c"
    site = make_site()
    site.vps.run("sed -i 's/^worker_processes .*/worker_processes 40;/' /etc/nginx/nginx.conf; nginx -s reload")
    try:
        site.look()
        site.adopt()
        site.deployer.change(site.environment, phase_commands={"verify": [asks.format(host=f"{site.name}.test")]})
        for version in ("one", "two", "three"):
            site.commit(version)
            log = site.deployer.log(site.deploy())
            assert f"40 version {version}" in log, log
    finally:
        site.vps.run("sed -i 's/^worker_processes .*/worker_processes auto;/' /etc/nginx/nginx.conf; nginx -s reload")
