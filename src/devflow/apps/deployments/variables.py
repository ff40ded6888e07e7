"""What variables are to deployments: what a script carries, whether the release that serves is older than they are, and
how they compare with what is on the servers."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.deployments.models import Release
from devflow.apps.projects.models import Environment, Project, Variable
from devflow.apps.projects.variables import (
    value_of,
    variables_changed_since,
    variables_in_force,
    variables_last_changed,
    variables_missing,
)
from devflow.apps.queue import MANUAL, enqueue
from devflow.apps.servers.models import Server
from devflow.commands import releases
from devflow.core import dotenv
from devflow.core.errors import DevflowError, RemoteError
from devflow.core.shell import quote
from devflow.engine.script import RunSecrets

if TYPE_CHECKING:  # pages need this module too, and no SSH
    from devflow.apps.servers.reach import ServerReach

TIMEOUT_SECONDS = 30
_DIGEST = "sha256:"


def secrets_of(environment: Environment) -> RunSecrets:
    """What the environment's scripts carry. Within a team's scope. Raises ConflictError where they cannot be opened."""
    found = variables_in_force(environment)
    return RunSecrets(
        variables={key: value_of(variable) for key, variable in found.items() if variable.kind != "file"},
        files={key: value_of(variable) for key, variable in found.items() if variable.kind == "file"},
        shown=frozenset(key for key, variable in found.items() if variable.kind == "text"),
        deploy_key=environment.project.deploy_key,
    )


def missing_warnings(environment: Environment, detected: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """What a plan says of required variables that are not set, at most one. Within the team's scope."""
    missing = variables_missing(environment, detected)
    return (f"Required by .env.example and not set: {', '.join(missing)}.",) if missing else ()


def variables_undeployed(*, actor: Actor, environment: Environment) -> list[str]:
    """Keys of the variables that were changed after the deployment of the release that serves had begun."""
    with scope(team=actor.team):
        current = Release.objects.filter(environment=environment, is_current=True).select_related("deployment").first()
        if current is None:
            return []
        return variables_changed_since(environment, current.deployment.started_at or current.created_at)


def environments_outdated(*, actor: Actor, project: Project) -> list[Environment]:
    """The project's environments of which a variable was changed after what serves had begun to be deployed."""
    with scope(team=actor.team):
        environments = {one.pk: one for one in project.environments.all()}
        current = Release.objects.filter(environment__in=environments, is_current=True).select_related("deployment")
        since = {one.environment_id: one.deployment.started_at or one.created_at for one in current.order_by()}
        changed = variables_last_changed(project)
    return [
        environment
        for pk, environment in environments.items()
        if pk in since and any(changed[of] > since[pk] for of in (pk, None) if of in changed)
    ]


def comparison_request(*, actor: Actor, environment: Environment) -> None:
    """Has a worker compare the variables with the servers' `.env`; the answer comes in `environment.compared`."""
    actor.require(rights.DEPLOY, environment)
    enqueue("deployments.compare_variables", priority=MANUAL, environment_id=str(environment.pk))


async def compare(*, environment_id: str, reach: ServerReach) -> None:
    """Compares each server's `.env` with what a deployment would write, and keeps in `environment.compared` which keys
    differ: {"at": …, "servers": {name: {"changed": […], "only here": […], "only there": […], "by_hand": …}}}, or the
    server's "error". The values are in this process for a moment and go nowhere else."""
    loaded = await sync_to_async(_load)(environment_id)
    if loaded is None:
        return
    environment, servers, wanted = loaded
    reach.remember(servers)
    results = await asyncio.gather(*(_compare_with(reach, server, environment.root, wanted) for server in servers))
    found = dict(zip((server.name for server in servers), results, strict=True))
    await sync_to_async(_keep)(environment, {"at": timezone.now().isoformat(), "servers": found})


def _load(environment_id: str) -> tuple[Environment, list[Server], dict[str, str]] | None:
    with scopes_disabled():
        environment = Environment.objects.select_related("project", "team").filter(pk=UUID(environment_id)).first()
    if environment is None:
        return None
    with scope(team=environment.team):
        wanted = {key: _comparable(variable) for key, variable in variables_in_force(environment).items()}
        return environment, list(environment.servers.all()), wanted


def _comparable(variable: Variable) -> str:
    """The value; of a file the digest of its text, since its path is another in each release."""
    return _digest(variable.value.encode()) if variable.kind == "file" else str(variable.value)


async def _compare_with(reach: ServerReach, server: Server, root: str, wanted: Mapping[str, str]) -> dict[str, Any]:
    try:
        connection = await reach.get(server.pk.hex)
        done = await connection.run(f"sh -s {quote(root)}", releases.SHOW_VARIABLES.encode(), TIMEOUT_SECONDS)
        if done.exit_code != 0:
            raise RemoteError(f"{server.name}: {root}/shared/.env cannot be read.", server=server.name)
        there, is_by_hand = await asyncio.to_thread(_read, done.stdout)  # up to a megabyte, of anyone's making
    except DevflowError as error:
        return {"error": str(error)}
    return {
        "changed": sorted(key for key in wanted.keys() & there.keys() if wanted[key] != there[key]),
        "only here": sorted(wanted.keys() - there.keys()),
        "only there": sorted(there.keys() - wanted.keys()),
        "by_hand": is_by_hand,
    }


def _read(output: str) -> tuple[dict[str, str], bool]:
    """What SHOW_VARIABLES printed: values by key (digests where they are files), and whether the panel wrote them."""
    state, _, rest = output.partition("\n")
    encoded, _, listed = rest.partition("\n")
    try:
        text = base64.b64decode(encoded, validate=True).decode(errors="replace")
    except binascii.Error:
        raise RemoteError("The server's answer is not as expected.", server="") from None
    values = dotenv.read(text)
    for line in filter(str.strip, listed.splitlines()):
        digest, _, key = line.partition("  ")
        if key in values:
            values[key] = f"{_DIGEST}{digest}"
    return values, state == "by hand"


def _digest(data: bytes) -> str:
    return f"{_DIGEST}{hashlib.sha256(data).hexdigest()}"


def _keep(environment: Environment, compared: dict[str, Any]) -> None:
    with scope(team=environment.team):
        Environment.objects.filter(pk=environment.pk).update(compared=compared)
