"""The event stream of a deployment, over HTTP from a panel that really runs."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import ANY

import httpx
import psycopg
import pytest

from devflow.embedded import running_url
from tests.support.panel import Panel, Writer, wait_until

pytestmark = pytest.mark.timeout(90)


class Event(NamedTuple):
    """One server-sent event."""

    id: int
    kind: str
    data: dict[str, Any]


class Viewer:
    """A client that reads the stream; `seen` is what it got so far."""

    def __init__(self, response: httpx.Response) -> None:
        self.seen: list[Event] = []
        self._blocks = self._read_blocks(response)

    def read(self, count: int) -> list[Event]:
        """The next events."""
        return [self._next() for _ in range(count)]

    def read_to_end(self) -> list[Event]:
        while True:
            try:
                self._next()
            except StopIteration:
                return self.seen

    def lines(self) -> list[str]:
        return [
            line for event in self.seen if event.kind == "deployment.log" for line in event.data["text"].splitlines()
        ]

    def _next(self) -> Event:
        fields = dict(line.split(": ", 1) for line in next(self._blocks).splitlines())
        event = Event(int(fields["id"]), fields["event"], json.loads(fields["data"]))
        self.seen.append(event)
        return event

    def _read_blocks(self, response: httpx.Response) -> Iterator[str]:
        rest = ""
        for text in response.iter_text():
            *blocks, rest = (rest + text).split("\n\n")
            yield from (block for block in blocks if block.startswith("id: "))


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    with Panel(tmp_path_factory.mktemp("panel") / "data") as running:
        yield running


@pytest.fixture
def writer(panel: Panel) -> Iterator[Writer]:
    with panel.writer() as writer:
        yield writer


def address(panel: Panel, writer: Writer) -> str:
    return f"{panel.url}/api/v1/deployments/{writer.deployment}/events"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@contextmanager
def watch(panel: Panel, writer: Writer, **headers: str) -> Iterator[Viewer]:
    headers = bearer(writer.token) | {name.replace("_", "-"): value for name, value in headers.items()}
    with httpx.stream("GET", address(panel, writer), headers=headers, timeout=30) as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream"
        yield Viewer(response)


def test_what_was_written_before_and_after_comes_once_and_in_order(panel: Panel, writer: Writer) -> None:
    writer.ask(lines=100)
    with watch(panel, writer) as viewer:
        viewer.read(5)
        writer.ask(lines=100)
        writer.ask(complete=True)
        viewer.read_to_end()
    assert [event.id for event in viewer.seen] == list(range(1, 22))
    assert viewer.lines() == [f"line {number}" for number in range(1, 201)]
    assert viewer.seen[0].kind == "deployment.log"
    assert viewer.seen[1].data == {
        "seq": 2, "server": "web1", "step": "1", "line": 11, "text": "".join(f"line {n}\n" for n in range(11, 21))
    }  # fmt: skip
    assert viewer.seen[-1] == Event(21, "deployment.completed", {"seq": 21, "status": "success"})


@pytest.mark.parametrize("resume", ["header", "query"])
def test_a_viewer_goes_on_where_it_was(panel: Panel, writer: Writer, resume: str) -> None:
    writer.ask(lines=100)
    with watch(panel, writer) as first:
        first.read(4)
    writer.ask(complete=True)
    headers = bearer(writer.token) | ({"Last-Event-ID": "4"} if resume == "header" else {})
    query = "" if resume == "header" else "?after=4"
    text = httpx.get(address(panel, writer) + query, headers=headers).text
    assert [int(line[4:]) for line in text.splitlines() if line.startswith("id: ")] == list(range(5, 12))


def test_nothing_is_left_of_an_ended_deployment(panel: Panel, writer: Writer) -> None:
    """204 tells a browser not to ask again."""
    writer.ask(complete=True)
    answer = httpx.get(address(panel, writer), headers=bearer(writer.token) | {"Last-Event-ID": "1"})
    assert answer.status_code == 204


def test_an_id_from_the_future_does_not_disturb_others(panel: Panel, writer: Writer) -> None:
    with watch(panel, writer, Last_Event_ID="999999999"), watch(panel, writer) as viewer:
        writer.ask(lines=10)
        assert viewer.read(1)[0].id == 1


def test_a_member_watches_by_their_session(panel: Panel, writer: Writer) -> None:
    writer.ask(complete=True)
    answer = httpx.get(address(panel, writer), cookies={"devflow_session": writer.session})
    assert "event: deployment.completed" in answer.text


def test_watching_stands_in_the_log_of_api_requests(panel: Panel, writer: Writer) -> None:
    with psycopg.connect(running_url(panel.data_dir) or "", autocommit=True) as connection:
        began = connection.execute("SELECT clock_timestamp()").fetchone()
        with watch(panel, writer):
            httpx.get(address(panel, writer))

        def rows() -> list[tuple[Any, ...]]:
            """What was asked since then: requests of before are written up to 2 s late."""
            query = "SELECT route, status, token_id IS NULL FROM audit_apirequest WHERE at > %s ORDER BY at"
            return connection.execute(query, began).fetchall()

        wait_until(lambda: len(rows()) == 2, 10)
        route = "/api/v1/deployments/<deployment_id>/events"
        assert rows() == [(route, 200, False), (route, 401, True)]


def test_who_may_not_watch(panel: Panel, writer: Writer) -> None:
    url = address(panel, writer)
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers=bearer("dfp_wrong")).status_code == 401
    assert httpx.get(url, headers={"Authorization": "Basic eDp5"}).status_code == 401
    assert httpx.get(url, cookies={"devflow_session": "wrong"}).status_code == 401
    outsider = httpx.get(url, headers=bearer(writer.stranger))
    assert (outsider.status_code, outsider.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    ("by", "what"),
    [
        ("token", "token"),
        ("token", "membership"),
        ("token", "role"),
        ("token", "login"),
        ("session", "session"),
        ("session", "membership"),
        ("session", "role"),
        ("session", "login"),
    ],
)
def test_a_stream_ends_when_its_viewer_may_watch_no_more(panel: Panel, writer: Writer, by: str, what: str) -> None:
    writer.ask(lines=10)
    who: dict[str, Any] = (
        {"headers": bearer(writer.token)} if by == "token" else {"cookies": {"devflow_session": writer.session}}
    )
    with httpx.stream("GET", address(panel, writer), timeout=30, **who) as response, panel.writer() as other:
        viewer = Viewer(response)
        viewer.read(1)
        with watch(panel, other) as somebody_else:
            writer.ask(take=what)
            begun = time.monotonic()
            assert len(viewer.read_to_end()) == 1
            assert time.monotonic() - begun < 5
            if what != "session":
                other.ask(lines=10)
                assert somebody_else.read(1)
    again = httpx.get(address(panel, writer), timeout=30, **who) if what != "role" else None
    assert again is None or again.status_code in (401, 404)


def test_who_may_watch_is_not_disturbed(panel: Panel, writer: Writer) -> None:
    with watch(panel, writer) as viewer:
        time.sleep(7)
        writer.ask(lines=10)
        assert viewer.read(1)[0].id == 1


def test_bad_requests(panel: Panel, writer: Writer) -> None:
    url, headers = address(panel, writer), bearer(writer.token)
    assert httpx.post(url, headers=headers).status_code == 405
    assert httpx.get(f"{url}?after=-1", headers=headers).status_code == 422
    assert httpx.get(url, headers=headers | {"Last-Event-ID": "x' OR 1"}).status_code == 422
    assert httpx.get(f"{panel.url}/api/v1/deployments/nonsense/events", headers=headers).status_code == 404


def test_text_arrives_as_it_was_written(panel: Panel, writer: Writer) -> None:
    text = "\x1b[31mrot\x1b[0m \u2028 ünï 🚀 \r data: id: 7"
    writer.ask(lines=1, text=text)
    writer.ask(complete=True)
    with watch(panel, writer) as viewer:
        assert viewer.read(1)[0].data["text"] == text + "\n"


def test_a_viewer_that_does_not_read_holds_up_nobody(panel: Panel, writer: Writer) -> None:
    request = (
        f"GET {address(panel, writer)} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {writer.token}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", panel.port)) as deaf:
        deaf.sendall(request.encode())
        with watch(panel, writer) as viewer:
            writer.ask(lines=4000, text="x" * 2000)
            writer.ask(complete=True)
            assert len(viewer.read_to_end()) == 401
        received = b""  # and it still gets everything, when it wakes up
        deaf.settimeout(20)
        while b"deployment.completed" not in received[-500:]:
            received += deaf.recv(1 << 20)
    assert received.count(b"event: deployment.log") == 400


def test_a_long_log_does_not_fill_the_memory(panel: Panel, writer: Writer) -> None:
    writer.ask(lines=20_000, text="y" * 1000)
    writer.ask(complete=True)
    web = panel.child("web")
    before = resident_bytes(web)
    with watch(panel, writer) as viewer:
        assert len(viewer.read_to_end()) == 2001
    assert resident_bytes(web) - before < 15e6


# --- the stream of what changes: /events ------------------------------------------------------------------------------


@contextmanager
def told(panel: Panel, writer: Writer, after: str = "") -> Iterator[Iterator[dict[str, Any]]]:
    """The events that the member's browser gets: their id, kind and topics, but beats."""
    headers = {"Last-Event-ID": after} if after else {}
    cookies = {"devflow_session": writer.session}
    with httpx.stream("GET", f"{panel.url}/events", headers=headers, cookies=cookies, timeout=30) as response:
        assert (response.status_code, response.headers["content-type"]) == (200, "text/event-stream")
        yield _changes(response)


def _changes(response: httpx.Response) -> Iterator[dict[str, Any]]:
    rest = ""
    for text in response.iter_text():
        *blocks, rest = (rest + text).split("\n\n")
        for block in blocks:
            fields = dict(line.split(": ", 1) for line in block.splitlines())
            if fields.get("event", "beat") != "beat":
                yield {"id": fields["id"], "kind": fields["event"], **json.loads(fields["data"])}


def change(cursor: psycopg.Cursor[Any], writer: Writer) -> str:
    """Something that a page shows; its topic."""
    commit = os.urandom(8).hex()
    cursor.execute("UPDATE deployments_deployment SET commit = %s WHERE id = %s", [commit, writer.deployment])
    return f"deployment:{writer.deployment}"


@pytest.fixture
def database(panel: Panel) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(running_url(panel.data_dir) or "", autocommit=True) as connection:
        yield connection


def test_changes_are_told_to_the_team_at_once_and_what_was_missed_later(
    panel: Panel, writer: Writer, database: psycopg.Connection[Any]
) -> None:
    cursor = database.cursor()
    with panel.writer() as other, told(panel, writer) as events:
        assert next(events) == {"id": ANY, "kind": "change", "topics": []}
        change(cursor, other)
        begun = time.monotonic()
        topic = change(cursor, writer)
        event = next(events)
        assert time.monotonic() - begun < 1
        assert topic in event["topics"]
        assert f"deployment:{other.deployment}" not in event["topics"]
    with psycopg.connect(running_url(panel.data_dir) or "") as slow:
        change(slow.cursor(), writer)
        with told(panel, writer, event["id"]) as events:
            seen = next(events)["id"]
        slow.commit()
    with told(panel, writer, seen) as events:
        assert topic in next(events)["topics"]


@pytest.mark.parametrize("what", ["session", "membership", "role"])
def test_the_stream_of_changes_ends_with_the_rights(panel: Panel, writer: Writer, what: str) -> None:
    with told(panel, writer) as events:
        next(events)
        begun = time.monotonic()
        writer.ask(take=what)
        assert [event for event in events if event["kind"] == "reset"] == []
        assert time.monotonic() - begun < 5
    again = {"session": 401, "membership": 403}.get(what)
    if again:
        assert httpx.get(f"{panel.url}/events", cookies={"devflow_session": writer.session}).status_code == again


def test_who_asks_for_changes_in_a_wrong_way(panel: Panel, writer: Writer) -> None:
    cookies = {"devflow_session": writer.session}
    assert httpx.get(f"{panel.url}/events").status_code == 401
    assert httpx.get(f"{panel.url}/events", headers=bearer(writer.token)).status_code == 401
    assert httpx.post(f"{panel.url}/events", cookies=cookies).status_code == 405
    assert httpx.get(f"{panel.url}/events?after=x", cookies=cookies).status_code == 422
    with told(panel, writer, "99999999999.1") as events:
        assert next(events)["kind"] == "reset"


# --- restarts ---------------------------------------------------------------------------------------------------------


def test_the_stream_goes_on_after_the_database_was_restarted(panel: Panel, writer: Writer) -> None:
    writer.ask(lines=20)
    with watch(panel, writer) as viewer:
        viewer.read(2)
        before = panel.child("postgres")
        os.kill(before, signal.SIGINT)
        wait_until(lambda: panel.child("postgres") != before and panel.is_ready(), 20, what=panel.output)
        with panel.writer() as later:
            later.ask(adopt=writer.deployment)
            later.ask(lines=20)
            later.ask(complete=True)
        viewer.read_to_end()
    assert [event.id for event in viewer.seen] == [1, 2, 3, 4, 5]


def test_streams_end_when_web_is_stopped(panel: Panel, writer: Writer) -> None:
    with watch(panel, writer) as viewer:
        web, begun = panel.child("web"), time.monotonic()
        os.kill(web, signal.SIGTERM)
        assert viewer.read_to_end() == []
        assert time.monotonic() - begun < 2


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
