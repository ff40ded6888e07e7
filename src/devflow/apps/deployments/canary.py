"""The figures of a canary, as the server told them (commands/canary.py)."""

from __future__ import annotations

from dataclasses import dataclass

from devflow.apps.accounts import rights
from devflow.apps.accounts.rights import Actor
from devflow.apps.deployments.models import Deployment

STATES = {
    "good": "as good",
    "few": "too few requests to judge",
    "bad": "worse: taken back",
    "held": "held",
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
    """A share of the requests in percent, how long it has lasted, and how it went: `state` is one of STATES."""

    percent: int
    state: str
    seconds: int
    new: Side
    stable: Side

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
    if len(words) != 9 or not all(word.isdecimal() for word in words[1:]):
        return None
    state, *rest = words
    counts = [int(word) for word in rest]
    return Share(percent=counts[7], state=state, seconds=counts[6], new=Side(*counts[0:3]), stable=Side(*counts[3:6]))
