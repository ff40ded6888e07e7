"""A panel on several machines: two webs behind nginx, two workers, a primary and its replica. Any of them is lost."""

from __future__ import annotations

import datetime
import json
import re
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.conf import settings
from django.db import connection
from pytest_django import DjangoDbBlocker

from devflow.apps.accounts.services import token_create
from devflow.engine.plan import COMMAND_PHASES
from tests.support.deployer import Deployer, copy_key
from tests.support.docker_engine import Engine
from tests.support.machines import Machine, Network, Postgres, module, network, panel_environ
from tests.support.panel import SOURCE, wait_until
from tests.support.sites import Estate, Row
from tests.support.vps import Vps

TAKEN_OVER_SECONDS = 30
HANDED_OVER_SECONDS = 10
WEBS = ("web1", "web2")
PHASES = ("prepare", "migrate", "activate", "reload", "finish")
GUIDE = SOURCE / "docs/guide/several-machines.md"
NAME = "panel.example.org"


@dataclass
class World:
    """The machines by their names, and who deploys. `primary` is the PostgreSQL that takes writes."""

    net: Network
    deployer: Deployer
    primary: Postgres
    replica: Postgres
    url: str
    token: str = ""
    machines: dict[str, Machine] = field(default_factory=dict)
    estate: Any = None
    row: Any = None

    @property
    def client(self) -> httpx.Client:
        """Speaks to nginx, each time over a new connection."""
        return httpx.Client(
            base_url=f"https://{self.machines['front'].address}",
            headers={"Host": NAME, "Authorization": f"Bearer {self.token}"},
            verify=False,
            timeout=30,
        )

    def start(self, *names: str) -> None:
        """`devflow worker` or `devflow web` on the machines of these names, until they work."""
        before = self.workers()
        for name in names:
            self._begin(name)
        for web in (self.machines[name] for name in names if name.startswith("web")):
            wait_until(lambda web=web: _answers(web), 30, what=web.output)
        wanted = len([name for name in names if name.startswith("work")])
        wait_until(lambda: len(self.workers() - before) >= wanted, 30, what=self.output)

    def _begin(self, name: str) -> None:
        machine = self.machines.get(name) or self.net.machine(name)
        self.machines[name] = machine
        data = self.net.folder / name
        if not data.exists():
            copy_key(data)
        given = {"DATABASE_URL": self.url, "DEVFLOW_DATA_DIR": str(data), "DEVFLOW_URL": f"https://{NAME}"}
        if name.startswith("web"):
            given |= {"DATABASE_REPLICA_URL": self.replica.url, "REDIS_URL": "redis://192.0.2.1/0"}  # where nobody is
            given["DEVFLOW_TRUSTED_PROXIES"] = self.machines["front"].address
            machine.start(*module("devflow.server", "--host=0.0.0.0", "--port=8080"), environ=panel_environ(**given))
        else:
            machine.start(*module("devflow.worker"), environ=panel_environ(**given))

    def workers(self) -> set[int]:
        """The workers that have registered, by their ids."""
        return {row[0] for row in self.sql("SELECT id FROM procrastinate_workers")}

    def carriers(self) -> dict[str, int]:
        """Which worker carries each deployment."""
        return dict(
            self.sql(
                "SELECT args ->> 'deployment_id', worker_id FROM procrastinate_jobs"
                " WHERE task_name = 'deployments.advance' AND status = 'doing' AND worker_id IS NOT NULL"
            )
        )

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.primary.url, autocommit=True) as database:
            done = database.execute(query)
            return done.fetchall() if done.description else []

    def output(self) -> str:
        return "\n".join(f"--- {name}\n{machine.output()[-1500:]}" for name, machine in self.machines.items())


@pytest.fixture(scope="module")
def world(
    docker_engine: Engine,
    vps_image: str,
    vps: Vps,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[World]:
    used = dict(settings.DATABASES["default"])
    with django_db_blocker.unblock(), network(docker_engine, vps_image, vps) as net:
        net.join(vps)
        primary = Postgres(net.machine("db1"))
        replica = Postgres(net.machine("db2"), of=primary)
        url = (
            f"postgresql://devflow:streaming@{primary.machine.address}:5432,{replica.machine.address}:5432"
            "/devflow?target_session_attrs=read-write"
        )
        deployer = Deployer(tmp_path_factory.mktemp("many") / "deployer", url).start()
        made = World(net, deployer, primary, replica, url)
        try:
            made.token = token_create(actor=deployer.actor, name="test", scopes=["read", "deploy", "admin"])[1]
            _start_front(made)
            made.start("work1", "work2", "web1", "web2")
            made.estate = Estate(deployer, [vps], tmp_path_factory.mktemp("work"))
            made.row = Row(made.estate, PHASES)
            yield made
        finally:
            deployer.stop()
            settings.DATABASES["default"].update(used)
            connection.close()


def _start_front(world: World) -> None:
    """nginx as the guide has it, before webs that are not there yet."""
    webs = {name: world.net.machine(name) for name in WEBS}
    front = world.machines["front"] = world.net.machine("front")
    world.machines |= webs
    config = re.search(r"```nginx\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert config
    text = config[1]
    for name, machine in webs.items():
        text = text.replace(f"{name}.internal", machine.address)
    folder = world.net.folder / "front"
    folder.mkdir()
    (folder / "panel.conf").write_text(text)
    _make_certificate(folder)
    engine = world.net.engine
    engine.run("cp", str(folder / "panel.conf"), f"{front.container}:/etc/nginx/conf.d/panel.conf")
    for name in ("panel.pem", "panel.key"):
        engine.run("cp", str(folder / name), f"{front.container}:/etc/ssl/{name}")
    engine.run("exec", "--detach", front.container, "nginx", "-g", "daemon off;")


def _make_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "panel.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "panel.key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))


def _answers(machine: Machine) -> bool:
    try:
        return httpx.get(f"http://{machine.address}:8080/healthz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def assert_all_went_well(world: World, seconds: float) -> None:
    """Each deployment of the row succeeded, its commands ran once and in order, and its events have no gap."""
    world.row.let_go()
    world.row.wait_ended(seconds)
    for phase, site in world.row.sites.items():
        site.check(world.row.deployments[phase], status="success", serves=world.row.page)
        assert site.ran(world.row.deployments[phase]) == list(COMMAND_PHASES), phase


def test_deployments_spread_and_go_on_elsewhere(world: World) -> None:
    """A worker's machine is lost, and then the other worker is told to end: nothing runs twice."""
    ids = world.workers()
    assert len(ids) == 2
    for _ in range(5):  # by chance one worker may take them all
        world.row.deploy_and_hold()
        if set(world.carriers().values()) == ids:
            break
        world.row.let_go()
        world.row.wait_ended(30)
    carriers = world.carriers()
    assert set(carriers.values()) == ids, "one worker carries them all"

    lost_at = time.monotonic()
    world.machines["work1"].lose()
    wait_until(lambda: _one_carries_all(world, carriers), TAKEN_OVER_SECONDS, what=world.output)
    assert time.monotonic() - lost_at < TAKEN_OVER_SECONDS
    world.machines["work1"].bring_back()
    world.start("work1")

    (second,) = set(world.carriers().values())
    assert world.machines["work2"].end() == 0, world.machines["work2"].output()
    wait_until(lambda: _one_carries_all(world, carriers), HANDED_OVER_SECONDS, what=world.output)
    assert {second} != set(world.carriers().values())
    assert_all_went_well(world, 30)
    world.start("work2")


def _one_carries_all(world: World, deployments: Iterable[str]) -> bool:
    now = world.carriers()
    return now.keys() == set(deployments) and len(set(now.values())) == 1


class Viewer(threading.Thread):
    """Follows a deployment through nginx as a browser does: comes again with the number of the last event it saw."""

    def __init__(self, world: World, deployment_id: str) -> None:
        super().__init__(daemon=True)
        self._world, self._path = world, f"/api/v1/deployments/{deployment_id}/events"
        self.numbers: list[int] = []
        self.text = ""
        self.comings = 0
        self.is_done = False

    def run(self) -> None:
        while not self.is_done:
            self.comings += 1
            try:
                self._follow()
            except httpx.TransportError:
                time.sleep(0.2)

    def _follow(self) -> None:
        last = {"Last-Event-ID": str(self.numbers[-1])} if self.numbers else {}
        with self._world.client as client, client.stream("GET", self._path, headers=last) as answer:
            if answer.status_code != 200:
                time.sleep(0.2)
                return
            kind = ""
            for line in answer.iter_lines():
                if line.startswith("id: "):
                    self.numbers.append(int(line[4:]))
                elif line.startswith("event: "):
                    kind = line[7:]
                elif line.startswith("data: ") and kind == "deployment.log":
                    self.text += json.loads(line[6:])["text"]
                elif not line and kind == "deployment.completed":
                    self.is_done = True


def test_a_lost_web_loses_no_line(world: World) -> None:
    site = world.row.sites["prepare"]
    prints = "n=0; while [ $n -lt 150 ]; do n=$((n+1)); echo line $n; sleep 0.03; done"
    commands = site.environment.phase_commands
    world.deployer.change(site.environment, phase_commands={**commands, "prepare": [*commands["prepare"], prints]})
    deployment = site.request()
    viewers = [Viewer(world, str(deployment.pk)) for _ in range(4)]
    for viewer in viewers:
        viewer.start()
    wait_until(lambda: all("line 20\n" in viewer.text for viewer in viewers), 30, what=world.output)
    assert all(viewer.comings == 1 for viewer in viewers)
    world.machines["web1"].kill()  # its connections end; from now on it does not answer either
    world.machines["web1"].lose()
    ended = world.deployer.wait_ended(deployment, 60)
    for viewer in viewers:
        viewer.join(30)
    world.deployer.change(site.environment, phase_commands=commands)
    assert ended.status == "success"
    assert any(viewer.comings > 1 for viewer in viewers)
    for viewer in viewers:
        assert viewer.numbers == list(range(1, ended.last_seq + 1))
        assert viewer.text == world.deployer.log(ended)
    with world.client as client:
        assert client.get("/api/v1/deployments").status_code == 200
    world.machines["web1"].bring_back()
    world.start("web1")


def test_lists_come_from_the_replica_while_it_keeps_up(world: World) -> None:
    path = "/api/v1/projects"
    slug = world.estate.project.slug

    def name() -> str:
        return str(client.get(path).json()["items"][0]["name"])

    def told() -> set[str]:
        return {httpx.get(f"http://{world.machines[web].address}:8080/readyz").json()["replica"] for web in WEBS}

    with world.client as client, psycopg.connect(world.replica.url, autocommit=True) as replica:
        wait_until(lambda: told() == {"ok"}, 20, what=world.output)
        world.sql("UPDATE accounts_user SET wrote_at = NULL")
        for attempt in range(5):  # on a slow machine the moment may be over before the list is read
            wait_until(lambda: _is_replayed(world) and told() == {"ok"}, 20, what=world.output)
            replica.execute("SELECT pg_wal_replay_pause()")
            world.sql(f"UPDATE projects_project SET name = 'by others {attempt}' WHERE slug = '{slug}'")
            if is_behind := name() != f"by others {attempt}":
                break
            replica.execute("SELECT pg_wal_replay_resume()")
        assert is_behind, "the list was never read from the replica"
        changed = client.patch(f"{path}/{slug}", json={"name": "by me"})
        assert (changed.status_code, name(), name()) == (200, "by me", "by me"), changed.text
        world.sql("UPDATE accounts_user SET wrote_at = NULL")
        wait_until(lambda: all("behind" in each for each in told()), 15, what=world.output)
        assert (name(), name()) == ("by me", "by me")  # too far behind: from the primary
        replica.execute("SELECT pg_wal_replay_resume()")
        wait_until(lambda: told() == {"ok"}, 20, what=world.output)
        world.replica.machine.kill()
        assert (name(), name()) == ("by me", "by me")
        ready = client.get("/readyz")
        assert re.fullmatch("[0-9a-f]{32}", ready.headers["x-request-id"])  # as nginx calls it
        assert (ready.status_code, ready.json()["database"]) == (200, "ok"), ready.text
        assert "not reachable" in ready.json()["redis"]
    world.replica.start()


def _is_replayed(world: World) -> bool:
    ((written,),) = world.sql("SELECT pg_current_wal_lsn()")
    with psycopg.connect(world.replica.url) as replica:
        row = replica.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [written]).fetchone()
    return bool(row and row[0])


def test_the_primary_is_lost_and_the_replica_takes_over(world: World) -> None:
    _replicate_synchronously(world)
    world.row.deploy_and_hold()
    before = {phase: world.deployer.read(each).last_seq for phase, each in world.row.deployments.items()}
    world.primary.machine.lose()
    world.replica.promote()
    world.primary, world.replica = world.replica, world.primary
    connection.close()
    for phase, deployment in world.row.deployments.items():
        assert world.deployer.read(deployment).last_seq >= before[phase], "an event was lost"
    assert_all_went_well(world, 60)
    with world.client as client:
        wait_until(lambda: client.get("/readyz").json().get("worker") == "ok", 40, what=world.output)
        document = {"environment": world.row.sites["prepare"].environment.name}
        answer = client.post(f"/api/v1/projects/{world.estate.project.slug}/deploy", json=document)
        assert answer.status_code == 202, answer.text
        path = f"/api/v1/deployments/{answer.json()['id']}"
        wait_until(lambda: client.get(path).json()["status"] == "success", 30, what=world.output)
    _assert_lines_tell_their_deployment(world)


def _assert_lines_tell_their_deployment(world: World) -> None:
    lines = (world.machines["work1"].output() + world.machines["work2"].output()).splitlines()
    entries = [json.loads(line) for line in lines if line.startswith('{"time"')]
    told = [
        (entry, found[1]) for entry in entries if (found := re.search("deployment ([0-9a-f-]{36})", entry["message"]))
    ]
    assert told
    assert all(entry["deployment"] == deployment and entry["id"] for entry, deployment in told), told


def _replicate_synchronously(world: World) -> None:
    """What is acknowledged is at the replica too, from now on."""
    world.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
    world.sql("SELECT pg_reload_conf()")
    wait_until(lambda: world.sql("SELECT sync_state FROM pg_stat_replication") == [("sync",)], 20)
