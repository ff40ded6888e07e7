"""Channels of the shop, and messages with all that is odd in them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django_scopes import scope

from devflow.apps.notifications import jobs, services
from devflow.apps.notifications.messages import Message
from devflow.apps.notifications.models import Channel, Notification
from tests.support.shop import Shop

NASTY = (
    "*bold* _it_ ~no~ `code` ```fence``` <!channel> <@U123> <https://evil.example|click> @everyone @here "
    "[link](https://evil.example) # head > quote || spoiler || &amp; <b>html</b> "
    "<script>alert(1)</script> \\"
)
FULL = Message(
    title=f"Deployment of {NASTY} to production failed",
    tone="bad",
    text=NASTY,
    url="https://panel.example.org/deployments/0198/",
    occurred_at="2026-11-21T12:00:00+00:00",
    team="Shopkeepers",
    project=NASTY,
    environment="production",
    status="failed",
    deployment="0198",
    trigger="webhook",
    branch=NASTY,
    commit="c0ffee" + "0" * 34,
    commit_message=NASTY,
    author=NASTY,
    requested_by="Ada",
    duration_seconds=185.4,
    failed_step="install dependencies",
    failed_server="web1",
    error=NASTY + "\nsecond line",
)
LONG = Message(
    **{
        name: value * 400 if isinstance(value, str) and name not in ("tone", "url", "occurred_at") else value
        for name, value in FULL.to_json().items()
    }
)
EMOJI = Message(title="🚀" * 5000, commit_message="🚀" * 5000, author="👩‍🚀" * 5000, error="🔥" * 20000, url=FULL.url)
BARE = Message(title="Something happened")
MESSAGES = {"full": FULL, "long": LONG, "emoji": EMOJI, "bare": BARE}


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """In a loop of its own, as in a worker; leaves no connection open, which would hold the database."""

    async def all_of_it() -> Any:
        try:
            return await work
        finally:
            await sync_to_async(connections.close_all)()

    return asyncio.run(all_of_it())


class Channels:
    """Channels of a shop, and a worker that sends on them."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    def add(self, kind: str = "slack", name: str = "", **given: Any) -> Channel:
        settings = given.pop("settings")
        channel, _ = services.channel_add(
            actor=self.shop.actor(), kind=kind, name=name or kind, settings=settings, **given
        )
        return channel

    def tell(self, title: str = "It failed", event: str = "deployment.failed", **more: Any) -> int:
        return services.notify(
            team=self.shop.team,
            project_id=self.shop.project.pk,
            event=event,
            subject="0198",
            message=Message(title=title, **more),
        )

    def send(self, channel: Channel) -> None:
        """What a worker's job does."""
        run(jobs.send(channel_id=str(channel.pk)))

    def rows(self, channel: Channel) -> list[Notification]:
        """The oldest first."""
        with scope(team=self.shop.team):
            return list(Notification.objects.filter(channel=channel).order_by("id"))

    def row(self, channel: Channel) -> Notification:
        [row] = self.rows(channel)
        return row

    def make_due(self, channel: Channel) -> None:
        """As if the wait were over."""
        with scope(team=self.shop.team):
            rows = Notification.objects.filter(channel=channel, finished_at=None)
            rows.update(next_attempt_at="2026-01-01T00:00:00Z")

    def channel(self, channel: Channel) -> Channel:
        with scope(team=self.shop.team):
            return Channel.objects.get(pk=channel.pk)


@pytest.fixture
def channels(open_for_many: Shop) -> Channels:
    """Committed: jobs run with connections of their own."""
    return Channels(open_for_many)


@pytest.fixture
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "JITTER", 0.0)
