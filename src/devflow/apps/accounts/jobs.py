"""Background entry points of accounts: mails to people, which nobody waits for."""

from __future__ import annotations

from collections.abc import Callable

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.mail import send_mail
from django.db import close_old_connections

from devflow.apps.accounts.invitations import invitation_mail
from devflow.apps.accounts.logins import confirmation_mail, reset_mail


async def mail_reset(*, email: str) -> None:
    """Sends the link for a new password, where there is such an account. Raises OSError, SMTPException."""
    await sync_to_async(_send, thread_sensitive=False)(lambda: reset_mail(email=email))


async def mail_confirmation(*, email: str) -> None:
    """Sends the link that proves an address, where it still has to be. Raises OSError, SMTPException."""
    await sync_to_async(_send, thread_sensitive=False)(lambda: confirmation_mail(email=email))


async def mail_invitation(*, invitation_id: str) -> None:
    """Sends the link of an invitation to whom it is for. Raises OSError, SMTPException."""
    await sync_to_async(_send, thread_sensitive=False)(lambda: invitation_mail(invitation_id=invitation_id))


def _send(compose: Callable[[], tuple[str, str, str] | None]) -> None:
    close_old_connections()
    try:
        mail = compose() if settings.HAS_MAIL else None
        if mail is not None:
            to, subject, text = mail
            send_mail(" ".join(subject.split()), text, settings.DEFAULT_FROM_EMAIL, [to])
    finally:
        close_old_connections()
