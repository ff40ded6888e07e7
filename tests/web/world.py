"""What the tests of the pages work on: a team with one of everything, people of each role, somebody of another team."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.test import Client
from django_scopes import scope

from devflow.apps.accounts import services as accounts
from devflow.apps.accounts.invitations import invitation_create
from devflow.apps.accounts.models import ApiToken, Invitation, Membership, Role, Team, User
from devflow.apps.accounts.rights import Actor
from devflow.apps.accounts.selectors import actor_get
from devflow.apps.audit.models import Event
from devflow.apps.audit.selectors import Filters, event_list
from devflow.apps.containers.models import Action, Follow
from devflow.apps.containers.selectors import ContainerRow, container_get
from devflow.apps.containers.services import container_act, follow_start
from devflow.apps.deployments import services as deployments
from devflow.apps.deployments.models import Deployment
from devflow.apps.deployments.pushes import deliveries_take
from devflow.apps.notifications.models import Channel, Notification, PushDevice
from devflow.apps.notifications.services import channel_add, channel_test
from devflow.apps.privacy.jobs import export
from devflow.apps.privacy.models import Archive
from devflow.apps.privacy.services import archive_request
from devflow.apps.projects import services as projects
from devflow.apps.projects.grants import grants_add
from devflow.apps.projects.models import Environment, Grant, Project, VariableChange
from devflow.apps.projects.variables import variable_history, variables_set
from devflow.apps.servers import services as servers
from devflow.apps.servers.clusters import action_list, cluster_form, cluster_get
from devflow.apps.servers.models import Cluster, ClusterAction, Server
from devflow.apps.sources.models import Delivery
from devflow.apps.sources.selectors import delivery_list
from devflow.apps.sources.services import Request, webhook_set
from tests.support.containers import seen
from tests.support.foreign import Foreign, make_foreign
from tests.support.payloads import github_push, sent
from tests.support.push_service import add_device

PASSWORD = "a long enough phrase"
SWARM = {
    "swarm": "s1",
    "nodes": [
        {
            "id": "n1",
            "name": "host-1",
            "state": "ready",
            "availability": "active",
            "role": "manager",
            "manager_status": "leader",
            "engine": "26.1.5",
        }
    ],
    "services": [
        {
            "id": "v1",
            "name": "shop_web",
            "mode": "replicated",
            "image": "shop:1",
            "running": 1,
            "wanted": 1,
            "update": "completed",
            "message": "",
            "tasks": [
                {
                    "id": "t1",
                    "name": "shop_web.1",
                    "node": "host-1",
                    "state": "running",
                    "since": "3 minutes ago",
                    "is_wanted": True,
                    "error": "",
                    "image": "shop:1",
                }
            ],
        }
    ],
}
"""What a look at a swarm found (commands/swarm.py)."""


@dataclass
class World:
    team: Team
    people: dict[str, User]
    server: Server
    project: Project
    environment: Environment
    deployment: Deployment
    token: ApiToken

    def actor(self, role: str = Role.OWNER) -> Actor:
        return actor_get(user=self.people[role], team=self.team)

    @cached_property
    def secret(self) -> str:
        """The secret of the shop's webhook, which is set up for GitHub when it is first asked for."""
        source = projects.project_source(actor=self.actor(), project=self.project)
        return webhook_set(actor=self.actor(), source=source, provider="github")

    @cached_property
    def channel(self) -> Channel:
        """A channel to Slack that is told of everything in the shop."""
        settings = {"url": "https://hooks.slack.com/services/secret-part"}
        channel, _ = channel_add(
            actor=self.actor(), kind="slack", name="#shop", settings=settings, project_id=self.project.pk
        )
        return channel

    @cached_property
    def device(self) -> PushDevice:
        """A browser of the owner's that is told by push."""
        return add_device(self.actor())

    @cached_property
    def notification(self) -> Notification:
        """A message that waits on the channel."""
        return channel_test(actor=self.actor(), channel=self.channel)

    @property
    def event(self) -> Event:
        """What the audit log has told last."""
        return event_list(actor=self.actor(), filters=Filters())[0]

    @cached_property
    def archive(self) -> Archive:
        """An archive of the owner's data, which was written."""
        archive = archive_request(actor=self.actor(), kind="user")
        export(str(archive.pk))
        return archive

    @cached_property
    def delivery(self) -> Delivery:
        """A push that deployed nothing."""
        return self.deliver(github_push("c0ffee" + "0" * 34))

    def deliver(self, payload: Any, **how: Any) -> Delivery:
        """What the shop's webhook is sent."""
        body, headers = sent("github", payload, self.secret, **how)
        assert self.project.source
        token = self.project.source.hook_token
        deliveries_take(provider="github", token=token, requests=[Request(headers, body)])
        return delivery_list(actor=self.actor(), source=self.project.source)[0]

    @cached_property
    def cluster(self) -> Cluster:
        """A swarm of the team's one server, with a service."""
        cluster_form(actor=self.actor(), name="shops", server=self.server)
        with scope(team=self.team):
            Server.objects.filter(pk=self.server.pk).update(node_id="n1")
            Cluster.objects.filter(name="shops").update(observed=SWARM)
        return cluster_get(actor=self.actor(), name="shops")

    @cached_property
    def cluster_action(self) -> ClusterAction:
        """How the swarm was formed."""
        return action_list(actor=self.actor(), cluster=self.cluster)[0]

    @cached_property
    def container(self) -> ContainerRow:
        """The one that serves production, on web-1, which was looked at."""
        seen(self.server, self.environment)
        return container_get(actor=self.actor(), server=self.server, container="shop-blue")

    @cached_property
    def container_action(self) -> Action:
        """How the container was restarted."""
        return container_act(actor=self.actor(), row=self.container, kind="restart")

    @cached_property
    def follow(self) -> Follow:
        """The container's log."""
        return follow_start(actor=self.actor(), row=self.container)

    @cached_property
    def foreign(self) -> Foreign:
        """What the outsider's team has."""
        return make_foreign(self.people["outsider"])

    @cached_property
    def invitation(self) -> Invitation:
        invitation, _ = invitation_create(actor=self.actor(), role=Role.VIEWER, email="guest@example.test")
        return invitation

    @cached_property
    def grant(self) -> Grant:
        """The viewer's, to deploy another environment than production."""
        actor = self.actor()
        preview = projects.environment_add(
            actor=actor, project=self.project, name="preview-1", branch="next", servers=["web-1"]
        )
        person = self.people[Role.VIEWER].email
        (grant,) = grants_add(actor=actor, project=self.project, email=person, actions=["deploy"], environment=preview)
        return grant

    @cached_property
    def change(self) -> VariableChange:
        """How APP_KEY of production was set."""
        return variable_history(actor=self.actor(), environment=self.environment)[0]

    @cached_property
    def base_change(self) -> VariableChange:
        """How MAIL_HOST of the project was set."""
        return variable_history(actor=self.actor(), project=self.project)[0]

    @cached_property
    def member(self) -> Membership:
        """The viewer's."""
        with scope(team=self.team):
            return Membership.objects.get(user=self.people[Role.VIEWER])

    def client(self, role: str) -> Client:
        """A browser of the person with this role; `outsider` owns another team."""
        client = Client()
        log_in(client, self.people[role])
        return client


def log_in(client: Client, user: User, *, minutes_ago: float = 0) -> None:
    """Logs a browser in, as if the person had given the password so long ago."""
    client.force_login(user)
    session = client.session
    session["account_authentication_methods"] = [{"method": "password", "at": time.time() - minutes_ago * 60}]
    session["account_authentication_methods_user"] = str(user.pk)
    session.save()


def make_world() -> World:
    people = {role: _person(role) for role in [*Role.values, "outsider"]}
    team = accounts.team_create(name="Acme", owner=people[Role.OWNER])
    accounts.team_create(name="Elsewhere", owner=people["outsider"])
    with scope(team=team):
        for role in (Role.ADMIN, Role.DEVELOPER, Role.VIEWER):
            Membership.objects.create(team=team, user=people[role], role=role)
    owner = actor_get(user=people[Role.OWNER], team=team)
    server = servers.server_add(actor=owner, name="web-1", host="203.0.113.7", user="deploy")
    project = projects.project_add(
        actor=owner, slug="shop", name="Shop", repository="git@git.example.com:shop.git", recipe="php"
    )
    environment = projects.environment_add(
        actor=owner, project=project, name="production", branch="main", servers=["web-1"]
    )
    variables_set(actor=owner, environment=environment, values={"APP_KEY": "s3cret-value"})
    variables_set(actor=owner, project=project, values={"MAIL_HOST": "mail.example.com"}, kind="text")
    deployment = deployments.deployment_request(actor=owner, environment=environment)
    token, _ = accounts.token_create(actor=owner, name="adas-laptop", scopes=["read"])
    return World(team, people, server, project, environment, deployment, token)


def _person(role: str) -> User:
    return accounts.user_create(email=f"{role}@example.test", password=PASSWORD, name=role.capitalize())
