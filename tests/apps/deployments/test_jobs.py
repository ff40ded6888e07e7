"""Deployments carried to their end on the database, by servers that exist in memory only."""

from __future__ import annotations

import asyncio
import base64
import threading
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django_scopes import scope, scopes_disabled

from devflow.apps.deployments import events, jobs, selectors, services
from devflow.apps.deployments.models import Deployment, Release, Run, Status
from devflow.apps.deployments.planning import plan_deploy, plan_rollback
from devflow.apps.deployments.recorder import DeploymentRecorder
from devflow.apps.projects import services as projects
from devflow.apps.projects.models import Environment, Variable
from devflow.apps.projects.variables import variables_set
from devflow.apps.servers.models import Server
from devflow.core.errors import ClaimLostError, ConnectError
from devflow.core.masking import Masker
from devflow.engine import inspect, runner
from devflow.engine.inspect import Seen
from devflow.engine.output import Frame, Line
from devflow.engine.runner import Observed, RunProgress
from devflow.engine.task import Tree
from tests.support.fake_server import Act, FakeReach, FakeServer
from tests.support.shop import Shop

COMMIT = "c0ffee" + "0" * 34
SECRET = "s3cret-value"
FOUND = Act(notes=(f"commit {COMMIT}\tAda <ada@example.test>\tAdd {SECRET} to the shop",), lines=("fetched",))


@pytest.fixture
def shop(open_for_many: Shop) -> Shop:
    """Committed: a worker begins each job with connections that hold no transaction."""
    return open_for_many


class Reach(FakeReach):
    """Fake servers for the servers of the shop; it also counts who asked for whom."""

    def __init__(self, servers: dict[str, FakeServer]) -> None:
        super().__init__(servers)
        self.remembered: list[str] = []

    def remember(self, servers: Iterable[Server]) -> None:
        self.remembered += [server.name for server in servers]


class Carrier:
    """A worker with its way to the servers. `acts` says what tasks do, by their names; `cancelled` is told to all."""

    def __init__(self, shop: Shop, deployment: Deployment, *, recipe: str = "static", **acts: Act) -> None:
        self.shop, self.deployment = shop, deployment
        with scope(team=shop.team):
            environment = Environment.objects.select_related("project").get(pk=deployment.environment_id)
            make = plan_rollback if deployment.rollback_to_id else plan_deploy
            plan = make(environment=environment, recipe=recipe, release=deployment.release, commit=COMMIT)
            ids = {server.name: server.pk.hex for server in environment.servers.all()}
        told = {"fetch": FOUND, "unlock": reports(deployment.release, deployment.release)} | {
            name.replace("_", " "): act for name, act in acts.items()
        }
        positions = {step.position: told[step.task.name] for step in plan.steps if step.task.name in told}
        self.servers = {name: FakeServer(name, dict(positions)) for name in ids}
        self.reach = Reach({ids[name]: server for name, server in self.servers.items()})
        self.events: dict[str, asyncio.Event] = {}

    def cancelled(self, deployment_id: str) -> asyncio.Event:
        return self.events.setdefault(deployment_id, asyncio.Event())

    async def work(self) -> None:
        await jobs.advance(deployment_id=str(self.deployment.pk), reach=self.reach, cancelled=self.cancelled)  # type: ignore[arg-type]

    def run(self, *beside: Callable[[], Awaitable[object]]) -> Deployment:
        """Works to the end, with others beside; the deployment as it is then."""

        async def everything() -> None:
            await asyncio.gather(self.work(), *(other() for other in beside))

        in_a_worker(everything)
        return self.shop.deployment(self.deployment)


def in_a_worker(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs it in a loop of its own, with database connections of its own."""

    async def everything() -> None:
        try:
            async with asyncio.timeout(30):
                await work()
        finally:
            await sync_to_async(connections.close_all)()

    asyncio.run(everything())


def reports(current: str, *kept: str) -> Act:
    return Act(notes=(f"current {current}", *(f"release {name}" for name in kept)))


def request(shop: Shop, environment: Environment | None = None, **settings: str) -> Deployment:
    return services.deployment_request(actor=shop.actor(), environment=environment or shop.environment, **settings)


def kinds(deployment: Deployment) -> list[str]:
    return [event.kind for event in selectors.event_list(deployment_id=deployment.pk, after_seq=0)]


def log(shop: Shop, deployment: Deployment) -> str:
    return b"".join(selectors.log_read(actor=shop.actor(), deployment=deployment)).decode()


def step_statuses(shop: Shop, deployment: Deployment) -> dict[str, str]:
    return {step.name: step.status for step in selectors.step_list(actor=shop.actor(), deployment=deployment)}


# --- to the end -------------------------------------------------------------------------------------------------------


def test_success(shop: Shop) -> None:
    made = request(shop)
    done = Carrier(shop, made, build=Act(lines=("built",))).run()
    assert (done.status, done.error, done.claim) == ("success", "", None)
    assert (done.commit, done.author) == (COMMIT, "Ada <ada@example.test>")
    assert done.duration_seconds is not None
    steps = step_statuses(shop, made)
    assert {steps.pop(name) for name in ("take back", "clean up")} == {"skipped"}
    assert set(steps.values()) == {"success"}
    (release,) = selectors.release_list(actor=shop.actor(), environment=shop.environment)
    assert (release.name, release.is_current, release.deployment) == (made.release, True, made)


@pytest.mark.parametrize("is_clean", [True, False])
def test_a_clean_deployment_has_a_clean_plan(shop: Shop, is_clean: bool) -> None:
    deployment = services.deployment_request(actor=shop.actor(), environment=shop.environment, is_clean=is_clean)
    done = Carrier(shop, deployment).run()
    assert done.plan
    assert (done.status, done.plan["is_clean"]) == ("success", is_clean)


def test_the_record_is_whole_and_in_order(shop: Shop) -> None:
    made = request(shop)
    Carrier(shop, made).run()
    found = selectors.event_list(deployment_id=made.pk, after_seq=0)
    assert [event.seq for event in found] == list(range(1, len(found) + 1))
    assert (found[0].kind, found[-1].kind) == ("deployment.started", "deployment.completed")
    assert kinds(made).count("deployment.completed") == 1
    begun = [event.data["name"] for event in found if event.data.get("status") == "running" and "name" in event.data]
    assert begun[:4] == ["check server", "lock", "fetch", "release"]
    phases = [
        event.data["status"] for event in found if event.kind == "deployment.status" and "commit" not in event.data
    ]
    assert phases == ["verifying", "running", "success"]


def test_every_line_of_a_flood_is_kept(shop: Shop) -> None:
    made = request(shop)
    lines = tuple(f"line {number}" for number in range(2_000))
    Carrier(shop, made, release=Act(lines=lines)).run()
    assert [line for line in log(shop, made).splitlines() if line.startswith("line")] == list(lines)


def test_failure(shop: Shop) -> None:
    made = request(shop)
    done = Carrier(shop, made, release=Act(code=3, lines=("no luck",)), clean_up=reports("r0", "r0")).run()
    assert (done.status, done.error) == ("failed", "web1: step 'release' failed with exit code 3: no luck")
    steps = step_statuses(shop, made)
    assert [steps[name] for name in ("fetch", "release", "activate", "take back")] == [
        "success",
        "failed",
        "skipped",
        "success",
    ]
    assert selectors.release_list(actor=shop.actor(), environment=shop.environment) == []


def test_a_failed_health_check_is_rolled_back(shop: Shop) -> None:
    projects.environment_update(actor=shop.actor(), environment=shop.environment, health_url="/up")
    made = request(shop)
    broken = Act(code=1, explain="The health check failed: 500.")
    done = Carrier(shop, made, health_check=broken, take_back=Act(notes=("took_back r0",))).run()
    assert (done.status, done.error) == ("rolled_back", "web1, step 'health check': The health check failed: 500.")


def test_what_is_carried_already_or_has_ended_is_left_alone(shop: Shop) -> None:
    made = request(shop)
    carrier = Carrier(shop, made)
    carrier.run()
    before = kinds(made)
    carrier.run()
    assert kinds(made) == before
    assert len(carrier.servers["web1"].runs) == 1


def test_a_deployment_that_is_gone_is_nobodys(shop: Shop) -> None:
    gone = str(uuid.uuid4())
    in_a_worker(lambda: jobs.advance(deployment_id=gone, reach=Reach({}), cancelled=lambda _: asyncio.Event()))  # type: ignore[arg-type]


def test_rolling_back_is_a_deployment_of_its_own(shop: Shop) -> None:
    first = request(shop)
    Carrier(shop, first).run()
    second = request(shop)
    Carrier(shop, second, unlock=reports(second.release, first.release, second.release)).run()
    back = services.deployment_rollback(actor=shop.actor(), environment=shop.environment)
    assert back.release == first.release
    done = Carrier(shop, back, unlock=reports(first.release, first.release, second.release)).run()
    assert (done.status, done.commit) == ("success", COMMIT)
    with scope(team=shop.team):
        current = Release.objects.get(is_current=True)
    assert (current.name, current.deployment) == (first.release, first)


def test_releases_that_the_servers_do_not_keep_any_more_are_not_offered(shop: Shop) -> None:
    made = []
    for _ in range(3):
        made.append(request(shop))
        names = [one.release for one in made[-2:]]
        Carrier(shop, made[-1], unlock=reports(names[-1], *names)).run()
    kept = [release.name for release in selectors.release_list(actor=shop.actor(), environment=shop.environment)]
    assert kept == [made[2].release, made[1].release]


def test_a_release_counts_as_kept_where_all_servers_keep_it(shop: Shop) -> None:
    both = shop.add_environment("both", on=("web1", "web2"))
    made = request(shop, both, commit=COMMIT)
    carrier = Carrier(shop, made)
    unlock = max(carrier.servers["web2"].acts)
    carrier.servers["web2"].acts[unlock] = reports(made.release, "another")
    carrier.run()
    assert selectors.release_list(actor=shop.actor(), environment=both) == []


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_no_secret_is_stored_in_clear_anywhere(shop: Shop) -> None:
    projects.variables_set(actor=shop.actor(), environment=shop.environment, values={"APP_KEY": SECRET})
    made = request(shop)
    loud = Act(code=1, lines=(f"the key is {SECRET}",), explain=f"It failed with {SECRET}.")
    done = Carrier(shop, made, release=loud).run()
    assert done.error == "web1, step 'release': It failed with ***."
    assert "the key is ***" in log(shop, made)
    assert done.commit_message == "Add *** to the shop"
    with scope(team=shop.team):
        row = Deployment.objects.filter(pk=made.pk).values().get()
    assert SECRET not in repr(row)
    assert SECRET not in repr([event.data for event in selectors.event_list(deployment_id=made.pk, after_seq=0)])
    assert SECRET not in log(shop, made)


def test_the_projects_variables_are_masked_and_plain_text_is_not(shop: Shop) -> None:
    for values, kind in (
        ({"APP_KEY": SECRET}, None),
        ({"APP_ENV": "production"}, "text"),
        ({"PEM": "in a file"}, "file"),
    ):
        variables_set(actor=shop.actor(), project=shop.project, values=values, kind=kind)
    made = request(shop)
    loud = Act(code=1, lines=(f"{SECRET} in production, {base64.b64encode(b'in a file').decode()}",))
    Carrier(shop, made, release=loud).run()
    assert "*** in production, ***" in log(shop, made)


# --- workers that die, and others -------------------------------------------------------------------------------------


def test_a_worker_that_takes_over_doubles_and_loses_nothing(shop: Shop) -> None:
    made = request(shop)
    lines = tuple(f"line {number}" for number in range(300))
    gate = asyncio.Event()
    carrier = Carrier(shop, made, release=Act(lines=lines, gate=gate))

    async def dies() -> None:
        first = asyncio.ensure_future(carrier.work())
        while "line 200" not in await sync_to_async(log)(shop, made):
            await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        gate.set()
        await carrier.work()

    in_a_worker(dies)
    done = shop.deployment(made)
    assert done.status == "success"
    assert [line for line in log(shop, made).splitlines() if line.startswith("line")] == list(lines)
    assert len(carrier.servers["web1"].ran) == len(set(carrier.servers["web1"].ran))
    assert step_statuses(shop, made)["release"] == "success"
    assert kinds(made).count("deployment.started") == kinds(made).count("deployment.completed") == 1


def test_a_worker_that_dies_while_it_writes_a_steps_beginning_leaves_the_step_under_way(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is heard while a batch is being written belongs to the next one: with its rows, its lines and its offset."""
    made = request(shop)
    heard, is_dead = threading.Event(), threading.Event()
    gate = asyncio.Event()
    carrier = Carrier(shop, made, release=Act(lines=("first",), gate=gate), activate=Act(lines=("second",)))
    append, record = events.append, DeploymentRecorder.record

    def slow(**given: Any) -> bool:
        if is_dead.is_set():
            raise ClaimLostError("It is dead.")
        if any(event.data.get("name") == "release" for event in given["events"]):
            loop[0].call_soon_threadsafe(gate.set)
            assert heard.wait(10)
            is_dead.set()
        return append(**given)

    def hear(recorder: DeploymentRecorder, *given: Any) -> None:
        record(recorder, *given)
        if any(step.name == "release" and step.status == "success" for step in recorder._steps.values()):
            heard.set()

    loop: list[asyncio.AbstractEventLoop] = []

    async def dies() -> None:
        loop.append(asyncio.get_running_loop())
        await carrier.work()

    monkeypatch.setattr(events, "append", slow)
    monkeypatch.setattr(DeploymentRecorder, "record", hear)
    in_a_worker(dies)
    monkeypatch.undo()
    assert step_statuses(shop, made)["release"] == "running"
    assert carrier.run().status == "success"
    steps = {str(step.pk): step.name for step in selectors.step_list(actor=shop.actor(), deployment=made)}
    found = selectors.event_list(deployment_id=made.pk, after_seq=0)
    logged = [(steps.get(event.data["step"]), event.text) for event in found if event.kind == "deployment.log"]
    assert ("release", "first\n") in logged
    assert {step for step, _ in logged} <= {"fetch", "release", "activate"}


def test_what_a_step_said_before_it_was_skipped_is_kept(shop: Shop) -> None:
    made = request(shop)

    async def skip() -> None:
        claimed = await sync_to_async(jobs._claim)(str(made.pk))
        assert claimed is not None
        claimed.plan, claimed.steps = await sync_to_async(jobs._store_plan)(claimed, "static", COMMIT, {})
        recorder = DeploymentRecorder(
            deployment=claimed.deployment,
            team=claimed.team,
            plan=claimed.plan,
            steps=claimed.steps,
            runs=[],
            observed=Observed(),
            masker=Masker(()),
            claim=claimed.claim,
        )
        items = [Frame(1.0, "begin", "0"), Line("looked"), Frame(1.0, "skip", "0")]
        recorder.record("web1", "1-forward", items, RunProgress())
        await recorder.flush()

    in_a_worker(skip)
    assert log(shop, made) == "looked\n"


def test_of_two_workers_the_later_goes_on_and_the_other_writes_nothing_more(shop: Shop) -> None:
    made = request(shop)
    gate = asyncio.Event()
    carrier = Carrier(shop, made, release=Act(lines=("begun",), gate=gate))

    async def frozen_and_back() -> None:
        first = asyncio.ensure_future(carrier.work())
        while "begun" not in await sync_to_async(log)(shop, made):
            await asyncio.sleep(0.01)
        second = asyncio.ensure_future(carrier.work())
        claims = {(await sync_to_async(shop.deployment)(made)).claim}
        while len(claims) < 2:
            claims.add((await sync_to_async(shop.deployment)(made)).claim)
            await asyncio.sleep(0.01)
        gate.set()
        await asyncio.gather(first, second)

    in_a_worker(frozen_and_back)
    assert shop.deployment(made).status == "success"
    assert log(shop, made).count("begun") == 1
    assert len(carrier.servers["web1"].ran) == len(set(carrier.servers["web1"].ran))
    found = selectors.event_list(deployment_id=made.pk, after_seq=0)
    assert [event.seq for event in found] == list(range(1, len(found) + 1))


def test_a_cancel_ends_and_undoes(shop: Shop) -> None:
    made, owner = request(shop), shop.actor()
    carrier = Carrier(shop, made, release=Act(lines=("begun",), gate=asyncio.Event()), clean_up=reports("r0", "r0"))

    async def cancel() -> None:
        while "begun" not in await sync_to_async(log)(shop, made):
            await asyncio.sleep(0.01)
        await sync_to_async(services.deployment_cancel)(actor=owner, deployment=made)
        carrier.cancelled(str(made.pk)).set()  # as the worker does that hears of it

    done = carrier.run(cancel)
    assert (done.status, done.error) == ("cancelled", "Cancelled.")
    assert step_statuses(shop, made)["release"] == "cancelled"
    assert carrier.servers["web1"].killed


def test_a_worker_that_takes_over_finds_the_cancel_in_the_database(shop: Shop) -> None:
    made, owner = request(shop), shop.actor()
    carrier = Carrier(shop, made, release=Act(lines=("begun",), gate=asyncio.Event()))

    async def dies() -> None:
        first = asyncio.ensure_future(carrier.work())
        while "begun" not in await sync_to_async(log)(shop, made):
            await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await sync_to_async(services.deployment_cancel)(actor=owner, deployment=made)
        carrier.events.clear()
        await carrier.work()

    in_a_worker(dies)
    assert shop.deployment(made).status == "cancelled"


# --- who may begin ----------------------------------------------------------------------------------------------------


def begin(shop: Shop, deployment: Deployment) -> bool:
    with scope(team=shop.team):
        return jobs._begin(deployment, uuid.uuid4())


def test_one_at_a_time_in_an_environment(shop: Shop) -> None:
    first = request(shop)
    assert begin(shop, first)
    assert not begin(shop, first)
    second = request(shop)
    assert not begin(shop, second)
    assert shop.deployment(second).status == "queued"


def test_a_server_carries_no_more_than_its_limit(shop: Shop) -> None:
    with scope(team=shop.team):
        Server.objects.filter(name="web1").update(deployment_limit=2)
    made = [request(shop, shop.add_environment(f"env{number}")) for number in range(3)]
    elsewhere = request(shop, shop.add_environment("elsewhere", on=("web2",)))
    assert [begin(shop, one) for one in [*made, elsewhere]] == [True, True, False, True]
    with scopes_disabled():
        Deployment.objects.filter(pk=made[0].pk).update(status=Status.SUCCESS)
    assert begin(shop, made[2])


def test_a_deployment_needs_room_on_all_of_its_servers(shop: Shop) -> None:
    with scope(team=shop.team):
        Server.objects.filter(name="web2").update(deployment_limit=1)
    assert begin(shop, request(shop, shop.add_environment("one", on=("web2",))))
    assert not begin(shop, request(shop, shop.add_environment("both", on=("web1", "web2"))))


# --- plans ------------------------------------------------------------------------------------------------------------


def look(monkeypatch: pytest.MonkeyPatch, seen: Seen | Exception) -> list[str]:
    """Looking into the repository answers this; the list says for which commits it was asked."""
    asked: list[str] = []

    async def answer(_: object, *, commit: str, **__: object) -> Seen:
        asked.append(commit)
        if isinstance(seen, Exception):
            raise seen
        return seen

    monkeypatch.setattr(inspect, "look", answer)
    return asked


def test_an_unknown_framework_is_detected_and_its_commit_deployed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    projects.project_update(actor=shop.actor(), project=shop.project, recipe="")
    asked = look(monkeypatch, Seen(commit=COMMIT, tree=Tree(frozenset({"index.html"}))))
    environment = shop.add_environment("staging")
    done = Carrier(shop, request(shop, environment)).run()
    assert (done.status, asked) == ("success", [""])
    assert done.plan["recipe"] == "static"
    assert done.plan["commit"] == COMMIT
    with scope(team=shop.team):
        assert Environment.objects.get(pk=environment.pk).detected["recipe"] == "static"


def test_several_servers_deploy_the_same_commit(shop: Shop) -> None:
    carrier = Carrier(shop, request(shop, shop.add_environment("both", on=("web1", "web2"))))
    done = carrier.run()
    assert (done.status, done.commit) == ("success", COMMIT)
    assert {run.commit for run in carrier.servers["web2"].runs.values()} == {COMMIT}


def test_a_repository_that_cannot_be_read_fails_the_deployment_with_the_reason(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    projects.project_update(actor=shop.actor(), project=shop.project, recipe="")
    look(monkeypatch, ConnectError("web1 cannot be reached", transient=True))
    environment = shop.add_environment("staging")
    done = Carrier(shop, request(shop, environment)).run()
    assert (done.status, done.error, done.claim) == ("failed", "web1 cannot be reached", None)
    assert kinds(done) == ["deployment.started", "deployment.completed"]
    with scope(team=shop.team):
        assert Environment.objects.get(pk=environment.pk).detected["error"] == "web1 cannot be reached"


def test_after_a_look_that_failed_a_rollback_has_the_recipe_of_its_release(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the link would be switched, and php-fpm not reloaded."""
    projects.project_update(actor=shop.actor(), project=shop.project, recipe="")
    environment = shop.add_environment("staging")
    tree = Tree(frozenset({"composer.json", "index.php", ".env.example"}), {".env.example": ""})
    look(monkeypatch, Seen(commit=COMMIT, tree=tree))
    first = request(shop, environment)
    Carrier(shop, first, recipe="php").run()
    second = request(shop, environment)
    Carrier(shop, second, recipe="php", unlock=reports(second.release, first.release, second.release)).run()
    with scope(team=shop.team):
        before = Environment.objects.get(pk=environment.pk).detected
    look(monkeypatch, ConnectError("web1 cannot be reached", transient=True))
    assert Carrier(shop, request(shop, environment)).run().status == "failed"
    with scope(team=shop.team):
        kept = Environment.objects.get(pk=environment.pk).detected
        assert kept == before | {"error": "web1 cannot be reached", "at": kept["at"]}
        assert kept["recipe"] == "php"
        assert kept["at"] > before["at"]
        Environment.objects.filter(pk=environment.pk).update(detected=kept | {"recipe": "node"})  # the branch went on
    back = services.deployment_rollback(actor=shop.actor(), environment=environment)
    done = Carrier(shop, back, recipe="php", unlock=reports(first.release, first.release, second.release)).run()
    assert (done.status, done.plan["recipe"]) == ("success", "php")


def test_the_secrets_forms_are_made_beside_the_loop(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many long secrets take seconds, in which the others of the worker would stand still."""
    made_in_loop: list[bool] = []

    def masker(values: Iterable[str]) -> Masker:
        made_in_loop.append(asyncio._get_running_loop() is not None)
        return Masker(values)

    monkeypatch.setattr(jobs, "Masker", masker)
    assert Carrier(shop, request(shop)).run().status == "success"
    assert made_in_loop == [False]


def test_with_another_master_key_the_deployment_fails_with_the_reason(shop: Shop) -> None:
    projects.variables_set(actor=shop.actor(), environment=shop.environment, values={"APP_KEY": SECRET})
    made = request(shop)
    carrier = Carrier(shop, made)
    with scope(team=shop.team):
        Variable.objects.update(value_sealed=b"\x01" + b"sealed by somebody else, long ago")
    done = carrier.run()
    assert (done.status, "APP_KEY cannot be opened with the panel's master key" in done.error) == ("failed", True)


def test_a_stored_plan_is_kept_whatever_is_changed_meanwhile(shop: Shop) -> None:
    made, owner = request(shop), shop.actor()
    gate = asyncio.Event()
    carrier = Carrier(shop, made, release=Act(lines=("begun",), gate=gate))

    async def change() -> None:
        while "begun" not in await sync_to_async(log)(shop, made):
            await asyncio.sleep(0.01)
        await sync_to_async(projects.environment_update)(
            actor=owner, environment=shop.environment, keep=9, branch="other"
        )
        gate.set()

    done = carrier.run(change)
    assert (done.status, done.plan["site"]["keep"], done.plan["site"]["branch"]) == ("success", 5, "main")


def test_how_far_each_run_is_recorded_is_kept(shop: Shop) -> None:
    made = request(shop)
    carrier = Carrier(shop, made)
    carrier.run()
    with scope(team=shop.team):
        (run,) = Run.objects.filter(deployment=made)
    (fake,) = carrier.servers["web1"].runs.values()
    assert (run.server_name, run.exit_code, run.log_offset) == ("web1", 0, len(fake.journal))


def test_a_server_that_stays_away_fails_the_deployment(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "FIRST_CONTACT_SECONDS", 0.1)
    carrier = Carrier(shop, request(shop))
    carrier.reach.away |= set(carrier.reach.servers)
    done = carrier.run()
    assert done.status == "failed"
    assert "cannot be reached" in done.error
