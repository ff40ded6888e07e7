"""The kinds of channels. A new one is a module here and a line in CHANNELS."""

from __future__ import annotations

from typing import Final

from devflow.apps.notifications.channels.base import ChannelKind
from devflow.apps.notifications.channels.discord import Discord
from devflow.apps.notifications.channels.email import Email
from devflow.apps.notifications.channels.slack import Slack
from devflow.apps.notifications.channels.teams import Teams
from devflow.apps.notifications.channels.webhook import Webhook

CHANNELS: Final[dict[str, ChannelKind]] = {
    kind.name: kind for kind in (Slack(), Discord(), Teams(), Email(), Webhook())
}
