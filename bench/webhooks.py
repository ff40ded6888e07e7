"""Pushes told by webhooks, in a panel that runs and deploys them: how soon they are answered, and what a burst ends in.

The clock of a request starts when it was to be sent, so one that had to wait for another is not flattered. Meanwhile
one deployment runs, and waits: its server is this machine, whose time is to be the panel's.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from bench.common import Result
from tests.support.hooked_site import HookedSite
from tests.support.panel import Panel, wait_until

PER_SECOND = 100
SECONDS = 60
CONNECTIONS = 32
WARM_UP = 100
BURSTS = (100, 300, 1000)
GOAL_SECONDS = 0.1
GOAL_LEFT = 2
"""Of a burst: one deployment that runs, and at most one more."""
FILLING = "x" * 6000
"""Makes a payload as long as GitHub's are."""


@dataclass(slots=True)
class Answer:
    seconds: float
    status: int


def main() -> None:
    folder = tempfile.TemporaryDirectory(prefix="devflow-bench-")
    with ExitStack() as stack:
        path = Path(stack.enter_context(folder))
        panel = stack.enter_context(Panel(path / "data", HOME=str(path)))
        gate = path / "gate"
        waits = {"prepare": [f"while [ ! -e {gate} ]; do sleep 0.5; done"]}
        site = stack.enter_context(closing(HookedSite.add(panel, path, phase_commands=waits)))
        commits = [site.commit(f"number {number}") for number in range(20)]
        hold(site, gate, commits[0])
        send(site, messages(site, commits, WARM_UP), pause=0.02)
        report_steady(send(site, messages(site, commits, PER_SECOND * SECONDS), 1 / PER_SECOND))
        before = 1 + WARM_UP + PER_SECOND * SECONDS
        for number in BURSTS:
            newest, burst = site.commit(f"the newest of {number}"), list(messages(site, commits, number - 1))
            began = time.perf_counter()
            answers = send(site, burst) + send(site, [message(site, newest)])
            seconds = time.perf_counter() - began
            Result("webhooks", f"{number} at once, all answered after", "s", round(seconds, 3), len(answers)).print()
            report_burst(site, gate, number, before + number)
            hold(site, gate, commits[0])
            before += number + 1


def hold(site: HookedSite, gate: Path, commit: str) -> None:
    """A deployment that runs from now on, and waits for the gate."""
    gate.unlink(missing_ok=True)
    first = site.tell(commit).json()["deployment"]
    wait_until(lambda: site.deployment(first)["status"] == "running", 60, what=site.panel.output)


def report_steady(answers: list[Answer]) -> None:
    p99 = statistics.quantiles([answer.seconds for answer in answers], n=100)[-1]
    Result(
        bench="webhooks",
        case=f"p99, {PER_SECOND} requests/s",
        unit="s",
        value=round(p99, 4),
        runs=len(answers),
        against=f"goal {GOAL_SECONDS} s",
        ratio=round(p99 / GOAL_SECONDS, 3),
    ).print()


def report_burst(site: HookedSite, gate: Path, number: int, wanted: int) -> None:
    """`wanted` are the deployments that there are to be by now."""
    kept = site.deployments()
    assert len(kept) == wanted, f"{len(kept)} are kept, not {wanted}"
    left = [each for each in kept if each["status"] not in ("superseded", "success")]
    assert [each["status"] for each in left] == ["queued", "running"], left
    gate.touch()
    site.wait_ended(left[0]["id"], 120)
    assert site.page() == f"the newest of {number}", site.page()
    carried_out = sum(site.deployment(each["id"])["status"] == "success" for each in left)
    Result(
        bench="webhooks",
        case=f"{number} at once, deployments that were carried out, the last of the newest commit",
        unit="deployments",
        value=carried_out,
        runs=number,
        against=f"goal {GOAL_LEFT}",
        ratio=round(carried_out / GOAL_LEFT, 3),
    ).print()


def messages(site: HookedSite, commits: list[str], number: int) -> Iterator[bytes]:
    for index in range(number):
        yield message(site, commits[index % len(commits)])


def message(site: HookedSite, commit: str) -> bytes:
    """A whole request, ready to be sent."""
    body, headers = site.request(commit, filling=FILLING)
    address = urlsplit(site.address)
    lines = [f"POST {address.path} HTTP/1.1", f"host: {address.netloc}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def send(site: HookedSite, requests: Iterable[bytes], pause: float = 0) -> list[Answer]:
    """What each request was answered, in the order of sending; every `pause` seconds one is due. All must be taken."""
    answers = asyncio.run(_send_all(site, list(requests), pause))
    refused = Counter(answer.status for answer in answers if answer.status != HTTPStatus.ACCEPTED)
    assert not refused, f"refused: {dict(refused)} of {len(answers)}; {site.panel.output()[-3000:]}"
    return answers


async def _send_all(site: HookedSite, prepared: list[bytes], pause: float) -> list[Answer]:
    due: asyncio.Queue[tuple[int, float, bytes]] = asyncio.Queue()
    answers: list[Answer | None] = [None] * len(prepared)
    host, port = urlsplit(site.address).hostname, urlsplit(site.address).port
    senders = [asyncio.create_task(_send(host or "", port or 80, due, answers)) for _ in range(CONNECTIONS)]
    began = time.perf_counter()
    for number, request in enumerate(prepared):
        at = began + number * pause
        if (rest := at - time.perf_counter()) > 0:
            await asyncio.sleep(rest)
        due.put_nowait((number, at if pause else began, request))
    await due.join()
    for sender in senders:
        sender.cancel()
    await asyncio.gather(*senders, return_exceptions=True)
    return [answer for answer in answers if answer is not None]


async def _send(
    host: str, port: int, due: asyncio.Queue[tuple[int, float, bytes]], answers: list[Answer | None]
) -> None:
    """Sends what is due over one connection."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        while True:
            number, at, request = await due.get()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            answers[number] = Answer(time.perf_counter() - at, int(head[9:12]))
            due.task_done()
    finally:
        writer.close()
