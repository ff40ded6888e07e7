"""What is done to the panel and its servers. Each strike returns only when everything is there again that it took."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable

from chaos.world import START_SECONDS, World
from tests.support.panel import is_alive, kill_hard, wait_until

DIES_SECONDS = 5
DEAD_SECONDS = 13
"""Without a heartbeat until another worker takes over: DEAD_AFTER_SECONDS and SWEEP_SECONDS of the worker."""
FILLED, FILLER = "c", ".filler"


def kill_worker(world: World, chance: random.Random) -> None:
    _kill(chance.choice(world.workers()))


def kill_web(world: World, chance: random.Random) -> None:
    _kill(world.panel.child("web"))


def kill_postgres(world: World, chance: random.Random) -> None:
    _kill(world.panel.child("postgres"))


def kill_supervisor(world: World, chance: random.Random) -> None:
    """Its children die with it; it is started again as systemd would."""
    assert world.panel.process
    world.panel.process.kill()
    world.panel.process.wait(DIES_SECONDS)
    world.panel.start(START_SECONDS)


def freeze_worker(world: World, chance: random.Random) -> None:
    """Longer than until others take it for dead; what it carried is carried on while it still believes to hold it."""
    worker = chance.choice(world.workers())
    os.kill(worker, signal.SIGSTOP)
    try:
        time.sleep(DEAD_SECONDS + chance.uniform(0, 4))
        if not is_alive(worker):
            raise MissedError("the worker died while it was frozen")
    finally:
        if is_alive(worker):
            os.kill(worker, signal.SIGCONT)


def restart_sshd(world: World, chance: random.Random) -> None:
    world.servers[chance.choice("abc")].restart_sshd()


def cut_network(world: World, chance: random.Random) -> None:
    name = chance.choice("abc")
    with world.outage(name):
        world.servers[name].disconnect()
        time.sleep(chance.uniform(0.5, 8))
        world.servers[name].reconnect()


def drop_connections(world: World, chance: random.Random) -> None:
    vps = world.servers[chance.choice("abc")]
    vps.drop_half()
    try:
        time.sleep(chance.uniform(2, 8))
    finally:
        vps.mend()


def reboot(world: World, chance: random.Random) -> None:
    """Of a server whose disk outlives it."""
    name = chance.choice("ab")
    with world.outage(name):
        world.servers[name].stop()
        time.sleep(chance.uniform(0, 2))
        world.servers[name].start()
        world.serve(name)


def fill_disk(world: World, chance: random.Random) -> None:
    """The disk of the sites, that of the login's home, or both hold not one block more."""
    folders = chance.choice((["/srv/www"], ["/home/deploy"], ["/srv/www", "/home/deploy"]))
    pause_seconds = chance.uniform(0.5, 5)  # drawn also where the strike misses, so that the later ones stay the same
    vps = world.servers[FILLED]
    try:
        for folder in folders:
            free = vps.inside(
                f"cat /dev/zero >{folder}/{FILLER} 2>/dev/null; df -k --output=avail {folder} | tail -n 1"
            )
            if free.strip() != "0":
                raise MissedError(f"{folder} still has {free} KB")
        time.sleep(pause_seconds)
    finally:
        vps.inside("rm -f " + " ".join(f"{folder}/{FILLER}" for folder in folders))


STRIKES: dict[str, Callable[[World, random.Random], None]] = {
    "kill-worker": kill_worker,
    "kill-web": kill_web,
    "kill-postgres": kill_postgres,
    "kill-supervisor": kill_supervisor,
    "freeze-worker": freeze_worker,
    "restart-sshd": restart_sshd,
    "cut-network": cut_network,
    "drop-connections": drop_connections,
    "reboot": reboot,
    "fill-disk": fill_disk,
}
MAY_FAIL = ("cut-network", "reboot", "fill-disk")
"""Only these leave a deployment no way but to fail; all others it must survive."""


class MissedError(Exception):
    """The strike did not hit: it does not count."""


def _kill(pid: int) -> None:
    """With -9."""
    try:
        kill_hard(pid)
    except ProcessLookupError:
        raise MissedError(f"process {pid} was gone") from None
    wait_until(lambda: not is_alive(pid), DIES_SECONDS)
