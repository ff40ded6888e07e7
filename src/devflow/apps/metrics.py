"""The panel's own figures in the text format of Prometheus ("Exposition formats", prometheus.io): counts, no names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from django.db import connection
from django.db.models import Avg, Count, DurationField, ExpressionWrapper, F, Max, Min
from django.utils import timezone
from django_scopes import scopes_disabled
from procrastinate.contrib.django.models import ProcrastinateJob
from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR, CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from devflow import __version__
from devflow.apps.condition import job_waiting_seconds
from devflow.apps.deployments.models import ENDED, Deployment, Status
from devflow.apps.notifications.models import Notification
from devflow.apps.readiness import worker_count
from devflow.apps.servers.models import Server

CONTENT_TYPE = CONTENT_TYPE_LATEST
DAY = timedelta(days=1)


def metrics_text() -> bytes:
    """All figures of this web process and of the database, as they are now. Raises DatabaseError."""
    registry = CollectorRegistry()
    for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR, _Panel()):
        registry.register(collector)
    return generate_latest(registry)


class _Panel:
    """What is in the database, of all teams together."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        with scopes_disabled():
            yield _labelled("devflow_info", "The panel's version.", ["version"], [((__version__,), 1)])
            yield GaugeMetricFamily("devflow_workers", "Workers that showed a sign of life lately.", worker_count())
            yield from _deployments()
            yield from _jobs()
            yield _labelled("devflow_servers", "Servers, by state.", ["status"], _counted(Server, "status"))
            unsent = Notification.objects.filter(status="pending").count()
            yield GaugeMetricFamily("devflow_notifications_pending", "Notifications that are still to be sent.", unsent)
            yield GaugeMetricFamily("devflow_database_bytes", "Size of the panel's database.", _database_bytes())

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return ()  # else they would be collected to be registered


def _deployments() -> Iterator[GaugeMetricFamily]:
    since = timezone.now() - DAY
    counts = dict(Deployment.objects.exclude(status__in=ENDED).values_list("status").annotate(n=Count("pk")).order_by())
    rows = [((status,), counts.get(status, 0)) for status in Status.values if status not in ENDED]
    yield _labelled("devflow_deployments_open", "Deployments that have not ended, by state.", ["status"], rows)

    oldest = Deployment.objects.filter(status__in=(Status.RUNNING, Status.VERIFYING)).aggregate(at=Min("started_at"))
    yield GaugeMetricFamily(
        "devflow_deployment_running_seconds_max", "How long the oldest running deployment runs.", _age(oldest["at"])
    )
    ended = Deployment.objects.filter(finished_at__gte=since)
    counts = dict(ended.values_list("status").annotate(n=Count("pk")).order_by())
    rows = [((str(status),), counts.get(status, 0)) for status in ENDED]
    yield _labelled("devflow_deployments_ended_day", "Deployments that ended within 24 hours.", ["status"], rows)

    took = ExpressionWrapper(F("finished_at") - F("started_at"), output_field=DurationField())
    durations = ended.filter(status=Status.SUCCESS).aggregate(mean=Avg(took), longest=Max(took))
    rows = [((kind,), durations[kind].total_seconds() if durations[kind] else 0) for kind in ("mean", "longest")]
    help_text = "Duration of those within 24 hours that succeeded."
    yield _labelled("devflow_deployment_duration_day_seconds", help_text, ["kind"], rows)


def _jobs() -> Iterator[GaugeMetricFamily]:
    jobs = ProcrastinateJob.objects.values_list("queue_name", "status").annotate(n=Count("pk")).order_by()
    rows = [((queue, status), count) for queue, status, count in jobs]
    yield _labelled("devflow_jobs", "Jobs of the workers, by queue and state.", ["queue", "status"], rows)
    yield GaugeMetricFamily("devflow_job_waiting_seconds_max", "How long the oldest job waits.", job_waiting_seconds())


def _counted(model: Any, field: str) -> list[tuple[tuple[str], int]]:
    counts = model.objects.values_list(field).annotate(n=Count("pk")).order_by()
    return [((str(value),), count) for value, count in counts]


def _labelled(
    name: str, help_text: str, labels: list[str], rows: Iterable[tuple[tuple[str, ...], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for values, number in rows:
        family.add_metric(values, number)
    return family


def _age(at: Any) -> float:
    return max(0.0, (timezone.now() - at).total_seconds()) if at else 0.0


def _database_bytes() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        size: int = cursor.fetchone()[0]
    return size
