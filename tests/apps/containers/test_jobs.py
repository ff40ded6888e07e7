"""What workers make of what servers answer: kept without secrets, and told in words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django_scopes import scope

from devflow.apps.containers import jobs, selectors, services
from devflow.apps.containers.models import Action, Follow, LogPart, Snapshot
from devflow.apps.deployments.planning import site_of
from devflow.apps.projects.variables import variables_set
from devflow.core.errors import ConnectError
from devflow.core.shell import MASK
from tests.support.containers import ENVIRONMENT, RECORDED, seen
from tests.support.shop import Shop

pytestmark = pytest.mark.django_db(transaction=True)


class Server:
    """A reach whose every server answers each script with `output` (in these chunks), or is away."""

    host_key = ""
    is_open = True

    def __init__(self, *output: str, is_away: bool = False, before: Callable[[], Any] | None = None) -> None:
        self.output, self.is_away, self.before = output, is_away, before
        self.scripts: list[str] = []

    def remember(self, servers: Any) -> None:
        return

    async def get(self, server_id: str) -> Server:
        if self.is_away:
            raise ConnectError("web1 cannot be reached.")
        return self

    async def start(self, command: str, stdin: bytes = b"", *, stays_open: bool = False) -> Server:
        self.scripts.append(stdin.decode())
        return self

    async def chunks(self) -> AsyncIterator[bytes]:
        for chunk in self.output:
            if self.before:
                await sync_to_async(self.before)()
            yield chunk.encode()

    async def wait(self) -> tuple[int, str]:
        return 0, ""

    def close(self) -> None:
        return


def look(shop: Shop, server: Server) -> Snapshot:
    web1 = shop.server("web1")
    services.look_request(actor=shop.actor(), server=web1)
    async_to_sync(jobs.look)(server_id=str(web1.pk), with_disk=True, reach=server)  # type: ignore[arg-type]
    return selectors.snapshot_get(actor=shop.actor(), server=web1)


def acted(shop: Shop, output: str, kind: str = "restart", server: Server | None = None) -> Action:
    seen(shop.server("web1"), shop.environment)
    row = selectors.container_get(actor=shop.actor(), server=shop.server("web1"), container="shop-blue")
    action = services.container_act(actor=shop.actor(), row=row, kind=kind, is_confirmed=True)
    async_to_sync(jobs.act)(action_id=str(action.pk), reach=server or Server(output))  # type: ignore[arg-type]
    with scope(team=shop.team):
        return Action.objects.get(pk=action.pk)


def followed(shop: Shop, server: Server) -> tuple[Follow, str]:
    seen(shop.server("web1"), shop.environment)
    row = selectors.container_get(actor=shop.actor(), server=shop.server("web1"), container="shop-blue")
    follow = services.follow_start(actor=shop.actor(), row=row)
    async_to_sync(jobs.follow)(follow_id=str(follow.pk), reach=server)  # type: ignore[arg-type]
    with scope(team=shop.team):
        return Follow.objects.get(pk=follow.pk), selectors.log_text(actor=shop.actor(), follow=follow)


def test_what_was_seen_is_kept_without_secrets(open_for_many: Shop) -> None:
    shop = open_for_many
    variables_set(actor=shop.actor(), environment=shop.environment, values={"WORD": "production"})
    text = RECORDED.replace(ENVIRONMENT, shop.environment.pk.hex)
    assert "hunter2hunter2" in text
    snapshot = look(shop, Server(text[:5000], text[5000:]))
    kept = str(snapshot.content)
    assert snapshot.seen_at
    assert "hunter2" not in kept
    assert "foreignkey" not in kept
    (ours,) = [each for each in snapshot.content["containers"] if each["name"] == "shop-blue"]
    assert dict(ours["env"])["APP_ENV"] == MASK, "a variable of the environment has this value"
    assert snapshot.disk["build_cache"] == 99


def test_servers_are_asked_by_what_deployments_call_the_environment(open_for_many: Shop) -> None:
    shop, looked, asked = open_for_many, Server("=end\n"), Server("=seen running - 0 0 x\n")
    look(shop, looked)
    acted(shop, "", server=asked)
    with scope(team=shop.team):
        identity = site_of(shop.environment).environment_id
    assert f"site {identity} " in looked.scripts[0]
    assert f"folder {identity} " in looked.scripts[0]
    assert f"environment={identity}\n" in asked.scripts[0]


def test_of_a_server_that_is_away_the_last_look_stays_with_its_age(open_for_many: Shop) -> None:
    shop = open_for_many
    seen(shop.server("web1"), shop.environment)
    before = selectors.snapshot_get(actor=shop.actor(), server=shop.server("web1"))
    after = look(shop, Server(is_away=True))
    assert (after.problem, after.problem_detail) == ("unreachable", "web1 cannot be reached.")
    assert after.content == before.content
    assert after.seen_at == before.seen_at


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ("=problem missing\n=end\n", "missing"),
        ("=problem stopped no daemon\n=end\n", "stopped"),
        ("=version 26\n=containers\n", "unreachable"),
        ("bash: something else\n", "unreachable"),
    ],
)
def test_what_is_in_the_way_is_kept(open_for_many: Shop, output: str, problem: str) -> None:
    seen(open_for_many.server("web1"), open_for_many.environment)
    after = look(open_for_many, Server(output))
    assert after.problem == problem
    assert bool(after.content) == (problem == "unreachable")


@pytest.mark.parametrize(
    ("kind", "output", "state", "message"),
    [
        ("restart", "=seen running healthy 0 0 x", "done", "It is running, healthy."),
        ("stop", "=seen exited - 137 0 x", "done", "It is exited (exit code 137)."),
        ("start", "=failed exited - 3 0 x", "failed", "It ended again with exit code 3. Its log says why."),
        ("start", "=failed running unhealthy 0 0 x", "failed", "which is not what was wanted"),
        ("stop", "=gone", "failed", "is not there any more"),
        ("stop", "=other", "failed", "nothing was done"),
        ("start", "=refused Error: port is taken", "failed", "Docker did not do it: Error: port is taken"),
        ("start", "", "failed", "Docker did not do it: no answer"),
    ],
)
def test_what_came_of_an_action_is_told(open_for_many: Shop, kind: str, output: str, state: str, message: str) -> None:
    action = acted(open_for_many, f"{output}\n", kind)
    assert action.state == state
    assert message in action.message
    assert action.finished_at


def test_a_log_is_kept_in_whole_lines_masked_and_numbered(open_for_many: Shop) -> None:
    shop = open_for_many
    variables_set(actor=shop.actor(), environment=shop.environment, values={"WORD": "s3cret-word"})
    follow, text = followed(shop, Server("first\nthe s3cr", "et-word is\x00 here\nla", "st"))
    assert text == f"first\nthe {MASK} is\N{REPLACEMENT CHARACTER} here\nlast\n"
    assert follow.is_ended
    assert "does not run" in follow.end_reason
    with scope(team=shop.team):
        parts = list(LogPart.objects.filter(follow=follow))
    assert [part.seq for part in parts] == list(range(1, len(parts) + 1))
    assert (parts[0].line, parts[-1].kind) == (1, "container.log_ended")


def test_where_docker_cannot_be_used_the_log_says_so(open_for_many: Shop) -> None:
    follow, text = followed(open_for_many, Server("=problem stopped no daemon\n=end\n"))
    assert text == ""
    assert follow.end_reason == "Docker cannot be used there: stopped no daemon"


def test_of_a_server_that_is_away_the_log_ends_with_the_reason(open_for_many: Shop) -> None:
    follow, _ = followed(open_for_many, Server(is_away=True))
    assert follow.end_reason == "web1 cannot be reached."


def test_a_worker_whose_log_another_one_follows_writes_nothing_more(open_for_many: Shop) -> None:
    shop = open_for_many

    def taken_over() -> None:
        with scope(team=shop.team):
            Follow.objects.update(last_seq=7)

    follow, text = followed(shop, Server("line\n", before=taken_over))
    assert (text, follow.is_ended, follow.last_seq) == ("", False, 7)
