"""How a state looks: icon, word and colour, the same on every page."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Look:
    """`tone` is a class of status.css; `is_moving` turns the icon."""

    icon: str
    word: str
    tone: str = ""
    is_moving: bool = False


DEPLOYMENT = {
    "pending": Look("pending", "Pending"),
    "queued": Look("pending", "Queued"),
    "waiting": Look("waiting", "Waiting", "tone-warn"),
    "running": Look("running", "Running", "tone-busy", is_moving=True),
    "verifying": Look("running", "Verifying", "tone-busy", is_moving=True),
    "success": Look("check", "Success", "tone-good"),
    "failed": Look("cross", "Failed", "tone-bad"),
    "rolled_back": Look("rolled", "Rolled back", "tone-warn"),
    "cancelled": Look("cancelled", "Cancelled"),
    "superseded": Look("superseded", "Superseded"),
}
STEP = {
    "pending": Look("pending", "Pending", "is-pending"),
    "running": Look("running", "Running", "tone-busy", is_moving=True),
    "success": Look("check", "Done", "tone-good"),
    "failed": Look("cross", "Failed", "tone-bad"),
    "cancelled": Look("cancelled", "Cancelled"),
    "skipped": Look("cancelled", "Skipped", "is-pending"),
}
SERVER = {
    "unknown": Look("pending", "Not checked yet"),
    "online": Look("check", "Online", "tone-good"),
    "offline": Look("offline", "Offline", "tone-bad"),
    "maintenance": Look("maintenance", "Maintenance", "tone-warn"),
}
CHANNEL = {
    "on": Look("check", "On", "tone-good"),
    "off": Look("cancelled", "Off"),
    "refused": Look("warning", "Refused", "tone-bad"),
    "failing": Look("warning", "Failing", "tone-warn"),
}
NOTIFICATION = {
    "pending": Look("pending", "Waiting"),
    "sending": Look("running", "Being sent", "tone-busy", is_moving=True),
    "sent": Look("check", "Sent", "tone-good"),
    "failed": Look("cross", "Failed", "tone-bad"),
}
DELIVERY = {
    "202": Look("check", "Deploys", "tone-good"),
    "200": Look("cancelled", "Ignored"),
    "400": Look("cross", "Malformed", "tone-bad"),
}
CLUSTER_ACTION = {
    "queued": Look("pending", "Queued"),
    "running": Look("running", "Running", "tone-busy", is_moving=True),
    "done": Look("check", "Done", "tone-good"),
    "failed": Look("cross", "Failed", "tone-bad"),
}
NODE = {
    "ready": Look("check", "Ready", "tone-good"),
    "down": Look("offline", "Down", "tone-bad"),
    "joining": Look("running", "Joining", "tone-busy", is_moving=True),
    "disconnected": Look("warning", "Disconnected", "tone-warn"),
    "unknown": Look("warning", "Unknown", "tone-warn"),
}
CONTAINER = {
    "running": Look("check", "Running", "tone-good"),
    "healthy": Look("check", "Healthy", "tone-good"),
    "starting": Look("running", "Starting", "tone-busy", is_moving=True),
    "unhealthy": Look("warning", "Unhealthy", "tone-bad"),
    "restarting": Look("running", "Restarting", "tone-warn", is_moving=True),
    "paused": Look("waiting", "Paused", "tone-warn"),
    "created": Look("pending", "Not started"),
    "exited": Look("cancelled", "Ended"),
    "removing": Look("trash", "Being removed"),
    "dead": Look("cross", "Dead", "tone-bad"),
    "unknown": Look("note", "Unknown"),
}
CONTAINER_ACTION = {
    "queued": Look("pending", "Waiting"),
    "running": Look("running", "Under way", "tone-busy", is_moving=True),
    "done": Look("check", "Done", "tone-good"),
    "failed": Look("cross", "Failed", "tone-bad"),
}
FACTOR = {
    "on": Look("check", "On", "tone-good"),
    "missing": Look("warning", "Off", "tone-warn"),
    "off": Look("cancelled", "Off"),
}
INVITATION = {
    "open": Look("pending", "Open"),
    "over": Look("warning", "Run out", "tone-warn"),
}
ARCHIVE = {
    "made": Look("check", "Ready", "tone-good"),
    "failed": Look("cross", "Failed", "tone-bad"),
    "making": Look("running", "Being made", "tone-busy", is_moving=True),
}
OUTCOME = {
    "done": Look("check", "Done", "tone-good"),
    "failed": Look("cross", "Failed", "tone-bad"),
    "refused": Look("shield", "Refused", "tone-warn"),
}
LOOKS = {
    "outcome": OUTCOME,
    "factor": FACTOR,
    "invitation": INVITATION,
    "archive": ARCHIVE,
    "container": CONTAINER,
    "container_action": CONTAINER_ACTION,
    "cluster_action": CLUSTER_ACTION,
    "node": NODE,
    "delivery": DELIVERY,
    "deployment": DEPLOYMENT,
    "step": STEP,
    "server": SERVER,
    "channel": CHANNEL,
    "notification": NOTIFICATION,
}


def tab_state(statuses: Collection[str]) -> str:
    """What the browser's tab shows for these deployments: running before failed before idle."""
    if any(status in ("running", "verifying", "queued", "pending", "waiting") for status in statuses):
        return "running"
    return "failed" if any(status in ("failed", "rolled_back") for status in statuses) else "idle"
