"""Visitors of the sites, the whole time: each answer must be one whole release."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from chaos.world import FILES, SITES, Outage, World, page

PAUSE_SECONDS = 0.2


@dataclass(frozen=True)
class Visit:
    """A request that was not answered as it must be: `problem` says what came. `is_silence`: nothing of the site's."""

    site: str
    server: str
    began: float
    ended: float
    problem: str
    is_silence: bool


class Load:
    """A context manager: one visitor for each site on each of its servers."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ending = threading.Event()
        self.visits = 0
        self.bad: list[Visit] = []

    def __enter__(self) -> Self:
        places = [(site, server) for site, servers in SITES.items() for server in servers]
        self._threads = [threading.Thread(target=self._visit, args=place, daemon=True) for place in places]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def problems(self) -> list[str]:
        """What no outage excuses. To be asked when the outages are over."""
        return [
            f"{visit.site} on {visit.server}: {visit.problem}" for visit in unexcused(self.bad, self._world.outages)
        ]

    def _visit(self, site: str, server: str) -> None:
        while not self._ending.wait(PAUSE_SECONDS):
            began = time.monotonic()
            problem, is_silence = self._look(site, server)
            self.visits += 1
            if problem:
                self.bad.append(Visit(site, server, began, time.monotonic(), problem, is_silence))

    def _look(self, site: str, server: str) -> tuple[str, bool]:
        try:
            status, shown = page(self._world.servers[server], site)
        except (OSError, http.client.HTTPException) as error:
            return f"{type(error).__name__} {error}", True
        except ValueError as error:
            return f"no page: {error}", False
        if status != 200:
            return f"status {status}", True
        return torn(shown), False


def torn(shown: dict[str, Any]) -> str:
    """What is wrong with a page: '' where all its parts are there and of one commit."""
    parts = shown["parts"]
    return "" if len(parts) == len(FILES) and parts[0] and len(set(parts)) == 1 else f"a torn page: {shown}"


def unexcused(bad: Sequence[Visit], outages: Sequence[Outage]) -> list[Visit]:
    """A silence is excused while the server itself is silent; a torn page never is."""
    return [
        visit
        for visit in bad
        if not visit.is_silence or not any(outage.covers(visit.server, visit.began, visit.ended) for outage in outages)
    ]
