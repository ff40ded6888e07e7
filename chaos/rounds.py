"""One round: people and visitors at work, strikes at random moments, then peace and a look at everything."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Self

import psycopg

from chaos import picture as pictures
from chaos.invariants import nothing_left_in_panel, nothing_left_on_servers, violations
from chaos.load import Load
from chaos.people import People
from chaos.picture import Inside, Machine, Picture, Place
from chaos.strikes import FILLED, STRIKES, MissedError
from chaos.world import NOTES, World

LEAD_SECONDS = 1.5
"""In which people get to work, before the first strike can come."""
BEFORE_SECONDS = (0.2, 3.0)
"""Before each strike."""
ENDS_SECONDS = 120
"""So long after the last strike a deployment may take without a word; with one, PROGRESS_SECONDS more."""
PROGRESS_SECONDS = 120
SETTLES_SECONDS = 30
"""Until what is dead is forgotten: sessions, workers, jobs."""
OPEN = (
    "SELECT id, status, last_seq FROM deployments_deployment WHERE status IN ('pending','queued','running','verifying')"
)


@dataclass(frozen=True)
class Plan:
    """What happens in a round, but for what time makes of it: the same for the same seed, number, kind and strikes."""

    seed: str
    number: int
    kind: str
    strikes: int

    @property
    def name(self) -> str:
        return f"{self.seed}/{self.number}/{self.kind}"


@dataclass
class Result:
    """Of a round, as it goes into the file of results. `ended` counts the statuses of its deployments."""

    seed: str
    number: int
    kind: str
    strikes: int
    missed: list[str] = field(default_factory=list)
    deployments: int = 0
    ended: dict[str, int] = field(default_factory=dict)
    wishes: dict[str, int] = field(default_factory=dict)
    visits: int = 0
    recovery_seconds: float = 0.0
    violations: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, plan: Plan, **known: Any) -> Self:
        return cls(plan.seed, plan.number, plan.kind, 0, **known)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def play(world: World, plan: Plan) -> tuple[Result, Picture]:
    """The round, and all that was seen at its end."""
    chance = random.Random(plan.name)
    result = Result.of(plan)
    broken: list[str] = []
    since = _begin(world)
    with Load(world) as load:
        with People(world, plan.name) as people:
            time.sleep(LEAD_SECONDS)
            for _ in range(plan.strikes):
                time.sleep(chance.uniform(*BEFORE_SECONDS))
                try:
                    STRIKES[plan.kind](world, chance)
                    result.strikes += 1
                except MissedError as error:
                    result.missed.append(str(error))
                except Exception as error:  # as when the panel does not start again: the rest tells more of it
                    broken.append(f"a strike did not come to its end: {type(error).__name__} {error}")
                    break
        struck = time.monotonic()
        people.wait()
        stuck = _wait_ended(world)
        result.recovery_seconds = round(time.monotonic() - struck, 1)
    inside, machines, places = _settled(world, plan.kind)
    deployments = pictures.deployments(world, since)
    known, commits = pictures.known(world)
    picture = Picture(
        kind=plan.kind,
        struck=_struck(world, plan.kind),
        deployments=deployments,
        known=known,
        commits=commits,
        kept=pictures.kept(world),
        places=places,
        machines=machines,
        inside=inside,
        deliveries=pictures.deliveries(world, since),
        asked=tuple(people.asked),
        sent=frozenset(people.sent),
        complaints=tuple(people.complaints),
        visits=tuple(load.problems()),
        tokens=world.tokens,
    )
    result.deployments = len(deployments)
    result.ended = dict(Counter(each.status for each in deployments))
    result.wishes, result.visits = people.counts, load.visits
    result.violations = [*broken, *stuck, *violations(picture)]
    return result, picture


def _struck(world: World, kind: str) -> frozenset[str]:
    """The servers that were away, or whose disk was full."""
    return frozenset({FILLED} if kind == "fill-disk" else {outage.server for outage in world.outages})


def _begin(world: World) -> datetime:
    """Forgets what was noted before; the time by the database's clock."""
    for vps in world.servers.values():
        vps.inside(f"rm -f {NOTES}/ran {NOTES}/overlaps")
    world.outages.clear()
    with world.database() as database:
        row = database.execute("SELECT now() AS now").fetchone()
    assert row
    now: datetime = row["now"]
    return now


def _wait_ended(world: World) -> list[str]:
    """Until no deployment is under way. What is neither that nor comes forward is returned, in words."""
    deadline, last_word = time.monotonic() + ENDS_SECONDS, time.monotonic() + ENDS_SECONDS + PROGRESS_SECONDS
    before: list[dict[str, Any]] = []
    while True:
        try:
            with world.database() as database:
                rows = database.execute(OPEN).fetchall()
        except psycopg.OperationalError:
            rows = before
        else:
            if not rows:
                return []
        now = time.monotonic()
        if rows != before:
            before, deadline = rows, max(deadline, min(now + ENDS_SECONDS, last_word))
        if now > deadline:
            return [f"no progress: {row}" for row in rows]
        time.sleep(0.1)


def _settled(world: World, kind: str) -> tuple[Inside, tuple[Machine, ...], tuple[Place, ...]]:
    """What is left, looked at again until nothing is or it is there to stay."""
    deadline = time.monotonic() + SETTLES_SECONDS
    while True:
        began = time.monotonic()  # a look may take long on a busy machine, and what it saw first be over since
        inside, machines, places = pictures.inside(world), pictures.machines(world), pictures.places(world)
        seen = Picture(kind=kind, inside=inside, machines=machines, places=places, kept=pictures.kept(world))
        is_clean = not [*nothing_left_in_panel(seen), *nothing_left_on_servers(seen)]
        if is_clean or began > deadline:
            return inside, machines, places
        time.sleep(0.5)
