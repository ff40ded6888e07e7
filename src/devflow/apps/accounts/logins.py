"""What guards the log-in: how often it may be tried, which addresses are proven, and the way back to a lost password.

Everything is counted by what was typed, whether there is such an account or not, so that no answer tells.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final
from urllib.parse import urlsplit

from allauth.account.forms import default_token_generator
from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import override

from devflow.apps.accounts.limits import address_key, count, forget, hit
from devflow.apps.accounts.models import User
from devflow.apps.accounts.selectors import user_find
from devflow.apps.accounts.tokens import digest
from devflow.apps.queue import MANUAL, enqueue

ACCOUNT_TRIES: Final = 5
ADDRESS_TRIES: Final = 60
"""The addresses of whole offices are one, so more is allowed for an address than for an account."""
CODE_TRIES: Final = 5
WINDOW_SECONDS: Final = 300
CODE_LIVES_SECONDS: Final = 120
"""Longer than a code of an authenticator app is taken for."""
RESETS: Final = 5
RESET_WINDOW_SECONDS: Final = 3600


def address_wait(*, address: str) -> int:
    """Counts an attempt to log in, by password or passkey, from this address: 60 a minute. Seconds to wait; 0 where it
    is allowed."""
    key = address_key(address)
    return hit(bucket="login-address", key=key, limit=ADDRESS_TRIES, window_seconds=60).retry_after_seconds


def attempt_wait(*, email: str, device: str = "") -> int:
    """Counts an attempt to log in as this account: 5 in five minutes. Seconds to wait; 0 where it is allowed.

    `device` names one that the account knows already: those are counted apart, so that nobody elsewhere locks its owner
    out.
    """
    key = _key(email, device)
    return hit(bucket="login", key=key, limit=ACCOUNT_TRIES, window_seconds=WINDOW_SECONDS).retry_after_seconds


def attempts_forget(*, email: str, device: str = "") -> None:
    """The right password was given: what was mistyped before is forgiven."""
    forget(bucket="login", key=_key(email, device))


def confirm_wait(*, user: User, session: str) -> int:
    """Counts an attempt to confirm by password who one is, apart from those to log in: 5 in five minutes for a session,
    so that nobody else uses them up. Seconds to wait; 0 where it is allowed."""
    key = f"{user.pk}:{session}"
    return hit(bucket="confirm", key=key, limit=ACCOUNT_TRIES, window_seconds=WINDOW_SECONDS).retry_after_seconds


def confirms_forget(*, user: User, session: str) -> None:
    forget(bucket="confirm", key=f"{user.pk}:{session}")


def code_wait(*, user: User, session: str = "") -> int:
    """Counts an attempt to give a code of a second factor: 5 in five minutes, those of a session that is logged in
    apart. Seconds to wait; 0 where it is allowed."""
    key = f"{user.pk}:{session}"
    return hit(bucket="code", key=key, limit=CODE_TRIES, window_seconds=WINDOW_SECONDS).retry_after_seconds


def code_take(*, user: User, code: str, session: str = "") -> bool:
    """Uses a right code of an authenticator app up. False when it was used before: whoever read it along may not."""
    forget(bucket="code", key=f"{user.pk}:{session}")
    key = digest(f"{user.pk}:{code.strip()}")
    return hit(bucket="code-used", key=key, limit=1, window_seconds=CODE_LIVES_SECONDS).allowed


def refusal_count(*, of: str) -> int:
    """Counts an attempt that was refused as one too many; how many there were in this window."""
    return count(bucket="refused", key=_key(of), window_seconds=WINDOW_SECONDS)


def reset_request(*, email: str, address: str) -> bool:
    """Has a link to set a new password mailed, if there is such an account: a worker looks that up, so that nobody who
    asks can tell by the answer or its time. False when it was asked too often."""
    by_address = hit(bucket="reset-address", key=address_key(address), limit=ADDRESS_TRIES, window_seconds=3600)
    by_account = hit(bucket="reset", key=_key(email), limit=RESETS, window_seconds=RESET_WINDOW_SECONDS)
    if not (by_address.allowed and by_account.allowed):
        return False
    if settings.HAS_MAIL:
        enqueue("accounts.mail_reset", priority=MANUAL, email=email.strip().lower()[:254])
    return True


def reset_link(*, user: User) -> str:
    """A link that sets a new password once, within PASSWORD_RESET_TIMEOUT; who does that has proven the address."""
    address_known(user=user)
    key = f"{user_pk_to_url_str(user)}-{default_token_generator.make_token(user)}"
    return f"{settings.PUBLIC_URL}/accounts/password/reset/key/{key}/"


def address_known(*, user: User) -> None:
    """Who has no entry among the e-mail addresses was made by an administrator, who knew the address. Who was let in
    before there was mail, by an address that nobody could ask to prove, is not asked now."""
    if not EmailAddress.objects.filter(user=user).exists():
        EmailAddress.objects.get_or_create(user=user, email=user.email, defaults={"verified": True, "primary": True})
    elif user.last_login is not None:
        address_proven(user=user)


def address_proven(*, user: User) -> None:
    """The address is the person's: they read a mail there, or the panel's administrator says so."""
    known = EmailAddress.objects.filter(user=user, email__iexact=user.email)
    if not known.update(verified=True, primary=True):
        EmailAddress.objects.get_or_create(user=user, email=user.email, defaults={"verified": True, "primary": True})


def address_unproven(*, user: User) -> None:
    """The person has typed the address in: where mail is set up, a mail must show that it is theirs."""
    EmailAddress.objects.get_or_create(user=user, email=user.email, defaults={"verified": False, "primary": True})


def confirmation_request(*, user: User) -> None:
    """Has the mail sent by which the person proves the address: by a worker, so that no log-in waits for the mail
    server or fails with it. Asked for too often, the mails that were sent are enough."""
    window = RESET_WINDOW_SECONDS
    if hit(bucket="confirmation", key=str(user.pk), limit=RESETS, window_seconds=window).allowed:
        enqueue("accounts.mail_confirmation", priority=MANUAL, email=user.email)


def confirmation_mail(*, email: str) -> tuple[str, str, str] | None:
    """Recipient, subject and text of the mail that proves an address; None where there is nothing left to prove."""
    found = EmailAddress.objects.filter(email__iexact=email, verified=False, user__is_active=True)
    address = found.select_related("user").first()
    if address is None:
        return None
    link = f"{settings.PUBLIC_URL}/accounts/confirm-email/{EmailConfirmationHMAC.create(address).key}/"
    with written_for(address.user):
        text = [
            _("Is %(address)s your address? Then open this link:") % {"address": address.email},
            link,
            _("You do not know what this is about? Then there is nothing to do."),
        ]
        return address.email, _("Confirm your e-mail address for DevFlow Pro"), paragraphs(text)


def reset_mail(*, email: str) -> tuple[str, str, str] | None:
    """Recipient, subject and text of the mail with the link; None for nobody who can log in."""
    user = user_find(email=email)
    if user is None or not user.is_active or user.is_machine:
        return None
    host = urlsplit(settings.PUBLIC_URL).hostname
    with written_for(user):
        text = [
            _("Somebody, hopefully you, asked for a new password for %(address)s on %(panel)s.")
            % {"address": user.email, "panel": settings.PUBLIC_URL},
            _("Set it here, within an hour:"),
            reset_link(user=user),
            _("It was not you? Then there is nothing to do: your password stays as it is."),
        ]
        return user.email, _("New password for DevFlow Pro on %(host)s") % {"host": host}, paragraphs(text)


def written_for(user: User | None) -> AbstractContextManager[None]:
    """The language that this person chose for the pages, else English: no browser asks when a mail is written."""
    return override(user.language if user and user.language else settings.LANGUAGE_CODE)


def paragraphs(texts: list[str]) -> str:
    return "\n\n".join(texts) + "\n"


def _key(email: str, device: str = "") -> str:
    """Addresses are kept as digests: what people type in there is not always an address."""
    return digest(f"{email.strip().lower()} {device}".strip())
