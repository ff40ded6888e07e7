"""A process that writes events of a made-up deployment as the worker would, for tests and benchmarks of the streams.

Prints one JSON line: deployment, token (scope read), stranger (a token of another team), session (the key of a log-in
session). Then each line on stdin is a JSON object, answered by a line when it is done:
{"lines": 500, "per_second": 500, "text": "…"} writes log lines; "{n}" in the text is the number of the line, "{now}"
the time of writing. {"complete": true} ends the deployment. {"adopt": id} goes on with another writer's deployment.
{"take": "…"} takes something from the member who watches: token, session, membership, role, login.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import django

LINES_PER_EVENT = 10


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "devflow.settings.base")
    django.setup()
    deployment, document = make_deployment()
    answer(document)
    number = 0
    for request in map(json.loads, sys.stdin):
        if request.get("complete"):
            complete(deployment)
        elif request.get("take"):
            take(deployment, request["take"])
        elif request.get("adopt"):
            deployment = find_deployment(request["adopt"])
            number = deployment.log_lines
        else:
            number = write_lines(deployment, request, number)
        answer({"lines": number})


def answer(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def make_deployment() -> tuple[Any, dict[str, str]]:
    """A deployment that waits (so that no worker takes it), and three ways to ask for it."""
    from django_scopes import scopes_disabled

    from devflow.apps.accounts.selectors import actor_get
    from devflow.apps.accounts.services import team_create, token_create, user_create
    from devflow.apps.deployments.models import Deployment
    from devflow.apps.projects.models import Environment, Project

    mark = os.urandom(4).hex()
    member = user_create(email=f"member-{mark}@example.org", password=None)
    stranger = user_create(email=f"stranger-{mark}@example.org", password=None)
    team = team_create(name=f"Writers {mark}", owner=member)
    team_create(name=f"Strangers {mark}", owner=stranger)
    tokens = {
        user.email.partition("-")[0]: token_create(actor=actor_get(user=user), name="test", scopes=["read"])[1]
        for user in (member, stranger)
    }
    with scopes_disabled():
        project = Project.objects.create(team=team, name="Site", slug=f"site-{mark}", repository="/srv/site.git")
        environment = Environment.objects.create(
            team=team, project=project, name="production", branch="main", root="/srv/site"
        )
        deployment = Deployment.objects.create(
            team=team,
            project=project,
            environment=environment,
            status="waiting",
            trigger="manual",
            strategy="atomic",
            release=mark,
        )
    return deployment, {
        "deployment": str(deployment.pk),
        "token": tokens["member"],
        "stranger": tokens["stranger"],
        "session": log_in(member),
    }


def find_deployment(deployment_id: str) -> Any:
    from django_scopes import scopes_disabled

    from devflow.apps.deployments.models import Deployment

    with scopes_disabled():
        return Deployment.objects.get(pk=deployment_id)


def take(deployment: Any, what: str) -> None:
    """Takes a right to watch away, as the services do it."""
    from django.contrib.sessions.models import Session
    from django.utils import timezone
    from django_scopes import scope

    from devflow.apps.accounts.models import ApiToken, Membership, User

    with scope(team=deployment.team):
        member = Membership.objects.select_related("user").get(role="owner")
        if what == "token":
            ApiToken.objects.update(revoked_at=timezone.now())
        elif what == "membership":
            member.delete()
        elif what == "role":
            Membership.objects.update(role="viewer")
        elif what == "login":
            User.objects.filter(pk=member.user_id).update(is_active=False)
        else:
            Session.objects.all().delete()


def log_in(user: Any) -> str:
    """The cookie of a new session of the user."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY

    from devflow.apps.accounts.session_store import SessionStore, session_cookie

    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "allauth.account.auth_backends.AuthenticationBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session["account_authentication_methods"] = [{"method": "password", "at": time.time()}]
    session["account_authentication_methods_user"] = str(user.pk)
    session.save()
    assert session.session_key
    return session_cookie(session.session_key)


def write_lines(deployment: Any, request: dict[str, Any], number: int) -> int:
    """Write log lines, as fast as possible or at a steady pace; returns the number of lines so far."""
    from devflow.apps.deployments.events import NewEvent

    begun, written = time.monotonic(), 0
    pace, text = request.get("per_second", 0), request.get("text", "line {n}")
    while written < request["lines"]:
        count = min(LINES_PER_EVENT, request["lines"] - written)
        now = time.time()
        lines = [text.format(n=number + index, now=now) for index in range(1, count + 1)]
        append(deployment, NewEvent("deployment.log", {"server": "web1", "step": "1"}, "\n".join(lines) + "\n", count))
        written, number = written + count, number + count
        if pace:
            time.sleep(max(0.0, begun + written / pace - time.monotonic()))
    return number


def complete(deployment: Any) -> None:
    from django_scopes import scopes_disabled

    from devflow.apps.deployments.events import NewEvent
    from devflow.apps.deployments.models import Deployment

    with scopes_disabled():
        Deployment.objects.filter(pk=deployment.pk).update(status="success")
    append(deployment, NewEvent("deployment.completed", {"status": "success"}))


def append(deployment: Any, event: Any) -> None:
    from django.db import transaction

    from devflow.apps.deployments import events

    with transaction.atomic():
        if not events.append(team_id=deployment.team_id, deployment_id=deployment.pk, events=[event]):
            raise RuntimeError("the deployment was taken by a worker")


if __name__ == "__main__":
    main()
