"""How allauth is fitted to the panel."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailConfirmationHMAC
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from django.contrib.auth import authenticate
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy as _

from devflow.apps.accounts import factor_secrets, logins, sessions
from devflow.apps.accounts.addresses import LOOPBACK, client_address
from devflow.apps.audit import throttled
from devflow.apps.audit.devices import device_known
from devflow.web.waits import too_many

_METHODS = {
    "reauthenticate": _("Use your password"),
    "mfa_reauthenticate": _("Use a code"),
    "mfa_reauthenticate:webauthn": _("Use a passkey"),
}


class AccountAdapter(DefaultAccountAdapter):
    """Nobody signs up by themselves: the first user comes by the set-up link, others by an invitation."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def is_safe_url(self, url: str | None) -> bool:
        """Only a path of the panel's own: its other names (localhost) may be somebody else's for the reader."""
        return bool(url) and str(url).startswith("/") and url_has_allowed_host_and_scheme(url, allowed_hosts=None)

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_address(request) or LOOPBACK  # none: behind a Unix socket

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        """The same rule as `web.access.recently_authenticated`: a fresh log-in counts too."""
        return not sessions.is_recent(context.request)

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Before any password is looked at, so that a refusal tells nothing about it."""
        email, address = credentials.get("email", ""), client_address(request)
        if wait := logins.address_wait(address=address):
            throttled.address_record(address=address)
            raise too_many(wait)
        if wait := logins.attempt_wait(email=email, device=_device(request, email)):
            throttled.account_record(email=email)
            raise too_many(wait)

    def authenticate(self, request: HttpRequest, **credentials: Any) -> AbstractBaseUser | None:
        user: AbstractBaseUser | None = super().authenticate(request, **credentials)
        if user:
            email = credentials.get("email", "")
            logins.attempts_forget(email=email, device=_device(request, email))
        return user

    def reauthenticate(self, user: Any, password: str) -> bool:
        """Counted for this session alone: who tries passwords elsewhere keeps nobody from confirming who they are."""
        request = context.request
        session = str(request.session.session_key)
        if wait := logins.confirm_wait(user=user, session=session):
            throttled.person_record(user=user, what="password")
            raise too_many(wait)
        found = authenticate(request, email=user.get_username(), password=password)
        if found is None or found.pk != user.pk:
            return False
        logins.confirms_forget(user=user, session=session)
        return True

    def get_reauthentication_methods(self, user: Any) -> list[dict[str, Any]]:
        return [{**each, "description": _METHODS[each["id"]]} for each in super().get_reauthentication_methods(user)]

    def send_confirmation_mail(
        self, request: HttpRequest, emailconfirmation: EmailConfirmationHMAC, signup: bool
    ) -> None:
        """By a worker: a mail server that does not answer keeps nobody waiting, and makes no log-in fail."""
        logins.confirmation_request(user=emailconfirmation.email_address.user)

    def pre_login(self, request: HttpRequest, user: Any, **kwargs: Any) -> Any:
        logins.address_known(user=user)
        return super().pre_login(request, user, **kwargs)


def _device(request: HttpRequest, email: str) -> str:
    """What the attempt comes from, where this account has logged in with it before; else ''."""
    agent = request.headers.get("User-Agent", "")
    return device_known(email=email, user_agent=agent, address=client_address(request))


class MFAAdapter(DefaultMFAAdapter):
    """Second factors: their secrets are sealed like all of the panel's."""

    def get_totp_issuer(self) -> str:
        return f"DevFlow Pro ({context.request.get_host()})"

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        return {**super().get_public_key_credential_rp_entity(), "name": "DevFlow Pro"}

    def generate_authenticator_name(self, user: AbstractBaseUser, type: Any) -> str:  # noqa: A002 - as in the base class
        """The browser that it is made with: that is mostly where the passkey is kept."""
        return sessions.device(context.request.headers.get("User-Agent", ""))[:100]

    def encrypt(self, text: str) -> str:
        return factor_secrets.seal(text)

    def decrypt(self, encrypted_text: str) -> str:
        return factor_secrets.open_sealed(encrypted_text)
