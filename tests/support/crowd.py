"""More of everything that the tests' world has one of, for tests that count queries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django.apps import apps
from django.db import connection
from django.db.models import Model
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from devflow.apps.accounts import services as accounts
from devflow.apps.accounts.invitations import invitation_create
from devflow.apps.accounts.models import Membership, Role
from devflow.apps.audit import sealing
from devflow.apps.audit.models import ApiRequest, Device, Event
from devflow.apps.containers.models import Snapshot
from devflow.apps.deployments.models import Event as DeploymentEvent
from devflow.apps.deployments.models import Release, Run, Status, Step
from devflow.apps.notifications.services import channel_add, channel_test
from devflow.apps.projects import services as projects
from devflow.apps.projects.grants import grants_add
from devflow.apps.projects.models import Environment
from devflow.apps.projects.variables import variables_set
from devflow.apps.servers import services as servers
from devflow.apps.servers.clusters import cluster_form
from devflow.apps.servers.models import Cluster, ClusterAction
from devflow.apps.sources.models import Report
from devflow.core.names import uuid7
from tests.support.containers import seen
from tests.support.payloads import github_push
from tests.web.world import World

M = TypeVar("M", bound=Model)

NOT_SHOWN = {
    "accounts.IdempotencyKey": "answers to writes",
    "accounts.PanelKey": "one of a panel",
    "notifications.PushKey": "one of a panel",
    "notifications.PushMessage": "on its way to a device",
    "accounts.RateWindow": "counts requests",
    "accounts.SetupToken": "one of a panel",
    "audit.Chain": "one of a team",
    "sources.Source": "one of a project",
    "containers.Budget": "one of a project",
    "containers.LogPart": "the lines of a container's log",
}
"""Models of ours that no list shows, and why."""


def forget_looks() -> None:
    """As if no machine had been asked yet what runs on it: else the answer depends on how many seconds ago that was."""
    with scopes_disabled():
        Snapshot.objects.update(asked_at=None)


def grow(world: World, numbers: range) -> None:
    """One more of everything for each number: to the team, and to the world's own project, environment, server …"""
    for number in numbers:
        _people(world, number)
        _servers(world, number)
        project = _projects(world, number)
        _deployments(world, number)
        _sent(world, number, project)
        _history(world, number)
    sealing.seal_all()  # as a worker does it every few seconds; who reads the log does the rest


def missing(world: World, number: int) -> set[str]:
    """Models of ours with fewer rows than that, which lists may show."""
    with scopes_disabled():
        few = {
            model._meta.label
            for config in apps.get_app_configs()
            if config.name.startswith("devflow.")
            for model in config.get_models()
            if model._base_manager.count() < number
        }
    return few - NOT_SHOWN.keys()


@contextmanager
def counted() -> Iterator[list[str]]:
    """The statements that are sent within; they are there afterwards."""
    found: list[str] = []
    with CaptureQueriesContext(connection) as captured:
        yield found
    found += [query["sql"] for query in captured.captured_queries]


def _people(world: World, number: int) -> None:
    actor = world.actor()
    person = accounts.user_create(email=f"member-{number}@example.test", password=None)
    with scope(team=world.team):
        Membership.objects.create(team=world.team, user=person, role=Role.DEVELOPER)
    accounts.team_create(name=f"Team {number}", owner=world.people[Role.OWNER])
    invitation_create(actor=actor, role=Role.VIEWER, email=f"guest-{number}@example.test")
    for email in (person.email, world.people[Role.VIEWER].email):
        environment = projects.environment_add(
            actor=actor,
            project=world.project,
            name=f"of-{email.partition('@')[0]}-{number}"[:60],
            branch="main",
            servers=["web-1"],
        )
        grants_add(actor=actor, project=world.project, email=email, actions=["deploy"], environment=environment)
    accounts.token_create(actor=actor, name=f"token {number}", scopes=["read"], projects=frozenset({world.project.pk}))
    world.client(Role.OWNER)  # one more session
    _copy(world.device, digest=f"{number:064}")
    Device.objects.create(user=world.people[Role.OWNER], family=f"Browser {number}", network=f"192.0.2.{number}")


def _servers(world: World, number: int) -> None:
    actor, name = world.actor(), f"more-{number}"
    server = servers.server_add(actor=actor, name=name, host=f"{name}.example.test", user="deploy")
    member = servers.server_add(actor=actor, name=f"node-{number}", host=f"node-{number}.example.test", user="deploy")
    cluster_form(actor=actor, name=f"swarm-{number}", server=member)
    seen(server, world.environment)
    with scope(team=world.team):
        world.environment.servers.add(server)
        snapshot = Snapshot.objects.get(server=world.server)
        for part, key in (("containers", "name"), ("images", "id"), ("volumes", "name"), ("networks", "id")):
            rows = snapshot.content[part]
            rows += [
                {**row, "id": f"{number}{row.get('id', '')}"[:64], key: f"{row[key]}-{number}"} for row in rows[:2]
            ]
        snapshot.save()
        _copy(ClusterAction.objects.filter(cluster=world.cluster)[0])
        _copy(world.container_action)
        _copy(world.follow)
        cluster = Cluster.objects.get(pk=world.cluster.pk)
        node, service = cluster.observed["nodes"][0], cluster.observed["services"][0]
        cluster.observed["nodes"].append({**node, "id": f"more-{number}", "name": f"host-more-{number}"})
        cluster.observed["services"].append({**service, "id": f"v-{number}", "name": f"more_{number}"})
        cluster.save()


def _projects(world: World, number: int) -> Any:
    actor = world.actor()
    project = projects.project_add(
        actor=actor, slug=f"more-{number}", name=f"More {number}", repository="/srv/git/more.git", recipe="php"
    )
    for one, name in ((project, "production"), (project, "staging"), (world.project, f"more-{number}")):
        projects.environment_add(
            actor=actor, project=one, name=name, branch="main", servers=["web-1", f"more-{number}"]
        )
    variables_set(actor=actor, environment=world.environment, values={f"MORE_{number}": "s3cret-value"})
    variables_set(actor=actor, project=world.project, values={f"BASE_{number}": "more"}, kind="text")
    return project


def _deployments(world: World, number: int) -> None:
    """One more of production, and one of each environment that has none, asked for by somebody else."""
    person = accounts.user_create(email=f"deploys-{number}@example.test", password=None)
    with scope(team=world.team):
        new = Environment.objects.select_related("project").filter(deployments=None)
        for environment in [world.environment, *new]:
            same: dict[str, Any] = {"team": world.team, "environment": environment}
            deployment = _copy(
                world.deployment,
                environment=environment,
                project=environment.project,
                status=Status.SUCCESS if number % 2 else Status.SUPERSEDED,
                requested_by=person,
                release=f"20260101-0000{number:02}-abcdef",
                due_at=None if number % 2 else timezone.now(),  # some waited for a window
            )
            is_first = not Release.objects.filter(environment=environment, is_current=True).exists()
            Release.objects.create(**same, deployment=deployment, name=deployment.release, is_current=is_first)
        Run.objects.create(team=world.team, deployment=world.deployment, server_name="web-1", name=f"{number}")
        Step.objects.create(
            team=world.team,
            deployment=world.deployment,
            server_name=f"more-{number}",
            phase="prepare",
            name="fetch",
            position=1,
        )
        DeploymentEvent.objects.create(
            team=world.team, deployment=world.deployment, seq=1000 + number, kind="deployment.log", text="line\n"
        )


def _sent(world: World, number: int, project: Any) -> None:
    """Webhooks that came in; notifications and reports that went out."""
    actor = world.actor()
    world.deliver(github_push(f"{number:04}" + "0" * 36))
    settings = {"url": "https://hooks.slack.com/services/secret-part"}
    for of in (project, world.project):
        channel_add(actor=actor, kind="slack", name=f"{of.slug}-{number}", settings=settings, project_id=of.pk)
    channel_test(actor=actor, channel=world.channel)
    assert world.project.source
    with scope(team=world.team):
        Report.objects.create(
            team=world.team,
            source=world.project.source,
            deployment_id=world.deployment.pk,
            environment="production",
            context="devflow/shop/production",
            commit="c0ffee",
            state="success",
        )


def _history(world: World, number: int) -> None:
    with scopes_disabled():
        _copy(world.archive)
        newest = Event._base_manager.filter(team=world.team).latest("pk")
        ApiRequest.objects.create(
            team=world.team,
            at=newest.at,
            user_id=world.people[Role.OWNER].pk,
            token_id=world.token.pk,
            method="GET",
            route="servers",
            status=200,
            duration_ms=number,
        )


def _copy(row: M, **changes: Any) -> M:
    """One more row like this one."""
    made = type(row)(**{field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields})
    made.pk = uuid7()
    for name, value in changes.items():
        setattr(made, name, value)
    made.save(force_insert=True)
    return made
