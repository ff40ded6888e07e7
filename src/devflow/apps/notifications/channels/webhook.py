"""A signed request to an address of the team's own."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

from devflow.apps import outgoing
from devflow.apps.notifications.channels.base import ChannelKind, Delivery, Field, Receipt, host_of


class Webhook(ChannelKind):
    """`X-DevFlow-Signature` is `sha256=` and the HMAC of `<timestamp>.<body>`, in hexadecimal."""

    name = "webhook"
    title = "Webhook"
    summary = "A signed JSON document, posted to a program of yours."
    fields = (
        Field(
            "url",
            "Address",
            "address",
            is_required=True,
            is_secret=True,
            placeholder="https://example.com/devflow",
            help="Where the document is posted to.",
        ),
        Field(
            "secret",
            "Secret",
            is_secret=True,
            is_generated=True,
            help="Signs what is sent. Left empty, the panel makes one and shows it once.",
        ),
    )

    def check(self, settings: Mapping[str, Any]) -> dict[str, str]:
        return {} if len(settings["secret"]) >= 16 else {"secret": "Give at least 16 characters."}

    def address(self, settings: Mapping[str, Any]) -> str:
        return host_of(settings["url"])

    async def send(self, settings: Mapping[str, Any], delivery: Delivery) -> Receipt:
        body = json.dumps(document(delivery), ensure_ascii=False, separators=(",", ":")).encode()
        timestamp = str(int(time.time()))
        answer = await outgoing.post(
            settings["url"],
            content=body,
            headers={
                "content-type": "application/json",
                "x-devflow-event": delivery.event,
                "x-devflow-delivery": delivery.id,
                "x-devflow-timestamp": timestamp,
                "x-devflow-signature": f"sha256={sign(settings['secret'], timestamp, body)}",
            },
        )
        answer.require_success()
        return Receipt(answer.status)


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The HMAC-SHA256 over `<timestamp>.<body>`, in hexadecimal."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def document(delivery: Delivery) -> dict[str, Any]:
    """What is posted; documented in docs/guide/channels/webhook.md."""
    told = {name: value if value != "" else None for name, value in delivery.message.to_json().items()}
    return {"id": delivery.id, "event": delivery.event, **told}
