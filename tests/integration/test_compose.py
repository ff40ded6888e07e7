"""Compose projects behind nginx: services replaced without downtime, left alone, recreated; what must not be lost."""

from __future__ import annotations

import http.client
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from devflow.apps.deployments.models import Deployment
from devflow.apps.projects.models import Environment
from tests.support.colour_load import Load
from tests.support.deployer import Deployer, WorkerProcess
from tests.support.gitrepo import GitRepository
from tests.support.panel import wait_until
from tests.support.vps import Vps

pytestmark = pytest.mark.timeout(400)

APP = Path(__file__).parent / "apps" / "composed"
FILE = (APP / "compose.yaml").read_text()
QUICK = {"watch_seconds": "1", "drain_seconds": "2", "start_seconds": "20", "checks": "2"}


@dataclass
class Composed:
    """The sample project, one environment of it, and the server that it is on."""

    deployer: Deployer
    vps: Vps
    repository: GitRepository
    environment: Environment
    name: str
    root: str
    versions: dict[str, Deployment] = field(default_factory=dict)

    @property
    def base(self) -> str:
        return f"devflow-{self.environment.pk.hex}"

    def commit(self, version: str, mode: str = "well", **files: str) -> None:
        named = {name.replace("_", "."): text for name, text in files.items()}
        self.repository.commit({"version.txt": version, "mode.txt": mode, **named})

    def deploy(
        self, version: str, mode: str = "well", *, status: str = "success", error: str = "", **files: str
    ) -> Deployment:
        self.commit(version, mode, **files)
        return self.ended(self.deployer.request(self.environment), version, status=status, error=error)

    def ended(
        self, requested: Deployment, version: str = "", *, status: str = "success", error: str = ""
    ) -> Deployment:
        ended = self.deployer.wait_ended(requested, 180)
        shown = self.deployer.describe(ended)
        assert ended.status == status, shown
        assert error in ended.error, shown
        self.versions[version] = ended
        return ended

    def page(self, path: str = "/", method: str = "GET") -> str:
        connection = http.client.HTTPConnection(self.vps.host, self.vps.http_port, timeout=10)
        try:
            connection.request(method, path, headers={"Host": f"{self.name}.test", "Content-Length": "0"})
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace").strip()
            return text if answer.status == 200 else f"{answer.status}"
        finally:
            connection.close()

    def write(self, line: str) -> None:
        self.run(f"docker exec {self.base}-db-1 wget -qO- --post-data= http://127.0.0.1:8000/{line}")

    def inside(self, container: str, url: str) -> str:
        """What a container of this project is answered."""
        name = container if len(container) == 12 else f"{self.base}-{container}"
        return self.run(f"docker exec {name} wget -qO- {url}")

    def roll_back(self, version: str) -> Deployment:
        return self.ended(self.deployer.roll_back(self.environment, to=self.versions[version]), version)

    def containers(self) -> dict[str, str]:
        """Ids of those that run, by name without the project's."""
        shown = self.run(
            f"docker ps --format '{{{{.Names}}}} {{{{.ID}}}}' --filter name={self.base} --filter name={self.name}"
        )
        return {line.split()[0].removeprefix(f"{self.base}-"): line.split()[1] for line in shown.splitlines()}

    def services(self, deployment: Deployment) -> dict[str, str]:
        plan = self.deployer.read(deployment).plan
        assert plan
        return {service["name"]: service["treatment"] for service in plan["services"]}

    def run(self, command: str) -> str:
        return self.vps.run(command, user="root").stdout.strip()


@pytest.fixture(scope="module")
def server(docker_engine: Any, docker_image: str) -> Iterator[Vps]:
    """With systemd and Docker; its user is root."""
    with Vps(docker_engine, docker_image, systemd=True, docker=True, user="root") as made:
        made.base_image()
        yield made


@pytest.fixture
def make_composed(
    deployer: Deployer, worker: WorkerProcess, server: Vps, tmp_path: Path
) -> Iterator[Callable[..., Composed]]:
    made: list[Composed] = []

    def make(**given: Any) -> Composed:
        from django_scopes import scopes_disabled

        from devflow.apps.servers.models import Server

        with scopes_disabled():
            known = Server.objects.filter(name=server.name).first()
        known = known or deployer.add_server(server)
        name = f"composed-{secrets.token_hex(3)}"
        repository = GitRepository.on_server(server, f"/root/{name}.git", tmp_path / name)
        repository.commit_folder(APP)
        settings: dict[str, Any] = {
            "strategy": "blue-green",
            "strategy_options": QUICK,
            "proxy": "nginx",
            "domains": [f"{name}.test"],
            **given,
        }
        project = deployer.add_project(name, repository.path, recipe="compose")
        root = f"/srv/www/{name}"
        environment = deployer.add_environment(project, "production", servers=[known.name], root=root, **settings)
        deployer.set_variables(environment, {"CLOCK": f"{name}-clock"})
        found = Composed(deployer, server, repository, environment, name, root)
        made.append(found)
        return found

    yield make
    for each in made:
        for project in (f"{each.base}-blue", f"{each.base}-green", each.base):
            mine = f"--filter label=com.docker.compose.project={project}"
            each.run(f"docker ps -aq {mine} | xargs -r docker rm --force --volumes")
            each.run(f"docker network ls -q {mine} | xargs -r docker network rm")
            each.run(f"docker volume ls -q {mine} | xargs -r docker volume rm")


@pytest.fixture
def composed(make_composed: Callable[..., Composed]) -> Composed:
    return make_composed()


def test_services_are_treated_as_the_plan_says(composed: Composed) -> None:
    first = composed.deploy("one")
    assert composed.services(first) == {
        "web": "replaced",
        "api": "replaced",
        "prepare": "replaced",
        "clock": "recreated",
        "db": "left",
    }
    assert composed.page() == "version one"
    before = composed.containers()
    second = composed.deploy("two")
    assert composed.services(second)["db"] == "left"
    after = composed.containers()
    assert after["db-1"] == before["db-1"]
    assert after[f"{composed.name}-clock"] != before[f"{composed.name}-clock"]
    assert "blue-web-blue-1" in after
    assert "green-web-green-1" in after
    # each colour reaches its own services, and both the one that keeps data
    assert composed.page("/ask/api/") == composed.page() == "version two"
    assert composed.inside("blue-web-blue-1", "http://api:8000/") == "version one"
    assert composed.page("/ask/db/lines") == ""
    plan = composed.deployer.read(second).plan
    assert plan
    assert "composed" in next(each["reason"] for each in plan["services"] if each["name"] == "clock")


def test_ten_deployments_under_load_lose_no_request_and_no_data(composed: Composed) -> None:
    composed.deploy("0")
    with Load(composed.vps.http_port, f"{composed.name}.test") as load:
        for number in range(1, 11):
            composed.write(f"line{number}")
            composed.deploy(str(number))
            assert composed.page() == f"version {number}"
    assert load.failed == []
    assert composed.page("/ask/db/lines").split() == [f"line{number}" for number in range(1, 11)]
    assert set(load.answers) == {f"version {number}" for number in range(11)}
    # what releases that are not kept were made of is gone
    kept = composed.run(f"ls {composed.root}/releases").split()
    assert len(kept) == 5
    assert composed.run(f"ls {composed.root}/.devflow/compose").split() == kept
    tags = composed.run(f"docker image ls --format '{{{{.Tag}}}}' --filter 'reference={composed.base}-web'").split()
    assert {tag for tag in tags if "-" in tag} == set(kept)


def test_variables_are_what_they_are(composed: Composed) -> None:
    odd = {
        "GREETING": "$HOME ${NONE} $$ 'single' \"double\" `tick` \\ \\n #no comment",
        "LINES": "one\ntwo 'q' `x` \"q\" $HOME\n",
        "BACK": "ends with \\",
        "CLOCK": f"{composed.name}-clock",
    }
    composed.deployer.set_variables(composed.environment, odd)
    composed.deploy("one")
    for name in ("GREETING", "LINES", "BACK"):
        assert composed.page(f"/env/{name}") == odd[name].strip()
    assert composed.page("/env/MIXED") == f"<{odd['GREETING']}>"
    # they are in no container of others, and in no file that others can read
    told = composed.run(f"docker inspect {composed.containers()['db-1']}")
    assert "single" not in told
    folder = f"{composed.root}/.devflow/compose"
    assert composed.run(f"find {folder} -type f -perm /077; find {folder} -maxdepth 1 -type d -perm /077") == ""
    # a rollback has the values of its release
    composed.deployer.set_variables(composed.environment, {**odd, "GREETING": "new"})
    composed.deploy("two")
    assert composed.page("/env/MIXED") == "<new>"
    composed.roll_back("one")
    assert composed.page("/env/MIXED") == f"<{odd['GREETING']}>"


def test_a_release_that_is_sick_or_ends_is_taken_back(composed: Composed) -> None:
    composed.deploy("one")
    composed.write("kept")
    clock = composed.containers()[f"{composed.name}-clock"]
    with Load(composed.vps.http_port, f"{composed.name}.test") as load:
        sick = composed.deploy("sick", "sick", status="failed", error="not healthy")
        ended = composed.deploy("ends", "ends after 2", status="failed", error="exit code 7")
        assert "the application gives up" in composed.deployer.log(ended)
    assert load.failed == []
    assert set(load.answers) == {"version one"}
    after = composed.containers()
    assert after[f"{composed.name}-clock"] == clock
    assert not [name for name in after if name.startswith("green-")]
    assert composed.page("/ask/db/lines") == "kept"
    assert sick.release not in composed.run(f"ls {composed.root}/releases")
    composed.deploy("two")
    assert composed.page() == "version two"


def test_what_ends_after_the_switch_is_taken_back_with_what_was_recreated(
    make_composed: Callable[..., Composed],
) -> None:
    composed = make_composed(strategy_options={**QUICK, "watch_seconds": "12"})
    composed.deploy("one")
    composed.deploy("ends", "ends after 10", status="rolled_back", error="ended and was started again")
    assert composed.page() == "version one"
    clock = composed.containers()[f"{composed.name}-clock"]
    assert composed.inside(clock, "http://127.0.0.1:8000/") == "version one"


def test_rollback_to_standby_and_to_an_older_release_by_its_images(composed: Composed) -> None:
    for version in ("one", "two", "three"):
        composed.deploy(version)
    # tags that have moved do not matter
    web = f"{composed.base}-web"
    newest = composed.run(f"docker image ls -q {web} | head -n 1")
    for tag in composed.run(f"docker image ls --format '{{{{.Tag}}}}' {web}").split():
        if "-" not in tag:
            composed.run(f"docker tag {newest} {web}:{tag}")
    requested = composed.deployer.roll_back(composed.environment, to=composed.versions["two"])
    began = time.monotonic()
    while composed.page() != "version two":
        assert time.monotonic() - began < 60
        time.sleep(0.05)
    print(f"rollback to standby: {time.monotonic() - began:.2f} s until the version before served")
    composed.ended(requested, "two")
    print([(step.name, step.duration_seconds) for step in composed.deployer.steps(requested)])
    assert composed.page() == composed.page("/ask/api/") == "version two"
    clock = composed.containers()[f"{composed.name}-clock"]
    assert composed.inside(clock, "http://127.0.0.1:8000/") == "version two"
    composed.roll_back("one")
    assert composed.page() == composed.page("/ask/api/") == "version one"


def test_a_compose_file_that_is_wrong_is_told_as_compose_tells_it(composed: Composed) -> None:
    composed.deploy("one")
    wrong = FILE.replace("  db:\n", "  db: [\n")
    composed.deploy("two", status="failed", error="compose.yaml: yaml: line", compose_yaml=wrong)
    undeclared = FILE.replace("volumes:\n  data: {}", "")
    error = 'compose.yaml: service "db" refers to undefined volume data'
    composed.deploy("three", status="failed", error=error, compose_yaml=undeclared)
    named = FILE.replace("    ports:", "    container_name: shop-web\n    ports:")
    composed.deploy("four", status="failed", error="container_name: shop-web", compose_yaml=named)
    lost = FILE.replace("data:/data", "./state:/data")
    composed.deploy("five", status="failed", error="keeps data in ./state", compose_yaml=lost)
    assert composed.page() == "version one"


def test_a_volume_with_data_is_never_replaced_by_an_empty_one(composed: Composed) -> None:
    composed.deploy("one")
    composed.write("precious")
    full = f"{composed.base}_data"
    renamed = FILE.replace("data:/data", "state:/data").replace("  data: {}", "  state: {}")
    refused = composed.deploy("two", status="failed", error="would be a new and empty one", compose_yaml=renamed)
    assert f"name: {full}" in refused.error
    assert "docker volume create" in refused.error
    other = FILE.replace("  data: {}", "  data: { name: elsewhere }")
    composed.deploy("three", status="failed", error=f"in place of {full}", compose_yaml=other)
    # another name of the Compose project changes nothing
    composed.deploy("four", compose_yaml=FILE.replace("name: composed", "name: another"))
    assert composed.page("/ask/db/lines") == "precious"
    # as the message says: the old volume under its own name
    kept = renamed.replace("  state: {}", f"  state: {{ name: {full} }}")
    composed.deploy("five", compose_yaml=kept)
    assert composed.page() == "version five"
    assert composed.page("/ask/db/lines") == "precious"
    composed.run(f"docker rm -f {composed.containers()['db-1']} && docker volume rm {full}")
    composed.deploy("six", status="failed", error="is not on", compose_yaml=kept)


def test_the_data_of_a_project_that_was_started_by_hand_is_not_left_behind(composed: Composed) -> None:
    labels = "--label com.docker.compose.project=composed --label com.docker.compose.volume=data"
    composed.run(f"docker volume create {labels} composed_data")
    try:
        refused = composed.deploy("one", status="failed", error="composed_data of the Compose project composed")
        assert "name: composed_data" in refused.error
        assert composed.run(f"docker volume ls -q --filter name={composed.base}") == ""
        composed.deploy(
            "two", compose_yaml=FILE.replace("  data: {}", "  data: { name: composed_data, external: true }")
        )
        assert composed.page() == "version two"
    finally:
        composed.run("docker rm -f $(docker ps -aq --filter volume=composed_data); docker volume rm composed_data")


def test_twelve_services_with_what_cannot_run_twice(make_composed: Callable[..., Composed]) -> None:
    composed = make_composed(recipe_options={"service": "web"})
    more = "".join(f"  extra{number}:\n    <<: *app\n" for number in range(1, 6))
    odd = """\
  host:
    image: devflow-base
    command: [sleep, "1000"]
    network_mode: host
  port:
    image: devflow-base
    command: [sleep, "1000"]
    ports: ["127.0.0.1:18765:8000"]
"""
    file = FILE.replace("volumes:\n  data: {}", f"{more}{odd}volumes:\n  data: {{}}")
    first = composed.deploy("one", compose_yaml=file)
    treatments = composed.services(first)
    assert len(treatments) == 12
    assert {name for name, how in treatments.items() if how == "recreated"} == {"clock", "host", "port"}
    before = composed.containers()
    second = composed.deploy("two", compose_yaml=file)
    plan = composed.deployer.read(second).plan
    assert plan
    reasons = {each["name"]: each["reason"] for each in plan["services"]}
    assert "network_mode: host" in reasons["host"]
    assert "127.0.0.1:18765" in reasons["port"]
    assert (composed.services(second)["host"], composed.services(second)["port"]) == ("left", "left")  # unchanged
    after = composed.containers()
    assert [after[name] for name in ("host-1", "port-1")] == [before[name] for name in ("host-1", "port-1")]
    assert composed.page() == "version two"


def test_a_database_that_changes_is_recreated_with_its_data(composed: Composed) -> None:
    composed.deploy("one")
    composed.write("kept")
    before = composed.containers()["db-1"]
    changed = FILE.replace("environment: { ROLE: db }", "environment: { ROLE: db, MORE: x }")
    second = composed.deploy("two", compose_yaml=changed)
    plan = composed.deployer.read(second).plan
    assert plan
    reason = next(each["reason"] for each in plan["services"] if each["name"] == "db")
    assert "environment (MORE)" in reason
    assert composed.containers()["db-1"] != before
    assert composed.page("/ask/db/lines") == "kept"


def test_docker_restarted_during_a_deployment(composed: Composed) -> None:
    composed.deploy("one")
    composed.commit("two")
    running = composed.deployer.request(composed.environment)
    composed.deployer.wait_for_step(running, "images", 60)
    composed.run("systemctl restart docker")
    ended = composed.deployer.wait_ended(running, 180)
    shown = composed.deployer.describe(ended)
    assert ended.status in ("success", "failed", "rolled_back"), shown
    assert composed.page() == ("version two" if ended.status == "success" else "version one"), shown
    composed.deploy("three")
    assert composed.page() == "version three"


def test_after_a_reboot_one_colour_serves(composed: Composed) -> None:
    composed.deploy("one")
    composed.write("kept")
    composed.deploy("two")
    composed.vps.stop()
    composed.vps.start()
    wait_until(lambda: composed.page() == "version two", 60, what=lambda: str(composed.containers()))
    assert composed.page("/ask/db/lines") == "kept"
    assert not [name for name in composed.containers() if name.startswith("blue-")]
    composed.deploy("three")
    assert composed.page() == "version three"


def test_recreate_in_place(make_composed: Callable[..., Composed]) -> None:
    composed = make_composed(strategy="recreate")
    first = composed.deploy("one")
    assert set(composed.services(first).values()) == {"recreated", "left"}
    assert composed.page() == "version one"
    composed.write("kept")
    before = composed.containers()
    composed.deploy("two")
    assert composed.page() == "version two"
    assert composed.containers()["db-1"] == before["db-1"]
    composed.deploy("sick", "sick", status="rolled_back", error="not healthy")
    assert composed.page() == "version two"
    composed.deploy("ends", "ends after 1", status="rolled_back", error="again")
    assert composed.page() == "version two"
    composed.roll_back("one")
    assert composed.page() == "version one"
    assert composed.page("/ask/db/lines") == "kept"


def test_from_recreate_to_blue_green_and_back(make_composed: Callable[..., Composed]) -> None:
    composed = make_composed(strategy="recreate")
    composed.deploy("one")
    composed.write("kept")
    composed.deployer.change(composed.environment, strategy="blue-green")
    composed.environment.refresh_from_db()
    composed.deploy("two")
    assert composed.page() == composed.page("/ask/api/") == "version two"
    composed.deployer.change(composed.environment, strategy="recreate")
    composed.environment.refresh_from_db()
    composed.deploy("three")
    assert composed.page() == composed.page("/ask/api/") == "version three"
    assert composed.page("/ask/db/lines") == "kept"
    assert not [name for name in composed.containers() if name.startswith(("blue-", "green-"))]
