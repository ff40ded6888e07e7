"""The panel is upgraded while it deploys: the previous version and this one side by side on one database."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from devflow.core.crypto import make_key_file
from devflow.embedded import EmbeddedPostgres
from tests.support.deployer import POSTGRES_SETTINGS
from tests.support.gitrepo import GitRepository
from tests.support.machines import module, panel_environ
from tests.support.panel import SOURCE, free_port, wait_until

BEFORE_TAGS = "e80bb29d361ea965e14784633b14ce7ba329ec0d"
"""What is upgraded from while no version has a tag: where the second part of the panel's history began."""

_COLUMNS = """
SELECT table_name, column_name, udt_name, coalesce(character_maximum_length, 0), is_nullable = 'YES',
    column_default IS NOT NULL OR is_identity = 'YES'
FROM information_schema.columns WHERE table_schema = 'public'
"""
_CHECKS = """
SELECT rel.relname, con.conname, array_agg(att.attname::text) FROM pg_constraint con
JOIN pg_class rel ON rel.oid = con.conrelid
JOIN pg_attribute att ON att.attrelid = rel.oid AND att.attnum = ANY (con.conkey)
WHERE con.connamespace = 'public'::regnamespace AND con.contype IN ('c', 'u', 'f', 'x') GROUP BY 1, 2
UNION ALL
SELECT rel.relname, ind.relname, array_agg(att.attname::text) FROM pg_index i
JOIN pg_class ind ON ind.oid = i.indexrelid
JOIN pg_class rel ON rel.oid = i.indrelid
JOIN pg_attribute att ON att.attrelid = rel.oid AND att.attnum = ANY (i.indkey)
WHERE i.indisunique AND rel.relnamespace = 'public'::regnamespace
    AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid) GROUP BY 1, 2
"""
"""Unique constraints with a condition are only indexes."""


@dataclass(frozen=True)
class Column:
    type: str
    length: int
    is_nullable: bool
    has_default: bool


@dataclass
class Schema:
    """What the database looks like: columns by table and name, and constraints with the columns that they are on."""

    columns: dict[tuple[str, str], Column]
    constraints: dict[tuple[str, str], set[str]]

    @classmethod
    def read(cls, url: str) -> Schema:
        with psycopg.connect(url) as database:
            return cls(
                {(table, name): Column(*rest) for table, name, *rest in database.execute(_COLUMNS)},
                {(table, name): set(columns) for table, name, columns in database.execute(_CHECKS)},
            )

    def harmful_to(self, older: Schema) -> list[str]:
        """What a version that only knows `older` could stumble over."""
        found = []
        for key, column in older.columns.items():
            now = self.columns.get(key)
            if now is None:
                found.append(f"{key} is gone")
            elif now.type != column.type or 0 < now.length < column.length or (column.length == 0 < now.length):
                found.append(f"{key} has another type")
            elif column.is_nullable and not now.is_nullable:
                found.append(f"{key} must not be empty any more")
        tables = {table for table, _ in older.columns}
        for key, column in self.columns.items():
            is_new = key[0] in tables and key not in older.columns
            if is_new and not column.is_nullable and not column.has_default:
                found.append(f"{key} is new and has no default")
        for key, names in self.constraints.items():
            if (
                key[0] in tables
                and key not in older.constraints
                and all((key[0], name) in older.columns for name in names)
            ):
                found.append(f"{key} is a new constraint on what was there")
        return found


@dataclass
class Panel:
    """Processes of the panel, of the source of either version, on one database and data folder."""

    folder: Path
    url: str
    old: Path
    token: str = ""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    clients: list[httpx.Client] = field(default_factory=list)

    def environ(self, source: Path, port: int = 8080) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if key in ("PATH", "LANG", "TMPDIR")}
        given = {"DATABASE_URL": self.url, "DEVFLOW_DATA_DIR": str(self.folder / "data"), "HOME": str(self.folder)}
        return kept | panel_environ(source, DEVFLOW_PORT=str(port), **given)

    def start(self, source: Path, name: str, *arguments: str, port: int = 8080) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                module(name, *arguments), env=self.environ(source, port), cwd=self.folder, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def run(self, source: Path, *arguments: str, stdin: str = "") -> str:
        command = module("devflow.cli.main", *arguments)
        done = subprocess.run(
            command, env=self.environ(source), cwd=self.folder, input=stdin, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def worker(self, source: Path) -> subprocess.Popen[bytes]:
        """A worker of this version, once it has registered."""
        before = self.workers()
        process = self.start(source, "devflow.worker")
        wait_until(lambda: self.workers() - before, 30, what=self.output)
        return process

    def web(self, source: Path) -> httpx.Client:
        """A web of this version, as who asks it."""
        port = free_port()
        self.start(source, "devflow.server", port=port)
        headers = {"Authorization": f"Bearer {self.token}"}
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=20)
        self.clients.append(client)
        wait_until(lambda: _answers(client), 30, what=self.output)
        return client

    def workers(self) -> set[int]:
        with psycopg.connect(self.url) as database:
            return {row[0] for row in database.execute("SELECT id FROM procrastinate_workers")}

    def output(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def end(self) -> None:
        for client in self.clients:
            client.close()
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def old_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source of the newest version that has a tag (not this one's own), unpacked."""
    folder = tmp_path_factory.mktemp("old")
    version = _previous()
    if subprocess.run([*_GIT, "cat-file", "-e", f"{version}^{{commit}}"], capture_output=True).returncode:
        pytest.skip(f"needs the history of the repository: {version} is not in this checkout")
    packed = subprocess.run([*_GIT, "archive", version, "src"], capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)
    return folder


# The previous version has deployed to this machine before.
_INSTALL = """
import asyncio
from devflow.remote import run, transport
asyncio.run(run.install(transport.LocalConnection(), "here"))
"""
_GIT = ("git", "-c", "safe.directory=*", "-C", str(SOURCE))


def _previous() -> str:
    tags = subprocess.run([*_GIT, "tag", "--merged", "HEAD~1", "--sort=-v:refname"], capture_output=True, text=True)
    versions = [tag for tag in tags.stdout.split() if re.fullmatch(r"v?\d+(\.\d+)+", tag)]
    return versions[0] if versions else BEFORE_TAGS


@pytest.fixture
def panel(old_source: Path, tmp_path: Path) -> Iterator[Panel]:
    """A database as the previous version has made it, with a person in it."""
    (tmp_path / "data").mkdir(mode=0o700)
    make_key_file(tmp_path / "data" / "master.key")
    (tmp_path / "postgres").mkdir(mode=0o700)
    server = EmbeddedPostgres(tmp_path / "postgres", POSTGRES_SETTINGS)
    made = Panel(tmp_path, server.start(), old_source)
    try:
        made.start(old_source, "devflow.prepare").wait(60)
        subprocess.run([sys.executable, "-c", _INSTALL], env=made.environ(old_source), check=True, timeout=30)
        made.run(
            old_source,
            "admin",
            "create-user",
            "--email",
            "ada@example.org",
            "--password-stdin",
            stdin="lovelace 1815\n",
        )
        made.token = made.run(
            old_source, "admin", "create-token", "--email", "ada@example.org", "--scopes", "read,deploy,admin"
        )
        yield made
    finally:
        made.end()
        server.stop()


@dataclass
class Sites:
    """Environments of one project, each with a command that is held, and what has run."""

    panel: Panel
    project: str = "site"

    @property
    def folder(self) -> Path:
        return self.panel.folder

    def add(self, web: httpx.Client, name: str) -> None:
        held = self.folder / f"hold-{name}"
        held.touch()
        command = f"echo {name} >>{self.folder}/ran; while [ -e {held} ]; do sleep 0.1; done; echo done {name}"
        document = {
            "name": name,
            "branch": "main",
            "servers": ["here"],
            "root": str(self.folder / "www" / name),
            "phase_commands": {"prepare": [command]},
        }
        _ok(web.post(f"/api/v1/projects/{self.project}/environments", json=document))

    def deploy(self, web: httpx.Client, name: str) -> str:
        answer = web.post(f"/api/v1/projects/{self.project}/deploy", json={"environment": name})
        return str(_ok(answer)["id"])

    def wait_held(self, name: str) -> None:
        wait_until(lambda: name in self.ran(), 30, what=self.panel.output)

    def let_go(self, name: str) -> None:
        (self.folder / f"hold-{name}").unlink()

    def ran(self) -> list[str]:
        path = self.folder / "ran"
        return path.read_text().split() if path.exists() else []


def _ok(answer: httpx.Response) -> Any:
    assert answer.status_code < 300, answer.text
    return answer.json()


def test_old_and_new_side_by_side(panel: Panel, old_source: Path, tmp_path: Path) -> None:
    old_web = panel.web(old_source)
    old_worker = panel.worker(old_source)
    repository = GitRepository.local(tmp_path / "site.git", tmp_path / "work")
    repository.commit({"index.html": "hello"})
    _ok(old_web.post("/api/v1/servers", json={"name": "here", "is_local": True}))
    project = {"slug": "site", "repository": repository.path, "recipe": "static"}
    _ok(old_web.post("/api/v1/projects", json=project))
    sites = Sites(panel)
    sites.add(old_web, "across")
    across = sites.deploy(old_web, "across")
    sites.wait_held("across")
    older = Schema.read(panel.url)
    assert {name for _, name in older.constraints} >= {"release_once", "release_one_current"}

    # two at once do no harm, and the old version goes on meanwhile and afterwards
    migrating = [panel.start(SOURCE, "devflow.cli.main", "admin", "migrate") for _ in range(2)]
    assert [process.wait(60) for process in migrating] == [0, 0], panel.output()
    applied, idle = (panel.output().count(words) for words in ("Applied: ", "The database is up to date."))
    assert (applied, idle) in ((1, 1), (0, 2))  # a version may have no migrations of its own
    assert Schema.read(panel.url).harmful_to(older) == []
    sites.add(old_web, "afterwards")
    afterwards = sites.deploy(old_web, "afterwards")
    sites.wait_held("afterwards")
    sites.let_go("afterwards")
    assert _ended(old_web, panel, afterwards) == "success"
    _ok(old_web.post("/api/v1/servers", json={"name": "other", "host": "192.0.2.1"}))
    assert old_web.get("/readyz").status_code == 200

    # workers first: what the old one carries goes on
    panel.worker(SOURCE)
    sites.add(old_web, "between")
    old_worker.terminate()
    assert old_worker.wait(15) == 0
    between = sites.deploy(old_web, "between")
    sites.wait_held("between")
    sites.let_go("between")
    assert _ended(old_web, panel, between) == "success"
    sites.let_go("across")
    assert _ended(old_web, panel, across) == "success"

    # then webs: both show the same
    new_web = panel.web(SOURCE)
    assert new_web.get("/readyz").json()["database"] == "ok"
    listed = _ok(new_web.get("/api/v1/deployments"))["items"]
    assert [each["id"] for each in listed] == [each["id"] for each in _ok(old_web.get("/api/v1/deployments"))["items"]]
    sites.add(new_web, "new")
    newest = sites.deploy(new_web, "new")
    sites.wait_held("new")
    sites.let_go("new")
    assert _ended(old_web, panel, newest) == "success"
    for deployment in (across, afterwards, between, newest):
        assert "done " in new_web.get(f"/api/v1/deployments/{deployment}/log").text
    assert sorted(sites.ran()) == sorted(["across", "afterwards", "between", "new"])


def _ended(web: httpx.Client, panel: Panel, deployment_id: str) -> str:
    """How the deployment ended."""

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = web.get(f"/api/v1/deployments/{deployment_id}").json()
        return found if found.get("finished_at") else None

    found = wait_until(ended, 40, what=panel.output)
    assert not found["error"], found
    return str(found["status"])
