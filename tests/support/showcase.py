"""Fills a panel's database with a fleet as a small agency has it, to be looked at: pictures, and measurements of pages.

Run with the panel's environment; `--projects N` makes more of them. Prints one JSON object: session (the key of the
owner's log-in session), and the ids of a failed, a running and a successful deployment. No worker touches any of them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha1
from typing import TYPE_CHECKING, Any

import django

if TYPE_CHECKING:  # its modules need Django to be set up
    from devflow.apps.deployments.models import Deployment, Step
    from devflow.apps.projects.models import Environment, Project

SERVERS = (
    # name, host, status, cpus, load, memory kB, free, disk kB, free
    ("fra-web-1", "203.0.113.11", "online", 8, 2.41, 16_000_000, 6_300_000, 160_000_000, 71_000_000),
    ("fra-web-2", "203.0.113.12", "online", 8, 1.92, 16_000_000, 7_100_000, 160_000_000, 83_000_000),
    ("fra-web-3", "203.0.113.13", "online", 4, 0.63, 8_000_000, 3_900_000, 80_000_000, 52_000_000),
    ("hel-web-1", "203.0.113.21", "online", 4, 3.48, 8_000_000, 1_400_000, 80_000_000, 9_600_000),
    ("hel-web-2", "203.0.113.22", "offline", 4, 0.0, 8_000_000, 4_000_000, 80_000_000, 41_000_000),
    ("staging-1", "203.0.113.31", "online", 4, 0.87, 8_000_000, 4_200_000, 80_000_000, 33_000_000),
    ("build-1", "203.0.113.41", "maintenance", 16, 0.12, 32_000_000, 29_000_000, 320_000_000, 211_000_000),
)
PROJECTS = (
    # slug, name, recipe, servers, what its newest deployments are: production, staging
    ("checkout", "Checkout", "laravel", ("fra-web-1", "fra-web-2"), "failed", "success"),
    ("storefront", "Storefront", "node", ("fra-web-1", "fra-web-2"), "running", "success"),
    ("accounts-api", "Accounts API", "symfony", ("fra-web-2",), "success", "success"),
    ("booking", "Booking", "laravel", ("hel-web-1",), "rolled_back", "success"),
    ("intranet", "Intranet", "python", ("fra-web-3",), "success", "running"),
    ("magazine", "Magazine", "static", ("fra-web-3",), "success", "success"),
    ("newsletter", "Newsletter", "laravel", ("hel-web-1",), "success", "cancelled"),
    ("partners", "Partners", "shopware", ("fra-web-1",), "waiting", "success"),
    ("pricing", "Pricing service", "node", ("hel-web-1",), "success", "success"),
    ("search", "Search", "node", ("fra-web-2",), "success", "success"),
    ("tickets", "Tickets", "symfony", ("hel-web-1",), "success", "success"),
    ("wiki", "Wiki", "php", ("fra-web-3",), "success", ""),
)
PEOPLE = (("Ada Lovelace", "ada"), ("Grace Hopper", "grace"), ("Linus Weber", "linus"), ("Mina Okafor", "mina"))
MESSAGES = (
    "Show the delivery date in the cart",
    "Round prices half up, as the tax office does",
    "Cache the category tree for five minutes",
    "Send the confirmation after the payment, not before",
    "Upgrade the payment client to 4.2",
    "Fix the time zone of exported invoices",
    "Let guests change their address",
    "Remove the old importer",
    "Index orders by customer and date",
    "Translate the error page",
    "Retry webhooks of the shipping service",
    "Make images load when they are needed",
)
STEPS = (
    ("preflight", "check server", 0.3),
    ("preflight", "lock", 0.1),
    ("prepare", "fetch", 1.4),
    ("prepare", "release folder", 0.2),
    ("prepare", "composer install", 7.8),
    ("prepare", "npm ci", 9.1),
    ("prepare", "npm run build", 12.6),
    ("protect", "pending migrations", 0.7),
    ("migrate", "migrate", 1.9),
    ("activate", "switch", 0.1),
    ("reload", "reload php-fpm", 0.3),
    ("verify", "health check", 0.6),
    ("finish", "remove old releases", 0.4),
)
OUTPUT = {
    "fetch": ["Commit {commit} from {branch}"],
    "composer install": [
        "Installing dependencies from lock file",
        "Verifying lock file contents can be installed on current platform.",
        "Package operations: 3 installs, 1 update, 0 removals",
        "  - Upgrading payment/client (4.1.3 => 4.2.0): Extracting archive",
        "Generating optimized autoload files",
    ],
    "npm ci": ["added 612 packages in 9s", "118 packages are looking for funding"],
    "npm run build": [
        "> checkout@3.14.0 build",
        "> vite build",
        "vite v6.0.3 building for production...",
        "transforming (482) src/cart/Cart.vue",
        "\x1b[32m✓\x1b[0m 1204 modules transformed.",
        "dist/assets/app-BcD2.js   412.08 kB │ gzip: 131.20 kB",
        "\x1b[32m✓ built in 11.82s\x1b[0m",
    ],
    "migrate": ["  2026_11_20_101500_add_delivery_date ......... 38.11ms \x1b[32mDONE\x1b[0m"],
    "health check": ["http://127.0.0.1/up answered 200 in 0.084312 s"],
}
FAILED_OUTPUT = [
    "> checkout@3.14.0 build",
    "> vite build",
    "vite v6.0.3 building for production...",
    "transforming (1187) src/checkout/DeliveryDate.vue",
    "",
    "<--- Last few GCs --->",
    "[21873:0x6f3a2b0]    41288 ms: Mark-Compact 2041.9 (2082.5) -> 2040.8 (2083.2) MB, 1203.44 / 0.00 ms",
    "<--- JS stacktrace --->",
    "\x1b[31mFATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\x1b[0m",
    " 1: 0xb8ced1 node::OOMErrorHandler(char const*, v8::OOMDetails const&) [node]",
    "Aborted (core dumped)",
]
ERROR = "fra-web-1: step 'npm run build' failed with exit code 134: Aborted (core dumped)"
TOOLS = ["git", "curl", "tar", "flock", "setsid", "nginx", "php", "composer", "node", "npm", "systemctl", "rsync"]
OPEN = ("queued", "running", "waiting")


@dataclass
class Showcase:
    """What is made, as it is made. `dice` are the same for every run."""

    team: Any
    owner: Any
    people: list[Any]
    now: datetime
    dice: random.Random = field(default_factory=lambda: random.Random(7))
    shown: dict[str, str] = field(default_factory=dict)
    planned: list[tuple[datetime, Any, Any, list[str], str, bool]] = field(default_factory=list)
    commits: int = 0

    def fleet(self, projects: int) -> None:
        from devflow.apps.projects import services
        from devflow.apps.projects.variables import variables_set
        from devflow.apps.projects.windows import environment_freeze

        for slug, name, recipe, servers, last, last_staging in _projects(projects):
            project = services.project_add(
                actor=self.owner, slug=slug, name=name, repository=f"git@git.example.org:acme/{slug}.git", recipe=recipe
            )
            for environment, branch, on, ending in (
                ("staging", "develop", ("staging-1",), last_staging),
                ("production", "main", servers, last),
            ):
                made = services.environment_add(
                    actor=self.owner,
                    project=project,
                    name=environment,
                    branch=branch,
                    servers=list(on),
                    health_url="/up",
                    root=f"/srv/www/{slug}-{environment}",
                )
                if ending == "waiting":
                    environment_freeze(actor=self.owner, environment=made, reason="The week before the sale")
                self.history(project, made, list(on), ending)
            if slug == "checkout":
                variables_set(actor=self.owner, project=project, values={"MAIL_HOST": "mail.example.org"}, kind="text")
                secrets = {"APP_KEY": "k", "DB_PASSWORD": "p", "STRIPE_SECRET": "s", "SENTRY_DSN": "d"}
                variables_set(actor=self.owner, environment=made, values=secrets)
        for at, project, environment, names, status, is_current in sorted(self.planned, key=lambda each: each[0]):
            self.deployment(project, environment, names, status, at, is_current=is_current)

    def history(self, project: Project, environment: Environment, servers: list[str], last: str) -> None:
        """Eleven deployments that have ended, and the newest, which is as `last` says ('' for none at all)."""
        if not last:
            return
        length = 10 if len(self.planned) < 400 else 2  # of a large fleet nobody looks at all
        endings = [self.dice.choices(("success", "failed", "cancelled"), (12, 1, 1))[0] for _ in range(length)]
        for back, status in enumerate([last, "success", *endings]):
            age = timedelta(minutes=self.dice.randint(2, 50) + back * self.dice.randint(170, 500))
            is_current = back == (last != "success")
            self.planned.append((self.now - age, project, environment, servers, status, is_current))

    def deployment(
        self,
        project: Project,
        environment: Environment,
        servers: list[str],
        status: str,
        at: datetime,
        *,
        is_current: bool,
    ) -> None:
        """One, with its steps, and its log where somebody may look at it."""
        from devflow.apps.deployments.models import Deployment, Release

        self.commits += 1
        person = self.dice.choice(self.people)
        ends = {"success": 13, "rolled_back": 12, "failed": 7, "cancelled": 6, "running": 6}.get(status, 0)
        pace = self.dice.uniform(0.85, 1.2)
        seconds = sum(step[2] for step in STEPS[:ends]) * pace
        began = self.now - timedelta(seconds=seconds + 4) if status == "running" else at
        made = Deployment.objects.create(
            team=self.team,
            project=project,
            environment=environment,
            status=status,
            waiting_for="window" if status == "waiting" else "",
            trigger=self.dice.choice(("webhook", "webhook", "manual", "api")),
            requested_by=None if self.dice.random() < 0.5 else person,
            branch=environment.branch,
            commit=sha1(f"{project.slug} {self.commits}".encode()).hexdigest(),
            commit_message=self.dice.choice(MESSAGES),
            author=person.name,
            strategy="atomic",
            release=f"{at:%Y%m%d-%H%M%S}-{self.commits:06x}",
            server_names=servers,
            error={
                "failed": ERROR.replace("fra-web-1", servers[0]),
                "rolled_back": f"{servers[0]}, step 'health check': The health check failed: http://127.0.0.1/up "
                "answered 500 in 0.214312 s; wanted 200. Look at the application's log on the server.",
                "cancelled": f"Cancelled by {person.name}.",
            }.get(status, ""),
            started_at=None if status in ("waiting", "queued") else began,
            finished_at=None if status in OPEN else began + timedelta(seconds=seconds),
        )
        Deployment.objects.filter(pk=made.pk).update(created_at=began - timedelta(seconds=1))
        is_newest = status != "success" or is_current
        self.steps(made, ends, pace, began, with_log=is_newest)
        if status == "success" and (is_current or self.now - at < timedelta(hours=30)):
            Release.objects.create(
                team=self.team, environment=environment, deployment=made, name=made.release, is_current=is_current
            )
            Release.objects.filter(deployment=made).update(created_at=made.finished_at)
        if is_newest and (status not in self.shown or project.slug in ("checkout", "storefront")):
            self.shown[status] = str(made.pk)
        if status in OPEN:
            _keep_from_workers(made)

    def steps(self, made: Deployment, ends: int, pace: float, began: datetime, *, with_log: bool) -> None:
        from devflow.apps.deployments.models import Step

        at, steps = began, []
        for position, (phase, name, usual) in enumerate(STEPS):
            for server in made.server_names:
                took = round(usual * pace * self.dice.uniform(0.9, 1.1), 3)
                state = _step_state(made.status, position, ends)
                steps.append(
                    Step(
                        team=self.team,
                        deployment=made,
                        server_name=server,
                        phase=phase,
                        name=name,
                        position=position,
                        status=state,
                        started_at=at if state != "skipped" and state != "pending" else None,
                        duration_seconds=took if state in ("success", "failed") else None,
                        exit_code={"success": 0, "failed": 134 if name == "npm run build" else 1}.get(state),
                    )
                )
            at += timedelta(seconds=usual * pace)
        Step.objects.bulk_create(steps)
        if with_log:
            self.log(made, steps)

    def log(self, made: Deployment, steps: list[Step]) -> None:
        from devflow.apps.deployments import events
        from devflow.apps.deployments.events import NewEvent

        new = []
        for step in steps:
            if step.status in ("pending", "skipped"):
                continue
            lines = OUTPUT.get(step.name, [])
            if step.status == "failed" and step.name == "npm run build":
                lines = FAILED_OUTPUT
            text = (
                "".join(f"{line}\n" for line in lines).replace("{commit}", made.commit).replace("{branch}", made.branch)
            )
            if text:
                new.append(
                    NewEvent("deployment.log", {"server": step.server_name, "step": str(step.pk)}, text, len(lines))
                )
        if made.is_ended:
            new.append(NewEvent("deployment.completed", {"status": made.status}))
        events.append(team_id=self.team.pk, deployment_id=made.pk, events=new)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--projects", type=int, default=len(PROJECTS))
    wanted = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "devflow.settings.base")
    django.setup()

    from django.db import transaction

    from tests.support.event_writer import log_in

    with transaction.atomic():
        made = fill(wanted.projects)
    sys.stdout.write(json.dumps({"session": log_in(made.owner.user), "deployments": made.shown}) + "\n")


def fill(projects: int) -> Showcase:
    """In a transaction, with Django set up."""
    from django.utils import timezone
    from django_scopes import scope

    from devflow.apps.accounts import services as accounts
    from devflow.apps.accounts.models import Membership, Role
    from devflow.apps.accounts.selectors import actor_get
    from devflow.apps.servers import services as servers
    from devflow.apps.servers.models import Server
    from tests.support import showcase_parts
    from tests.support.showcase_people import fill_people

    people = [accounts.user_create(email=f"{handle}@example.org", password=None, name=name) for name, handle in PEOPLE]
    team = accounts.team_create(name="Acme", owner=people[0])
    with scope(team=team):
        Membership.objects.bulk_create(Membership(team=team, user=person, role=Role.DEVELOPER) for person in people[1:])
        owner = actor_get(user=people[0], team=team)
        made = Showcase(team, owner, people, timezone.now())
        for name, host, _, cpus, load, memory, memory_free, disk, disk_free in SERVERS:
            server = servers.server_add(actor=owner, name=name, host=host, user="deploy")
            facts = {
                **{"os": "Debian GNU/Linux 12 (bookworm)", "kernel": "6.1.0-28-amd64", "architecture": "x86_64"},
                **{"cpus": cpus, "load": f"{load:.2f}", "memory_kb": memory, "memory_free_kb": memory_free},
                **{"disk_kb": disk, "disk_free_kb": disk_free, "uptime_seconds": 4_000_000, "user": "deploy"},
                **{"home": "/home/deploy", "tools": TOOLS},
            }
            Server.objects.filter(pk=server.pk).update(status="online", facts=facts, checked_at=timezone.now())
        made.fleet(projects)
        showcase_parts.fill(made)
        for name, _host, state, *_ in SERVERS:
            Server.objects.filter(name=name).update(status=state)
        Server.objects.filter(status="offline").update(
            check_step="reach",
            status_message="hel-web-2 cannot be reached: no answer from 203.0.113.22:22 in 10 s.",
        )
        fill_people(made)
    _forget_jobs()
    return made


def _projects(number: int) -> Iterator[tuple[str, str, str, tuple[str, ...], str, str]]:
    yield from PROJECTS[:number]
    for extra in range(len(PROJECTS), number):
        slug, name, recipe, servers, _, _ = PROJECTS[extra % len(PROJECTS)]
        yield f"{slug}-{extra}", f"{name} {extra}", recipe, servers, "success", "success"


def _step_state(status: str, position: int, ends: int) -> str:
    if status == "success" or position < ends - 1:
        return "success"
    if position == ends - 1:
        return {"running": "running", "cancelled": "cancelled"}.get(status, "failed")
    return "pending" if status in OPEN else "skipped"


def _keep_from_workers(made: Deployment) -> None:
    """A job that is not due for a hundred years carries it: no worker takes it up."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, args, status, scheduled_at)"
            " VALUES ('showcase', 'deployments.advance', %s, 'todo', now() + interval '100 years')",
            [json.dumps({"deployment_id": str(made.pk)})],
        )


def _forget_jobs() -> None:
    """What services have queued, like checks of servers, before a worker sees it."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_jobs WHERE queue_name <> 'showcase'")


if __name__ == "__main__":
    main()
