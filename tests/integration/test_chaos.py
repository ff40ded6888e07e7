"""The short form of `bin/chaos`: strikes at moments that nobody chose, while people and visitors are at work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chaos import picture as pictures
from chaos.invariants import nothing_left_on_servers, one_whole_release, violations
from chaos.picture import Picture
from chaos.rounds import Plan, play
from chaos.world import NOTES, World
from tests.support.docker_engine import Engine

SEED = "short"
KINDS = ("kill-worker", "kill-postgres", "restart-sshd", "reboot", "fill-disk")
STRIKES = 1
PLANT = f"""\
mkdir /srv/www/small/releases/half-made && ln -s nowhere /srv/www/small/current.next.x
echo 'environment deployment' >/srv/www/small/.devflow/lock
mkdir /home/deploy/.devflow/runs/.new.x && echo 'small prepare x' >{NOTES}/overlaps
cp /srv/www/small/current/one.txt /var/tmp/one && echo other >/srv/www/small/current/one.txt
DEVFLOW_RUN=x sleep 60 </dev/null >/dev/null 2>&1 &
echo $!
"""
CLEAR = f"""\
kill PID
rmdir /srv/www/small/releases/half-made /home/deploy/.devflow/runs/.new.x
cp /var/tmp/one /srv/www/small/current/one.txt
rm /srv/www/small/current.next.x /srv/www/small/.devflow/lock {NOTES}/overlaps
"""


@pytest.fixture(scope="module")
def world(docker_engine: Engine, vps_image: str) -> Iterator[World]:
    with World(docker_engine, vps_image) as made:
        yield made


@pytest.mark.parametrize("kind", KINDS)
def test_a_strike_at_any_moment(world: World, kind: str) -> None:
    result, picture = play(world, Plan(SEED, KINDS.index(kind), kind, STRIKES))
    assert result.violations == [], picture.describe()
    assert result.strikes == STRIKES, result.missed
    assert result.ended.get("success"), picture.describe()
    assert result.visits
    assert any(machine.journal for machine in picture.machines)
    assert any(machine.ran for machine in picture.machines)


def test_what_is_planted_on_a_server_is_seen(world: World) -> None:
    assert [*nothing_left_on_servers(look(world)), *one_whole_release(look(world))] == []
    pid = world.servers["c"].inside(PLANT)
    seen = look(world)
    world.servers["c"].inside(CLEAR.replace("PID", pid))
    found = "\n".join(violations(seen))
    for words in (
        "small on c is locked: environment deployment",
        "small on c has current.next.x",
        "small on c has the release half-made",
        f"c runs {pid} sleep 60",
        "c has .new.x",
        "at the same time as another on c: small prepare x",
        "small on c: a torn page",
    ):
        assert words in found
    assert sum(seen.inside.connections.values()) >= len(world.servers), "the panel keeps a connection to each"


def look(world: World) -> Picture:
    """Of what is there now, without a round."""
    known, commits = pictures.known(world)
    return Picture(
        kind="",
        known=known,
        commits=commits,
        kept=pictures.kept(world),
        places=pictures.places(world),
        machines=pictures.machines(world),
        inside=pictures.inside(world),
        tokens=world.tokens,
    )
