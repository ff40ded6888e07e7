"""What workers do with containers on servers: look, act, clean up, follow logs."""

from __future__ import annotations

import asyncio
import json
import secrets as random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from devflow.apps.containers.models import Action, ActionState, Follow, LogPart, Snapshot
from devflow.apps.containers.owners import environments_on, owners_load
from devflow.apps.containers.services import UNSEEN_SECONDS
from devflow.apps.deployments.events import EVENTS_CHANNEL
from devflow.apps.deployments.variables import secrets_of
from devflow.apps.projects.models import Environment
from devflow.apps.servers.models import Server
from devflow.apps.servers.reach import ServerReach
from devflow.commands import docker
from devflow.commands.docker import Candidate, Look
from devflow.core.errors import DevflowError, RemoteError
from devflow.core.masking import Masker
from devflow.engine.output import JournalReader, Line
from devflow.remote.transport import Process

LOOK_TIMEOUT_SECONDS, ACT_TIMEOUT_SECONDS, PRUNE_TIMEOUT_SECONDS = 120, 180, 1800
LARGEST_ANSWER_BYTES = 64 * 1024 * 1024
FLUSH_SECONDS = 0.25
FLUSH_BYTES = 64 * 1024
"""At most so much of a log is taken on at once; what a container prints beyond it has to wait."""
BEHIND_FLUSHES = 12
"""After so many full parts in a row what lies between is left out, and following begins anew at the log's end."""
LARGEST_LOG_BYTES = 24 * 1024 * 1024
LONGEST_FOLLOW_SECONDS = 4 * 3600
LOOK_WHO_WATCHES_SECONDS = 3
AGAIN_LINES = 100
FAULT = "Something went wrong in the panel itself; the worker's log says what."
_SAID = {
    "gone": "The container is not there any more.",
    "other": "The container is not what it was taken for; nothing was done.",
}


# --- looking ----------------------------------------------------------------------------------------------------------


async def look(*, server_id: str, with_disk: bool, reach: ServerReach) -> None:
    """Reads what the server's Docker has, in one round trip, and keeps it without secrets."""
    loaded = await sync_to_async(_load_server)(server_id)
    if loaded is None:
        return
    server, sites = loaded
    reach.remember([server])
    began = timezone.now()
    try:
        output = await _run(reach, server, docker.look(sites, with_disk=with_disk), LOOK_TIMEOUT_SECONDS)
    except RemoteError as error:
        await sync_to_async(_keep_problem)(server, "unreachable", str(error))
        return
    found = await asyncio.to_thread(docker.parse_look, output)
    if found.problem:
        await sync_to_async(_keep_problem)(server, found.problem, found.problem_detail)
    elif not found.is_whole:
        await sync_to_async(_keep_problem)(server, "unreachable", "The server's answer broke off.")
    else:
        await sync_to_async(_keep)(server, found, began)


def _load_server(server_id: str) -> tuple[Server, list[tuple[str, str]]] | None:
    with scopes_disabled():
        server = Server.objects.select_related("team").filter(pk=server_id).first()
    if server is None:
        return None
    with scope(team=server.team):
        return server, [(docker.identity(each.pk), each.root) for each in environments_on(server)]


def _keep_problem(server: Server, problem: str, detail: str) -> None:
    """What was seen before stays, with its age, where the server only cannot be reached."""
    with transaction.atomic(), scope(team=server.team):
        rows = Snapshot.objects.filter(server=server)
        rows.update(problem=problem, problem_detail=detail[:2000], taken_at=timezone.now())
        if problem != "unreachable":
            rows.update(content={}, disk={}, disk_at=None, seen_at=None)


def _keep(server: Server, found: Look, began: Any) -> None:
    owners = owners_load(team=server.team, found=found.containers)
    known: dict[Any, Sequence[str] | None] = {}
    containers = []
    for row in found.containers:
        environment = owners.of(row).environment
        hidden = _secrets(environment, known) if environment else None
        containers.append(docker.masked(row, hidden or (), is_ours=hidden is not None))
    content = {
        "version": found.version,
        "containers": containers,
        "images": found.images,
        "volumes": found.volumes,
        "networks": found.networks,
        "roles": found.roles,
    }
    now = timezone.now()
    kept: dict[str, Any] = {"content": content, "problem": "", "problem_detail": "", "taken_at": now, "seen_at": now}
    if found.disk is not None:
        kept |= {"disk": found.disk, "disk_at": began}
    with scope(team=server.team):
        Snapshot.objects.filter(server=server).update(**kept)


def _secrets(environment: Environment, known: dict[Any, Sequence[str] | None]) -> Sequence[str] | None:
    """All values of the environment's variables; None where they cannot be opened, so that all is to be hidden."""
    if environment.pk not in known:
        known[environment.pk] = None
        with suppress(DevflowError), scope(team=environment.team):
            found = secrets_of(environment)
            known[environment.pk] = [*found.variables.values(), *found.files.values()]
    return known[environment.pk]


# --- acting, cleaning up ----------------------------------------------------------------------------------------------


async def act(*, action_id: str, reach: ServerReach) -> None:
    """Restarts, stops or starts a container, and looks what came of it. Does no harm when done again."""
    await _carry_out(action_id, reach, _act)


async def prune(*, action_id: str, reach: ServerReach) -> None:
    """Removes what a clean-up was to remove, each only if it still may go. Does no harm when done again."""
    await _carry_out(action_id, reach, _prune)


async def _carry_out(
    action_id: str, reach: ServerReach, work: Callable[[Action, ServerReach], Awaitable[None]]
) -> None:
    """An action always ends, also where there is a fault of ours: who waits for it is told."""
    action = await sync_to_async(_begin)(action_id)
    if action is None:
        return
    try:
        await work(action, reach)
    except (OperationalError, InterfaceError):
        raise  # the database is away: nothing can be told now
    except Exception:
        await sync_to_async(_end)(action, ActionState.FAILED, FAULT)
        raise


async def _act(action: Action, reach: ServerReach) -> None:
    environment = docker.identity(action.environment_id)
    script = docker.act(action.kind, container=action.container_id, environment=environment)
    try:
        output = await _run(reach, action.server, script, ACT_TIMEOUT_SECONDS)
    except RemoteError as error:
        await sync_to_async(_end)(action, ActionState.FAILED, str(error))
        return
    found = docker.parse_act(output)
    state = ActionState.DONE if found.outcome == "seen" else ActionState.FAILED
    await look(server_id=str(action.server_id), with_disk=False, reach=reach)  # who sees the end sees what came of it
    await sync_to_async(_end)(action, state, _told(action, found))


def _told(action: Action, found: docker.Acted) -> str:
    seen = f"{found.state}, {found.health}" if found.health else found.state
    if found.outcome == "seen":
        return f"It is {seen}." if action.kind != "stop" else f"It is {found.state} (exit code {found.exit_code})."
    if found.outcome == "failed" and found.state in ("exited", "dead"):
        return f"It ended again with exit code {found.exit_code}. Its log says why."
    if found.outcome == "failed" and found.state:
        return f"After {docker.SETTLE_SECONDS} s it is {seen}, which is not what was wanted. Its log may say why."
    if found.outcome in _SAID:
        return _SAID[found.outcome]
    return f"Docker did not do it: {found.detail or 'no answer'}"


async def _prune(action: Action, reach: ServerReach) -> None:
    candidates = [Candidate(**{**each, "names": tuple(each["names"])}) for each in action.given]
    roots = await sync_to_async(_roots)(action)
    try:
        output = await _run(reach, action.server, docker.prune(candidates, roots), PRUNE_TIMEOUT_SECONDS)
    except RemoteError as error:
        await sync_to_async(_end)(action, ActionState.FAILED, str(error))
        return
    found = docker.parse_prune(output)
    is_whole = "=end" in output.splitlines() and "=problem" not in output
    sizes = {(each.kind, each.id): each.size or 0 for each in candidates}
    removed = [each for each in found if each.outcome == "removed"]
    kept = [each for each in found if each.outcome == "kept"]
    freed = sum(sizes.get((each.kind, each.id), 0) for each in removed) / 1e6
    message = f"{len(removed)} removed, about {freed:,.0f} MB." + (f" {len(kept)} left where they are." if kept else "")
    if not is_whole:
        message = f"It did not come to its end. {message}" if found else "Docker does not answer there."
    if "=busy" in output:
        message = "Another clean-up is under way on this server. Try again when it is done."
    state = ActionState.DONE if is_whole and found else ActionState.FAILED
    await look(server_id=str(action.server_id), with_disk=True, reach=reach)
    await sync_to_async(_end)(action, state, message, [asdict(each) for each in found])


def _roots(action: Action) -> dict[str, str]:
    with scope(team=action.team):
        return {docker.identity(each.pk): each.root for each in environments_on(action.server)}


def _begin(action_id: str) -> Action | None:
    with scopes_disabled():
        found = Action.objects.select_related("server__team", "team").filter(pk=action_id).first()
        if found is None or found.is_ended:
            return None
        Action.objects.filter(pk=found.pk).update(state=ActionState.RUNNING)
    return found


def _end(action: Action, state: str, message: str, result: list[dict[str, Any]] | None = None) -> None:
    with scope(team=action.team):
        Action.objects.filter(pk=action.pk).update(
            state=state, message=message[:2000], result=result or [], finished_at=timezone.now()
        )


async def _run(reach: ServerReach, server: Server, script: str, timeout_seconds: float) -> str:
    """What the script printed. Raises RemoteError. It may take long, so it is not one of the connection's brief ones,
    which killing a run needs."""
    reach.remember([server])
    connected = await reach.get(server.pk.hex)
    process = await connected.start("sh -s", script.encode())
    try:
        async with asyncio.timeout(timeout_seconds):
            answer = bytearray()
            async for chunk in process.chunks():
                answer += chunk
                if len(answer) > LARGEST_ANSWER_BYTES:
                    raise RemoteError(f"{server.name}: Docker has more to tell there than the panel takes in.")
            output = answer.decode(errors="replace")
            exit_code, stderr = await process.wait()
    except TimeoutError:
        raise RemoteError(f"{server.name}: no answer within {timeout_seconds:.0f} s.", server=server.name) from None
    finally:
        process.close()
    if not output and exit_code != 0:
        said = (stderr.strip().splitlines() or ["no output"])[-1][:300]
        raise RemoteError(f"{server.name} did not run the panel's script (exit code {exit_code}): {said}")
    return output


# --- following a log --------------------------------------------------------------------------------------------------


async def follow(*, follow_id: str, reach: ServerReach) -> None:
    """Follows a container's log as long as somebody looks, and keeps its lines, masked, for those who do."""
    loaded = await sync_to_async(_load_follow)(follow_id)
    if loaded is None:
        return
    followed, masker = loaded
    reach.remember([followed.server])
    until = time.monotonic() + LONGEST_FOLLOW_SECONDS
    log = _Log(followed, masker)
    tail = followed.tail if followed.last_seq == 0 else AGAIN_LINES
    try:
        while True:
            connected = await reach.get(followed.server_id.hex)
            script = docker.follow(container=followed.container_id, tail=tail).encode()
            # the script comes first on the standard input, which then stays open for as long as there is to be followed
            process = await connected.start(f"sh -c 'eval \"$(head -c {len(script)})\"'", script, stays_open=True)
            try:
                reason = await _read(process, log, until)
            finally:
                process.close()
            if reason is not None:
                break
            tail = AGAIN_LINES
            await sync_to_async(log.store)("… lines are left out here: the container prints more than can be shown.\n")
    except RemoteError as error:
        reason = str(error)
    except _TakenOverError:
        return
    except (OperationalError, InterfaceError):
        raise  # the database is away: nothing can be told now
    except Exception:
        await sync_to_async(log.end)(FAULT)
        raise
    await sync_to_async(log.end)(reason)


async def _read(process: Process, log: _Log, until: float) -> str | None:
    """Reads until there is nothing more to be read, and says why; None where it has fallen behind."""
    reader = JournalReader(random.token_hex(12))
    chunks = process.chunks().__aiter__()
    coming: asyncio.Task[bytes] | None = None
    lines: list[str] = []
    size = full = 0
    flushed = looked = time.monotonic()
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(chunks, b""))
            done, _ = await asyncio.wait({coming}, timeout=FLUSH_SECONDS)
            if done:
                chunk, coming = coming.result(), None
                found = reader.feed(chunk) if chunk else reader.finish()
                lines += [item.text for item in found if isinstance(item, Line)]
                if not log.bytes and lines and lines[0].startswith("=problem "):
                    return f"Docker cannot be used there: {lines[0].removeprefix('=problem ')}"
                size += len(chunk)
                is_over = not chunk
            else:
                is_over = False
            now = time.monotonic()
            if lines and (is_over or size >= FLUSH_BYTES or now - flushed >= FLUSH_SECONDS):
                full = full + 1 if size >= FLUSH_BYTES else 0
                await sync_to_async(log.store)("\n".join(lines) + "\n")
                if size >= FLUSH_BYTES:
                    await asyncio.sleep(max(0.0, FLUSH_SECONDS - (now - flushed)))
                lines, size, flushed = [], 0, time.monotonic()
            if is_over:
                return "The log has ended: the container does not run."
            if full >= BEHIND_FLUSHES:
                return None
            if log.bytes >= LARGEST_LOG_BYTES:
                return "So much was shown that following ended. Follow it anew to go on."
            if now >= until:
                return "It was followed for hours, so following ended. Follow it anew to go on."
            if now - looked >= LOOK_WHO_WATCHES_SECONDS:
                looked = now
                if not await sync_to_async(_is_watched)(log.follow):
                    return "Nobody looked any more."
    finally:
        if coming is not None:
            coming.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration, DevflowError):
                await coming


class _TakenOverError(Exception):
    """Another worker follows this log now."""


class _Log:
    """Writes the parts of a followed log. `bytes` counts what was written by this process."""

    def __init__(self, follow: Follow, masker: Masker) -> None:
        self.follow, self.bytes = follow, 0
        self._masker = masker
        self._seq, self._line = follow.last_seq, follow.last_line

    def store(self, text: str) -> None:
        """Whole lines."""
        masked = self._masker.mask(text)
        lines = masked.count("\n")
        self._write("container.log", {"server": self.follow.server.name}, masked, lines)
        self.bytes += len(masked)

    def end(self, reason: str) -> None:
        told = self._masker.mask(reason)
        self._write("container.log_ended", {"reason": told}, "", 0)
        with scope(team=self.follow.team):
            Follow.objects.filter(pk=self.follow.pk).update(ended_at=timezone.now(), end_reason=told[:2000])

    def _write(self, kind: str, data: dict[str, Any], text: str, lines: int) -> None:
        """Numbered without gaps. A second worker that took the job over has gone on counting: then this one's are not
        taken."""
        with transaction.atomic(), scope(team=self.follow.team):
            rows = Follow.objects.filter(pk=self.follow.pk, last_seq=self._seq)
            if not rows.update(last_seq=self._seq + 1, last_line=self._line + lines):
                raise _TakenOverError
            self._seq += 1
            LogPart.objects.create(
                team=self.follow.team,
                follow=self.follow,
                seq=self._seq,
                kind=kind,
                data=data,
                text=text,
                line=self._line + 1,
            )
            self._line += lines
            with connection.cursor() as cursor:
                payload = json.dumps({"d": str(self.follow.pk), "s": self._seq})
                cursor.execute("SELECT pg_notify(%s, %s)", [EVENTS_CHANNEL, payload])


def _load_follow(follow_id: str) -> tuple[Follow, Masker] | None:
    with scopes_disabled():
        related = ("server", "team", "environment__project", "environment__team")
        found = Follow.objects.select_related(*related).filter(pk=follow_id, ended_at=None).first()
    if found is None:
        return None
    hidden: Sequence[str] = ()
    if found.environment:
        try:
            with scope(team=found.team):
                hidden = secrets_of(found.environment).values()
        except DevflowError as error:
            _Log(found, Masker(())).end(f"The environment's variables cannot be opened, so nothing is shown: {error}")
            return None
    return found, Masker(hidden)


def _is_watched(follow: Follow) -> bool:
    since = timezone.now() - timedelta(seconds=UNSEEN_SECONDS)
    with scope(team=follow.team):
        return Follow.objects.filter(pk=follow.pk, seen_at__gt=since).exists()
