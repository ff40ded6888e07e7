"""How a state looks: icon, word and colour, the same on every page."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _


@dataclass(frozen=True, slots=True)
class Look:
    """`english` is its word, `tone` a class of status.css; `is_moving` turns the icon."""

    icon: str
    english: str
    tone: str = ""
    is_moving: bool = False

    @property
    def word(self) -> str:
        """In the page's language."""
        return gettext(self.english)


DEPLOYMENT = {
    "pending": Look("pending", _("Pending")),
    "queued": Look("pending", _("Queued")),
    "waiting": Look("waiting", _("Waiting"), "tone-warn"),
    "running": Look("running", _("Running"), "tone-busy", is_moving=True),
    "verifying": Look("running", _("Verifying"), "tone-busy", is_moving=True),
    "success": Look("check", _("Success"), "tone-good"),
    "failed": Look("cross", _("Failed"), "tone-bad"),
    "rolled_back": Look("rolled", _("Rolled back"), "tone-warn"),
    "cancelled": Look("cancelled", _("Cancelled")),
    "superseded": Look("superseded", _("Superseded")),
}
STEP = {
    "pending": Look("pending", _("Pending"), "is-pending"),
    "running": Look("running", _("Running"), "tone-busy", is_moving=True),
    "success": Look("check", _("Done"), "tone-good"),
    "failed": Look("cross", _("Failed"), "tone-bad"),
    "cancelled": Look("cancelled", _("Cancelled")),
    "skipped": Look("cancelled", _("Skipped"), "is-pending"),
}
SERVER = {
    "unknown": Look("pending", _("Not checked yet")),
    "online": Look("check", _("Online"), "tone-good"),
    "offline": Look("offline", _("Offline"), "tone-bad"),
    "maintenance": Look("maintenance", _("Maintenance"), "tone-warn"),
}
CHANNEL = {
    "on": Look("check", _("On"), "tone-good"),
    "off": Look("cancelled", _("Off")),
    "refused": Look("warning", _("Refused"), "tone-bad"),
    "failing": Look("warning", _("Failing"), "tone-warn"),
}
NOTIFICATION = {
    "pending": Look("pending", _("Waiting")),
    "sending": Look("running", _("Being sent"), "tone-busy", is_moving=True),
    "sent": Look("check", _("Sent"), "tone-good"),
    "failed": Look("cross", _("Failed"), "tone-bad"),
}
DELIVERY = {
    "202": Look("check", _("Deploys"), "tone-good"),
    "200": Look("cancelled", _("Ignored")),
    "400": Look("cross", _("Malformed"), "tone-bad"),
}
CLUSTER_ACTION = {
    "queued": Look("pending", _("Queued")),
    "running": Look("running", _("Running"), "tone-busy", is_moving=True),
    "done": Look("check", _("Done"), "tone-good"),
    "failed": Look("cross", _("Failed"), "tone-bad"),
}
NODE = {
    "ready": Look("check", _("Ready"), "tone-good"),
    "down": Look("offline", _("Down"), "tone-bad"),
    "joining": Look("running", _("Joining"), "tone-busy", is_moving=True),
    "disconnected": Look("warning", _("Disconnected"), "tone-warn"),
    "unknown": Look("warning", _("Unknown"), "tone-warn"),
}
CONTAINER = {
    "running": Look("check", _("Running"), "tone-good"),
    "healthy": Look("check", _("Healthy"), "tone-good"),
    "starting": Look("running", _("Starting"), "tone-busy", is_moving=True),
    "unhealthy": Look("warning", _("Unhealthy"), "tone-bad"),
    "restarting": Look("running", _("Restarting"), "tone-warn", is_moving=True),
    "paused": Look("waiting", _("Paused"), "tone-warn"),
    "created": Look("pending", _("Not started")),
    "exited": Look("cancelled", _("Ended")),
    "removing": Look("trash", _("Being removed")),
    "dead": Look("cross", _("Dead"), "tone-bad"),
    "unknown": Look("note", _("Unknown")),
}
CONTAINER_ACTION = {
    "queued": Look("pending", _("Waiting")),
    "running": Look("running", _("Under way"), "tone-busy", is_moving=True),
    "done": Look("check", _("Done"), "tone-good"),
    "failed": Look("cross", _("Failed"), "tone-bad"),
}
FACTOR = {
    "on": Look("check", _("On"), "tone-good"),
    "missing": Look("warning", _("Off"), "tone-warn"),
    "off": Look("cancelled", _("Off")),
}
INVITATION = {
    "open": Look("pending", _("Open")),
    "over": Look("warning", _("Run out"), "tone-warn"),
}
ARCHIVE = {
    "made": Look("check", _("Ready"), "tone-good"),
    "failed": Look("cross", _("Failed"), "tone-bad"),
    "making": Look("running", _("Being made"), "tone-busy", is_moving=True),
}
OUTCOME = {
    "done": Look("check", _("Done"), "tone-good"),
    "failed": Look("cross", _("Failed"), "tone-bad"),
    "refused": Look("shield", _("Refused"), "tone-warn"),
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
WORDS = {
    "trigger": {
        "manual": _("manual"),
        "webhook": _("webhook"),
        "api": _("api"),
        "promotion": _("promotion"),
        "rollback": _("rollback"),
        "schedule": _("schedule"),
    },
    "when": {"before": _("before"), "after": _("after")},
    "thing": {
        "container": _("container"),
        "image": _("image"),
        "volume": _("volume"),
        "network": _("network"),
    },
    "cluster_action": {
        "form": _("form"),
        "join": _("join"),
        "leave": _("leave"),
        "drain": _("drain"),
        "activate": _("activate"),
        "scale": _("scale"),
        "look": _("look"),
    },
    "report": {
        "waiting": _("waiting"),
        "pending": _("pending"),
        "success": _("success"),
        "failure": _("failure"),
        "cancelled": _("cancelled"),
    },
    "source": {"panel": _("panel"), "detected": _("detected")},
    "archive": {"user": _("user"), "team": _("team"), "project": _("project")},
    "as_role": {
        "owner": _("owner"),
        "admin": _("admin"),
        "developer": _("developer"),
        "viewer": _("viewer"),
    },
    "role": {"owner": _("Owner"), "admin": _("Admin"), "developer": _("Developer"), "viewer": _("Viewer")},
    "phase": {
        "preflight": _("preflight"),
        "prepare": _("prepare"),
        "protect": _("protect"),
        "migrate": _("migrate"),
        "activate": _("activate"),
        "reload": _("reload"),
        "verify": _("verify"),
        "finish": _("finish"),
        "undo": _("undo"),
    },
    "variable": {"secret": _("secret"), "text": _("text"), "multiline": _("multiline"), "file": _("file")},
}
"""Words of what has no look of its own, by the value that is stored."""


def look(kind: str, value: str) -> Look:
    """How that state looks; one that only a newer version knows (it ran here for a time) stands as it is stored."""
    return LOOKS[kind].get(value) or Look("note", value)


def word(kind: str, value: str) -> str:
    """The word of WORDS in the page's language; the value itself where there is none."""
    return gettext(WORDS[kind].get(value, value)) if value else ""


def tab_state(statuses: Collection[str]) -> str:
    """What the browser's tab shows for these deployments: running before failed before idle."""
    if any(status in ("running", "verifying", "queued", "pending", "waiting") for status in statuses):
        return "running"
    return "failed" if any(status in ("failed", "rolled_back") for status in statuses) else "idle"
