"""A team with one of everything, of which nobody else may learn anything; and what its things are called."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.db import connection
from django_scopes import scope

from devflow.apps.accounts import services as accounts
from devflow.apps.accounts.invitations import invitation_create
from devflow.apps.accounts.models import Membership, Role, User
from devflow.apps.accounts.selectors import actor_get
from devflow.apps.containers.selectors import container_get
from devflow.apps.containers.services import container_act, follow_start
from devflow.apps.deployments import services as deployments
from devflow.apps.deployments.pushes import deliveries_take
from devflow.apps.notifications.services import channel_add, channel_test
from devflow.apps.projects import services as projects
from devflow.apps.projects.grants import grants_add
from devflow.apps.projects.variables import variable_history, variables_set
from devflow.apps.servers import services as servers
from devflow.apps.servers.clusters import cluster_form
from devflow.apps.sources.selectors import delivery_list
from devflow.apps.sources.services import Request, webhook_set
from tests.support.containers import seen
from tests.support.payloads import github_push, sent
from tests.support.push_service import add_device

MARK = "faraway"
"""In the name of everything that the team has: nobody else may ever be shown it."""


@dataclass(frozen=True)
class Foreign:
    """`ids` and `names` of its things by what they are of."""

    owner: User
    ids: dict[str, str]
    names: dict[str, str]

    @property
    def references(self) -> list[list[str]]:
        """All of them, those of one shape together: ids, names, addresses."""
        found = defaultdict(list)
        for reference in [*self.ids.values(), *self.names.values()]:
            found[re.sub(r"\w+", "x", reference)].append(reference)
        return list(found.values())

    def tries(self, send: Callable[[str], Any]) -> Iterator[tuple[str, Any, Any]]:
        """Each reference with its answer and that to its twin; of a shape only the first where that was looked for in
        no statement: what is never looked up cannot be told from what is not there."""
        answer_to = cache(send)
        for alike in self.references:
            for reference in alike:
                with searches_for(reference) as found:
                    answer = answer_to(reference)
                yield reference, answer, answer_to(twin_of(reference))
                if not found:
                    break


def twin_of(reference: str) -> str:
    """What nothing is called, of the same shape and length."""
    return reference.replace(MARK, "nowhere") if MARK in reference else f"{reference[:8]}-0000-7000-8000-000000000000"


@contextmanager
def searches_for(value: str) -> Iterator[list[str]]:
    """The statements that are sent within and that look for `value`; not those that only store it."""
    found: list[str] = []

    def look(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        sought = params
        if sql.startswith(("INSERT", "UPDATE")):
            conditions = sql.count("%s", sql.find(" WHERE ")) if " WHERE " in sql else 0
            sought = params[len(params) - conditions :]
        if value in sql or value in str(sought):
            found.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(look):
        yield found


def make_foreign(owner: User) -> Foreign:
    """`owner` becomes the owner of the team."""
    team = accounts.team_create(name=f"Team {MARK}", owner=owner)
    actor = actor_get(user=owner, team=team)
    viewer = accounts.user_create(email=f"viewer@{MARK}.test", password=None)
    with scope(team=team):
        member = Membership.objects.create(team=team, user=viewer, role=Role.VIEWER)
    server = servers.server_add(actor=actor, name=f"{MARK}-server", host="198.51.100.9", user="deploy")
    swarm = cluster_form(actor=actor, name=f"{MARK}-swarm", server=server)
    project = projects.project_add(
        actor=actor, slug=f"{MARK}-shop", name=f"Shop {MARK}", repository="https://git.example.com/x.git", recipe="php"
    )
    environment = projects.environment_add(
        actor=actor, project=project, name=f"{MARK}-live", branch="main", servers=[server.name]
    )
    variables_set(actor=actor, environment=environment, values={"APP_KEY": f"secret-{MARK}"})
    deployment = deployments.deployment_request(actor=actor, environment=environment)
    channel, _ = channel_add(
        actor=actor,
        kind="slack",
        name=f"{MARK}-channel",
        settings={"url": "https://hooks.slack.com/services/x"},
        project_id=project.pk,
    )
    notification = channel_test(actor=actor, channel=channel)
    source = projects.project_source(actor=actor, project=project)
    secret = webhook_set(actor=actor, source=source, provider="github")
    body, headers = sent("github", github_push("c0ffee" + "0" * 34), secret)
    deliveries_take(provider="github", token=source.hook_token, requests=[Request(headers, body)])
    token, _ = accounts.token_create(actor=actor, name=f"{MARK}-token", scopes=["read"])
    invitation, _ = invitation_create(actor=actor, role=Role.VIEWER, email=f"guest@{MARK}.test")
    (grant,) = grants_add(actor=actor, project=project, email=viewer.email, actions=["deploy"])
    seen(server, environment, MARK)
    row = container_get(actor=actor, server=server, container=f"{MARK}-blue")
    things = {
        "container action": container_act(actor=actor, row=row, kind="restart"),
        "follow": follow_start(actor=actor, row=row),
        "team": team,
        "member": member,
        "user": viewer,
        "server": server,
        "cluster": swarm.cluster,
        "action": swarm,
        "project": project,
        "environment": environment,
        "deployment": deployment,
        "channel": channel,
        "notification": notification,
        "device": add_device(actor),
        "delivery": delivery_list(actor=actor, source=source)[0],
        "token": token,
        "invitation": invitation,
        "grant": grant,
        "change": variable_history(actor=actor, environment=environment)[0],
    }
    names = {
        "team": team.slug,
        "server": server.name,
        "cluster": swarm.cluster.name,
        "project": project.slug,
        "environment": environment.name,
        "channel": channel.name,
        "email": viewer.email,
        "container": row.name,
    }
    return Foreign(owner, {name: str(thing.pk) for name, thing in things.items()}, names)
