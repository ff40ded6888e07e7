"""Microsoft Teams, through a webhook of its Workflows app."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from devflow.apps import outgoing
from devflow.apps.notifications.channels.base import ChannelKind, Delivery, Field, Receipt, host_of
from devflow.apps.notifications.messages import Message, cut, one_line

STYLES = {"neutral": "default", "good": "good", "warning": "warning", "bad": "attention"}
LARGEST_BYTES = 28 * 1024
_TEXT, _ERROR = 500, 3000


class Teams(ChannelKind):
    name = "teams"
    title = "Microsoft Teams"
    summary = "A card in a channel or chat of Teams, by a workflow's webhook."
    fields = (
        Field(
            "url",
            "Webhook address",
            "address",
            is_required=True,
            is_secret=True,
            placeholder="https://….logic.azure.com/workflows/…",
            help="Made in Teams: Workflows → “Post to a channel when a webhook request is received”.",
        ),
    )

    def address(self, settings: Mapping[str, Any]) -> str:
        return host_of(settings["url"])

    async def send(self, settings: Mapping[str, Any], delivery: Delivery) -> Receipt:
        answer = await outgoing.post(settings["url"], json=payload(delivery.message))
        answer.require_success()
        return Receipt(answer.status)


def payload(message: Message) -> dict[str, Any]:
    """The message as an adaptive card, within the 28 KB that Teams takes."""
    for room in (_ERROR, _ERROR // 4, 0):
        document = _document(message, room)
        if len(json.dumps(document).encode()) <= LARGEST_BYTES:
            break
    return document


def _document(message: Message, error_room: int) -> dict[str, Any]:
    # Texts from outside are text runs: unlike text blocks and fact sets, these know no markdown.
    body: list[dict[str, Any]] = [
        {
            "type": "Container",
            "style": STYLES[message.tone],
            "bleed": True,
            "items": [_rich(_run(cut(one_line(message.title), _TEXT), weight="Bolder", size="Medium"))],
        }
    ]
    if message.text:
        body.append(_rich(_run(cut(message.text, _TEXT))))
    if message.commit_message:
        body.append(_rich(_run(cut(one_line(message.commit_message), _TEXT), italic=True)))
    body += [
        _rich(_run(f"{label}: ", weight="Bolder"), _run(cut(one_line(value), _TEXT)), spacing="Small")
        for label, value in message.facts
    ]
    if message.error and error_room:
        body.append(_rich(_run(cut(message.error, error_room), fontType="Monospace", color="Attention")))
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": cut(one_line(message.title), _TEXT),
        "msteams": {"width": "Full"},
        "body": body,
    }
    if message.url:
        card["actions"] = [{"type": "Action.OpenUrl", "title": _("Open in DevFlow"), "url": message.url}]
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _rich(*runs: dict[str, Any], spacing: str = "Default") -> dict[str, Any]:
    return {"type": "RichTextBlock", "spacing": spacing, "inlines": list(runs)}


def _run(text: str, **looks: Any) -> dict[str, Any]:
    return {"type": "TextRun", "text": text, **looks}
