"""How an installation that works is doing, for `devflow doctor`: of all teams together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Min
from django.utils import timezone
from django_scopes import scopes_disabled
from procrastinate.contrib.django.models import ProcrastinateEvent, ProcrastinateJob

from devflow.apps.audit.models import Event
from devflow.apps.notifications.models import Channel
from devflow.apps.readiness import worker_count
from devflow.apps.servers.models import Server


@dataclass(frozen=True, slots=True)
class Condition:
    """`clock_offset_seconds`: how much later it is at the database. `offline_servers`: names. `backed_up_at`: None for
    never."""

    database_version: str
    clock_offset_seconds: float
    workers: int
    jobs_waiting: int
    job_waiting_seconds: float
    servers: int
    offline_servers: tuple[str, ...]
    channels: int
    backed_up_at: datetime | None


def condition() -> Condition:
    """Raises DatabaseError."""
    version, now = _database()
    with scopes_disabled():
        backups = Event.objects.filter(action="panel.backed_up").order_by("-at")
        offline = Server.objects.filter(status="offline").order_by("name")
        return Condition(
            database_version=version,
            clock_offset_seconds=(now - timezone.now()).total_seconds(),
            workers=worker_count(),
            jobs_waiting=ProcrastinateJob.objects.filter(status="todo", scheduled_at=None).count(),
            job_waiting_seconds=job_waiting_seconds(),
            servers=Server.objects.count(),
            offline_servers=tuple(offline.values_list("name", flat=True)),
            channels=Channel.objects.filter(is_enabled=True).count(),
            backed_up_at=backups.values_list("at", flat=True).first(),
        )


def job_waiting_seconds() -> float:
    """How long the oldest job waits that is due."""
    waiting = ProcrastinateEvent.objects.filter(job__status="todo", job__scheduled_at=None, type="deferred")
    oldest = waiting.aggregate(at=Min("at"))["at"]
    return max(0.0, (timezone.now() - oldest).total_seconds()) if oldest else 0.0


def _database() -> tuple[str, datetime]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version'), clock_timestamp()")
        version, now = cursor.fetchone()
    return version.split()[0], now
