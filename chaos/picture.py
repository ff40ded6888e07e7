"""What there is after a round: the panel's rows, what its servers hold, and what its people and visitors saw."""

from __future__ import annotations

import http.client
import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import psutil

from chaos.people import Asked
from chaos.world import NOTES, SITES, World, page
from tests.support.panel import command_line, descendants
from tests.support.vps import Vps


@dataclass(frozen=True)
class Step:
    server: str
    phase: str
    name: str
    status: str


@dataclass(frozen=True)
class Deployed:
    """A deployment's row, with what hangs on it. `events` are number and kind of each, `log` is what the API gives."""

    id: str
    site: str
    status: str
    error: str = ""
    release: str = ""
    commit: str = ""
    trigger: str = "api"
    is_claimed: bool = False
    is_finished: bool = True
    log_lines: int = 0
    log_bytes: int = 0
    last_seq: int = 0
    delivery: str = ""
    steps: tuple[Step, ...] = ()
    events: tuple[tuple[int, str], ...] = ()
    log: str = ""


@dataclass(frozen=True)
class Place:
    """A site on one of its servers. `shown` is its page, {} where there was none; `problem` says what came instead."""

    site: str
    server: str
    current: str = ""
    lock: str = ""
    releases: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    litter: tuple[str, ...] = ()
    shown: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class Machine:
    """A server. `ran` are lines "PHASE RUN FOLDER", `journal` the numbered lines of all its runs' journals."""

    name: str
    ran: tuple[str, ...] = ()
    overlaps: tuple[str, ...] = ()
    processes: tuple[str, ...] = ()
    litter: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    journal: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inside:
    """The panel's own household. `connections` count the open ones by worker and server."""

    jobs: tuple[str, ...] = ()
    workers: int = 0
    transactions: tuple[str, ...] = ()
    locks: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    connections: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Delivery:
    id: str
    key: str
    status: int
    deployments: tuple[str, ...]


@dataclass(frozen=True)
class Kept:
    """The releases of a site that the panel knows, the one that it says serves, and that of the last success."""

    site: str
    current: str
    releases: tuple[str, ...]
    last: str


@dataclass(frozen=True)
class Picture:
    """After one round of `kind`. `struck` are the servers that it took something from; `deployments` are those of the
    round, `known` all there ever were, by id and status."""

    kind: str
    struck: frozenset[str] = frozenset()
    deployments: tuple[Deployed, ...] = ()
    known: dict[str, str] = field(default_factory=dict)
    commits: dict[str, str] = field(default_factory=dict)
    """Of all deployments, by release: the commit."""
    kept: tuple[Kept, ...] = ()
    places: tuple[Place, ...] = ()
    machines: tuple[Machine, ...] = ()
    inside: Inside = Inside()
    deliveries: tuple[Delivery, ...] = ()
    asked: tuple[Asked, ...] = ()
    sent: frozenset[str] = frozenset()
    complaints: tuple[str, ...] = ()
    visits: tuple[str, ...] = ()
    tokens: dict[str, str] = field(default_factory=dict)

    def describe(self) -> str:
        return json.dumps(asdict(self), indent=1, default=sorted)


def places(world: World) -> tuple[Place, ...]:
    return tuple(_place(world, site, server) for site, servers in SITES.items() for server in servers)


def machines(world: World) -> tuple[Machine, ...]:
    return tuple(_machine(name, vps) for name, vps in world.servers.items())


def deployments(world: World, since: datetime) -> tuple[Deployed, ...]:
    """Those asked for since then, the oldest first."""
    with world.database() as database:
        rows = database.execute(
            "SELECT d.*, e.name AS site FROM deployments_deployment d"
            " JOIN projects_environment e ON e.id = d.environment_id WHERE d.created_at >= %s ORDER BY d.id",
            [since],
        ).fetchall()
        steps = database.execute("SELECT * FROM deployments_step ORDER BY position").fetchall()
        events = database.execute("SELECT deployment_id, seq, kind FROM deployments_event ORDER BY seq").fetchall()
    return tuple(
        Deployed(
            id=str(row["id"]),
            site=row["site"],
            status=row["status"],
            error=row["error"],
            release=row["release"],
            commit=row["commit"],
            trigger=row["trigger"],
            is_claimed=row["claim"] is not None,
            is_finished=row["finished_at"] is not None,
            log_lines=row["log_lines"],
            log_bytes=row["log_bytes"],
            last_seq=row["last_seq"],
            delivery=str(row["delivery_id"] or ""),
            steps=tuple(
                Step(step["server_name"], step["phase"], step["name"], step["status"])
                for step in steps
                if step["deployment_id"] == row["id"]
            ),
            events=tuple((event["seq"], event["kind"]) for event in events if event["deployment_id"] == row["id"]),
            log=world.api.get(f"deployments/{row['id']}/log").raise_for_status().text,
        )
        for row in rows
    )


def kept(world: World) -> tuple[Kept, ...]:
    with world.database() as database:
        rows = database.execute(
            "SELECT e.name AS site, r.name, r.is_current FROM deployments_release r"
            " JOIN projects_environment e ON e.id = r.environment_id WHERE r.pruned_at IS NULL ORDER BY r.name"
        ).fetchall()
        lasts = database.execute(
            "SELECT DISTINCT ON (e.name) e.name AS site, d.release FROM deployments_deployment d"
            " JOIN projects_environment e ON e.id = d.environment_id WHERE d.status = 'success'"
            " ORDER BY e.name, d.finished_at DESC, d.id DESC"
        ).fetchall()
    last = {row["site"]: row["release"] for row in lasts}
    return tuple(
        Kept(
            site,
            "".join(row["name"] for row in rows if row["site"] == site and row["is_current"]),
            tuple(row["name"] for row in rows if row["site"] == site),
            last.get(site, ""),
        )
        for site in SITES
    )


def known(world: World) -> tuple[dict[str, str], dict[str, str]]:
    """All deployments: the status by id, and the commit by release."""
    with world.database() as database:
        rows = database.execute("SELECT id, status, release, commit FROM deployments_deployment").fetchall()
    return {str(row["id"]): row["status"] for row in rows}, {row["release"]: row["commit"] for row in rows}


def deliveries(world: World, since: datetime) -> tuple[Delivery, ...]:
    with world.database() as database:
        rows = database.execute("SELECT * FROM sources_delivery WHERE received_at >= %s", [since]).fetchall()
    return tuple(
        Delivery(str(row["id"]), row["key"], row["answer_status"], tuple(row["answer"].get("deployments", ())))
        for row in rows
    )


def inside(world: World) -> Inside:
    """To be looked at again where something is left: jobs that just end, sessions of who just died."""
    with world.database() as database:
        jobs = database.execute(
            "WITH left_over AS (SELECT * FROM procrastinate_jobs WHERE status IN ('todo', 'doing', 'failed')"
            " AND (scheduled_at IS NULL OR scheduled_at < now()))"
            " SELECT id, task_name, status, attempts, args, lock, scheduled_at, worker_id, now() - (SELECT max(at) FROM"
            " procrastinate_events WHERE job_id = jobs.id) AS since FROM procrastinate_jobs AS jobs"
            " WHERE id IN (SELECT id FROM left_over) OR lock IN (SELECT lock FROM left_over)"
        ).fetchall()
        workers = database.execute(
            "SELECT count(*) AS number FROM procrastinate_workers WHERE last_heartbeat > now() - interval '10 s'"
        ).fetchall()
        transactions = database.execute(
            "SELECT pid, state, now() - state_change AS since, query FROM pg_stat_activity"
            " WHERE state <> 'idle' AND now() - state_change > interval '2 seconds'"
        ).fetchall()
        locks = database.execute("SELECT pid, mode FROM pg_locks WHERE locktype = 'advisory'").fetchall()
    assert world.panel.process
    mine = [world.panel.process.pid, *descendants(world.panel.process.pid), world.second.pid]
    return Inside(
        jobs=tuple(str(row) for row in jobs),
        workers=workers[0]["number"],
        transactions=tuple(str(row) for row in transactions),
        locks=tuple(str(row) for row in locks),
        children=tuple(command_line(pid).strip() for pid in world.panel.children()),
        connections=_connections(world, mine),
    )


def _connections(world: World, pids: list[int]) -> dict[str, int]:
    ports = {vps.port: name for name, vps in world.servers.items()}
    found: Counter[str] = Counter()
    for each in psutil.net_connections("tcp4"):
        if each.pid in pids and each.status == psutil.CONN_ESTABLISHED and each.raddr and each.raddr.port in ports:
            found[f"process {each.pid} to {ports[each.raddr.port]}"] += 1
    return dict(found)


_SITE = """\
cd /srv/www/SITE || exit 0
echo "lock $(cat .devflow/lock 2>/dev/null)"
echo "current $(readlink current | cut -d/ -f2)"
for folder in releases/* releases/.[!.]*; do [ ! -e "$folder" ] || echo "releases ${folder#releases/}"; done
for file in .devflow/making.*; do [ ! -e "$file" ] || echo "unfinished $(cat "$file")"; done
for file in current.next.* shared/.env.next.* .devflow/before.* .devflow/traffic.*; do
  [ ! -e "$file" ] && [ ! -L "$file" ] || echo "litter $file"
done
"""

_MACHINE = f"""\
cat {NOTES}/ran 2>/dev/null | sed 's/^/ran /'
cat {NOTES}/overlaps 2>/dev/null | sed 's/^/overlaps /'
for process in $(grep -slz '^DEVFLOW_RUN=' /proc/[0-9]*/environ | cut -d/ -f3); do
  echo "processes $process $(tr '\\0' ' ' </proc/$process/cmdline 2>/dev/null)"
done
cd /home/deploy/.devflow/runs 2>/dev/null || exit 0
for file in */script */deploy_key */docker .new.*; do [ ! -e "$file" ] || echo "litter $file"; done
for run in */; do [ -s "$run/rc" ] || echo "unfinished ${{run%/}}"; done
grep -ah '^chaos ' */log 2>/dev/null | sed 's/^/journal /'
true
"""


def _place(world: World, site: str, server: str) -> Place:
    vps = world.servers[server]
    found = _lines(vps.inside(_SITE.replace("SITE", site)))
    shown: dict[str, Any] = {}
    try:
        status, shown = page(vps, site)
        problem = "" if status == 200 else f"status {status}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        problem = f"{type(error).__name__} {error}"
    return Place(
        site=site,
        server=server,
        current="".join(found.get("current", ())),
        lock="".join(found.get("lock", ())),
        releases=found.get("releases", ()),
        unfinished=found.get("unfinished", ()),
        litter=found.get("litter", ()),
        shown=shown,
        problem=problem,
    )


def _machine(name: str, vps: Vps) -> Machine:
    return Machine(name, **_lines(vps.inside(_MACHINE)))


def _lines(text: str) -> dict[str, tuple[str, ...]]:
    """Lines "KEY VALUE" by key, without those that have no value."""
    found: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if value.strip():
            found[key] = (*found.get(key, ()), value.strip())
    return found
