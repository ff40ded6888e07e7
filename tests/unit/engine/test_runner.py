"""Carrying a plan out, on servers that exist in memory only: every way to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import pytest

from devflow.core.errors import ClaimLostError, ConnectError, HostKeyError
from devflow.engine import runner as module
from devflow.engine import script
from devflow.engine.output import Frame, Line
from devflow.engine.plan import Plan
from devflow.engine.runner import Observed, Outcome, Runner, RunProgress
from devflow.engine.script import RunSecrets
from devflow.engine.task import Phase, Where
from devflow.remote.run import INTERRUPTED
from tests.support.fake_server import Act, FakeReach, FakeServer
from tests.support.plans import deploy_plan, rollback_plan

COMMIT = "c" * 40
FOUND = Act(notes=(f"commit {COMMIT}\tAda\tChange",))


class Notebook:
    """A recorder in memory. `keep` is what a worker that takes over would find."""

    def __init__(self) -> None:
        self.runs: dict[tuple[str, str], RunProgress] = {}
        self.items: list[tuple[str, Line | Frame]] = []
        self.phases: list[str] = []
        self.decided: list[tuple[str, str]] = []
        self.is_lost = False

    def progress(self, server: str, group: str) -> RunProgress:
        return self.runs.setdefault((server, group), RunProgress())

    def record(self, server: str, group: str, items: list[Line | Frame], progress: RunProgress) -> None:
        if self.is_lost:
            raise ClaimLostError("Another worker carries this deployment now.")
        self.items += [(server, item) for item in items]

    async def keep_up(self) -> None:
        return

    def enter(self, phase: Phase) -> None:
        self.phases.append(phase.value)

    async def decide(self, ending: str, error: str) -> None:
        self.decided.append((ending, error))

    def lines(self, server: str = "web1") -> list[str]:
        return [item.text for name, item in self.items if name == server and isinstance(item, Line)]


class House:
    """A plan on fake servers, and what is needed to carry it out."""

    def __init__(self, plan: Plan, acts: dict[str, dict[str, Act]] | None = None) -> None:
        """`acts` says by server what its steps do, by the name of the task."""
        self.plan = plan
        self.servers = {
            target.name: FakeServer(target.name, self._acts(target.name, acts or {})) for target in plan.site.everyone
        }
        self.reach = FakeReach({target.id: self.servers[target.name] for target in plan.site.everyone})
        self.notebook = Notebook()
        self.observed = Observed()
        self.cancelled = asyncio.Event()

    def _acts(self, server: str, acts: dict[str, dict[str, Act]]) -> dict[int, Act]:
        """Every server reports what it serves, as the panel's own last steps do."""
        positions = {step.task.name: step.position for step in self.plan.steps if server in step.servers}
        reports = ("current r1", "release r1")
        told = {"unlock": Act(notes=("current r2", "release r1", "release r2")), "clean up": Act(notes=reports)}
        told["take back"] = Act(notes=("took_back r1",) if self._is_late(acts.get(server, {})) else ())
        told["fetch"] = FOUND
        return {positions[name]: act for name, act in (told | acts.get(server, {})).items() if name in positions}

    def _is_late(self, acts: dict[str, Act]) -> bool:
        late = {step.task.name for step in self.plan.steps if step.task.phase in (Phase.RELOAD, Phase.VERIFY)}
        return any(act.code != 0 for name, act in acts.items() if name in late)

    def runner(self, *, ending: str = "", error: str = "") -> Runner:
        return Runner(
            plan=self.plan,
            deployment="d2",
            secrets=RunSecrets(variables={"KEY": "secret"}),
            nonce_key=b"key",
            reach=self.reach,
            recorder=self.notebook,
            observed=self.observed,
            cancelled=self.cancelled,
            ending=ending,
            error=error,
        )

    async def carry_out(self) -> Outcome:
        async with asyncio.timeout(20):
            return await self.runner().carry_out()

    def ran(self, server: str = "web1") -> list[str]:
        names = {step.position: step.task.name for step in self.plan.steps}
        return [names[position] for position in self.servers[server].ran]


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that stay away are given up at once."""
    monkeypatch.setattr(module, "FIRST_CONTACT_SECONDS", 0.3)
    monkeypatch.setattr(module, "LOST_CONTACT_SECONDS", 2)
    monkeypatch.setattr(module, "STOP_AGAIN_SECONDS", 0.02)


async def eventually(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def forward(plan: Plan) -> list[str]:
    return [step.task.name for step in plan.steps if step.task.phase is not Phase.UNDO]


def undo(plan: Plan) -> list[str]:
    return [step.task.name for step in plan.undo.steps]


# --- success ----------------------------------------------------------------------------------------------------------


async def test_success_on_one_server_is_one_run() -> None:
    house = House(deploy_plan("web1"))
    assert await house.carry_out() == Outcome("success", "")
    assert house.ran() == forward(house.plan)
    assert list(house.servers["web1"].runs) == ["d2-idweb1-1-forward"]
    assert house.reach.connections == 1
    assert house.observed.current == {"web1": "r2"}
    assert house.observed.releases == {"web1": ["r1", "r2"]}


async def test_success_on_several_servers_waits_for_each_other() -> None:
    gate = asyncio.Event()
    house = House(deploy_plan("web1", "web2"), {"web2": {"build": Act(gate=gate)}})
    carrying = asyncio.create_task(house.carry_out())
    await eventually(lambda: "build" in house.ran("web2") and "build" in house.ran("web1"))
    assert "migrate" not in house.ran("web1")
    gate.set()
    assert (await carrying).status == "success"
    assert house.notebook.phases == ["preflight", "migrate", "migrate", "activate", "finish"]
    assert ("migrate" in house.ran("web1"), "migrate" in house.ran("web2")) == (True, False)


async def test_all_output_is_recorded_in_order() -> None:
    lines = tuple(f"line {number}" for number in range(500))
    house = House(deploy_plan("web1"), {"web1": {"build": Act(lines=lines)}})
    await house.carry_out()
    assert house.notebook.lines() == list(lines)


async def test_all_servers_bring_the_commit_that_the_first_found() -> None:
    house = House(deploy_plan("web1", "web2"))
    await house.carry_out()
    assert house.observed.commit == COMMIT
    (begun,) = house.servers["web2"].runs.values()
    assert begun.commit == COMMIT


async def test_the_others_do_not_wait_for_more_than_the_commit() -> None:
    gate = asyncio.Event()
    house = House(deploy_plan("web1", "web2"), {"web1": {"build": Act(gate=gate)}})
    carrying = asyncio.create_task(house.carry_out())
    await eventually(lambda: "build" in house.ran("web2"))
    gate.set()
    assert (await carrying).status == "success"


def _with_a_lead(*servers: str) -> Plan:
    """What the first server does alone comes before all that the others do."""
    plan = deploy_plan(*servers)
    lead = replace(plan.steps[0], task=replace(plan.steps[0].task, name="lead", where=Where.FIRST), servers=servers[:1])
    steps = (lead, *(replace(step, position=step.position + 1) for step in plan.steps))
    return replace(plan, steps=steps)


async def test_what_only_the_first_does_may_come_before_all_else() -> None:
    gate = asyncio.Event()
    house = House(_with_a_lead("web1", "web2"), {"web1": {"lead": Act(gate=gate)}})
    carrying = asyncio.create_task(house.carry_out())
    await eventually(lambda: "lead" in house.ran("web1"))
    assert house.servers["web2"].runs == {}
    gate.set()
    assert (await carrying).status == "success"
    assert house.ran("web2")[0] == "check server"


async def test_when_the_first_fails_alone_the_others_never_begin() -> None:
    house = House(_with_a_lead("web1", "web2"), {"web1": {"lead": Act(code=1, lines=("no",))}})
    outcome = await house.carry_out()
    assert outcome == Outcome("failed", "web1: step 'lead' failed with exit code 1: no")
    assert house.servers["web2"].runs == {}


async def test_what_another_step_printed_does_not_explain_a_failure() -> None:
    acts = {"build": Act(lines=("built everything",)), "reload": Act(code=7)}
    house = House(deploy_plan("web1"), {"web1": acts})
    assert (await house.carry_out()).error == "web1: step 'reload' failed with exit code 7."


async def test_when_the_first_finds_no_commit_the_others_are_taken_back() -> None:
    house = House(deploy_plan("web1", "web2"), {"web1": {"fetch": Act(code=1, explain="There is no branch.")}})
    assert (await house.carry_out()).error == "web1, step 'fetch': There is no branch."
    assert house.ran("web2") == ["check server", "lock", "fetch", *undo(house.plan)]


async def test_a_worker_that_takes_over_tells_the_commit_that_an_earlier_one_had_heard() -> None:
    house = House(deploy_plan("web1", "web2"))
    second, group = house.plan.site.targets[1], house.plan.forward
    identity = script.run_id("d2", second, group)
    nonce = script.nonce_of(identity, b"key")
    begun = script.render(house.plan, group, second, deployment="d2", commit="", secrets=RunSecrets(), nonce=nonce)
    run = house.servers["web2"].start(identity, begun.text)
    await eventually(lambda: "fetch" in house.ran("web2"))
    house.observed.commit = COMMIT
    assert (await house.carry_out()).status == "success"
    assert run.commit == COMMIT
    assert house.ran("web2").count("fetch") == 1


async def test_cancelled_while_the_first_fetches_the_others_are_taken_back() -> None:
    house = House(deploy_plan("web1", "web2"), {"web1": {"fetch": Act(gate=asyncio.Event())}})
    carrying = asyncio.create_task(house.carry_out())
    await eventually(lambda: "fetch" in house.ran("web1"))
    await eventually(lambda: house.observed.awaiting == {"web2"})
    house.cancelled.set()
    assert (await carrying).status == "cancelled"
    assert house.ran("web2") == ["check server", "lock", "fetch", *undo(house.plan)]


async def test_the_other_servers_wait_for_the_commit_of_the_first_and_no_longer() -> None:
    told, built = asyncio.Event(), asyncio.Event()
    first = {"fetch": Act(notes=(f"commit {'c' * 40}\tAda\tChange",), gate=told), "build": Act(gate=built)}
    house = House(deploy_plan("web1", "web2"), {"web1": first})
    carrying = asyncio.create_task(house.carry_out())
    await eventually(lambda: "fetch" in house.ran("web1") and "fetch" in house.ran("web2"))
    await asyncio.sleep(0.05)
    assert house.ran("web2")[-1] == "fetch"
    told.set()
    await eventually(lambda: "build" in house.ran("web2"))
    (begun,) = house.servers["web2"].runs.values()
    assert begun.commit == "c" * 40
    built.set()
    assert (await carrying).status == "success"


async def test_devflow_run_is_installed_where_it_is_missing() -> None:
    house = House(deploy_plan("web1"))
    house.servers["web1"].is_installed = False
    assert (await house.carry_out()).status == "success"
    assert house.servers["web1"].is_installed


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("servers", [("web1",), ("web1", "web2")])
@pytest.mark.parametrize("step", forward(deploy_plan("web1")))
async def test_the_failure_of_each_step_is_undone_everywhere(servers: tuple[str, ...], step: str) -> None:
    house = House(deploy_plan(*servers), {"web1": {step: Act(code=9, lines=("it broke",))}})
    outcome = await house.carry_out()
    is_late = step in ("reload", "verify release", "health check")
    assert outcome.status == ("rolled_back" if is_late else "failed")
    assert outcome.error == f"web1: step '{step}' failed with exit code 9: it broke"
    for server in servers:
        assert house.ran(server)[-3:] == undo(house.plan)
    assert house.ran("web1").count("take back") == 1  # the failing run has undone it all by itself
    assert house.notebook.decided == [("failed", outcome.error)]


async def test_an_explanation_is_better_than_an_exit_code() -> None:
    house = House(deploy_plan("web1"), {"web1": {"fetch": Act(code=1, explain="There is no branch.")}})
    assert (await house.carry_out()).error == "web1, step 'fetch': There is no branch."


async def test_every_failing_server_is_named() -> None:
    acts = {server: {"build": Act(code=2, lines=(f"{server} broke",))} for server in ("web1", "web2")}
    error = (await House(deploy_plan("web1", "web2"), acts).carry_out()).error
    assert error.splitlines() == [
        "web1: step 'build' failed with exit code 2: web1 broke",
        "web2: step 'build' failed with exit code 2: web2 broke",
    ]


@pytest.mark.parametrize(
    ("code", "line", "hint"),
    [
        (1, "cp: No space left on device", "The disk is full: free some space"),
        (127, "make: not found", "A program is missing on the server"),
        (137, "Killed", "the server ran out of memory"),
    ],
)
async def test_hints(code: int, line: str, hint: str) -> None:
    house = House(deploy_plan("web1"), {"web1": {"build": Act(code=code, lines=(line,))}})
    assert hint in (await house.carry_out()).error


async def test_a_run_that_was_shot_is_undone_by_a_run_of_its_own() -> None:
    house = House(deploy_plan("web1"), {"web1": {"build": Act(code=None)}})
    outcome = await house.carry_out()
    assert outcome.status == "failed"
    assert outcome.error.startswith("web1: the run was interrupted during 'build'")
    assert list(house.servers["web1"].runs) == ["d2-idweb1-1-forward", "d2-idweb1-undo"]
    assert house.ran()[-3:] == undo(house.plan)


@pytest.mark.parametrize("step", ["", "prune", "unlock"])
async def test_a_server_that_goes_down_when_another_has_cleaned_up_cleans_up_again(step: str) -> None:
    """The other has forgotten what it served before: nobody goes back, else two versions would serve. Without a step it
    goes down before it hears that it may."""
    gate = asyncio.Event()
    house = House(deploy_plan("web1", "web2"), {"web2": {step: Act(gate=gate)}})
    number, web2 = len(house.plan.groups), house.servers["web2"]
    if not step:
        web2.deaf_at = number
    carrying = asyncio.create_task(house.carry_out())
    await eventually(lambda: house.notebook.runs.get(("web1", "1-forward"), RunProgress()).exit_code == 0)
    await eventually(lambda: not step or step in house.ran("web2"))
    web2.shoot()
    gate.set()
    assert await carrying == Outcome("success", "")
    assert "take back" not in house.ran("web1") + house.ran("web2")
    assert house.ran("web2")[-2:] == ["prune", "unlock"]
    assert list(web2.runs) == ["d2-idweb2-1-forward", f"d2-idweb2-{number + 1}-finish"]
    assert house.notebook.decided == []


async def test_servers_that_go_down_before_any_was_let_clean_up_go_back() -> None:
    house = House(deploy_plan("web1", "web2"))
    for server in house.servers.values():
        server.deaf_at = len(house.plan.groups)
    carrying = asyncio.create_task(house.carry_out())
    await eventually(
        lambda: len([name for name in house.ran("web1") + house.ran("web2") if name == "health check"]) == 2
    )
    await asyncio.sleep(0.05)
    for server in house.servers.values():
        server.shoot()
    assert (await carrying).status == "failed"
    for name in house.servers:
        assert house.ran(name)[-3:] == undo(house.plan)


async def test_a_server_that_stays_away_when_another_has_cleaned_up_is_left_to_the_next_deployment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LOST_CONTACT_SECONDS", 0.3)
    gate = asyncio.Event()
    house = House(deploy_plan("web1", "web2"), {"web2": {"prune": Act(gate=gate)}})
    carrying = asyncio.create_task(house.carry_out())
    await eventually(lambda: "prune" in house.ran("web2"))
    house.reach.away.add("idweb2")
    house.reach.cut("idweb2")
    assert await carrying == Outcome("success", "")
    assert house.notebook.lines("web2")[-1].endswith(
        "All was done there but cleaning up: the next deployment does that."
    )


async def test_what_cannot_be_taken_back_is_said() -> None:
    acts = {"build": Act(code=None), "clean up": Act(code=5)}
    outcome = await House(deploy_plan("web1"), {"web1": acts}).carry_out()
    assert outcome.status == "failed"
    assert "Taking back: web1: step 'clean up' failed with exit code 5" in outcome.error


async def test_a_server_that_goes_down_while_undoing_undoes_again() -> None:
    house = House(deploy_plan("web1"), {"web1": {"build": Act(code=None), "take back": Act(code=None)}})
    outcome = await house.carry_out()
    assert outcome.status == "failed"
    assert list(house.servers["web1"].runs)[-2:] == ["d2-idweb1-undo", "d2-idweb1-undo-again"]


async def test_a_rollback_that_fails_is_taken_back_too() -> None:
    house = House(rollback_plan("web1"), {"web1": {"health check": Act(code=1)}})
    assert (await house.carry_out()).status == "rolled_back"


# --- the way to the servers -------------------------------------------------------------------------------------------


async def test_a_server_that_cannot_be_reached_fails_the_deployment_and_nothing_is_run() -> None:
    house = House(deploy_plan("web1", "web2"))
    house.reach.away.add("idweb2")
    outcome = await house.carry_out()
    assert (outcome.status, outcome.error) == ("failed", "idweb2 cannot be reached")
    assert house.servers["web2"].runs == {}
    assert house.ran("web1")[-3:] == undo(house.plan)


@pytest.mark.parametrize("error", [ConnectError("refused the login"), HostKeyError("another host key", transient=True)])
async def test_what_waiting_cannot_mend_is_not_tried_again(
    error: ConnectError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_CONTACT_SECONDS", 1_000)
    house = House(deploy_plan("web1"))
    house.reach.away.add("idweb1")
    house.reach.error = error
    assert (await house.carry_out()).error == str(error)


async def test_a_lost_connection_is_made_anew_and_nothing_is_lost_or_doubled() -> None:
    gate = asyncio.Event()
    lines = tuple(f"line {number}" for number in range(50))
    house = House(deploy_plan("web1"), {"web1": {"build": Act(lines=lines, gate=gate)}})
    carrying = asyncio.create_task(house.carry_out())
    for _ in range(3):
        await eventually(lambda: "line 3" in house.notebook.lines())
        connections = house.reach.connections
        house.reach.cut()
        await eventually(lambda before=connections: house.reach.connections > before)
    gate.set()
    assert (await carrying).status == "success"
    assert house.notebook.lines() == list(lines)
    assert house.ran() == forward(house.plan)


async def test_a_dead_connection_that_was_noticed_late_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noticing it took as long as a server is tried at first; the log says so at once."""
    monkeypatch.setattr(module, "NOTICE_SECONDS", module.FIRST_CONTACT_SECONDS)
    house = House(deploy_plan("web1"))
    house.servers["web1"].is_frozen = True
    carrying = asyncio.create_task(house.carry_out())
    await eventually(lambda: house.reach.connections)
    await asyncio.sleep(2 * module.FIRST_CONTACT_SECONDS)
    house.servers["web1"].is_frozen = False
    house.reach.cut()
    assert (await carrying).status == "success"
    assert house.reach.connections == 2
    assert house.notebook.lines()[0].startswith("Waiting for web1: no answer since ")


async def test_a_run_goes_on_while_its_server_is_away() -> None:
    gate = asyncio.Event()
    house = House(deploy_plan("web1"), {"web1": {"build": Act(gate=gate)}})
    carrying = asyncio.create_task(house.carry_out())
    await eventually(lambda: "build" in house.ran())
    house.reach.away.add("idweb1")
    house.reach.cut()
    gate.set()
    await eventually(lambda: "unlock" in house.ran())
    house.reach.away.clear()
    assert (await carrying).status == "success"


async def test_a_server_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOST_CONTACT_SECONDS", 0.2)
    house = House(deploy_plan("web1"), {"web1": {"build": Act(gate=asyncio.Event())}})
    carrying = asyncio.create_task(house.carry_out())
    await eventually(lambda: "build" in house.ran())
    house.reach.away.add("idweb1")
    house.reach.cut()
    outcome = await carrying
    assert outcome.status == "failed"
    assert "Taking back: idweb1 cannot be reached" in outcome.error


def _frozen(monkeypatch: pytest.MonkeyPatch) -> House:
    """Two servers, of which the second takes what it is sent, and says nothing."""
    monkeypatch.setattr(module, "LOST_CONTACT_SECONDS", 1_000)
    monkeypatch.setattr(module, "NOTICE_SECONDS", 0.05)
    monkeypatch.setattr(module, "SILENT_SECONDS", 0.05)
    monkeypatch.setattr(module, "STALE_SECONDS", 0.1)
    house = House(deploy_plan("web1", "web2"))
    house.servers["web2"].is_frozen = True
    return house


def _lose(house: House, server: str) -> None:
    house.reach.away.add(f"id{server}")
    house.reach.cut(f"id{server}")


async def test_a_server_that_takes_what_it_is_sent_and_never_answers_is_given_up_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = _frozen(monkeypatch)
    carrying = asyncio.create_task(house.carry_out())
    await eventually(lambda: "idweb2" in house.reach._open and "build" in house.ran("web1"))
    _lose(house, "web2")
    outcome = await carrying
    assert outcome.status == "failed"
    assert outcome.error.startswith("idweb2 cannot be reached\nTaking back: idweb2 cannot be reached It was sent")
    assert house.ran("web1")[-3:] == undo(house.plan)
    assert house.servers["web2"].runs == {}
    assert house.notebook.lines("web2")[0].startswith("Waiting for web2: no answer since ")
    assert house.notebook.lines("web1") == []


async def test_what_a_frozen_server_may_have_begun_is_ended_where_it_answers_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = _frozen(monkeypatch)
    carrying = asyncio.create_task(house.carry_out())
    await eventually(lambda: "idweb2" in house.reach._open and "build" in house.ran("web1"))
    house.cancelled.set()
    await eventually(lambda: "unlock" not in house.ran("web1") and house.ran("web1")[-3:] == undo(house.plan))
    house.servers["web2"].is_frozen = False
    house.reach.cut("idweb2")
    assert await carrying == Outcome("cancelled", "Cancelled.")
    assert house.servers["web2"].killed == ["d2-idweb2-1-forward"]
    assert house.ran("web2") == undo(house.plan)


async def test_cancelling_does_not_wait_for_a_server_that_never_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_CONTACT_SECONDS", 1_000)
    house = _frozen(monkeypatch)
    carrying = asyncio.create_task(house.carry_out())
    await eventually(lambda: "idweb2" in house.reach._open and "build" in house.ran("web1"))
    _lose(house, "web2")
    house.cancelled.set()
    outcome = await carrying
    assert (outcome.status, "web2" in outcome.error) == ("cancelled", True)
    assert house.ran("web1")[-3:] == undo(house.plan)


async def test_a_long_connection_that_is_lost_is_waited_for_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEADY_SECONDS", 0.01)
    monkeypatch.setattr(module, "LOST_CONTACT_SECONDS", 0.5)
    gate = asyncio.Event()
    house = House(deploy_plan("web1"), {"web1": {"build": Act(gate=gate)}})
    carrying = asyncio.create_task(house.carry_out())
    await eventually(lambda: "build" in house.ran())
    await asyncio.sleep(0.6)
    _lose(house, "web1")
    await asyncio.sleep(0.1)
    house.reach.away.clear()
    gate.set()
    assert (await carrying).status == "success"


# --- cancelling -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("servers", [("web1",), ("web1", "web2")])
@pytest.mark.parametrize("step", ["lock", "fetch", "build", "migrate", "activate", "reload", "health check"])
async def test_cancelling_in_each_phase_ends_the_runs_and_undoes(servers: tuple[str, ...], step: str) -> None:
    house = House(deploy_plan(*servers), {server: {step: Act(gate=asyncio.Event())} for server in servers})
    carrying = asyncio.create_task(house.carry_out())
    await eventually(lambda: step in house.ran("web1"))
    house.cancelled.set()
    assert await carrying == Outcome("cancelled", "Cancelled.")
    for server in servers:
        assert "unlock" not in house.ran(server)
        assert house.ran(server)[-3:] == undo(house.plan) or house.servers[server].runs == {}
    assert house.ran("web1")[-3:] == undo(house.plan)
    assert "d2-idweb1-" in house.servers["web1"].killed[0]


async def test_cancelling_while_a_server_is_just_being_reached() -> None:
    """The run that begins after all is ended too."""
    house = House(deploy_plan("web1"), {"web1": {"build": Act(gate=asyncio.Event())}})
    house.reach.away.add("idweb1")
    carrying = asyncio.create_task(house.carry_out())
    await asyncio.sleep(0.02)
    house.cancelled.set()
    house.reach.away.clear()
    assert (await carrying).status == "cancelled"
    assert "unlock" not in house.ran()


async def test_cancelled_before_it_began_nothing_is_run() -> None:
    house = House(deploy_plan("web1"))
    house.cancelled.set()
    assert (await house.carry_out()).status == "cancelled"
    assert house.servers["web1"].runs == {}


async def test_cancelling_what_several_servers_have_verified_comes_too_late() -> None:
    gate = asyncio.Event()
    acts = {"web2": {"prune": Act(gate=gate)}}
    house = House(deploy_plan("web1", "web2"), acts)
    carrying = asyncio.create_task(house.carry_out())
    await eventually(lambda: "prune" in house.ran("web2"))
    house.cancelled.set()
    await asyncio.sleep(0.05)
    gate.set()
    assert (await carrying).status == "success"
    assert house.servers["web2"].killed == []


@pytest.mark.parametrize("plan", [deploy_plan("web1"), rollback_plan("web1")], ids=["deployment", "rollback"])
async def test_cancelling_what_could_not_go_back_any_more_is_a_success(plan: Plan) -> None:
    """The kill came when the release before was forgotten already: undoing finds the new one serving."""
    notes = (f"current {plan.release}", f"release {plan.release}")
    house = House(plan, {"web1": {"unlock": Act(gate=asyncio.Event()), "clean up": Act(notes=notes)}})
    carrying = asyncio.create_task(house.carry_out())
    await eventually(lambda: "unlock" in house.ran())
    house.cancelled.set()
    assert await carrying == Outcome("success", "")


async def test_a_cancel_that_is_heard_when_a_rollback_has_ended_comes_too_late() -> None:
    """Nobody had read that it ended: the worker was taken for dead, or the database was away."""
    gate = asyncio.Event()
    acts = {"unlock": Act(gate=gate), "clean up": Act(notes=("current r1", "release r1"))}
    house = House(rollback_plan("web1"), {"web1": acts})
    carrying = asyncio.create_task(house.carry_out())
    await eventually(lambda: "unlock" in house.ran())
    carrying.cancel()
    await asyncio.gather(carrying, return_exceptions=True)
    gate.set()
    await eventually(lambda: all(run.is_over for run in house.servers["web1"].runs.values()))
    house.cancelled.set()
    assert await house.carry_out() == Outcome("success", "")


async def test_a_rollback_to_what_serves_already_that_is_cancelled_stays_cancelled() -> None:
    acts = {"reload": Act(gate=asyncio.Event()), "clean up": Act(notes=("current r1", "release r1"))}
    house = House(rollback_plan("web1"), {"web1": acts})
    carrying = asyncio.create_task(house.carry_out())
    await eventually(lambda: "reload" in house.ran())
    house.cancelled.set()
    assert (await carrying).status == "cancelled"


# --- another worker takes over ----------------------------------------------------------------------------------------


async def test_a_worker_that_takes_over_follows_what_runs_and_begins_nothing_twice() -> None:
    gate = asyncio.Event()
    lines = tuple(f"line {number}" for number in range(30))
    house = House(deploy_plan("web1", "web2"), {"web2": {"warm": Act(lines=lines, gate=gate)}})
    first = asyncio.create_task(house.carry_out())
    await eventually(lambda: len(house.notebook.lines("web2")) > 10)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    house.observed = Observed.from_json(deepcopy(house.observed.to_json()))
    gate.set()
    assert (await house.carry_out()).status == "success"
    assert house.notebook.lines("web2") == list(lines)
    assert house.ran("web1") == forward(house.plan)
    assert house.ran("web2") == [name for name in forward(house.plan) if name != "migrate"]


async def test_a_worker_that_takes_over_goes_on_taking_back() -> None:
    house = House(deploy_plan("web1"))
    house.observed.reached.add("web1")
    async with asyncio.timeout(10):
        outcome = await house.runner(ending="cancelled", error="Cancelled.").carry_out()
    assert outcome == Outcome("cancelled", "Cancelled.")
    assert house.ran() == undo(house.plan)


async def test_a_worker_that_takes_over_hears_of_a_cancel_that_the_first_did_not() -> None:
    house = House(deploy_plan("web1"), {"web1": {"build": Act(gate=asyncio.Event())}})
    first = asyncio.create_task(house.carry_out())
    await eventually(lambda: "build" in house.ran())
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    house.cancelled.set()
    assert (await house.carry_out()).status == "cancelled"
    assert house.servers["web1"].killed


async def _killed(house: House) -> None:
    """The worker that carries it dies; what the servers do goes on without it."""
    first = asyncio.create_task(house.carry_out())
    await eventually(lambda: "build" in house.ran())
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_what_ran_on_after_its_worker_died_is_read_to_the_end_though_it_was_cancelled() -> None:
    gate = asyncio.Event()
    acts = {"build": Act(gate=gate, lines=("building",)), "warm": Act(lines=("unseen",), gate=asyncio.Event())}
    house = House(deploy_plan("web1"), {"web1": acts})
    await _killed(house)
    gate.set()
    await eventually(lambda: "warm" in house.ran())
    house.cancelled.set()
    assert (await house.carry_out()).status == "cancelled"
    assert house.notebook.lines() == ["building", "unseen"]
    assert house.notebook.runs["web1", "1-forward"].exit_code == INTERRUPTED
    assert house.ran()[-3:] == undo(house.plan)


async def test_what_had_ended_before_its_cancel_was_heard_is_read_to_the_end() -> None:
    gate = asyncio.Event()
    house = House(deploy_plan("web1"), {"web1": {"build": Act(gate=gate), "warm": Act(code=4, lines=("broke",))}})
    await _killed(house)
    gate.set()
    await eventually(lambda: house.servers["web1"].runs["d2-idweb1-1-forward"].is_over)
    house.cancelled.set()
    assert (await house.carry_out()).status == "cancelled"
    assert house.notebook.lines() == ["broke"]
    assert house.notebook.runs["web1", "1-forward"].exit_code == 4


async def test_a_server_that_comes_back_when_it_was_given_up_is_ended_before_it_is_taken_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LOST_CONTACT_SECONDS", 0.5)
    house = House(deploy_plan("web1"), {"web1": {"build": Act(gate=asyncio.Event(), lines=("unseen",))}})
    carrying = asyncio.create_task(house.carry_out())
    await eventually(lambda: "build" in house.ran())
    _lose(house, "web1")
    await eventually(lambda: house.notebook.decided)
    house.reach.away.clear()
    outcome = await carrying
    assert (outcome.status, "Taking back" in outcome.error) == ("failed", False)
    server = house.servers["web1"]
    assert server.killed == ["d2-idweb1-1-forward"]
    assert all(run.is_over for run in server.runs.values())
    assert house.notebook.lines().count("unseen") == 1


async def test_what_a_server_did_whose_answer_was_lost_is_told_and_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """It began what it was sent, and all its words were lost until the deployment had failed."""
    house = _frozen(monkeypatch)
    monkeypatch.setattr(module, "SILENT_SECONDS", 5)
    house.servers["web2"].acts[house.plan.steps[0].position] = Act(lines=("late",), gate=asyncio.Event())
    carrying = asyncio.create_task(house.carry_out())
    await eventually(lambda: "idweb2" in house.reach._open and "build" in house.ran("web1"))
    _begin_unheard(house, "web2")
    house.cancelled.set()
    await eventually(lambda: house.notebook.decided)
    house.servers["web2"].is_frozen = False
    house.reach.cut("idweb2")
    assert (await carrying).status == "cancelled"
    assert house.notebook.lines("web2") == ["late"]
    assert house.notebook.runs["web2", "1-forward"].exit_code == INTERRUPTED
    assert house.ran("web2")[-3:] == undo(house.plan)


def _begin_unheard(house: House, server: str) -> None:
    target = next(target for target in house.plan.site.targets if target.name == server)
    group = house.plan.forward
    identity = script.run_id("d2", target, group)
    nonce = script.nonce_of(identity, b"key")
    begun = script.render(house.plan, group, target, deployment="d2", commit="", secrets=RunSecrets(), nonce=nonce)
    house.servers[server].start(identity, begun.text)


async def test_a_worker_that_lost_its_claim_stops_at_once_and_leaves_the_runs_alone() -> None:
    gate = asyncio.Event()
    house = House(deploy_plan("web1"), {"web1": {"build": Act(gate=gate)}})
    carrying = asyncio.create_task(house.carry_out())
    await eventually(lambda: "build" in house.ran())
    house.notebook.is_lost = True
    gate.set()
    with pytest.raises(ClaimLostError):
        await carrying
    await eventually(lambda: "unlock" in house.ran())
    assert house.servers["web1"].killed == []


def test_what_was_observed_comes_back_from_json() -> None:
    observed = Observed(
        commit="c", took_back={"web1": "r1"}, undone={"web1"}, reached={"web1", "web2"}, failed_step={"web1": 3}
    )
    assert Observed.from_json(observed.to_json()) == observed
    assert Observed.from_json({}) == Observed()
