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

from devflow.apps.deployments.canary import canary_shares
from devflow.apps.deployments.models import Deployment
from devflow.apps.projects.models import Environment
from tests.support.balanced_load import Load as BalancedLoad
from tests.support.colour_load import Load
from tests.support.deployer import Deployer, WorkerProcess
from tests.support.gitrepo import GitRepository
from tests.support.panel import wait_until
from tests.support.vps import Vps

pytestmark = pytest.mark.timeout(800)

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
        """What a container of this project is answered; one that has just begun to run is waited for."""
        name = container if len(container) == 12 else f"{self.base}-{container}"
        return self.run(f"for i in $(seq 50); do docker exec {name} wget -qO- {url} && exit; sleep 0.2; done; exit 1")

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


def test_a_slow_start_that_docker_calls_ill_meanwhile_is_waited_for(composed: Composed) -> None:
    check = 'healthcheck: { test: [CMD, wget, -qO-, "http://127.0.0.1:8000/health"], interval: 1s, retries: 2 }'
    waits = FILE.replace("    depends_on:\n", "    depends_on:\n      api: { condition: service_healthy }\n")
    waits = waits.replace("  api:\n    <<: *app\n", f"  api:\n    <<: *app\n    {check}\n")
    slow = composed.deploy("slow", "starts after 6", compose_yaml=waits)
    assert composed.page() == "version slow"
    log = composed.deployer.log(slow)
    assert "Waiting for a service that others wait for" in log
    assert "Waiting for the health checks of: web" in log
    prepare = "--filter event=start --filter container=$(docker ps -aq --filter name=prepare-blue)"
    assert len(composed.run(f"docker events --since 10m --until 0s {prepare}").splitlines()) == 1


def test_a_service_that_the_file_has_no_more_is_told_and_comes_back(composed: Composed) -> None:
    composed.deploy("one")
    composed.write("kept")
    fewer = FILE.replace("      db: { condition: service_healthy }\n", "").split("  db:\n")[0]
    second = composed.deploy("two", compose_yaml=fewer)
    assert composed.services(second)["db"] == "removed"
    plan = composed.deployer.read(second).plan
    assert plan
    assert any("The service db keeps data (the volume data)" in each for each in plan["warnings"])
    assert "orphan" not in composed.deployer.log(second)
    assert "db-1" not in composed.containers()
    composed.roll_back("one")
    assert composed.page("/ask/db/lines") == "kept"


def test_a_port_of_the_server_that_is_taken_is_told_before_anything_is_done(
    make_composed: Callable[..., Composed],
) -> None:
    composed = make_composed(recipe_options={"service": "web"})
    composed.deploy("one")
    before = composed.containers()
    named = "    container_name: ${CLOCK:-composed-clock}\n"
    taken = FILE.replace(named, f'{named}    ports: ["22:8000"]\n')
    refused = composed.deploy(
        "two", status="failed", error="The service clock publishes port 22 of", compose_yaml=taken
    )
    assert "taken by sshd" in refused.error
    assert composed.containers() == before
    composed.deploy("three", compose_yaml=taken.replace("22:8000", "2222:8000"))
    composed.deploy("four")  # its own
    assert composed.page() == "version four"


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
    one_serves(composed, "two" if ended.status == "success" else "one")
    composed.deploy("three")
    assert composed.page() == "version three"


def one_serves(composed: Composed, version: str) -> None:
    """Proxy, notes, link and containers agree on the release that serves, and all of it comes back after a reboot."""
    wait_until(lambda: composed.page() == f"version {version}", 60, what=lambda: str(composed.containers()))
    release = composed.versions[version].release if version in composed.versions else ""
    colour, live = composed.run(f"cat {composed.root}/.devflow/live").split()
    assert composed.run(f"readlink {composed.root}/current") == f"releases/{live}"
    assert not release or live == release
    running = composed.containers()
    for service in ("web", "api"):
        told = composed.run(
            "docker inspect --format '{{index .Config.Labels \"devflow.release\"}} {{.HostConfig.RestartPolicy.Name}}' "
            f"{running[f'{colour}-{service}-{colour}-1']}"
        )
        assert told == f"{live} unless-stopped"
    clock = running[f"{composed.name}-clock"]
    assert composed.inside(clock, "http://127.0.0.1:8000/") == composed.page("/ask/api/") == f"version {version}"


def test_docker_restarted_while_the_new_colour_starts(composed: Composed) -> None:
    composed.deploy("one")
    composed.write("kept")
    composed.commit("two", "prepares 20")  # what the new colour waits for: it starts, and is not there yet
    running = composed.deployer.request(composed.environment)
    composed.deployer.wait_for_step(running, "start", 90)
    prepare = f"docker ps -q --filter name={composed.base}-green-prepare"
    wait_until(lambda: composed.run(prepare), 60)
    composed.run("systemctl restart docker")
    ended = composed.ended(running, status="failed")
    # by whether Compose still finds Docker away when what it waited for has ended
    assert "could not start the services" in ended.error or "does not stay up" in ended.error, ended.error
    one_serves(composed, "one")
    assert not [name for name in composed.containers() if name.startswith("green-")]
    assert composed.page("/ask/db/lines") == "kept"
    composed.deploy("three")
    one_serves(composed, "three")


def test_docker_restarted_at_the_switch(make_composed: Callable[..., Composed]) -> None:
    composed = make_composed(strategy_options={**QUICK, "watch_seconds": "12"})
    composed.deploy("one")
    composed.write("kept")
    composed.commit("two")
    running = composed.deployer.request(composed.environment)
    composed.deployer.wait_for_step(running, "switch", 90)
    composed.run("systemctl restart docker")
    ended = composed.deployer.wait_ended(running, 180)
    shown = composed.deployer.describe(ended)
    assert ended.status in ("success", "rolled_back"), shown  # by when the watch looked at what was starting again
    one_serves(composed, "two" if ended.status == "success" else "one")
    assert composed.page("/ask/db/lines") == "kept"
    composed.deploy("three")
    one_serves(composed, "three")


STORE = """\
  store:
    image: devflow-base
    command: [python3, /server.py]
    restart: unless-stopped
    environment: { ROLE: store }
    volumes: ["FOLDER:/data", "./server.py:/server.py:ro"]
"""


def test_data_in_a_folder_of_the_server_is_written_by_one_at_a_time(composed: Composed) -> None:
    folder = f"/srv/{composed.name}-pg"
    file = FILE.replace("volumes:\n  data: {}", STORE.replace("FOLDER", folder) + "volumes:\n  data: {}")
    accepted = file.replace("{ ROLE: store }", "{ ROLE: store }\n    labels: { devflow.replace: 'true' }")
    lives = f"docker ps -q --filter label=devflow.environment={composed.environment.pk.hex} --filter volume={folder}"
    try:
        first = composed.deploy("one", compose_yaml=file)
        assert composed.services(first)["store"] == "left"
        before = composed.run(lives).split()
        assert len(before) == 1
        composed.deploy("two", compose_yaml=file)
        assert composed.run(lives).split() == before
        # who says that two may run gets two, and a warning
        second = composed.deploy("three", compose_yaml=accepted)
        assert composed.services(second)["store"] == "replaced"
        plan = composed.deployer.read(second).plan
        assert plan
        assert any(folder in warning for warning in plan["warnings"]), plan["warnings"]
        # and from there into the base again, before what waits for it: never both
        needing = file.replace("      prepare: {", "      store: { condition: service_started }\n      prepare: {", 1)
        sick = composed.deploy("sick", "sick", status="failed", error="not healthy", compose_yaml=needing)
        assert "store keeps data and does not run beside itself" in composed.deployer.log(sick)
        (again,) = composed.run(lives).split()
        assert "store-" in composed.run(f"docker inspect --format '{{{{.Name}}}}' {again}")
        composed.deploy("four", compose_yaml=file)
        (last,) = composed.run(lives).split()
        assert composed.run(f"docker inspect --format '{{{{.Name}}}}' {last}") == f"/{composed.base}-store-1"
        assert composed.page() == "version four"
    finally:
        composed.run(f"docker ps -aq --filter volume={folder} | xargs -r docker rm -f; rm -rf {folder}")


def test_a_volume_that_an_image_has_of_its_own_is_found_and_kept(composed: Composed) -> None:
    image = f"{composed.vps.start_registry()}/store-{composed.name}:1"
    composed.run(f"printf 'FROM devflow-base\\nVOLUME /data\\n' | docker build -t {image} - && docker push {image}")
    composed.run(f"docker image rm {image}")
    service = STORE.replace("FOLDER:/data", "./mode.txt:/mode.txt:ro").replace("devflow-base", image)
    file = FILE.replace("volumes:\n  data: {}", service + "volumes:\n  data: {}")
    try:
        refused = composed.deploy("zero", status="failed", error="has a volume of its own, /data", compose_yaml=file)
        assert "Deploy again" in refused.error
        assert composed.containers() == {}
        again = composed.ended(composed.deployer.request(composed.environment), "one")
        assert composed.services(again)["store"] == "left"
        before = composed.containers()["store-1"]
        composed.run(f"docker exec {before} touch /data/precious")
        composed.deploy("two", compose_yaml=file)
        composed.deploy("three", compose_yaml=file.replace("ROLE: store", "ROLE: store, MORE: x"))
        after = composed.containers()["store-1"]
        assert after != before
        assert composed.run(f"docker exec {after} ls /data") == "precious"
        # of one that is replaced by choice the volume of before is not thrown away
        accepted = file.replace("{ ROLE: store }", "{ ROLE: store }\n    labels: { devflow.replace: 'true' }")
        fourth = composed.deploy("four", compose_yaml=accepted)
        plan = composed.deployer.read(fourth).plan
        assert plan
        assert any("begins with an empty /data" in warning for warning in plan["warnings"]), plan["warnings"]
        colour = composed.run(f"cat {composed.root}/.devflow/live").split()[0]
        own = composed.run(
            "docker inspect --format '{{range .Mounts}}{{.Name}} {{end}}' "
            f"{composed.containers()[f'{colour}-store-{colour}-1']}"
        )
        composed.deploy("five", compose_yaml=accepted)
        composed.deploy("six", compose_yaml=accepted)
        assert composed.run(f"docker volume ls -q --filter name={own}") == own
    finally:
        composed.run(f"docker ps -aq --filter ancestor={image} | xargs -r docker rm -f -v")


def test_a_rollback_never_makes_an_empty_volume(composed: Composed) -> None:
    more = FILE.replace('volumes: ["data:/data",', 'volumes: ["data:/data", "more:/more",')
    more = more.replace("  data: {}", "  data: {}\n  more: {}")
    composed.deploy("one", compose_yaml=more)
    composed.deploy("two", compose_yaml=FILE)
    full = f"{composed.base}_more"
    assert composed.run(f"docker volume ls -q --filter name={full}") == full, "what the file drops is not removed"
    composed.run(f"docker volume rm {full}")
    back = composed.deployer.roll_back(composed.environment, to=composed.versions["one"])
    refused = composed.ended(back, status="failed", error=f"The volume {full}, which held data of this environment")
    assert "docker volume create" in refused.error
    assert composed.page() == "version two"
    assert composed.run(f"docker volume ls -q --filter name={full}") == ""
    composed.deploy("three", status="failed", error=f"The volume {full}", compose_yaml=more)
    composed.run(f"docker volume create {full}")
    composed.roll_back("one")
    assert composed.page() == "version one"


def test_a_build_that_fails_says_why(composed: Composed) -> None:
    composed.deploy("one")
    broken = (APP / "Dockerfile").read_text() + 'RUN echo "no such module: left-pad" && exit 3\n'
    failed = composed.deploy("two", status="failed", error="could not be built on", Dockerfile=broken)
    assert "no such module: left-pad" in failed.error, failed.error
    assert composed.page() == "version one"


def test_a_disk_that_is_full_during_a_build(composed: Composed) -> None:
    folder = "/var/lib/docker"
    composed.run(
        f"systemctl stop docker.socket docker && mount -t tmpfs -o size=90m tmpfs {folder} && systemctl start docker"
    )
    try:
        composed.vps.base_image()
        large = (APP / "Dockerfile").read_text() + "RUN dd if=/dev/zero of=/large bs=1M count=200\n"
        composed.deploy("one", status="failed", error="The disk of", Dockerfile=large)
    finally:
        composed.run(f"systemctl stop docker.socket docker; umount {folder}; systemctl start docker")
    composed.deploy("two", Dockerfile=(APP / "Dockerfile").read_text())
    assert composed.page() == "version two"


def test_profiles_and_several_files_as_compose_takes_them(make_composed: Callable[..., Composed]) -> None:
    composed = make_composed(recipe_options={"files": "compose.yaml deploy/production.yaml", "profiles": "extra more"})
    over = "services:\n  web:\n    environment: { MIXED: production }\n"
    over += "".join(
        f"  {name}: {{ build: ., restart: unless-stopped, profiles: [{profile}] }}\n"
        for name, profile in (("one", "extra"), ("two", "more"), ("three", "other"))
    )
    composed.repository.commit({"deploy/production.yaml": over})
    first = composed.deploy("first")
    assert set(composed.services(first)) == {"web", "api", "prepare", "clock", "db", "one", "two"}
    assert composed.page("/env/MIXED") == "production"
    running = composed.containers()
    assert {"blue-one-blue-1", "blue-two-blue-1"} <= running.keys()
    assert not [name for name in running if "three" in name]
    composed.deployer.change(composed.environment, recipe_options={"profiles": "extra"})
    composed.environment.refresh_from_db()
    composed.repository.commit({"deploy/production.yaml": None, "compose.override.yaml": over})
    second = composed.deploy("second")  # as Compose finds them: the file with its override
    services = composed.services(second)
    assert services.pop("two") == "removed"
    assert set(services) == {"web", "api", "prepare", "clock", "db", "one"}
    assert not [name for name in composed.containers() if name.startswith("green-two")]
    assert composed.page("/env/MIXED") == "production"
    composed.deployer.change(composed.environment, recipe_options={"files": "compose.yaml deploy/gone.yaml"})
    composed.environment.refresh_from_db()
    composed.deploy("third", status="failed", error="deploy/gone.yaml")


def test_images_are_pulled_as_the_setting_says(composed: Composed) -> None:
    image = f"{composed.vps.start_registry()}/{composed.name}:latest"

    def push(text: str) -> None:
        composed.run(
            f"printf 'FROM devflow-base\nENV MADE={text}\n' | docker build -t {image} - && docker push {image}"
        )

    def forget() -> None:
        composed.run(f"docker image rm {image}")

    def made() -> str:
        colour = composed.run(f"cat {composed.root}/.devflow/live").split()[0]
        pulled = composed.containers()[f"{colour}-pulled-{colour}-1"]
        told = composed.run(f"docker inspect --format '{{{{range .Config.Env}}}}{{{{println .}}}}{{{{end}}}}' {pulled}")
        return next(line.removeprefix("MADE=") for line in told.splitlines() if line.startswith("MADE="))

    def choose(policy: str) -> None:
        composed.deployer.change(composed.environment, recipe_options={"pull": policy})
        composed.environment.refresh_from_db()

    pulled = f"  pulled: {{ image: '{image}', command: [sleep, '1000'], restart: unless-stopped }}\n"
    file = FILE.replace("volumes:\n  data: {}", f"{pulled}volumes:\n  data: {{}}")
    push("old")
    forget()
    composed.deploy("one", compose_yaml=file)
    assert made() == "old", "what is missing is pulled"
    composed.run(f"docker tag {image} kept-{composed.name}")
    push("new")
    composed.run(f"docker tag kept-{composed.name} {image}")
    composed.deploy("two")
    assert made() == "old", "what is there is not"
    choose("always")
    composed.deploy("three")
    assert made() == "new"
    composed.roll_back("two")
    assert made() == "old", "a release has the image that it was made with"
    choose("never")
    forget()
    composed.deploy("four", status="failed", error="and the pull policy is never")
    choose("")
    composed.deploy(
        "five", compose_yaml=file.replace("restart: unless-stopped }", "pull_policy: never }"), status="failed"
    )
    composed.deploy("six", compose_yaml=file)
    assert made() == "new"


def test_after_a_reboot_one_colour_serves(composed: Composed) -> None:
    composed.deploy("one")
    composed.write("kept")
    composed.deploy("two")
    composed.vps.stop()
    composed.vps.start()

    def is_back() -> bool:
        try:
            return composed.page() == "version two"
        except OSError:  # nobody answers yet
            return False

    wait_until(is_back, 60, what=lambda: str(composed.containers()))
    assert composed.page("/ask/db/lines") == "kept"
    assert not [name for name in composed.containers() if name.startswith("blue-")]
    composed.deploy("three")
    assert composed.page() == "version three"


def test_canary_gives_the_new_colour_a_share_of_the_requests_first(composed: Composed) -> None:
    composed.deploy("one")
    options = {**QUICK, "steps": "30", "step_seconds": "4", "min_requests": "20", "latency_factor": "0"}
    composed.deployer.change(composed.environment, strategy="canary", strategy_options=options)
    with BalancedLoad(
        composed.vps.host, composed.vps.http_port, f"{composed.name}.test", slow=0, pause_seconds=0.03
    ) as load:
        ended = composed.deploy("two")
    (share,) = canary_shares(actor=composed.deployer.actor, deployment=ended)
    assert (share.percent, share.state) == (30, "passed")
    assert 0.2 < share.new.requests / (share.new.requests + share.stable.requests) < 0.4
    assert load.failed == []
    assert "two" in composed.page()


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
