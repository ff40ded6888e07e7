"""Servers that go live in rounds, with a balancer that gives them no requests meanwhile: there, and back in order."""

from __future__ import annotations

import asyncio
import json

import pytest

from devflow.engine import runner as module
from devflow.engine import script
from devflow.engine.plan import Plan, Target, compose
from devflow.engine.runner import Runner
from devflow.engine.script import RunSecrets
from devflow.strategies import rolling
from tests.support.fake_server import Act
from tests.support.plans import RECIPE, site_on
from tests.unit.engine.test_runner import House, eventually

BALANCER = Target("idlb", "lb", "10.0.0.9")


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_CONTACT_SECONDS", 0.3)
    monkeypatch.setattr(module, "LOST_CONTACT_SECONDS", 1)
    monkeypatch.setattr(module, "STOP_AGAIN_SECONDS", 0.02)


def rolling_plan(*servers: str, balancer: Target = BALANCER, **options: str) -> Plan:
    site = site_on(*servers, balancer=balancer, health=None, strategy_options=options)
    steps = compose(site, RECIPE, rolling.deploy(site, RECIPE), rounds=rolling.rounds(site, RECIPE))
    return Plan("rolling", "small", "r2", "", False, site, steps)


def shown(plan: Plan) -> list[str]:
    return [
        f"{' '.join(group.servers)}: {', '.join(step.task.name for step in group.steps)}"
        for group in (*plan.groups, *plan.undo_groups)
    ]


class Watched(House):
    """Writes down, over all servers, what ran in which order."""

    def __init__(self, plan: Plan, acts: dict[str, dict[str, Act]] | None = None) -> None:
        super().__init__(plan, acts)
        self.order: list[str] = []
        names = {step.position: step.task.name for step in plan.steps}
        for name, server in self.servers.items():
            server.ran = _Told(lambda position, name=name: self.order.append(f"{name} {names[position]}"))

    def live(self) -> list[str]:
        """What concerns the balancer's nodes and what goes live, or back."""
        told = ("drain", "ready", "activate", "take back")
        return [line for line in self.order if line.split(" ", 1)[1].startswith(told)]


class _Told(list[int]):
    def __init__(self, tell: object) -> None:
        super().__init__()
        self._tell = tell

    def append(self, position: int) -> None:
        super().append(position)
        self._tell(position)  # type: ignore[operator]


def test_the_whole_plan_in_batches_of_two() -> None:
    plan = rolling_plan("web1", "web2", "web3", batch="2", minimum="1")
    assert shown(plan) == [
        "web1 web2 web3: check server, lock",
        "lb: check balancer",
        "web1 web2 web3: fetch, release, link shared, build",
        "lb: write balancer",
        "web1: migrate",
        "web1 web2 web3: warm",
        "lb: drain batch 1 of 2",
        "web1 web2: activate, reload, verify release",
        "lb: ready batch 1 of 2",
        "lb: drain batch 2 of 2",
        "web3: activate, reload, verify release",
        "lb: ready batch 2 of 2",
        "web1 web2 web3 lb: prune, unlock",
        "lb: drain batch 2 of 2 again",
        "web3: take back, reload again",
        "lb: ready batch 2 of 2 again",
        "lb: drain batch 1 of 2 again",
        "web1 web2: take back, reload again",
        "lb: ready batch 1 of 2 again",
        "web1 web2 web3 lb: clean up",
    ]
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_the_balancer_may_be_one_of_the_servers() -> None:
    plan = rolling_plan("web1", "web2", balancer=Target("idweb2", "web2"))
    assert [target.name for target in plan.site.everyone] == ["web1", "web2"]
    assert "web2: drain batch 1 of 2" in shown(plan)


async def test_one_batch_after_the_other() -> None:
    house = Watched(rolling_plan("web1", "web2"))
    assert (await house.carry_out()).status == "success"
    assert house.live() == [
        "lb drain batch 1 of 2",
        "web1 activate",
        "lb ready batch 1 of 2",
        "lb drain batch 2 of 2",
        "web2 activate",
        "lb ready batch 2 of 2",
    ]


async def test_the_failing_server_goes_back_at_once_and_then_batch_by_batch() -> None:
    house = Watched(rolling_plan("web1", "web2", "web3"), {"web2": {"reload": Act(code=1)}})
    outcome = await house.carry_out()
    assert (outcome.status, outcome.error) == ("rolled_back", "web2: step 'reload' failed with exit code 1.")
    assert house.live()[4:] == [
        "web2 activate",
        "web2 take back",  # by itself, without being told
        "lb drain batch 3 of 3 again",
        "web3 take back",
        "lb ready batch 3 of 3 again",
        "lb drain batch 2 of 3 again",
        "web2 take back",
        "lb ready batch 2 of 3 again",
        "lb drain batch 1 of 3 again",
        "web1 take back",
        "lb ready batch 1 of 3 again",
    ]
    assert sorted(house.order[-4:]) == [f"{name} clean up" for name in ("lb", "web1", "web2", "web3")]


async def test_who_cannot_be_drained_any_more_is_left_as_it_is() -> None:
    acts = {
        "web2": {"reload": Act(code=1)},
        "lb": {"drain batch 1 of 2 again": Act(code=1, explain="Only 0 of 1 would be ready.")},
    }
    house = Watched(rolling_plan("web1", "web2"), acts)
    outcome = await house.carry_out()
    assert outcome.status == "failed"
    assert "Taking back: lb, step 'drain batch 1 of 2 again': Only 0 of 1 would be ready." in outcome.error
    assert "Taking back: web1 stays as it is: it serves the new release" in outcome.error
    assert "web1 take back" not in house.order
    assert "web1 clean up" in house.order


async def test_who_cannot_be_taken_back_stays_apart() -> None:
    house = Watched(rolling_plan("web1", "web2"), {"web2": {"reload": Act(code=1), "take back": Act(code=7)}})
    outcome = await house.carry_out()
    assert "Taking back: web2: step 'take back' failed with exit code 7" in outcome.error
    (ready,) = (text for run, text in house.servers["lb"].scripts.items() if run.endswith("-3-undo"))
    assert "give_again web2" in ready
    assert "\napart=web2\n" in ready


async def test_a_server_that_is_gone_in_the_middle_stays_drained_and_is_named() -> None:
    plan = rolling_plan("web1", "web2")
    gate = asyncio.Event()
    acts = {"web1": {"take back": Act(notes=("took_back r1",))}, "web2": {"activate": Act(gate=gate)}}
    house = Watched(plan, acts)
    carrying = asyncio.ensure_future(house.carry_out())
    await eventually(lambda: "web2 activate" in house.order)
    house.reach.away.add("idweb2")
    house.reach.cut()
    outcome = await carrying
    assert outcome.status == "rolled_back"
    assert "idweb2 cannot be reached" in outcome.error
    assert house.live()[-3:] == ["lb drain batch 1 of 2 again", "web1 take back", "lb ready batch 1 of 2 again"]
    (ready,) = (text for run, text in house.servers["lb"].scripts.items() if run.endswith("-3-undo"))
    assert "\napart=web2\n" in ready


async def test_the_balancer_that_is_gone_leaves_what_serves_as_it_is() -> None:
    house = Watched(rolling_plan("web1", "web2"), {"lb": {"drain batch 2 of 2": Act(gate=asyncio.Event())}})
    carrying = asyncio.ensure_future(house.carry_out())
    await eventually(lambda: "lb drain batch 2 of 2" in house.order)
    house.reach.away.add("idlb")
    house.reach.cut()
    outcome = await carrying
    assert outcome.status == "failed"
    assert "idlb cannot be reached" in outcome.error
    assert "web1 stays as it is" in outcome.error
    assert "web1 take back" not in house.order


async def test_cancelled_while_a_batch_goes_live() -> None:
    house = Watched(rolling_plan("web1", "web2"), {"web2": {"reload": Act(gate=asyncio.Event())}})
    carrying = asyncio.ensure_future(house.carry_out())
    await eventually(lambda: "web2 reload" in house.order)
    house.cancelled.set()
    assert (await carrying).status == "cancelled"
    assert house.live()[-6:] == [
        "lb drain batch 2 of 2 again",
        "web2 take back",
        "lb ready batch 2 of 2 again",
        "lb drain batch 1 of 2 again",
        "web1 take back",
        "lb ready batch 1 of 2 again",
    ]


async def test_another_worker_goes_on_taking_back_where_the_first_had_come() -> None:
    gate = asyncio.Event()
    acts = {"web2": {"reload": Act(code=1)}, "lb": {"drain batch 1 of 2 again": Act(gate=gate)}}
    house = Watched(rolling_plan("web1", "web2"), acts)
    first = asyncio.ensure_future(house.runner().carry_out())
    await eventually(lambda: "lb drain batch 1 of 2 again" in house.order)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    gate.set()
    (decided,) = house.notebook.decided
    second: Runner = house.runner(ending=decided[0], error=decided[1])
    async with asyncio.timeout(10):
        assert (await second.carry_out()).status == "rolled_back"
    assert house.order.count("lb drain batch 2 of 2 again") == 1
    assert house.order.count("web1 take back") == 1


def test_a_failing_run_takes_back_only_what_the_balancer_gives_no_requests() -> None:
    plan = rolling_plan("web1", "web2")
    web1, lb = (
        script.render(plan, plan.forward, target, deployment="d", commit="", secrets=RunSecrets(), nonce="n").text
        for target in (plan.site.targets[0], BALANCER)
    )
    own = [str(step.position) for step in plan.forward.steps if step.task.servers == ("web1",)]
    assert f"  case $1 in {'|'.join(own)})\n" in web1
    assert 'failed() {\n  failure=$code\n  ended "$failure"\n}\n' in lb
    undo = plan.undo_groups[2]
    text = script.render(
        plan, undo, BALANCER, deployment="d", commit="", secrets=RunSecrets(), nonce="n", apart=["web1", "web2"]
    ).text
    assert "\napart='web1 web2'\n" in text
