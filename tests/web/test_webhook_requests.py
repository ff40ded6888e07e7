"""`POST /webhooks/<provider>/<token>`, asked as the web process is asked: sizes, methods, order, faults."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from django.db import OperationalError
from django_scopes import scope

from devflow.apps.deployments.models import Deployment
from devflow.apps.projects import services as projects
from devflow.apps.sources.services import Answer, Request, webhook_set
from devflow.asgi import Application
from devflow.web import webhooks
from devflow.web.threads import in_thread
from devflow.web.webhooks import LARGEST, Webhooks
from tests.support.payloads import commit_id, github_push, sent
from tests.support.shop import Shop, open_shop

pytestmark = pytest.mark.asyncio
Ask = Callable[..., Awaitable[httpx.Response]]


def asking(application: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=application), base_url="http://panel.test")


def only(hooks: Webhooks) -> Any:
    """An ASGI application of these webhooks alone, for the address /webhooks/github/token."""

    async def application(asgi_scope: Any, receive: Any, send: Any) -> None:
        await hooks("github", "token", asgi_scope, receive, send)

    return application


class Taken:
    """Stands where deliveries are taken; `gate` holds them back."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.fault: Callable[[list[bytes]], None] = lambda bodies: None

    def __call__(self, *, provider: str, token: str, requests: list[Request]) -> list[Answer]:
        bodies = [request.body for request in requests]
        self.gate.wait(10)
        self.fault(bodies)
        self.batches.append(bodies)
        return [Answer(202, {"deployment": body.decode()}) for body in bodies]


# --- with the database ------------------------------------------------------------------------------------------------


@pytest.fixture
def open_for_many(transactional_db: None) -> Shop:
    """Committed: requests are taken on other connections."""
    return open_shop()


@pytest.fixture
def hook(open_for_many: Shop) -> tuple[str, str]:
    """The address of the shop's webhook, whose pushes to main deploy, and its secret."""
    shop = open_for_many
    source = projects.project_source(actor=shop.actor(), project=shop.project)
    secret = webhook_set(actor=shop.actor(), source=source, provider="github")
    projects.environment_update(actor=shop.actor(), environment=shop.environment, auto_deploy=True)
    return f"/webhooks/github/{source.hook_token}", secret


async def test_a_push_is_answered_through_the_whole_application(hook: tuple[str, str]) -> None:
    address, secret = hook
    body, headers = sent("github", github_push(commit_id(7)), secret)
    async with asking(Application()) as client:
        answer = await client.post(address, content=body, headers=headers)
        assert answer.status_code == 202
        assert list(answer.json()) == ["deployment", "deployments"]
        assert answer.headers["cache-control"] == "no-store"
        assert (await client.post(address + "/", content=body, headers=headers)).json() == answer.json()
        forged = headers | {"x-hub-signature-256": "sha256=" + "0" * 64}
        assert (await client.post(address, content=body, headers=forged)).status_code == 401
        assert (await client.post("/webhooks/github/wrong", content=body, headers=headers)).status_code == 404
        assert (await client.post("/webhooks/nothing/x", content=body, headers=headers)).status_code == 404
        for method in ("GET", "HEAD", "PUT"):
            answer = await client.request(method, address)
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_two_hundred_pushes_over_many_connections_leave_the_newest_queued(
    open_for_many: Shop, hook: tuple[str, str]
) -> None:
    address, secret = hook
    numbers = iter(range(1, 201))
    application = Application()

    async def push(client: httpx.AsyncClient) -> list[tuple[int, str]]:
        found = []
        for number in numbers:
            body, headers = sent("github", github_push(commit_id(number)), secret)
            answer = await client.post(address, content=body, headers=headers, timeout=60)
            found.append((answer.status_code, answer.json()["deployment"]))
        return found

    async with asking(application) as client:
        answers = [each for found in await asyncio.gather(*(push(client) for _ in range(20))) for each in found]
    assert [status for status, _ in answers] == [202] * 200

    def look() -> list[tuple[str, str, str]]:
        with scope(team=open_for_many.team):
            rows = Deployment.objects.order_by("id").values_list("id", "commit", "status")
            return [(str(pk), commit, status) for pk, commit, status in rows]

    made = await in_thread(look)
    assert {pk for _, pk in answers} == {pk for pk, _, _ in made}
    assert sorted(commit for _, commit, _ in made) == [commit_id(number) for number in range(1, 201)]
    assert [status for _, _, status in made] == ["superseded"] * 199 + ["queued"]
    assert int(made[-1][1], 16) > 180  # the newest of those that were under way together


async def test_a_large_body_is_taken_and_one_byte_more_is_not(hook: tuple[str, str]) -> None:
    address, secret = hook
    push = github_push(commit_id(1))
    missing = LARGEST - len(sent("github", push | {"filling": ""}, secret)[0])
    body, headers = sent("github", push | {"filling": "x" * missing}, secret)
    assert len(body) == LARGEST
    async with asking(Application()) as client:
        answer = await client.post(address, content=body, headers=headers, timeout=60)
        assert answer.status_code == 202, answer.text
        answer = await client.post(address, content=body + b" ", headers=headers, timeout=60)
        assert (answer.status_code, "25" in answer.text or "26,214,400" in answer.text) == (413, True)
        large = b"x" * (2 * webhooks.SMALL)
        assert (await client.post("/webhooks/github/wrong", content=large)).status_code == 404


# --- without it -------------------------------------------------------------------------------------------------------


async def test_a_body_that_says_it_is_too_long_is_not_read() -> None:
    received = []

    async def receive() -> Any:
        received.append(1)
        return {"type": "http.request", "body": b"", "more_body": True}

    sent_messages: list[Any] = []

    async def send(message: Any) -> None:
        sent_messages.append(message)

    headers = [(b"content-length", str(LARGEST + 1).encode())]
    await Webhooks(Taken())("github", "token", {"method": "POST", "headers": headers}, receive, send)
    assert sent_messages[0]["status"] == 413
    assert received == []


async def test_a_body_without_a_length_is_read_no_further_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "source_find", lambda **_: object())
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"x" * 65536

    async with asking(only(Webhooks(Taken()))) as client:
        client_body = endless()
        answer = await client.post("/webhooks/github/token", content=client_body, timeout=30)
        await client_body.aclose()
    assert answer.status_code == 413
    assert read * 65536 < LARGEST + 1_000_000


async def test_what_comes_while_others_are_taken_is_taken_together_and_in_order() -> None:
    taken = Taken()
    taken.gate.clear()
    async with asking(only(Webhooks(taken))) as client:
        asked = []
        for number in range(120):
            asked.append(asyncio.create_task(client.post("/", content=str(number))))
            await asyncio.sleep(0)
        await asyncio.sleep(0.2)
        taken.gate.set()
        answers = await asyncio.gather(*asked)
    assert [answer.json()["deployment"] for answer in answers] == [str(number) for number in range(120)]
    assert [body for batch in taken.batches for body in batch] == [str(number).encode() for number in range(120)]
    assert len(taken.batches) <= 4
    assert max(map(len, taken.batches)) <= webhooks.AT_ONCE


async def test_old_payloads_that_stay_for_once_are_in_nobodys_way(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "TRIM_SECONDS", 0.0)
    trimmed: list[tuple[str, str]] = []

    def trim(provider: str, token: str) -> None:
        trimmed.append((provider, token))
        raise OperationalError("the connection is lost")

    async with asking(only(Webhooks(Taken(), trim))) as client:
        answers = []
        for number, text in enumerate(("first", "second"), 1):
            answers.append(await client.post("/", content=text))
            for _ in range(100):
                await asyncio.sleep(0.05 if len(trimmed) < number else 0)
    assert [answer.status_code for answer in answers] == [202, 202]
    assert trimmed == [("github", "token")] * 2
    assert caplog.text.count("were not removed: the connection is lost") == 2


async def test_nobody_waits_for_old_payloads_to_be_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "TRIM_SECONDS", 0.0)
    taken, began, gate = Taken(), threading.Event(), threading.Event()

    def trim(provider: str, token: str) -> None:
        began.set()
        gate.wait(30)

    async with asking(only(Webhooks(taken, trim))) as client:
        first = await client.post("/", content="first")
        assert await asyncio.to_thread(began.wait, 10)
        second = await client.post("/", content="second")
        gate.set()
    assert [first.status_code, second.status_code] == [202, 202]
    assert taken.batches == [[b"first"], [b"second"]]


async def test_old_payloads_are_removed_once_for_all_that_come_in_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last of them, too: nobody may come for long."""
    monkeypatch.setattr(webhooks, "TRIM_SECONDS", 2.0)
    taken = Taken()
    seen: list[int] = []
    async with asking(only(Webhooks(taken, lambda provider, token: seen.append(len(taken.batches))))) as client:
        for number in range(5):
            await client.post("/", content=str(number))
        await asyncio.sleep(4)
    assert seen == [5]


async def test_what_strangers_send_leaves_nothing_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "TRIM_SECONDS", 60.0)
    trimmed: list[str] = []
    for status, kept in ((404, 0), (401, 0), (202, 1)):
        application = Webhooks(
            lambda status=status, **given: [Answer(status, {})], lambda provider, token: trimmed.append(token)
        )
        async with asking(only(application)) as client:
            assert (await client.post("/", content="{}")).status_code == status
        assert len(application._trims) == kept
        assert not application._lines
    assert trimmed == []


async def test_one_that_does_harm_harms_no_other() -> None:
    taken = Taken()

    def fault(bodies: list[bytes]) -> None:
        if b"bad" in bodies:
            raise ValueError("a fault of the panel")

    taken.fault = fault
    taken.gate.clear()
    async with asking(only(Webhooks(taken))) as client:
        asked = [asyncio.create_task(client.post("/", content=body)) for body in ("first", "good", "bad", "fine")]
        await asyncio.sleep(0.2)
        taken.gate.set()
        answers = await asyncio.gather(*asked)
    assert [answer.status_code for answer in answers] == [202, 202, 500, 202]
    assert "a fault of the panel" not in answers[2].text


async def test_a_database_that_is_away_is_told_with_when_to_come_again() -> None:
    taken = Taken()

    def fault(bodies: list[bytes]) -> None:
        raise OperationalError("password=secret")

    taken.fault = fault
    async with asking(only(Webhooks(taken))) as client:
        answer = await client.post("/", content="a")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "secret" not in answer.text
        taken.fault = lambda bodies: None
        assert (await client.post("/", content="a")).status_code == 202


async def test_who_goes_before_the_end_of_the_body_is_not_answered() -> None:
    messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        raise AssertionError(message)

    taken = Taken()
    await Webhooks(taken)("github", "token", {"method": "POST", "headers": []}, receive, send)
    assert taken.batches == []


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "BODY_SECONDS", 0.1)
    sent_messages: list[Any] = []

    async def receive() -> Any:
        await asyncio.sleep(60)

    async def send(message: Any) -> None:
        sent_messages.append(message)

    await Webhooks(Taken())("github", "token", {"method": "POST", "headers": []}, receive, send)
    assert sent_messages[0]["status"] == 408
