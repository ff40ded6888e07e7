"""`GET /api/v1/container-logs/{id}/events`: a container's log that is followed, live, as server-sent events.

For who may follow the container's log. It goes on as long as somebody is connected here.
"""

from __future__ import annotations

from collections.abc import Sequence

from devflow.apps.accounts.rights import Actor
from devflow.apps.containers.models import Follow
from devflow.apps.containers.selectors import follow_get, log_part_list
from devflow.apps.containers.services import follow_seen
from devflow.web.feeds import Event
from devflow.web.streams import EventStreams


def log_streams() -> EventStreams:
    """The ASGI application of these streams."""
    return EventStreams(read=_read, find=_find, seen=_seen, route="/api/v1/container-logs/<follow_id>/events")


def _read(follow_id: str, after: int, limit: int) -> Sequence[Event]:
    return log_part_list(follow_id=follow_id, after_seq=after, limit=limit)


def _find(actor: Actor, follow_id: str) -> Follow:
    return follow_get(actor=actor, follow_id=follow_id)


def _seen(follow_id: str) -> None:
    follow_seen(follow_id=follow_id)
