"""A look into a repository through a server: which commit the branch is at, which files it holds, what some say."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import secrets as random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from devflow.commands import compose, git
from devflow.core import dotenv, services
from devflow.core.errors import RemoteError
from devflow.core.services import Composition
from devflow.engine import script
from devflow.engine.output import Frame, JournalReader, Line
from devflow.engine.plan import Plan, Site, Target, place
from devflow.engine.script import RunSecrets
from devflow.engine.task import Phase, Task, Tree
from devflow.remote import run
from devflow.remote.run import NotInstalledError
from devflow.remote.transport import Connection

TIMEOUT_SECONDS = 300
COMPOSE_SECONDS = 60
WATCHED = (
    "composer.json",
    "package.json",
    "devflow.yml",
    ".env.example",
    "pyproject.toml",
    "requirements.txt",
    "symfony.lock",
)
"""The files at the top of a commit whose text comes along."""
LARGEST_BYTES = 65_536
"""A watched file larger than this is not read."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The full commit id, what is at the top of its tree, and the watched files that were too large to be read."""

    commit: str
    tree: Tree
    left_out: frozenset[str] = frozenset()


async def look(connection: Connection, *, site: Site, target: Target, commit: str, secrets: RunSecrets) -> Seen:
    """Fetches and reads through `target`. Raises RemoteError with the reason, ConnectError."""
    tasks = [
        Task(name=name, phase=Phase.PREFLIGHT, command=command, undo="changes nothing that is served", is_builtin=True)
        for name, command in (("fetch", git.FETCH), ("list files", git.list_files(WATCHED, LARGEST_BYTES)))
    ]
    plan = Plan("", "", "none", commit, False, site, place(site, tasks))
    rendered = script.render(
        plan,
        plan.groups[0],
        target,
        deployment=f"inspect-{uuid.uuid4().hex[:12]}",
        commit=commit,
        secrets=RunSecrets(deploy_key=secrets.deploy_key),
        nonce=random.token_hex(12),
    )
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            items, code = await _read(connection, target, rendered)
    except TimeoutError:
        await run.kill(connection, target.name, rendered.run_id)
        raise RemoteError(f"{target.name}: fetching took more than {TIMEOUT_SECONDS} s.", server=target.name) from None
    frames = [item for item in items if isinstance(item, Frame)]
    if code != 0:
        reasons = [frame.rest for frame in frames if frame.kind == "explain"] + [
            item.text for item in items[-1:] if isinstance(item, Line)
        ]
        reason = (reasons or ["the repository could not be read."])[0]
        raise RemoteError(f"{target.name}, looking into the repository: {reason}", server=target.name)
    notes = [frame.rest.partition(" ") for frame in frames if frame.kind == "note"]
    found = next(value.split("\t", 1)[0] for key, _, value in notes if key == "commit")
    return Seen(
        commit=found,
        tree=Tree(frozenset(value for key, _, value in notes if key == "file"), _contents(notes)),
        left_out=frozenset(value for key, _, value in notes if key == "left_out"),
    )


async def look_at_services(
    connection: Connection,
    *,
    site: Site,
    target: Target,
    commit: str,
    options: Mapping[str, str],
    secrets: RunSecrets,
) -> Composition:
    """The services of the commit's Compose file, as `target` resolves it with the environment's variables; `options`
    are those of the recipe. The commit was looked at before. Raises RemoteError with what Compose says, ConnectError.

    The answer holds values of variables: it is read over the connection, kept nowhere, and only facts are returned.
    """
    values = {
        "server": target.name,
        "environment": site.environment_id,
        "root": site.root,
        "mirror": site.mirror,
        "commit": commit,
        "option_files": options.get("files", ""),
        "option_profiles": options.get("profiles", ""),
    }
    text = compose.look_into(values, variables=secrets.variables, env=dotenv.render(secrets.variables))
    done = await connection.run("sh -s", text.encode(), timeout_seconds=COMPOSE_SECONDS)
    if done.exit_code != 0:
        said = done.stderr.strip() or f"exit code {done.exit_code}"
        raise RemoteError(f"{target.name}, docker compose config: {said[-2000:]}", server=target.name)
    try:
        parts = [part.strip() for part in done.stdout.split(compose.MARK)]
        folder, config, said, folder_before, before, volumes = parts[:6]
        return services.read(
            json.loads(config),
            folder=folder,
            before=json.loads(before) if before else None,
            folder_before=folder_before,
            declared=_by_service(volumes),
            warnings=[line for line in map(_said, said.splitlines()) if line],
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RemoteError(
            f"{target.name}: docker compose config printed what cannot be read ({error}).", server=target.name
        ) from error


def _by_service(lines: str) -> dict[str, list[str]]:
    """What lines `<service> <path>` tell."""
    found: dict[str, list[str]] = {}
    for line in lines.splitlines():
        service, _, place = line.partition(" ")
        found.setdefault(service, []).append(place)
    return found


def _said(line: str) -> str:
    """A line of Compose's log without time and level."""
    message = re.search(r'msg="((?:[^"\\]|\\.)*)"', line)
    return message[1].replace('\\"', '"') if message else line.strip()


def _contents(notes: list[tuple[str, str, str]]) -> dict[str, str]:
    """The text of the watched files, with U+FFFD for NUL and for what is no UTF-8, as everywhere."""
    parts: dict[str, bytes] = {}
    for key, _, value in notes:
        if key == "content":
            name, _, part = value.partition(" ")
            parts[name] = parts.get(name, b"") + base64.b64decode(part)
    texts = {name: text.decode("utf-8-sig", errors="replace") for name, text in parts.items()}
    return {name: text.replace("\x00", "\N{REPLACEMENT CHARACTER}") for name, text in texts.items()}


async def _read(connection: Connection, target: Target, rendered: script.Script) -> tuple[list[Line | Frame], int]:
    reader = JournalReader(rendered.nonce)
    items: list[Line | Frame] = []
    while True:
        follower = await run.follow(connection, target.name, rendered.run_id, 0, rendered.text)
        try:
            async for chunk in follower.chunks():
                items += reader.feed(chunk)
                if reader.ended is not None:
                    return items, reader.ended
            return items + reader.finish(), await follower.exit_code()
        except NotInstalledError:
            await run.install(connection, target.name)
        finally:
            follower.close()
