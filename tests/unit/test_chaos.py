"""Each invariant of `bin/chaos` is broken by what it is there for, and by nothing in a picture of what must be."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from chaos import report
from chaos.__main__ import main
from chaos.invariants import INVARIANTS, violations
from chaos.load import Visit, torn, unexcused
from chaos.people import Asked, People, Wish, wishes
from chaos.picture import Delivery, Deployed, Inside, Kept, Machine, Picture, Place, Step
from chaos.strikes import DEAD_SECONDS, FILLED, STRIKES, MissedError, fill_disk
from chaos.world import LINES, Outage
from devflow.worker.main import DEAD_AFTER_SECONDS, SWEEP_SECONDS

NAME = "0199aaaa-0000-7000-8000-000000000001"
RUN = NAME.replace("-", "") + "-s-1-main"
EARLIER = "0199aaaa000070008000000000000009-s-1-main"
LOG = tuple(f"chaos {RUN} prepare r2 {number}/{LINES}" for number in range(1, LINES + 1))
TEXT = "".join(f"{line}\n" for line in ("fetching", *LOG))
DEPLOYED = Deployed(
    id=NAME,
    site="small",
    status="success",
    release="r2",
    commit="c2",
    log_lines=LINES + 1,
    log_bytes=len(TEXT),
    last_seq=3,
    delivery="d1",
    steps=(Step("c", "prepare", "prepare command 1", "success"),),
    events=((1, "deployment.started"), (2, "deployment.log"), (3, "deployment.completed")),
    log=TEXT,
)
OTHERS = tuple(
    replace(DEPLOYED, id=name, status="superseded", error="newer", steps=(), log="", log_lines=0, log_bytes=0)
    for name in ("0199aaaa-0000-7000-8000-000000000002", "0199aaaa-0000-7000-8000-000000000003")
)
NAMES = (NAME, *(each.id for each in OTHERS))
KEPT = Kept("small", "r2", ("r1", "r2"), last="r2")
PLACE = Place("small", "c", "r2", releases=("r1", "r2"), shown={"release": "r2", "parts": ["page-2"] * 3})
MACHINE = Machine("c", ran=(f"prepare {RUN} r2",), journal=LOG)
INSIDE = Inside(
    workers=2,
    children=("/bin/postgres -D x", "python -m devflow.worker", "python -m devflow.server --fd=3"),
    connections={"process 7 to c": 1},
)
GOOD = Picture(
    kind="kill-worker",
    deployments=(DEPLOYED, *OTHERS),
    known=dict.fromkeys(NAMES, "success"),
    commits={"r1": "c1", "r2": "c2"},
    kept=(KEPT,),
    places=(PLACE,),
    machines=(MACHINE,),
    inside=INSIDE,
    deliveries=(Delivery("d1", "key", 202, NAMES),),
    asked=(Asked("push", "key", NAMES),),
    tokens={"c1": "page-1", "c2": "page-2"},
)


def with_first(**changed: object) -> Picture:
    return replace(GOOD, deployments=(replace(DEPLOYED, **changed), *OTHERS))  # type: ignore[arg-type]


def with_place(**changed: object) -> Picture:
    return replace(GOOD, places=(replace(PLACE, **changed),))  # type: ignore[arg-type]


def with_machine(**changed: object) -> Picture:
    return replace(GOOD, machines=(replace(MACHINE, **changed),))  # type: ignore[arg-type]


def with_inside(**changed: object) -> Picture:
    return replace(GOOD, inside=replace(INSIDE, **changed))  # type: ignore[arg-type]


def gone_back(release: str) -> Picture:
    """A rollback that its server refused."""
    error = f"The release {release} is not on c any more."
    return with_first(status="failed", trigger="rollback", release=release, error=error)


ENDED, ONE, WHOLE, TWICE, SERVERS, PANEL, HOOKS, LOGS, VISITS, ANSWERS = INVARIANTS
LOST = "".join(f"{line}\n" for line in ("fetching", *LOG[:-1]))
MIXED = "".join(f"{line}\n" for line in ("fetching", LOG[1], LOG[0], *LOG[2:]))
DOUBLED = "".join(f"{line}\n" for line in ("fetching", LOG[0], *LOG))


def with_stayed(name: str) -> Picture:
    """A release that was activated, never finished, and is there yet."""
    there = with_place(releases=tuple(sorted(("r1", "r2", name))), unfinished=(name,))
    return replace(there, machines=(replace(MACHINE, ran=(*MACHINE.ran, f"activate {RUN} {name}")),))


def logged(text: str) -> Picture:
    return with_first(log=text, log_lines=text.count("\n"), log_bytes=len(text))


PLANTED = [
    (ENDED, "is running", with_first(status="running", error="", is_finished=False)),
    (ENDED, "claimed", with_first(is_claimed=True)),
    (ENDED, "without an end", with_first(is_finished=False)),
    (ENDED, "its error is ''", with_first(status="cancelled", error="")),
    (ENDED, "its error is 'odd'", with_first(error="odd")),
    (ENDED, "fault of its own", with_first(status="failed", error="The panel had a fault of its own (KeyError)")),
    (ENDED, "failed after kill-worker", with_first(status="failed", error="c did not answer")),
    (ENDED, "failed after", replace(with_first(status="failed", error="x"), struck=frozenset("ab"))),
    (ENDED, "r1 is not on c", gone_back("r1")),
    (ENDED, "not its steps", with_first(steps=(Step("c", "prepare", "prepare command 1", "running"),))),
    (ONE, "at the same time", with_machine(overlaps=("small prepare x",))),
    (WHOLE, "does not answer", with_place(problem="status 404")),
    (WHOLE, "torn page", with_place(shown={"release": "r2", "parts": ["page-2", "page-2", "page-1"]})),
    (WHOLE, "torn page", with_place(shown={"release": "r2", "parts": ["page-2", "page-2", ""]})),
    (WHOLE, "the panel says 'r2'", with_place(shown={"release": "r1", "parts": ["page-1"] * 3}, current="r1")),
    (WHOLE, "current is r1", with_place(current="r1")),
    (WHOLE, "the last success was 'r3'", replace(GOOD, kept=(replace(KEPT, last="r3"),))),
    (WHOLE, "has page-2", with_place(shown={"release": "r2", "parts": ["page-1"] * 3})),
    (TWICE, "ran 2 times", with_machine(ran=(f"prepare {RUN} r2",) * 2)),
    (TWICE, "did not run", with_machine(ran=())),
    (TWICE, "no deployment of this round", with_machine(ran=(*MACHINE.ran, f"finish {EARLIER} r1"))),
    (SERVERS, "is locked", with_place(lock="environment deployment")),
    (SERVERS, "current.next.1", with_place(litter=("current.next.1",))),
    (SERVERS, "the release r3", with_place(releases=("r1", "r2", "r3"))),
    (SERVERS, "the release r0", with_stayed("r0")),
    (SERVERS, "the release r1b", replace(with_stayed("r1b"), machines=(MACHINE,))),
    (SERVERS, "runs 7 sleep", with_machine(processes=("7 sleep 1",))),
    (SERVERS, "has .new.1", with_machine(litter=(".new.1",))),
    (PANEL, "a job is left", with_inside(jobs=("deployments.advance",))),
    (PANEL, "3 workers", with_inside(workers=3)),
    (PANEL, "transaction is open", with_inside(transactions=("idle",))),
    (PANEL, "lock is held", with_inside(locks=("7",))),
    (PANEL, "has the children", with_inside(children=INSIDE.children[1:])),
    (PANEL, "has the children", with_inside(children=(*INSIDE.children[1:], "ssh"))),
    (PANEL, "2 connections", with_inside(connections={"process 7 to c": 2})),
    (HOOKS, "kept 0 times", replace(GOOD, asked=(Asked("push", "lost", NAMES),))),
    (HOOKS, "kept 2 times", replace(GOOD, deliveries=(*GOOD.deliveries, replace(GOOD.deliveries[0], id="d2")))),
    (HOOKS, "which is nowhere", replace(GOOD, known={})),
    (HOOKS, "was promised x", replace(GOOD, asked=(Asked("deploy", "key", ("x",)),))),
    (HOOKS, "made 2 deployments and names 3", replace(GOOD, deployments=(DEPLOYED, OTHERS[0]))),
    (HOOKS, "has 1 deployments", replace(GOOD, deliveries=(Delivery("d1", "key", 202, (NAME,)),))),
    (HOOKS, "0 requests made 1", with_first(delivery="")),
    (LOGS, "not numbered", with_first(events=DEPLOYED.events[1:])),
    (LOGS, "do not end", with_first(events=((1, "deployment.started"), (2, "deployment.log"), (3, "x")))),
    (LOGS, "its row says", with_first(log_bytes=1)),
    (LOGS, f"{LINES - 1} of {LINES} lines", logged(LOST)),
    (LOGS, "other lines", logged(MIXED)),
    (LOGS, "other lines", logged(DOUBLED)),
    (LOGS, "of 0 runs", replace(logged("fetching\n"), machines=())),
    (VISITS, "torn", replace(GOOD, visits=("small on c: torn",))),
    (ANSWERS, "500", replace(GOOD, complaints=("deploy small: 500",))),
]


def test_nothing_is_wrong_with_what_is_as_it_should_be() -> None:
    assert violations(GOOD) == []


@pytest.mark.parametrize(("invariant", "words", "picture"), PLANTED, ids=[f"{name}: {w}" for name, w, _ in PLANTED])
def test_a_planted_violation_is_found(invariant: str, words: str, picture: Picture) -> None:
    found = [wrong for wrong in violations(picture) if wrong.startswith(f"{invariant}: ")]
    assert any(words in wrong for wrong in found), violations(picture)


def test_each_invariant_has_a_planted_violation() -> None:
    assert {invariant for invariant, _, _ in PLANTED} == set(INVARIANTS)


def test_a_deployment_may_fail_where_a_server_of_its_site_was_struck() -> None:
    failed = with_first(status="failed", error="c did not answer")
    assert violations(replace(failed, struck=frozenset("c"))) == []


def test_a_rollback_may_find_that_its_release_was_removed() -> None:
    assert violations(gone_back("r0")) == []


def test_a_release_that_could_not_be_taken_back_may_stay_for_one_deployment() -> None:
    assert violations(with_stayed("r1b")) == []


def test_only_silence_is_excused_and_only_of_the_server_that_was_away() -> None:
    outages = [Outage("a", 10, 12)]
    silent = Visit("first", "a", 11, 11.5, "refused", is_silence=True)
    begun_before, elsewhere = replace(silent, began=9), replace(silent, server="b")
    later, mixed = replace(silent, began=12.1, ended=12.2), replace(silent, is_silence=False)
    assert unexcused([silent, begun_before, elsewhere, later, mixed], outages) == [elsewhere, later, mixed]


def test_a_page_that_lacks_a_part_is_torn() -> None:
    assert not torn({"parts": ["page-1"] * 3})
    assert torn({"parts": ["page-1"] * 2})
    assert torn({"parts": [""] * 3})


def test_a_seed_makes_the_same_wishes() -> None:
    first, again, other = (list(islice(wishes(seed), 50)) for seed in ("1", "1", "2"))
    assert first == again != other


def test_a_refused_request_is_none_that_may_become_a_deployment() -> None:
    answers = [httpx.Response(202, json={"id": NAME}), httpx.Response(409)]
    with httpx.Client(base_url="http://panel", transport=httpx.MockTransport(lambda _: answers.pop(0))) as api:
        people = People(SimpleNamespace(api=api), "1")  # type: ignore[arg-type]
        for _ in range(2):
            people._rollback(Wish(0, "rollback", "small"))
    (accepted,) = people.asked
    assert (people.sent, people.complaints) == ({accepted.key}, [])


@pytest.mark.usefixtures("no_pauses")
def test_a_missed_strike_leaves_those_after_it_as_they_are() -> None:
    hit, missed = random.Random("1"), random.Random("1")
    fill_disk(_with_free("0"), hit)
    with pytest.raises(MissedError):
        fill_disk(_with_free("7"), missed)
    assert hit.getstate() == missed.getstate()


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)


def _with_free(kilobytes: str) -> Any:
    """A world whose small disk has so many left when it should be full."""
    return SimpleNamespace(servers={FILLED: SimpleNamespace(inside=lambda _: kilobytes)})


def test_a_worker_is_frozen_until_others_take_it_for_dead() -> None:
    assert DEAD_SECONDS >= DEAD_AFTER_SECONDS + SWEEP_SECONDS


def test_the_report_has_every_kind_and_the_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = [
        {
            **{"seed": "s1", "number": number, "kind": kind, "strikes": 2, "strikes_planned": 2, "deployments": 5},
            "only": ",".join(STRIKES),
            **{"ended": {"success": 4, "failed": 1}, "visits": 9, "recovery_seconds": 1.5 + number},
            "violations": ["one at a time: at the same time as another"] if kind == "reboot" else [],
        }
        for number, kind in enumerate(STRIKES)
    ]
    kept, page = tmp_path / "results", tmp_path / "page.md"
    kept.write_text("".join(json.dumps(result) + "\n" for result in results))
    monkeypatch.setattr("sys.argv", ["chaos", "--rounds", "0", "--results", str(kept), "--report", str(page)])
    assert main() == 0
    text = page.read_text()
    assert text == report.render(results)
    for kind in STRIKES:
        assert f"| {kind} |" in text
    assert "10 rounds, 20 strikes that hit, 50 deployments, 90 visits: **1 violations** in 1 rounds" in text
    assert "bin/chaos --seed s1 --strikes 2 --rounds 10\n" in text
    assert "s1/8/reboot: one at a time: at the same time as another" in text
    assert "No rounds" in report.render([])
    other = [{**result, "strikes_planned": 5} for result in results[:3]]
    assert "--strikes 2 --rounds 10\nbin/chaos --seed s1 --strikes 5 --rounds 3\n" in report.render(results + other)
