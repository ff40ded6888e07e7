"""Discord, through a channel's webhook."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from devflow.apps import outgoing
from devflow.apps.notifications.channels.base import ChannelKind, Delivery, Field, Receipt, host_of
from devflow.apps.notifications.messages import Message, cut, one_line

COLOURS = {"neutral": 0x64748B, "good": 0x16A34A, "warning": 0xD97706, "bad": 0xDC2626}
TITLE, DESCRIPTION, FIELD_VALUE, FOOTER = 256, 4096, 1024, 2048
_ERROR, _COMMIT_MESSAGE, _VALUE = 2000, 500, 200
"""What is left to each part, so that an embed keeps well below 6000 characters in all."""
_MARKDOWN = re.compile(r"([\\*_~`|>\[\]()#@<:])")


class Discord(ChannelKind):
    name = "discord"
    title = "Discord"
    summary = "A message in a channel of a Discord server, by its webhook."
    fields = (
        Field(
            "url",
            "Webhook address",
            "address",
            is_required=True,
            is_secret=True,
            placeholder="https://discord.com/api/webhooks/…",
            help="Made in Discord: Edit channel → Integrations → Webhooks → Copy webhook URL.",
        ),
    )

    def address(self, settings: Mapping[str, Any]) -> str:
        return host_of(settings["url"])

    async def send(self, settings: Mapping[str, Any], delivery: Delivery) -> Receipt:
        url = settings["url"]
        # wait: Discord answers when the message is stored, with what was wrong where it is not
        url += "&wait=true" if urlsplit(url).query else "?wait=true"
        answer = await outgoing.post(url, json=payload(delivery.message))
        answer.require_success()
        return Receipt(answer.status)


def payload(message: Message) -> dict[str, Any]:
    """The message as one embed. Nobody is pinged, whatever the text says."""
    parts = [escape_within(message.text, _COMMIT_MESSAGE)] if message.text else []
    if message.commit_message:
        parts.append("> " + escape_within(one_line(message.commit_message), _COMMIT_MESSAGE))
    if message.error:
        fenced = message.error.replace("```", "'''")
        parts.append(f"```\n{cut(fenced, _ERROR)}\n```")
    embed: dict[str, Any] = {
        "title": escape_within(one_line(message.title), TITLE),
        "color": COLOURS[message.tone],
        "fields": [
            {"name": label, "value": escape_within(one_line(value), _VALUE), "inline": True}
            for label, value in message.facts[:25]
        ],
    }
    if parts:
        embed["description"] = cut("\n".join(parts), DESCRIPTION)
    if message.url:
        embed["url"] = message.url
    if message.occurred_at:
        embed["timestamp"] = message.occurred_at
    return {"embeds": [embed], "allowed_mentions": {"parse": []}}


def escape(text: str) -> str:
    """Shown as it is: a backslash before whatever Discord's markdown could take for its own."""
    return _MARKDOWN.sub(r"\\\1", text)


def escape_within(text: str, limit: int) -> str:
    """Escaped, and cut so that the result keeps to the limit."""
    kept = limit
    while len(escaped := escape(cut(text, kept)).encode("utf-16-le")) > 2 * limit:
        kept -= max(1, (len(escaped) // 2 - limit) // 2)
    return escaped.decode("utf-16-le")
