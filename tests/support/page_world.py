"""Fills a panel's database with what its pages can show, for tests in a browser that need no server.

Run with the panel's environment; prints one JSON object: session (the key of the owner's log-in session),
deployments (id by status), and the ids of a webhook's delivery, a channel, an event of the audit log and a container's
log. No worker touches any of them.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import django

if TYPE_CHECKING:  # its module needs Django to be set up
    from tests.web.world import World

ERROR = (
    "npm run build ended with exit code 1 on web-1.\nLook at the lines before the error in the log, and run it at home."
)
LOG = "\x1b[32mInstalling dependencies\x1b[0m\n\x1b[1;31merror\x1b[0m: something <b>broke</b>\nlast line\n"
CANARY = {"5": "passed 610 3 12 11000 20 10 300 5", "25": "good 3020 9 12 9000 11 10 120 25"}
STATUSES = ("success", "failed", "rolled_back", "cancelled", "waiting")


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "devflow.settings.base")
    django.setup()

    from django.db import connection, transaction
    from django_scopes import scopes_disabled

    from devflow.apps.deployments.services import deployment_cancel
    from devflow.apps.projects.windows import environment_freeze
    from devflow.apps.servers.models import ClusterAction
    from tests.support.event_writer import log_in
    from tests.web.world import make_world

    with transaction.atomic(), scopes_disabled(), connection.cursor() as cursor:
        world = make_world()
        deployment_cancel(actor=world.actor(), deployment=world.deployment)
        world.deliver(b"not JSON")
        assert world.container_action
        assert world.follow
        ClusterAction.objects.filter(cluster=world.cluster).update(status="done", message="web-1 is its first manager.")
        environment_freeze(actor=world.actor(), environment=world.environment, reason="The sale goes on")
        cursor.execute("DELETE FROM procrastinate_jobs")  # before a worker sees them
    _settings(world)
    ids = {status: _deployment(world, status) for status in STATUSES}
    session = log_in(world.people["owner"])
    others = {name: str(getattr(world, name).pk) for name in ("delivery", "channel", "event", "follow")}
    sys.stdout.write(json.dumps({"session": session, "deployments": ids, **others}) + "\n")


def _settings(world: World) -> None:
    """Hooks of the panel, and a devflow.yml that the project reads."""
    from django.utils import timezone
    from django_scopes import scope

    from devflow.apps.projects import services

    hooks = [
        {"when": "before", "what": "activate", "command": "php artisan app:warm", "where": "first"},
        {
            "when": "after",
            "what": "composer install",
            "command": "./bin/one\n./bin/two --with=everything",
            "where": "all",
        },
    ]
    services.environment_update(actor=world.actor(), environment=world.environment, hooks=hooks)
    services.project_update(actor=world.actor(), project=world.project, reads_file=True)
    file = "keep: 3\nhooks:\n  after_activate: php artisan search:index --all\n  before_nothing: x\n"
    world.environment.detected = {
        **{"recipe": "php", "commit": "0123456789abcdef0123456789abcdef01234567", "error": "", "required": []},
        **{"at": timezone.now().isoformat(), "file": file, "file_error": ""},
    }
    with scope(team=world.team):
        world.environment.save(update_fields=["detected"])


def _deployment(world: World, status: str) -> str:
    """One that has this status, with steps, a log and, if it went well, a release."""
    from django.db import transaction
    from django.utils import timezone
    from django_scopes import scope

    from devflow.apps.deployments import events
    from devflow.apps.deployments.events import NewEvent
    from devflow.apps.deployments.models import Deployment, Release, Step

    started = timezone.now() - timedelta(seconds=40)
    is_open = status == "waiting"
    outcomes = ["success", {"success": "success", "waiting": "running"}.get(status, "failed"), "skipped"]
    with transaction.atomic(), scope(team=world.team):
        made = Deployment.objects.create(
            team=world.team,
            project=world.project,
            environment=world.environment,
            status=status,
            waiting_for="window" if is_open else "",
            trigger="manual",
            requested_by=world.people["owner"],
            branch="main",
            commit="0123456789abcdef0123456789abcdef01234567",
            commit_message="Show the delivery date in the cart",
            author="Grace Hopper",
            strategy="canary" if status == "success" else "atomic",
            observed={"canary": CANARY} if status == "success" else {},
            release=f"20261121-101500-{status}",
            server_names=["web-1"],
            error="" if status in ("success", "waiting") else ERROR,
            started_at=started,
            finished_at=None if is_open else started + timedelta(seconds=12.5),
        )
        for position, outcome in enumerate(outcomes):
            step = Step.objects.create(
                team=world.team,
                deployment=made,
                server_name="web-1",
                phase=("preflight", "prepare", "activate")[position],
                name=("check server", "npm run build", "switch")[position],
                position=position,
                status=outcome,
                started_at=None if outcome == "skipped" else started,
                duration_seconds=1.25 if outcome in ("success", "failed") else None,
            )
            log = NewEvent("deployment.log", {"server": "web-1", "step": str(step.pk)}, LOG, LOG.count("\n"))
            events.append(team_id=world.team.pk, deployment_id=made.pk, events=[log])
        if status == "success":
            Release.objects.create(
                team=world.team, environment=world.environment, deployment=made, name=made.release, is_current=True
            )
        if not is_open:
            ended = NewEvent("deployment.completed", {"status": status})
            events.append(team_id=world.team.pk, deployment_id=made.pk, events=[ended])
    return str(made.pk)


if __name__ == "__main__":
    main()
