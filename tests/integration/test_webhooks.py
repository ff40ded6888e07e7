"""Pushes that deploy by themselves: a panel that really runs, a real repository, this machine as the server."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.hooked_site import HookedSite
from tests.support.panel import Panel, kill_hard, wait_until

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    folder = tmp_path_factory.mktemp("hooked")
    with pytest.MonkeyPatch.context() as patch:
        (folder / "home").mkdir()
        patch.setenv("HOME", str(folder / "home"))  # where this machine keeps journals and mirrors
        with Panel(folder / "data") as running:
            yield running


@pytest.fixture
def make_site(panel: Panel, tmp_path: Path) -> Iterator[Callable[..., HookedSite]]:
    """Sites with these settings of their environment."""
    made: list[HookedSite] = []

    def make(**settings: Any) -> HookedSite:
        made.append(HookedSite.add(panel, tmp_path, **settings))
        return made[-1]

    yield make
    for site in made:
        site.close()


@pytest.fixture
def site(make_site: Callable[..., HookedSite]) -> HookedSite:
    return make_site()


def test_a_push_deploys_its_commit(site: HookedSite) -> None:
    commit = site.commit("first")
    site.commit("second")
    answer = site.tell(commit)
    assert answer.status_code == 202, answer.text
    ended = site.wait_ended(answer.json()["deployment"])
    assert (ended["status"], ended["commit"], ended["trigger"]) == ("success", commit, "webhook"), ended["error"]
    assert (ended["requested_by"], ended["branch"]) == (None, "main")
    assert site.page() == "first"


def test_a_tag_deploys_its_commit_though_no_branch_has_it(make_site: Callable[..., HookedSite]) -> None:
    site = make_site(auto_deploy=False, tag_pattern="v*")
    site.commit("main")
    tagged = site.commit("tagged", branch="elsewhere")
    answer = site.tell(tagged, ref="refs/tags/v1")
    assert answer.status_code == 202, answer.text
    assert site.wait_ended(answer.json()["deployment"])["status"] == "success"
    assert site.page() == "tagged"


def test_a_force_push_deploys_the_new_head(site: HookedSite) -> None:
    site.commit("first")
    site.wait_ended(site.tell(site.commits[0]).json()["deployment"])
    site.commit("dropped")
    forced = site.commit("rewritten", message="Rewritten")
    answer = site.tell(forced, forced=True, commits=[])
    assert site.wait_ended(answer.json()["deployment"])["status"] == "success"
    assert site.page() == "rewritten"


def test_a_burst_ends_in_the_running_one_and_one_more_of_the_newest_commit(site: HookedSite) -> None:
    site.commit("slow")
    gate = site.root.parent / f"{site.slug}-gate"
    commands = {"prepare": [f"while [ ! -e {gate} ]; do sleep 0.1; done"]}
    changed = site.api.patch(f"projects/{site.slug}/environments/production", json={"phase_commands": commands})
    assert changed.is_success, changed.text
    running = site.tell(site.commits[0]).json()["deployment"]
    wait_until(lambda: site.deployment(running)["status"] == "running", 30, what=site.panel.output)
    commits = [site.commit(f"number {number}") for number in range(10)]
    with httpx.Client(timeout=60) as client, ThreadPoolExecutor(20) as pool:
        older = list(pool.map(lambda number: site.tell(commits[number % 9], client), range(199)))
        newest = site.tell(commits[-1], client)
    assert {answer.status_code for answer in [*older, newest]} == {202}
    open_ones = [each for each in site.deployments() if each["status"] != "superseded"]
    assert [(each["id"], each["status"]) for each in open_ones] == [
        (newest.json()["deployment"], "queued"),
        (running, "running"),
    ]
    assert len(site.deployments()) == 201
    gate.touch()
    assert site.wait_ended(newest.json()["deployment"])["status"] == "success"
    assert site.page() == "number 9"
    assert sorted(each["status"] for each in site.wait_quiet()) == ["success"] * 2 + ["superseded"] * 199


def test_large_bodies_are_taken_a_few_at_a_time(site: HookedSite) -> None:
    site.commit("first")
    limit = 25 * 1024 * 1024
    body, headers = site.request(site.commits[0], ref="refs/heads/other", filling="x" * (limit - 10_000))

    def post(number: int) -> int:
        ids = {"x-github-delivery": str(number)}
        return httpx.post(site.address, content=body, headers=headers | ids, timeout=120).status_code

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(post, range(8))) == [200] * 8
    status = Path(f"/proc/{site.panel.child('web')}/status").read_text()
    peak_kilobytes = int(status.partition("VmHWM:")[2].split()[0])
    assert peak_kilobytes < 600_000, peak_kilobytes  # eight in memory at once would be more than this
    too_large = body + b" " * 10_000
    assert httpx.post(site.address, content=too_large, headers=headers, timeout=60).status_code == 413
    assert httpx.post(site.address, content=iter([too_large]), headers=headers, timeout=60).status_code == 413
    assert site.tell(site.commits[0]).status_code == 202


@pytest.mark.parametrize("stop", ["web is killed", "web is stopped"])
def test_what_is_accepted_while_web_restarts_is_not_lost(site: HookedSite, stop: str) -> None:
    """The supervisor holds the socket, so that most requests only wait; what is answered 202 is in the database."""
    site.commit("first")
    accepted: list[str] = []
    others: list[str] = []
    over = threading.Event()

    def push() -> None:
        while not over.is_set():
            try:
                answer = site.tell(site.commits[0], client)
            except httpx.TransportError as error:  # it was being answered when its process was killed
                others.append(type(error).__name__)
                continue
            if answer.status_code == 202:
                accepted.append(answer.json()["deployment"])
            else:
                others.append(str(answer.status_code))

    with httpx.Client(timeout=60) as client, ThreadPoolExecutor(4) as pool:
        pushing = [pool.submit(push) for _ in range(4)]
        wait_until(lambda: len(accepted) > 20, 30)
        web = site.panel.child("web")
        kill_hard(web) if stop == "web is killed" else os.kill(web, signal.SIGTERM)
        wait_until(lambda: site.panel.child("web") != web, 30, what=site.panel.output)
        before = len(accepted)
        wait_until(lambda: len(accepted) > before + 20, 60, what=site.panel.output)
        over.set()
        for each in pushing:
            each.result(timeout=60)
    known = {each["id"]: each["status"] for each in site.wait_quiet()}
    assert set(accepted) <= set(known)
    newest = max(known)  # ids are in order of time
    assert known[newest] == "success", (known[newest], others)


def test_what_is_accepted_before_the_whole_panel_restarts_is_deployed_after(panel: Panel, site: HookedSite) -> None:
    commit = site.commit("after")
    kill_hard(panel.child("worker"))
    deployment = site.tell(commit).json()["deployment"]
    assert panel.stop() == 0
    panel.start()
    time.sleep(0.1)
    assert site.wait_ended(deployment)["status"] == "success"
    assert site.page() == "after"
    (known,) = site.deployments()
    assert known["id"] == deployment
