"""The headers that every answer carries: pages, files, API, streams, errors. Here and nowhere else."""

from __future__ import annotations

from typing import Any, Final

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",  # Swagger's page brings its pictures along
        "connect-src 'self'",
        "font-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
_USED: Final = ("clipboard-write", "publickey-credentials-create", "publickey-credentials-get")
_UNUSED: Final = (
    *("accelerometer", "autoplay", "browsing-topics", "camera", "clipboard-read", "display-capture"),
    *("encrypted-media", "fullscreen", "gamepad", "geolocation", "gyroscope", "hid", "identity-credentials-get"),
    *("idle-detection", "local-fonts", "magnetometer", "microphone", "midi", "otp-credentials", "payment"),
    *("picture-in-picture", "screen-wake-lock", "serial", "storage-access", "usb", "window-management"),
    "xr-spatial-tracking",
)
PERMISSIONS_POLICY: Final = ", ".join((*(f"{name}=(self)" for name in _USED), *(f"{name}=()" for name in _UNUSED)))

ALWAYS: Final = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": PERMISSIONS_POLICY,
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
NOT_KEPT: Final = "no-store"
"""`Cache-Control` of what says nothing of its own: all but the built files."""
HSTS: Final = f"max-age={365 * 24 * 3600}"

_ALWAYS: Final = [(name.encode(), value.encode()) for name, value in ALWAYS.items()]
_OURS: Final = {name for name, _ in _ALWAYS} | {b"strict-transport-security"}


class SafeHeaders:
    """ASGI: the application's answers with these headers. `is_https`: whether the panel's public address is."""

    def __init__(self, application: Any, *, is_https: bool) -> None:
        self._application = application
        self._is_https = is_https

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return

        async def send_safely(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._headers(scope, list(message.get("headers", ())))}
            await send(message)

        await self._application(scope, receive, send_safely)

    def _headers(self, scope: Any, own: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        kept = [(name, value) for name, value in own if name.lower() not in _OURS]
        if not any(name.lower() == b"cache-control" for name, _ in kept):
            kept.append((b"cache-control", NOT_KEPT.encode()))
        if self._is_https and scope.get("scheme") == "https":
            kept.append((b"strict-transport-security", HSTS.encode()))
        return kept + _ALWAYS
