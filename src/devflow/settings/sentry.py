"""`SENTRY_DSN`: unhandled errors go to that Sentry (or what speaks its language), and nothing but them.

What is logged as an error is sent with its traceback: lines of our code, never the values of variables; no request, no
body, no header, no address, no user. Messages are masked as in the log; what a database says of a row is cut off.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, cast

import devflow
from devflow.core.error_id import current_id
from devflow.settings.env import Config, ConfigError
from devflow.settings.log import mask

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

_KEPT: Final = (
    *("event_id", "timestamp", "level", "logger", "platform", "release", "environment", "server_name", "sdk"),
    *("exception", "logentry", "tags", "fingerprint"),
)
_OF_A_ROW: Final = re.compile(r"\n\s*(DETAIL|CONTEXT|HINT|QUERY):.*", re.DOTALL)


def start_sentry(config: Config, process: str) -> None:
    """Has errors of this process sent; does nothing (and loads nothing) without a DSN. Raises `ConfigError`."""
    if config.sentry_dsn is None:
        return
    import sentry_sdk
    from sentry_sdk.integrations.atexit import AtexitIntegration
    from sentry_sdk.integrations.excepthook import ExcepthookIntegration
    from sentry_sdk.integrations.logging import LoggingIntegration

    try:
        sentry_sdk.utils.Dsn(config.sentry_dsn)
    except sentry_sdk.utils.BadDsn:
        raise ConfigError("SENTRY_DSN: must be an address like https://key@sentry.example.org/1") from None
    sentry_sdk.init(
        dsn=config.sentry_dsn,
        release=f"devflow@{devflow.__version__}",
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[
            LoggingIntegration(level=None, sentry_logs_level=None),
            ExcepthookIntegration(),
            AtexitIntegration(callback=lambda *_: None),
        ],
        before_send=cleaned,
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        send_client_reports=False,
        auto_session_tracking=False,
    )
    sentry_sdk.set_tag("process", process)


def cleaned(event: Event, _hint: Hint | None = None) -> Event:
    """The event as it may leave the panel."""
    kept: Any = {name: value for name, value in event.items() if name in _KEPT}
    for thrown in kept.get("exception", {}).get("values", ()):
        thrown["value"] = _masked(thrown.get("value"))
        for frame in (thrown.get("stacktrace") or {}).get("frames", ()):
            frame.pop("vars", None)
    if entry := kept.get("logentry"):
        kept["logentry"] = {"message": _masked(entry.get("formatted") or entry.get("message"))}
    if error_id := current_id():
        kept["tags"] = {**dict(kept.get("tags") or {}), "error_id": error_id}
    return cast("Event", kept)


def _masked(text: Any) -> str:
    return mask(_OF_A_ROW.sub("", str(text or "")))
