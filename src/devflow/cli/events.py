"""A deployment's events, live: read as server-sent events, and read on after the panel or the network was away."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import httpx

from devflow.cli.client import Client
from devflow.cli.errors import NOT_REACHABLE, ClientError

PAUSE_SECONDS: Final = (0.2, 0.5, 1.0, 2.0)
PATIENCE_SECONDS: Final = 300.0
"""For so long the panel may be away, while it is upgraded for instance."""


@dataclass(frozen=True, slots=True)
class Event:
    """`data` of `deployment.log` holds `text`, whole lines, and `server`; of `deployment.step` the step."""

    seq: int
    kind: str
    data: dict[str, Any]


def follow(client: Client, deployment_id: str, *, is_away: Callable[[str], None]) -> Iterator[Event]:
    """Every event once and in order, from the first to the one that ends the deployment.

    `is_away` is told, once for each time, why the panel does not answer. Raises ClientError when it stays away.
    """
    seen, attempt, since = 0, 0, time.monotonic()
    while True:
        try:
            for event in _read(client, deployment_id, seen):
                seen, attempt, since = event.seq, 0, time.monotonic()
                yield event
                if event.kind == "deployment.completed":
                    return
            if _has_ended(client, deployment_id, seen):
                return
        except httpx.TransportError as error:
            reason: ClientError = client.unreachable(error)
        except ClientError as error:
            if error.exit_status != NOT_REACHABLE:
                raise
            reason = error
        else:
            reason = ClientError("The panel is being restarted.", NOT_REACHABLE)
        if time.monotonic() - since > PATIENCE_SECONDS:
            raise reason
        if attempt == 1:
            is_away(str(reason))
        time.sleep(PAUSE_SECONDS[min(attempt, len(PAUSE_SECONDS) - 1)])
        attempt += 1


def _read(client: Client, deployment_id: str, seen: int) -> Iterator[Event]:
    """The events of one connection."""
    with client.stream("deployments", deployment_id, "events", headers={"Last-Event-ID": str(seen)}) as response:
        if response.status_code != HTTPStatus.NO_CONTENT:
            yield from parse(response.iter_bytes())


def parse(parts: Iterator[bytes]) -> Iterator[Event]:
    """Events in bytes as they arrive. Lines end with a newline only: texts may hold what Python also takes for one."""
    buffer = b""
    for part in parts:
        *blocks, buffer = (buffer + part).split(b"\n\n")
        for block in blocks:
            fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line)
            if b"id" in fields:
                yield Event(int(fields[b"id"]), fields[b"event"].decode(), json.loads(fields[b"data"]))


def _has_ended(client: Client, deployment_id: str, seen: int) -> bool:
    deployment = client.get("deployments", deployment_id)
    return bool(deployment["is_ended"]) and deployment["last_seq"] <= seen
