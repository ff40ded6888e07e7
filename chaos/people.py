"""Those who use the panel: they deploy, roll back, cancel and push, and try again while it does not answer."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Self

import httpx

from chaos.world import HOOKED, PROJECT, SITES, World
from tests.support.hooked_site import ENDED
from tests.support.payloads import github_push, sent

PATIENCE_SECONDS = 60
"""From the last strike."""
AT_ONCE = 6
LAWFUL = {"deploy": {202}, "rollback": {202, 409}, "cancel": {202, 409}, "push": {202}}
PLEASE_WAIT = (429, 502, 503, 504)


@dataclass(frozen=True)
class Wish:
    """What somebody does after a pause: "deploy", "rollback", "cancel" or "push"."""

    pause_seconds: float
    what: str
    site: str


def wishes(seed: str) -> Iterator[Wish]:
    """The same ones for the same seed, without end."""
    chance = random.Random(f"{seed} people")
    while True:
        what = chance.choices(("deploy", "push", "rollback", "cancel"), (45, 20, 20, 15))[0]
        yield Wish(chance.uniform(0.2, 0.8), what, chance.choice(HOOKED if what == "push" else tuple(SITES)))


@dataclass(frozen=True)
class Asked:
    """What was asked for and accepted: `key` is of the request or the delivery, `deployments` those that were told."""

    what: str
    key: str
    deployments: tuple[str, ...]


@dataclass
class People:
    """A context manager: within they act, at its end no new wish comes up. `wait` waits for what was begun."""

    world: World
    seed: str
    asked: list[Asked] = field(default_factory=list)
    sent: set[str] = field(default_factory=set)
    """Keys of the requests that may have become a deployment."""
    complaints: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    patient_until: float = float("inf")

    def __enter__(self) -> Self:
        self._ending = threading.Event()
        self._free = threading.Semaphore(AT_ONCE)
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self.patient_until = time.monotonic() + PATIENCE_SECONDS
        self._thread.join()

    def wait(self) -> None:
        self._pool.shutdown()

    def _live(self) -> None:
        for wish in wishes(self.seed):
            if self._ending.wait(wish.pause_seconds):
                return
            self._free.acquire()  # who waits for an answer wishes for nothing else
            self.counts[wish.what] = self.counts.get(wish.what, 0) + 1
            self._pool.submit(self._act_and_tell, wish)

    def _act_and_tell(self, wish: Wish) -> None:
        try:
            getattr(self, f"_{wish.what}")(wish)
        except Exception as error:
            self.complaints.append(f"{wish.what} {wish.site}: {type(error).__name__}: {error}")
        finally:
            self._free.release()

    def _deploy(self, wish: Wish) -> None:
        commit = self.world.commit()
        document = {"commit": commit if wish.pause_seconds > 0.5 else None}
        self._ask(wish, f"projects/{PROJECT}/environments/{wish.site}/deployments", document)

    def _rollback(self, wish: Wish) -> None:
        self._ask(wish, f"projects/{PROJECT}/environments/{wish.site}/rollback", {})

    def _cancel(self, wish: Wish) -> None:
        """Something that is under way: of the site, or of another where there is nothing."""
        found = self._send(wish, "GET", f"deployments?project={PROJECT}&limit=20")
        under_way = [each for each in found.json()["items"] if each["status"] not in ENDED] if found else []
        under_way.sort(key=lambda each: (each["environment"] != wish.site, each["status"] == "queued"))
        if under_way:
            self._send(wish, "POST", f"deployments/{under_way[0]['id']}/cancel")

    def _push(self, wish: Wish) -> None:
        key = str(uuid.uuid4())
        body, headers = sent("github", github_push(self.world.commit()), self.world.hook_secret, delivery=key)
        answer = self._send(wish, "POST", self.world.hook_address, content=body, headers=headers)
        if answer is not None and answer.status_code == 202:
            told = answer.json()
            self.asked.append(Asked("push", key, tuple(told.get("deployments") or [told["deployment"]])))

    def _ask(self, wish: Wish, path: str, document: dict[str, str | None]) -> None:
        key = str(uuid.uuid4())
        self.sent.add(key)
        answer = self._send(wish, "POST", path, json=document, headers={"Idempotency-Key": key})
        if answer is not None and answer.status_code == 202:
            self.asked.append(Asked(wish.what, key, (answer.json()["id"],)))
        elif answer is not None:  # refused
            self.sent.discard(key)

    def _send(self, wish: Wish, method: str, address: str, **request: object) -> httpx.Response | None:
        """The lawful answer, however often it takes to get one; a GET's as well. None, and a complaint, without one."""
        while True:
            try:
                answer = self.world.api.request(method, address, **request)  # type: ignore[arg-type]
            except httpx.TransportError as error:
                last = f"{type(error).__name__} {error}"
            else:
                if answer.status_code in (LAWFUL[wish.what] if method == "POST" else {200}):
                    return answer
                last = f"{answer.status_code} {answer.text[:500]}"
                if answer.status_code not in PLEASE_WAIT:
                    break
            if time.monotonic() > self.patient_until:
                break
            time.sleep(0.2)
        self.complaints.append(f"{wish.what} {wish.site}: {method} was answered at last: {last}")
        return None
