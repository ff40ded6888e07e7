"""Channels by the command line, with a panel and a worker that really send; what hangs or dies holds up nothing."""

from __future__ import annotations

import json
import os
import statistics
from contextlib import ExitStack

import pytest

from tests.cli.conftest import Cli, Shop
from tests.support.panel import Panel, kill_hard, wait_until
from tests.support.receivers import HANGS, receiver

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def name() -> str:
    """Of a channel; the panel is shared."""
    return "ops-" + os.urandom(3).hex()


def test_a_channel_lives(cli: Cli, name: str) -> None:
    with receiver() as slack:
        added = cli("channels", "add", "slack", name, stdin=f"{slack.url}\n")
        assert added.out.startswith(f"{name} is added.")
        tested = cli("channels", "test", name)
        assert tested.out == "Sent.\n"
        assert "This is a test" in json.loads(slack.got[0].body)["text"]
    shown = cli("channels", "show", name)
    assert "127.0.0.1" in shown.out
    listed = next(each for each in cli("channels", "list", "--json").json if each["name"] == name)
    assert (listed["kind"], listed["address"], listed["is_enabled"]) == ("slack", "127.0.0.1", True)
    assert name in cli("channels", "list").out
    failed = cli("channels", "test", name, status=1)
    assert "Not sent: 127.0.0.1 cannot be reached" in failed.err
    deliveries = cli("channels", "deliveries", name, "--json").json
    assert [each["status"] for each in deliveries] == ["failed", "sent"]
    table = cli("channels", "deliveries", name).out
    assert "This is a test" in table
    with receiver(port=slack.port):
        cli("channels", "retry", name, deliveries[0]["id"])
        wait_until(lambda: cli("channels", "deliveries", name, "--json").json[0]["status"] == "sent" or None, 20)
    cli("channels", "set", name, "--off", "--events", "deployment.failed", "--language", "de")
    changed = cli("channels", "show", name, "--json").json
    assert (changed["is_enabled"], changed["events"], changed["language"]) == (False, ["deployment.failed"], "de")
    everything = "".join(each.out + each.err for each in (added, tested, shown, failed))
    assert "secret-part" not in everything
    cli("channels", "remove", name, "--yes")
    assert "no channel" in cli("channels", "show", name, status=1).err


def test_secrets_are_not_taken_from_the_arguments(cli: Cli, name: str) -> None:
    refused = cli("channels", "add", "slack", name, "--set", "url=https://example.com/secret", status=2)
    assert "url is a secret" in refused.err
    assert "https://example.com" not in refused.err
    assert "slack has url" in cli("channels", "add", "slack", name, "--set", "colour=red", status=2).err
    assert "there are slack" in cli("channels", "add", "pager", name, status=2).err
    wrong = cli("channels", "add", "slack", name, stdin="nonsense", status=2)
    assert "url: Give a full address" in wrong.err


def test_a_mail_channel_and_a_made_secret(cli: Cli, name: str) -> None:
    options = ("--set", "to=ada@example.com", "--set", "host=smtp.example.com", "--set", "user=devflow")
    cli("channels", "add", "email", name, *options, "--events", "server.offline", stdin="hunter2 hunter2\n")
    assert cli("channels", "show", name, "--json").json["address"] == "ada@example.com"
    made = cli("channels", "add", "webhook", f"{name}-hook", "--json", stdin="https://example.com/x").json
    assert len(made["generated"]["secret"]) >= 32
    for each in (name, f"{name}-hook"):
        cli("channels", "remove", each, "--yes")


def test_address_and_settings_are_changed(cli: Cli, name: str) -> None:
    cli("channels", "add", "email", name, "--set", "to=a@example.com", "--set", "host=smtp.example.com", stdin="")
    update = ("channels", "update", name)
    assert "is changed" in cli(*update, "--set", "to=b@example.com", "--set", "user=devflow").out
    cli(*update, "--secret", "password", stdin="hunter2 hunter2\n")
    assert cli("channels", "show", name, "--json").json["address"] == "b@example.com"
    elsewhere = cli(*update, "--set", "host=mail.example.com", status=2)
    assert "give it again" in elsewhere.err
    cli(*update, "--forget", "password", "--name", f"{name}-2")
    cli("channels", "update", f"{name}-2", "--set", "host=mail.example.com")
    assert "by --secret" in cli("channels", "update", f"{name}-2", "--set", "password=x", status=2).err
    assert "email has password" in cli("channels", "update", f"{name}-2", "--secret", "to", status=2).err
    assert "Nothing to change" in cli("channels", "update", f"{name}-2", status=2).err
    refused = cli("channels", "update", f"{name}-2", "--set", "host=10.1.2.3", status=2)
    assert "10.1.2.3 is a private address" in refused.err
    cli("channels", "remove", f"{name}-2", "--yes")
    moved = f"{name}-3"
    cli("channels", "add", "webhook", moved, stdin="https://example.com/x")
    cli("channels", "update", moved, "--secret", "url", stdin="https://example.org/y\n")
    assert cli("channels", "show", moved, "--json").json["address"] == "example.org"
    cli("channels", "remove", moved, "--yes")


def test_kinds_are_told(cli: Cli) -> None:
    told = cli("channels", "kinds").out
    for word in ("slack", "discord", "teams", "email", "webhook", "encryption", "starttls | tls | none"):
        assert word in told
    assert "deployment.rolled_back" in told
    assert {"kinds", "events"} == cli("channels", "kinds", "--json").json.keys()


def test_hanging_channels_hold_up_no_deployment(cli: Cli, shop: Shop) -> None:
    def deploy() -> float:
        done = cli("deploy", shop.slug, "production", "--json").json
        assert done["status"] == "success"
        return float(done["duration_seconds"])

    deploy()
    without = statistics.median(deploy() for _ in range(3))
    with ExitStack() as stack:
        services = [stack.enter_context(receiver()) for _ in range(5)]
        for number, service in enumerate(services):
            service.answer(HANGS)
            added = ("channels", "add", "webhook", f"{shop.slug}-{number}", "--project", shop.slug)
            cli(*added, "--events", "deployment.started,deployment.succeeded", stdin=service.url)
        with_hanging = statistics.median(deploy() for _ in range(3))
        for service in services:
            service.wait(1)
        rows = cli("channels", "deliveries", f"{shop.slug}-0", "--json").json
        assert len(rows) == 6, "started and succeeded, three times"
        assert not [row for row in rows if row["status"] == "sent"]
        for number in range(5):
            cli("channels", "remove", f"{shop.slug}-{number}", "--yes")
    print(f"median of three deployments: {without:.3f} s, with five hanging channels {with_hanging:.3f} s")
    assert with_hanging < without + 2, "a hanging service takes 15 s"


def test_a_message_survives_the_death_of_its_worker(cli: Cli, shop: Shop, panel: Panel) -> None:
    """Killed in the middle of sending: it cannot be known whether the message came, so it comes again, as a repeat
    that can be told by its id. What waited behind it comes once, after it."""
    with receiver() as service:
        service.answer(HANGS, 200)
        added = ("channels", "add", "webhook", shop.slug, "--project", shop.slug)
        cli(*added, "--events", "deployment.started,deployment.succeeded", stdin=service.url)
        cli("deploy", shop.slug, "production")
        service.wait(1)
        kill_hard(panel.child("worker"))
        got = service.wait(3, seconds=150)
        told = [(each.headers["x-devflow-event"], each.headers["x-devflow-delivery"]) for each in got]
        assert [event for event, _ in told] == ["deployment.started", "deployment.started", "deployment.succeeded"]
        assert told[0] == told[1]
        wait_until(
            lambda: (
                all(row["status"] == "sent" for row in cli("channels", "deliveries", shop.slug, "--json").json) or None
            ),
            20,
        )
        assert len(service.got) == 3
    cli("channels", "remove", shop.slug, "--yes")


def test_a_viewer_adds_nothing(cli: Cli, tokens: dict[str, str], name: str) -> None:
    reader = cli.with_environment(DEVFLOW_TOKEN=tokens["read"])
    assert "scopes" in reader("channels", "add", "slack", name, stdin="https://example.com/x", status=6).err
    assert isinstance(reader("channels", "list", "--json").json, list)
