"""A look into a repository through a server: which commit the branch is at, which files it holds, what some say."""

from __future__ import annotations

import asyncio
import base64
import secrets as random
import uuid
from dataclasses import dataclass

from devflow.commands import git
from devflow.core.errors import RemoteError
from devflow.engine import script
from devflow.engine.output import Frame, JournalReader, Line
from devflow.engine.plan import Plan, Site, Target, place
from devflow.engine.script import RunSecrets
from devflow.engine.task import Phase, Task, Tree
from devflow.remote import run
from devflow.remote.run import NotInstalledError
from devflow.remote.transport import Connection

TIMEOUT_SECONDS = 300
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
