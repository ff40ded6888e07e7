"""The site files of an environment on its servers: read, and taken over or replaced where they were edited by hand; and
files that somebody wrote for the same site before the panel did, which the environment can adopt."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import transaction
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.audit.services import change_record
from devflow.apps.deployments.accepted import accepted_of, is_accepted, words
from devflow.apps.deployments.models import Deployment
from devflow.apps.deployments.planning import recipe_of, site_of
from devflow.apps.projects.models import Environment
from devflow.apps.projects.services import environment_update
from devflow.apps.queue import MANUAL, enqueue
from devflow.apps.servers.models import Server
from devflow.commands import nginx
from devflow.commands.adopting import Adopted, adopted, follow_domains
from devflow.core.errors import ConflictError, DevflowError, RemoteError
from devflow.core.shell import quote
from devflow.recipes import RECIPES
from devflow.strategies import proxy as strategy_proxy

if TYPE_CHECKING:  # pages need this module too, and no SSH
    from devflow.apps.servers.reach import ServerReach

TIMEOUT_SECONDS = 30
EDITED = "edited"


def proxy_look_request(*, actor: Actor, environment: Environment) -> None:
    """Has a worker read the site files of the environment; the answer comes in `environment.proxy_state`."""
    actor.require(rights.DEPLOY, environment)
    enqueue("deployments.look_at_proxy", priority=MANUAL, environment_id=str(environment.pk))


def proxy_adopt(*, actor: Actor, environment: Environment, server: str, path: str = "") -> Environment:
    """Takes over what was edited by hand on `server`: it becomes the environment's own site file, which the next
    deployment writes. With `path`, a file there that serves the environment's domains and is none of the panel's: the
    next deployment takes it out of nginx, too. Other servers' files are let go only where they are the same.

    Raises ForbiddenError, ConflictError.
    """
    actor.require(rights.MANAGE, environment)
    seen = _foreign(environment, server, path) if path else _edited(environment).get(server)
    if seen is None:
        raise ConflictError(
            f"No site file that was edited by hand is known on {server[:60]!r}. Read the servers again."
        )
    if path:
        _refuse_unread(seen)
        template = adopted_of(environment, seen["text"]).template
    elif seen.get("upstream"):
        raise ConflictError(
            "Where the traffic goes was edited by hand on this server, which every deployment decides anew. It cannot "
            "be taken over: replace it, or take the change back."
        )
    else:
        template = follow_domains(nginx.template_of(seen["text"], environment.pk.hex), environment.domains)
    same = [
        (name, each)
        for name, found in environment.proxy_state.get("servers", {}).items()
        for each in (found.get("foreign", ()) if path else [found])
        if (each.get("sum"), each.get("path", "")) == (seen["sum"], path)
    ]
    with transaction.atomic():
        environment_update(actor=actor, environment=environment, proxy_template=template)
        return _accept(actor, environment, same)


def proxy_replace(*, actor: Actor, environment: Environment) -> Environment:
    """Lets the next deployment replace the site files as they are now, edited by hand. Raises ForbiddenError,
    ConflictError where none is known."""
    actor.require(rights.MANAGE, environment)
    edited = _edited(environment)
    if not edited:
        raise ConflictError("No site file that was edited by hand is known. Read the servers again.")
    return _accept(actor, environment, edited.items())


def has_changed_since(environment: Environment, looked_at: datetime) -> bool:
    """Whether a deployment has ended since, which may have written the files that were looked at."""
    with scope(team=environment.team):
        return Deployment.objects.filter(environment=environment, finished_at__gt=looked_at).exists()


def adopted_of(environment: Environment, text: str) -> Adopted:
    """The text of a file that is none of the panel's, as the environment's own site file would be made of it. Raises
    ConflictError."""
    recipe = RECIPES.get(recipe_of(environment))
    if recipe is None:
        raise ConflictError("Choose a recipe for the project first: what is served is not known yet.")
    with scope(team=environment.team):
        serves, folder = strategy_proxy.served(site_of(environment, recipe), recipe)
    made = adopted(text, domains=environment.domains, serves=serves, folder=folder)
    template = follow_domains(made.template, environment.domains)
    if template == made.template:
        return made
    note = f"The names of this site became {nginx.DOMAINS}: the domains of the environment, as they are then."
    return replace(made, template=template, notes=(*made.notes, note))


def foreign_list(environment: Environment, server: str) -> list[dict[str, Any]]:
    """The files of that server that serve the environment's domains and are none of the panel's, as the last look found
    them: `path`, `text`, `is_accepted`, and the `template` and `notes` that adopting gives, or the `problem`."""
    accepted = accepted_of(environment)
    shown = []
    for each in environment.proxy_state.get("servers", {}).get(server, {}).get("foreign", ()):
        made, problem = Adopted(""), ""
        try:
            _refuse_unread(each)
            made = adopted_of(environment, each["text"])
        except DevflowError as error:
            problem = str(error)
        shown.append(
            {
                "path": each["path"],
                "text": each["text"],
                "is_accepted": is_accepted(accepted, server, each),
                "template": made.template,
                "notes": list(made.notes),
                "problem": problem,
            }
        )
    return shown


def _foreign(environment: Environment, server: str, path: str) -> dict[str, Any]:
    files = environment.proxy_state.get("servers", {}).get(server, {}).get("foreign", ())
    found: dict[str, Any] | None = next((each for each in files if each["path"] == path), None)
    if found is None:
        raise ConflictError(
            f"No file {path[:200]} that serves this site is known on {server[:60]!r}. Read the servers again."
        )
    if len(files) > 1:
        others = ", ".join(each["path"] for each in files if each is not found)
        raise ConflictError(
            f"{others} serves this site on {server} too, and only one file can be adopted. Put what is in them into "
            "one, reload nginx, and read the servers again."
        )
    return found


def _refuse_unread(seen: dict[str, Any]) -> None:
    """The text is all of the file."""
    if hashlib.sha256(seen["text"].encode()).hexdigest() != seen["sum"]:
        raise ConflictError(
            f"{seen['path']} cannot be read as a whole by the user that the panel logs in as: let that user read it, "
            "or see that it is text in UTF-8 of at most 256 KiB."
        )


def _accept(actor: Actor, environment: Environment, seen: Iterable[tuple[str, dict[str, Any]]]) -> Environment:
    """Lets the next deployment replace what was seen on these servers."""
    new = [
        {"server": name, "sum": each["sum"], "path": each.get("path", ""), "at": timezone.now().isoformat()}
        for name, each in seen
    ]
    with transaction.atomic(), scope(team=actor.team):
        row = Environment.objects.select_for_update().get(pk=environment.pk)
        before = accepted_of(row)
        others = [each for each in before if not any(_is_of_same(each, one) for one in new)]
        environment.proxy_state = {**row.proxy_state, "accepted": [*others, *new]}
        environment.save(update_fields=["proxy_state"])
        change_record(
            actor=actor,
            action="environment.changed",
            target=str(environment),
            target_id=str(environment.pk),
            project_id=environment.project_id,
            before={"replaces_site_files": list(words(before))},
            after={"replaces_site_files": list(words([*others, *new]))},
        )
    return environment


def _is_of_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return (one["server"], bool(one["path"])) == (other["server"], bool(other["path"]))


def _edited(environment: Environment) -> dict[str, dict[str, Any]]:
    servers: dict[str, dict[str, Any]] = environment.proxy_state.get("servers", {})
    return {name: found for name, found in servers.items() if found.get("state") == EDITED}


async def look(*, environment_id: str, reach: ServerReach) -> None:
    """Reads each server's site file and keeps in `environment.proxy_state`: {"at": …, "servers": {name: {"state": …,
    "sum": SHA-256, "text": …, "foreign": [{"path", "sum", "text"}]}}}, or the server's "error"; the state is absent,
    ours or edited. "upstream" is the text of where the traffic goes, where that was edited. What was "accepted" and is
    another now is forgotten."""
    loaded = await sync_to_async(_load)(environment_id)
    if loaded is None:
        return
    environment, servers = loaded
    reach.remember(servers)
    results = await asyncio.gather(*(_look_at(reach, server, environment) for server in servers))
    found = dict(zip((server.name for server in servers), results, strict=True))
    await sync_to_async(_keep)(environment, found)


def _load(environment_id: str) -> tuple[Environment, list[Server]] | None:
    with scopes_disabled():
        environment = Environment.objects.select_related("project", "team").filter(pk=UUID(environment_id)).first()
    if environment is None:
        return None
    with scope(team=environment.team):
        return environment, list(environment.servers.all())


async def _look_at(reach: ServerReach, server: Server, environment: Environment) -> dict[str, Any]:
    try:
        connection = await reach.get(server.pk.hex)
        place = f"{quote(environment.root)} {environment.pk.hex} {quote(' '.join(environment.domains))}"
        done = await connection.run(f"sh -s {place}", nginx.READ.encode(), TIMEOUT_SECONDS)
        if done.exit_code != 0:
            raise RemoteError(f"{server.name}: the site file of nginx cannot be read.", server=server.name)
        return read(done.stdout)
    except DevflowError as error:
        return {"error": str(error)}


def read(output: str) -> dict[str, Any]:
    """What READ printed. Raises RemoteError."""
    lines = [line.split(" ") for line in output.splitlines()]
    problem = next((line for line in output.splitlines() if line.startswith("problem ")), "")
    if problem:
        return {"error": problem.removeprefix("problem ")}
    try:
        told = {line[0]: line[1] for line in lines if len(line) == 2}
        found: dict[str, Any] = {
            "state": told["state"],
            "sum": told.get("sum", ""),
            "text": _unpacked(told.get("text", "")),
        }
        if "upstream" in told:
            found["upstream"] = _unpacked(told["upstream"])
        found["foreign"] = [
            {"path": _unpacked(line[1]), "sum": line[2], "text": _unpacked(line[3]) if line[3] != "-" else ""}
            for line in lines
            if line[0] == "foreign"
        ]
        return found
    except (binascii.Error, KeyError, IndexError):
        raise RemoteError("The server's answer is not as expected.", server="") from None


def _unpacked(text: str) -> str:
    return base64.b64decode(text).decode(errors="replace")


def _keep(environment: Environment, found: dict[str, Any]) -> None:
    with scope(team=environment.team), transaction.atomic():
        row = Environment.objects.select_for_update().filter(pk=environment.pk).first()
        if row is None:
            return
        accepted = [each for each in accepted_of(row) if _may_still_be(each, found.get(each["server"], {}))]
        row.proxy_state = {"at": timezone.now().isoformat(), "servers": found, "accepted": accepted}
        row.save(update_fields=["proxy_state"])


def _may_still_be(accepted: dict[str, Any], found: dict[str, Any]) -> bool:
    """Whether what was accepted is there as it was, as far as can be seen."""
    if "error" in found:
        return True
    return any(is_accepted([accepted], accepted["server"], each) for each in (found, *found.get("foreign", ())))
