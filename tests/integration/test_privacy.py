"""Deleting a project or a team with its files: from real servers, and nothing else on them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django_scopes import scopes_disabled

from devflow.apps.accounts import services as accounts
from devflow.apps.accounts.models import Team
from devflow.apps.accounts.selectors import actor_get
from devflow.apps.audit.models import Event
from devflow.apps.privacy import jobs, services
from devflow.apps.projects.models import Environment, Project
from devflow.commands import haproxy
from tests.support import container_app
from tests.support.colour_load import Load
from tests.support.deployer import Deployer, WorkerProcess
from tests.support.gitrepo import GitRepository
from tests.support.panel import wait_until
from tests.support.sites import WEB_ROOT, Estate, Site
from tests.support.vps import Vps

COMPOSED = Path(__file__).parent / "apps" / "composed"
QUICK = {"checks": "1", "watch_seconds": "1", "drain_seconds": "2", "start_seconds": "20"}
PYTHON_APP = """
import http.server, os

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"a process")

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
"""
STACK = """
version: "3.8"
services:
  web:
    image: devflow-stack/{id}-web:1
    command: [sleep, "1000"]
    labels: {{devflow.environment: "{id}"}}
    deploy: {{labels: {{devflow.environment: "{id}"}}}}
    volumes: ["data:/data"]
    secrets: [word]
secrets:
  word: {{file: ./word}}
volumes:
  data: {{name: devflow-{id}_data}}
"""
# The test server has no logind, which gives a user's manager its folder otherwise.
USER_MANAGER = "[Service]\nPAMName=\nEnvironment=XDG_RUNTIME_DIR=/run/user/1000\n"
TRACES = "ls -d /srv/www/* ~/.devflow/repos/* ~/.devflow/runs/* 2>/dev/null || true"


@pytest.fixture
def estate(deployer: Deployer, make_vps: Callable[..., Vps], tmp_path: Path) -> Iterator[Estate]:
    """In a team of its own: what a team deletes is all that it has."""
    first = deployer.actor
    team = accounts.team_create(name=f"Leavers {secrets.token_hex(3)}", owner=first.user)
    deployer.actor = actor_get(user=first.user, team=team)
    estate = Estate(deployer, [make_vps()], tmp_path / "work")
    estate.commit("first")
    yield estate
    deployer.actor = first


def deployed(estate: Estate) -> Site:
    site = estate.site(f"gone-{secrets.token_hex(3)}")
    assert site.deploy().status == "success"
    return site


def removals(team: Team) -> list[Event]:
    with scopes_disabled():
        return list(Event.objects.filter(action="files.removed", team_id=team.pk).order_by("at"))


def test_a_project_goes_with_its_files(estate: Estate, worker: WorkerProcess) -> None:
    vps = estate.servers[0]
    before = vps.run(TRACES).stdout
    site = deployed(estate)
    vps.run(f"mkdir -p {WEB_ROOT}/of-somebody-else && mkdir -p ~/.devflow/runs/{'0' * 32}-other-1-forward")
    project = estate.project

    actor = estate.deployer.actor
    services.project_delete(actor=actor, project=project, with_files=True)
    wait_until(lambda: removals(actor.team), 30)

    event = removals(actor.team)[-1]
    assert (event.outcome, event.target) == ("done", f"{site.root} on {site.servers[0].name}")
    left = set(vps.run(TRACES).stdout.split()) - set(before.split())
    home = f"/home/{vps.user}/.devflow/runs"
    assert left == {f"{WEB_ROOT}/of-somebody-else", f"{home}/{'0' * 32}-other-1-forward"}
    with scopes_disabled():
        assert not Project.objects.filter(pk=project.pk).exists()


def test_a_team_stays_until_all_of_its_folders_can_be_removed(estate: Estate, worker: WorkerProcess) -> None:
    vps, actor = estate.servers[0], estate.deployer.actor
    site = deployed(estate)
    vps.run(f"chown root {site.root}/releases && chmod 555 {site.root}/releases", user="root")

    services.team_delete(actor=actor, with_files=True)
    wait_until(lambda: removals(actor.team), 30)
    event = removals(actor.team)[-1]
    assert event.outcome == "failed"
    assert "could not be removed" in str(event.after)
    assert Team.objects.filter(pk=actor.team.pk).exists()

    vps.run(f"chown {vps.user} {site.root}/releases && chmod 755 {site.root}/releases", user="root")
    services.team_delete(actor=actor, with_files=True)
    wait_until(lambda: not Team.objects.filter(pk=actor.team.pk).exists(), 30, what=estate.deployer.output)
    assert vps.run(f"ls -d {site.root} 2>/dev/null || true").stdout == ""


def deploy(deployer: Deployer, environment: Environment) -> None:
    ended = deployer.deploy(environment, timeout_seconds=150)
    assert ended.status == "success", deployer.describe(ended)


@pytest.mark.timeout(300)  # five deployments
def test_what_runs_goes_with_its_files_and_nothing_else(
    estate: Estate, worker: WorkerProcess, vps_docker: Vps, tmp_path: Path
) -> None:
    vps, deployer = vps_docker, estate.deployer
    vps.put("deploy ALL=(ALL) NOPASSWD: ALL\n", "/etc/sudoers.d/deploy", user="root", mode="440")
    server = deployer.add_server(vps)

    def site(kind: str, recipe: str, files: dict[str, str], **given: Any) -> Environment:
        name = f"{kind}-{secrets.token_hex(3)}"
        repository = GitRepository.on_server(vps, f"/home/deploy/{name}.git", tmp_path / name)
        repository.commit(files, message="one")
        project = deployer.add_project(name, repository.path, recipe=recipe)
        return deployer.add_environment(
            project,
            "production",
            servers=[server.name],
            root=f"/srv/www/{name}",
            strategy="blue-green",
            strategy_options=QUICK,
            proxy="nginx",
            domains=[f"{name}.test"],
            **given,
        )

    def traces(environment: Environment) -> dict[str, list[str]]:
        """What the server has that names the environment, besides volumes."""
        pk, mirror = environment.pk.hex, environment.project.mirror
        ours = f"docker ps -aq --filter label=devflow.environment={pk}"
        commands = {
            "containers": f"{ours}; docker ps -a --format '{{{{.Names}}}}' | grep {pk}",
            "networks": f"docker network ls --format '{{{{.Name}}}}' | grep {pk}",
            "images": f"docker image ls --format '{{{{.Repository}}}}' | grep {pk}",
            "units": f"systemctl list-units --all --plain --no-legend | grep {pk}",
            "unit files": f"find /etc/systemd /run/systemd /home/deploy/.config | grep {pk}",
            "nginx": f"grep -rl {pk} /etc/nginx /var/log/nginx; ls /etc/nginx/devflow.d /var/log/nginx | grep {pk}",
            "folders": f"ls -d {environment.root}; find /home/deploy/.devflow | grep -e {pk} -e /{mirror}",
            "processes": f"pgrep -af [/]{environment.root[1:]}/",
        }
        found = {
            name: vps.run(f"{{ {text}; }} 2>/dev/null || :", user="root").stdout for name, text in commands.items()
        }
        return {name: text.splitlines() for name, text in found.items() if text}

    composed = site("composed", "compose", {path.name: path.read_text() for path in COMPOSED.iterdir()})
    deployer.set_variables(composed, {"CLOCK": f"{composed.project.slug}-clock"})
    process = site("process", "python", {"app.py": PYTHON_APP}, recipe_options={"start_command": "python3 app.py"})
    other = site(
        "other", "dockerfile", {"Dockerfile": container_app.DOCKERFILE, "server.py": container_app.server("other")}
    )
    for environment in (composed, process, other):
        deploy(deployer, environment)
    for environment in (composed, process):  # both colours, and the timer that retires one
        deploy(deployer, environment)
    vps.run(f"sudo install -d -m 700 {composed.root}/shared/written-as-root/inside")
    assert {"containers", "networks", "images", "nginx", "folders"} <= set(traces(composed))
    assert {"units", "unit files", "nginx", "folders"} <= set(traces(process))
    kept = traces(other)

    actor = deployer.actor
    with Load(vps.http_port, other.domains[0]) as load:
        for environment in (composed, process):
            services.project_delete(actor=actor, project=environment.project, with_files=True)
        wait_until(lambda: len(removals(actor.team)) == 2, 120, what=deployer.output)
    assert [(event.outcome, event.after) for event in removals(actor.team) if event.outcome != "done"] == []
    assert traces(composed) == {}
    assert traces(process) == {}
    assert traces(other) == kept
    assert load.failed == []
    assert load.answers["other"] > 50

    volume = f"devflow-{composed.pk.hex}_data"
    assert volume in vps.run("docker volume ls -q").stdout.split()
    [event] = [event for event in removals(actor.team) if composed.root in event.target]
    assert f"volume {volume}" in event.after["stays"].split("; ")

    script = jobs.remove_script(composed.root, [], environment=composed.pk.hex)
    again = vps.run("sh -s", stdin=script)
    assert f"stays volume {volume}" in again.stdout, "it still does"
    vps.run(f"docker volume rm {volume}")


def test_a_balancers_part_and_a_swarms_stack_go(vps_docker: Vps) -> None:
    vps = vps_docker
    ours, others = secrets.token_hex(16), secrets.token_hex(16)
    parts = ""
    for port, environment in ((18081, ours), (18082, others)):
        name = haproxy.backend_of(environment)
        part = haproxy.part(environment_id=environment, nodes=[("a", "127.0.0.1:1")], port=port, path="/", host="")
        parts += f"# begin {name}: made by DevFlow Pro, changed there only\n{part}# end {name}\n"
    vps.run("cat >>/etc/haproxy/haproxy.cfg && systemctl restart haproxy", user="root", stdin=parts)
    vps.run("docker swarm init --advertise-addr $(hostname -i | cut -d ' ' -f 1) && echo secret >word")
    vps.run("docker tag devflow-base devflow-base:mine")
    for name, environment in (("ours", ours), ("others", others)):
        vps.run(f"docker tag devflow-base devflow-stack/{environment}-web:1")
        vps.put(STACK.format(id=environment), f"/home/{vps.user}/{name}.yaml")
        vps.run(f"cd && docker stack deploy --resolve-image never -c {name}.yaml {name}")
    running = "docker ps -q --filter label=devflow.environment={}"
    wait_until(lambda: all(vps.run(running.format(each)).stdout for each in (ours, others)), 60)

    script = jobs.remove_script("/srv/www/balanced", [], environment=ours, serves=False)
    done = vps.run("sh -s", user="root", stdin=script)
    assert done.stdout.splitlines() == [f"stays volume devflow-{ours}_data"]
    listening = vps.run("ss -Hltn").stdout
    wait_until(lambda: ":18081 " not in vps.run("ss -Hltn").stdout, 10)
    assert ":18082 " in listening
    left = "docker service ls; docker network ls; docker secret ls; docker image ls; docker ps -a --no-trunc"
    words = vps.run(f"{{ {left}; }} | tr -s ' ' '\\n'; cat /etc/haproxy/*.cfg*").stdout
    assert ours not in words
    assert "ours_" not in words
    assert {"others_web", "others_default", "others_word", f"devflow-stack/{others}-web"} <= set(words.split())
    assert others in vps.run("cat /etc/haproxy/haproxy.cfg").stdout
    assert vps.run(running.format(others)).stdout
    assert vps.run("sh -s", user="root", stdin=script).stdout == done.stdout


def test_a_user_without_root_and_an_nginx_that_needs_the_site(vps_systemd: Vps) -> None:
    vps, ours = vps_systemd, secrets.token_hex(16)
    root, unit = f"/srv/www/left-{ours[:6]}", f"devflow-{ours}-blue.service"
    rights = "deploy ALL=(root) NOPASSWD: /usr/sbin/nginx -T, /usr/bin/systemctl reload nginx\n"
    vps.put(rights, "/etc/sudoers.d/deploy-nginx", user="root", mode="440")
    vps.put("include /etc/nginx/devflow.d/*.conf;\n", "/etc/nginx/conf.d/devflow.conf", user="root")
    vps.run("install -d -o deploy /etc/nginx/devflow.d /run/user/1000; chmod 700 /run/user/1000", user="root")
    vps.put(USER_MANAGER, "/run/systemd/system/user@1000.service.d/test.conf", user="root")
    vps.run("systemctl daemon-reload && systemctl start user@1000.service", user="root")
    vps.put(
        "[Service]\nExecStart=sleep 1000\n[Install]\nWantedBy=default.target\n",
        f"/home/deploy/.config/systemd/user/{unit}",
    )
    manager = "XDG_RUNTIME_DIR=/run/user/1000 systemctl --user"
    vps.run(f"mkdir -p {root}/.devflow; {manager} daemon-reload; {manager} enable --now {unit} 2>&1")
    vps.put(f"upstream devflow_{ours} {{ server 127.0.0.1:1; }}\n", f"/etc/nginx/devflow.d/{ours}.upstream")
    site = f"include /etc/nginx/devflow.d/{ours}.upstream;\nserver {{ server_name left.test; return 204; }}\n"
    vps.put(site, f"/etc/nginx/devflow.d/{ours}.conf")
    uses = f"server {{ server_name uses.test; location / {{ proxy_pass http://devflow_{ours}; }} }}\n"
    vps.put(uses, "/etc/nginx/conf.d/uses.conf", user="root")
    vps.run("nginx -t 2>&1 && systemctl reload nginx", user="root")

    script = jobs.remove_script(root, [], environment=ours)
    done = vps.run("sh -s", stdin=script, check=False)
    assert done.returncode == 1
    assert "were put back" in done.stderr
    assert "host not found in upstream" in done.stderr
    assert vps.run(f"cat /etc/nginx/devflow.d/{ours}.conf").stdout == site
    assert vps.run(f"{manager} is-active {unit}").stdout.strip() == "active"

    vps.run("rm /etc/nginx/conf.d/uses.conf", user="root")
    vps.run("sh -s", stdin=script)
    assert "204" not in vps.run("curl -sI -H 'Host: left.test' http://127.0.0.1/", check=False).stdout
    found = vps.run(
        f"find {root} ~ /etc /run | grep -e {ours} -e {root}; {manager} list-units --all | grep {ours} || :"
    )
    assert found.stdout == ""
