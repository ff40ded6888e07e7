"""Fills a panel's database: a team with projects, servers, and the deployments of two years with steps and logs.

Run with the panel's environment: `python -m bench.filled`. Each line on stdin is a JSON object, answered by a line when
it is done: {"projects": 50, "servers": 1, "deployments": 1000} says how many there are to be then. The first line of
output is {"token": …, "session": …}, for the API and for pages. Rows are made by the database, from numbers. With the
address of a person as argument their team is filled, else one that is made.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # its module needs Django to be set up
    from devflow.apps.accounts.rights import Actor

TEAM, MODEL = "Filled", "project-00000"
STEPS, LOG_EVENTS, LOG_LINES = 8, 4, 25
DAYS = 730
CHUNK = 10_000
"""Deployments that are made by one statement."""


@dataclass(frozen=True)
class Size:
    projects: int
    servers: int
    deployments: int

    def part(self, divisor: int) -> Size:
        return Size(*(max(1, number // divisor) for number in (self.projects, self.servers, self.deployments)))


class Filler:
    """`bench.filled`, running."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        who = self._read()
        self.token: str = who["token"]
        self.session: str = who["session"]

    def fill(self, size: Size) -> dict[str, Any]:
        """Adds what is missing; returns the names and ids that are asked for then."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(size)) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"filling ended with exit code {self._process.wait()}")
        document: dict[str, Any] = json.loads(line)
        return document


@contextmanager
def filling(environment: dict[str, str], *who: str) -> Iterator[Filler]:
    """A process that fills the database of the panel with this environment, for a new team or that of `who`."""
    command = [sys.executable, "-m", "bench.filled", *who]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield Filler(process)
        finally:
            process.kill()


def main() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "devflow.settings.base")
    django.setup()

    from devflow.apps.accounts.models import User
    from devflow.apps.accounts.selectors import actor_get
    from devflow.apps.accounts.services import team_create, token_create, user_create
    from tests.support.event_writer import log_in

    if sys.argv[1:]:
        user = User.objects.get(email=sys.argv[1])
    else:
        user = user_create(email="filled@example.test", password=None)
        team_create(name=TEAM, owner=user)
    actor = actor_get(user=user)
    _, token = token_create(actor=actor, name="bench", scopes=["read"])
    _answer({"token": token, "session": log_in(user)})
    _add_model(actor)
    for line in sys.stdin:
        size = Size(**json.loads(line))
        _fill(actor, size)
        _answer(_asked(actor, size))


def _answer(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def _add_model(actor: Actor) -> None:
    """A server and a project that the panel itself has made; all others are made after them."""
    from django_scopes import scope

    from devflow.apps.projects import services as projects
    from devflow.apps.servers import services as servers

    servers.server_add(actor=actor, name="server-000", host="192.0.2.1", user="deploy")
    project = projects.project_add(actor=actor, slug=MODEL, repository="/srv/git/x.git", recipe="static")
    with scope(team=actor.team):
        projects.environment_add(
            actor=actor, project=project, name="production", branch="main", servers=["server-000"], root="/srv/www"
        )


def _fill(actor: Actor, size: Size) -> None:
    """In transactions of one statement or a few, so that a panel at work is not held up."""
    from django.db import connection, transaction

    with connection.cursor() as cursor:
        team = str(actor.team.pk)
        cursor.execute("SELECT count(*) FROM deployments_deployment WHERE team_id = %s", [team])
        begun = cursor.fetchone()[0]
        with transaction.atomic():
            _copy(
                cursor, "servers_server", "name = 'server-000'", "server-' || lpad(n::text, 3, '0", size.servers, team
            )
            _copy(
                cursor, "projects_project", f"slug = '{MODEL}'", "project-' || lpad(n::text, 5, '0", size.projects, team
            )
            _add_environments(cursor, team)
        plan = _plan(actor)
        for first in range(begun, size.deployments, CHUNK):
            with transaction.atomic():
                _add_deployments(cursor, team, first, min(first + CHUNK, size.deployments), size, plan)
        with transaction.atomic():
            _let_serve(cursor, team)
        cursor.execute("VACUUM ANALYZE")


def _copy(cursor: Any, table: str, model: str, name: str, number: int, team: str) -> None:
    """Copies of the row `model` under other names, until there are so many."""
    own = {"servers_server": ("id", "name"), "projects_project": ("id", "slug", "name")}[table]
    cursor.execute("SELECT column_name FROM information_schema.columns WHERE table_name = %s", [table])
    same = ", ".join(f'"{column}"' for (column,) in cursor.fetchall() if column not in own)
    width = "')"
    made = ", ".join(["uuidv7()", *(f"'{name}{width}" for _ in own[1:])])
    cursor.execute(
        f"INSERT INTO {table} ({', '.join(own)}, {same})"
        f" SELECT {made}, {same} FROM {table}, generate_series("
        f"   (SELECT count(*) FROM {table} WHERE team_id = %s), %s - 1) AS n WHERE {model} AND team_id = %s",
        [team, number, team],
    )


def _add_environments(cursor: Any, team: str) -> None:
    """One for each project that has none, with one server each in turns."""
    cursor.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'projects_environment'"
        " AND column_name NOT IN ('id', 'project_id')"
    )
    same = ", ".join(f'"{column}"' for (column,) in cursor.fetchall())
    cursor.execute(
        f"INSERT INTO projects_environment (id, project_id, {same}) SELECT uuidv7(), project.id, {same} FROM"
        f" (SELECT id FROM projects_project p WHERE team_id = %s AND NOT EXISTS"
        f"   (SELECT 1 FROM projects_environment e WHERE e.project_id = p.id)) AS project,"
        f" (SELECT {same} FROM projects_environment WHERE team_id = %s LIMIT 1) AS model",
        [team, team],
    )
    cursor.execute(
        "INSERT INTO projects_environment_servers (environment_id, server_id)"
        " SELECT e.id, s.id FROM"
        " (SELECT id, row_number() OVER (ORDER BY id) AS n FROM projects_environment e WHERE team_id = %s"
        "   AND NOT EXISTS (SELECT 1 FROM projects_environment_servers l WHERE l.environment_id = e.id)) AS e,"
        " (SELECT id, row_number() OVER (ORDER BY name) AS n, count(*) OVER () AS number FROM servers_server"
        "   WHERE team_id = %s) AS s WHERE s.n = e.n %% s.number + 1",
        [team, team],
    )


def _plan(actor: Actor) -> str:
    """A plan as it is stored, of three steps: a whole one has 30 kB, which takes long to write so often."""
    from django_scopes import scope

    from devflow.apps.deployments.planning import plan_deploy
    from devflow.apps.projects.models import Environment

    with scope(team=actor.team):
        environment = Environment.objects.select_related("project").get(project__slug=MODEL)
        plan = plan_deploy(environment=environment, recipe="static", release="r", commit="").to_json()
    return json.dumps({**plan, "steps": plan["steps"][:3]})


def _add_deployments(cursor: Any, team: str, first: int, end: int, size: Size, plan: str) -> None:
    """Numbers `first` … `end`, from old to new, to each environment in turns, with steps, events and releases.

    Of ten one failed, of thirteen one was superseded; the last of every hundredth environment waits for its window.
    """
    cursor.execute(
        "CREATE TEMPORARY TABLE made ON COMMIT DROP AS"
        " SELECT uuidv7(-(%(total)s - n) * interval '%(step)s seconds') AS id, n,"
        "  now() - (%(total)s - n) * interval '%(step)s seconds' AS at, e.id AS environment_id, e.project_id,"
        "  CASE WHEN n %% 10 = 3 THEN 'failed' WHEN n %% 13 = 5 THEN 'superseded' ELSE 'success' END AS status"
        " FROM generate_series(%(first)s, %(end)s - 1) AS n JOIN"
        "  (SELECT id, project_id, row_number() OVER (ORDER BY id) - 1 AS number"
        "    FROM projects_environment WHERE team_id = %(team)s) AS e"
        "  ON e.number = n %% (SELECT count(*) FROM projects_environment WHERE team_id = %(team)s)",
        {"total": size.deployments, "step": DAYS * 86400 // size.deployments, "first": first, "end": end, "team": team},
    )
    cursor.execute(
        'INSERT INTO deployments_deployment (id, team_id, project_id, environment_id, status, "trigger", priority,'
        ' branch, "commit", commit_message, author, strategy, release, is_clean, waiting_for, override_reason,'
        " server_names, plan, observed, frame_key_sealed, steering, ending, error, last_seq, log_lines, log_bytes,"
        " created_at, started_at, finished_at)"
        " SELECT id, %s, project_id, environment_id, status, (ARRAY['webhook', 'manual', 'api'])[n %% 3 + 1], 0,"
        "  'main', encode(sha256(n::text::bytea), 'hex'), 'Change number ' || n || ' of the application',"
        "  'Ada Lovelace <ada@example.test>', 'atomic', to_char(at, 'YYYYMMDD-HH24MISS-') || n, false, '', '',"
        "  '[\"server-000\"]', %s, '{}', '', '', '',"
        "  CASE status WHEN 'failed' THEN 'npm run build failed.' ELSE '' END,"
        "  %s, %s, %s, at, at, at + interval '20 seconds' FROM made",
        [team, plan, STEPS + LOG_EVENTS, LOG_EVENTS * LOG_LINES, LOG_EVENTS * LOG_LINES * 60],
    )
    cursor.execute(
        "INSERT INTO deployments_step (id, team_id, deployment_id, server_name, phase, name, position, command, status,"
        "  started_at, duration_seconds, exit_code)"
        " SELECT uuidv7(), %s, id, 'server-000', 'prepare', 'step ' || k, k, 'composer install --no-dev', 'success',"
        "  at + k * interval '2 seconds', 2, 0 FROM made, generate_series(1, %s) AS k",
        [team, STEPS],
    )
    cursor.execute(
        "INSERT INTO deployments_event (team_id, deployment_id, seq, kind, data, text, log_offset, line, created_at)"
        " SELECT %s, id, k, CASE WHEN k > %s THEN 'deployment.log' ELSE 'deployment.step' END,"
        '  \'{"server": "server-000", "step": "1", "status": "success"}\','
        "  CASE WHEN k > %s THEN repeat('Compiled one more module of the whole application, in a while' || chr(10), %s)"
        "   ELSE '' END, greatest(0, k - %s - 1) * %s * 60, greatest(0, k - %s - 1) * %s, at"
        " FROM made, generate_series(1, %s) AS k",
        [team, STEPS, STEPS, LOG_LINES, STEPS, LOG_LINES, STEPS, LOG_LINES, STEPS + LOG_EVENTS],
    )
    cursor.execute(
        "INSERT INTO deployments_release (id, team_id, environment_id, deployment_id, name, is_current, created_at,"
        "  pruned_at) SELECT uuidv7(), %s, environment_id, id, to_char(at, 'YYYYMMDD-HH24MISS-') || n, false, at,"
        "  CASE WHEN n < %s THEN now() END FROM made WHERE status = 'success'",
        [team, size.deployments - 3 * size.projects],
    )


def _let_serve(cursor: Any, team: str) -> None:
    """The newest kept release of each environment is the current one, and no other."""
    cursor.execute("UPDATE deployments_release SET is_current = false WHERE team_id = %s AND is_current", [team])
    cursor.execute(
        "UPDATE deployments_release SET is_current = true WHERE id IN (SELECT DISTINCT ON (environment_id) id"
        " FROM deployments_release WHERE team_id = %s AND pruned_at IS NULL ORDER BY environment_id, created_at DESC)",
        [team],
    )


def _asked(actor: Actor, size: Size) -> dict[str, Any]:
    """Names and ids that are there: of the middle, and of the newest deployment."""
    from django_scopes import scope

    from devflow.apps.deployments.models import Deployment

    with scope(team=actor.team):
        ids = Deployment.objects.order_by("-id").values_list("pk", flat=True)
        newest, middle, oldest = ids[0], ids[ids.count() // 2], ids.last()
    return {
        "newest": str(newest),
        "middle": str(middle),
        "oldest": str(oldest),
        "project": f"project-{size.projects // 2:05}",
        "server": f"server-{size.servers // 2:03}",
    }


if __name__ == "__main__":
    main()
