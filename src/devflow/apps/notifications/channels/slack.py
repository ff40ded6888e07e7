"""Slack, through an incoming webhook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from devflow.apps import outgoing
from devflow.apps.notifications.channels.base import ChannelKind, Delivery, Field, Receipt, host_of
from devflow.apps.notifications.messages import Message, cut, one_line

COLOURS = {"neutral": "#64748b", "good": "#16a34a", "warning": "#d97706", "bad": "#dc2626"}
SECTION, FIELD, HEADER, FALLBACK = 3000, 2000, 150, 3000
"""Limits of Block Kit: a section's text, one of its fields, a header, and the text of notifications on phones."""


class Slack(ChannelKind):
    name = "slack"
    title = "Slack"
    summary = "A message in a channel of a Slack workspace, by an incoming webhook."
    fields = (
        Field(
            "url",
            "Webhook address",
            "address",
            is_required=True,
            is_secret=True,
            placeholder="https://hooks.slack.com/services/…",
            help="Made in Slack: Apps → Incoming Webhooks → Add to Slack.",
        ),
    )

    def address(self, settings: Mapping[str, Any]) -> str:
        return host_of(settings["url"])

    async def send(self, settings: Mapping[str, Any], delivery: Delivery) -> Receipt:
        answer = await outgoing.post(settings["url"], json=payload(delivery.message))
        answer.require_success()
        return Receipt(answer.status)


def payload(message: Message) -> dict[str, Any]:
    """The message as blocks in a coloured attachment; `text` is what a phone's notification shows."""
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(escape_within(one_line(message.title), HEADER))},
    ]
    # Texts from outside are plain text: in mrkdwn * _ ~ and ` format, and there is no way to escape them.
    if message.text:
        blocks.append({"type": "section", "text": _plain(escape_within(message.text, SECTION))})
    if message.commit_message:
        told = escape_within(one_line(message.commit_message), SECTION)
        blocks.append({"type": "section", "text": _plain(told)})
    fields = [
        _plain(f"{escape(label)}\n{escape_within(one_line(value), FIELD - 100)}") for label, value in message.facts[:10]
    ]
    if fields:
        blocks.append({"type": "section", "fields": fields})
    if message.error:
        fenced = message.error.replace("```", "'''")  # not an end of the code before its end
        blocks.append(_section(f"```{escape_within(fenced, SECTION - 6)}```"))
    if message.url:
        button = {"type": "button", "text": _plain(_("Open in DevFlow")), "url": message.url}
        blocks.append({"type": "actions", "elements": [button]})
    return {
        "text": escape_within(one_line(message.title), FALLBACK),
        "attachments": [{"color": COLOURS[message.tone], "blocks": blocks}],
    }


def escape(text: str) -> str:
    """Slack's three control characters: no text from outside can mention anybody or make a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def escape_within(text: str, limit: int) -> str:
    """Escaped, and cut so that the result keeps to the limit without cutting an entity in two."""
    kept = limit
    while len(escaped := escape(cut(text, kept))) > limit:
        kept -= max(1, (len(escaped) - limit) // 5)
    return escaped


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _mrkdwn(text: str) -> dict[str, Any]:
    # verbatim: Slack makes no links of names like #general or example.com by itself
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _mrkdwn(text)}
