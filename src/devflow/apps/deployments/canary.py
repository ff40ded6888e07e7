"""The figures of a canary, as the server told them (commands/canary.py)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.deployments.models import Deployment

STATES = {
    "good": "as good",
    "few": "too few requests to judge",
    "bad": "worse: taken back",
    "held": "held",
    "overdue": "held for too long: taken back",
    "passed": "passed",
    "promoted": "promoted by hand",
    "aborted": "aborted by hand",
}


@dataclass(frozen=True, slots=True)
class Side:
    """What one of the two releases was asked for, and how it answered: 95 % of its requests within `p95_ms`."""

    requests: int
    failed: int
    p95_ms: int

    @property
    def error_percent(self) -> float:
        return round(100 * self.failed / self.requests, 2) if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class Share:
    """A share of the requests in percent, how long it has lasted, and how it went: `state` is one of STATES. One
    that is held says since when, and when the release is taken back unless somebody says how to go on."""

    percent: int
    state: str
    seconds: int
    new: Side
    stable: Side
    held_since: datetime | None = None
    held_until: datetime | None = None

    @property
    def told(self) -> str:
        return STATES.get(self.state, self.state)


def canary_shares(*, actor: Actor, deployment: Deployment) -> list[Share]:
    """The shares that the release had so far, rising; none for what is no canary, or has not come to it."""
    actor.require(rights.READ, deployment)
    lines = deployment.observed.get("canary", {}).values()
    shares = (_share(line.split()) for line in lines)
    return sorted((share for share in shares if share), key=lambda share: share.percent)


def _share(words: list[str]) -> Share | None:
    if len(words) not in (9, 11) or not all(word.isdecimal() for word in words[1:]):
        return None
    state, *rest = words
    counts = [int(word) for word in rest]
    since, until = (_time(count) for count in counts[7:-1] or (0, 0))
    return Share(
        percent=counts[-1],
        state=state,
        seconds=counts[6],
        new=Side(*counts[0:3]),
        stable=Side(*counts[3:6]),
        held_since=since,
        held_until=until,
    )


def _time(seconds: int) -> datetime | None:
    """A server's time, as far as it is one."""
    return datetime.fromtimestamp(seconds, UTC) if 0 < seconds < 2**32 else None
