"""Bringing an image from the server that built it to another, through the panel: only the layers that are missing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from devflow.commands import images
from devflow.core.errors import ConnectError, RemoteError
from devflow.core.shell import quote
from devflow.engine.plan import Target
from devflow.remote.transport import Connection

if TYPE_CHECKING:
    from devflow.engine.runner import Reach

TRIES, PAUSE_SECONDS = 5, 2
ASK_SECONDS, LOAD_SECONDS = 120, 3600


async def bring(reach: Reach, *, source: Target, target: Target, image: str, run_id: str) -> bool:
    """Whether the image is on `target` now. What came of it is told in the file `brought` of the run there."""
    for attempt in range(1, TRIES + 1):
        try:
            there = await reach.get(target.id)
            said, is_there = await _bring(await reach.get(source.id), there, image, source=source, target=target)
            await _ask(there, f'printf "%s\\n" {quote(said)} >"$HOME/.devflow/runs/"{quote(run_id)}/brought')
        except ConnectError as error:  # who follows the runs makes the connections anew
            if attempt == TRIES or not error.transient:
                return False
            await asyncio.sleep(PAUSE_SECONDS * attempt)
        except RemoteError:
            return False
        else:
            return is_there
    return False


async def _bring(
    here: Connection, there: Connection, image: str, *, source: Target, target: Target
) -> tuple[str, bool]:
    """What came of it, in words, and whether the image is there. Raises ConnectError."""
    if not images.is_id(image):
        return f"{source.name} did not tell which image it has built.", False
    if await _has(there, image):
        return f"The image is on {target.name} already.", True
    left_out = await _left_out(here, there, image)
    try:
        sent = await _stream(here, there, image, left_out)
        if left_out and not await _has(there, image):  # a Docker that wants all of it
            left_out = ()
            sent = await _stream(here, there, image, ())
    except ConnectError:
        raise
    except TimeoutError:
        return f"The image did not come from {source.name} to {target.name} within {LOAD_SECONDS} s.", False
    except RemoteError as error:
        return f"The image could not be brought from {source.name} to {target.name}: {error}", False
    if not await _has(there, image):
        return f"{target.name} took the image from {source.name}, but it is not the same there.", False
    reused = f"; {len(left_out)} of its layers were there already" if left_out else ""
    return f"The image was brought from {source.name} over SSH: {sent / 1e6:.1f} MB{reused}.", True


async def _left_out(here: Connection, there: Connection, image: str) -> tuple[str, ...]:
    """The files of the image's archive that the other server can do without; () where that is not known."""
    try:
        layers = json.loads((await _ask(here, images.layers_of(image))).strip())
        others = [json.loads(line) for line in (await _ask(there, images.LAYERS_THERE)).splitlines() if line.strip()]
        common = images.common_layers(layers, [other for other in others if isinstance(other, list)])
        if not common:
            return ()
        return images.files_of(await _ask(here, images.manifest(image)), common)
    except (ValueError, TypeError):
        return ()


async def _stream(here: Connection, there: Connection, image: str, left_out: tuple[str, ...]) -> int:
    """How many bytes went from server to server. Raises RemoteError with Docker's own words, ConnectError."""
    async with asyncio.timeout(LOAD_SECONDS):
        saving = await here.start(_shell(images.save(image, left_out)))
        try:
            loading = await there.start(_shell("exec docker load 2>&1"), stays_open=True)
            try:
                listening = asyncio.ensure_future(_read(loading.chunks()))
                sent = 0
                try:
                    async for chunk in saving.chunks():
                        if listening.done():
                            break
                        await loading.feed(chunk)
                        sent += len(chunk)
                    loading.end_input()
                    said = await listening
                finally:
                    listening.cancel()
                code, _ = await loading.wait()
            finally:
                loading.close()
            saved, complaint = await saving.wait()
            if (saved or code) and not left_out:  # what went wrong first is told
                raise RemoteError(((complaint or said).strip().splitlines() or ["Docker did not say why"])[-1][:400])
            return sent
        finally:
            saving.close()


async def _read(chunks: AsyncIterator[bytes]) -> str:
    return b"".join([chunk async for chunk in chunks]).decode(errors="replace")


async def _has(connection: Connection, image: str) -> bool:
    return images.is_id((await _ask(connection, f"docker image inspect --format '{{{{.Id}}}}' {quote(image)}")).strip())


async def _ask(connection: Connection, command: str) -> str:
    return (await connection.run(_shell(command), timeout_seconds=ASK_SECONDS)).stdout


def _shell(command: str) -> str:
    return f"sh -c {quote(command)}"
