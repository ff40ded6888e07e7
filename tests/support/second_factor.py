"""An authenticator app, as a person holds it."""

from __future__ import annotations

import time

from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, generate_totp_secret, hotp_value

from devflow.apps.accounts.models import User


class App:
    """`secret` is what the QR code holds."""

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def code(self, steps: int = 0) -> str:
        """What the app shows now; or so many half minutes later."""
        return str(format_hotp_value(hotp_value(self.secret, int(time.time()) // 30 + steps)))


def app_of(user: User) -> App:
    """The authenticator app that the user sets up now."""
    secret = generate_totp_secret()
    TOTP.activate(user, secret)
    return App(secret)
