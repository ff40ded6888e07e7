"""Forms of the account: allauth's, with what the panel counts and asks beside."""

from __future__ import annotations

from typing import Any

from allauth.account import forms as account
from allauth.core import context
from allauth.mfa.adapter import get_adapter as get_mfa_adapter
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.forms import ActivateTOTPForm
from allauth.mfa.webauthn.forms import AddWebAuthnForm, LoginWebAuthnForm
from django import forms
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from devflow.apps.accounts import logins
from devflow.apps.accounts.addresses import client_address
from devflow.apps.audit import throttled
from devflow.web.waits import too_many


class LoginForm(account.LoginForm):
    """The log-in, in the panel's words."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["remember"].label = _("Stay logged in on this browser")
        for name in ("login", "password"):
            self.fields[name].widget.attrs.pop("placeholder", None)
        self.fields["login"].widget.attrs["autocomplete"] = "username webauthn"


class ResetForm(forms.Form):
    """Asks for a link by mail. It looks nobody up: what it answers is the same for every address."""

    email = forms.EmailField(
        label="E-mail", max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "username"})
    )

    def save(self, request: HttpRequest, **_: Any) -> str:
        email: str = self.cleaned_data["email"]
        logins.reset_request(email=email, address=client_address(request))
        return email


class ResetKeyForm(account.ResetPasswordKeyForm):
    """The new password of who has the link: they read the mail, or have it of the panel's administrator."""

    def save(self) -> None:
        super().save()
        logins.address_proven(user=self.user)


class _CountedCode:
    """A code of a second factor: counted, and taken only once."""

    user: Any
    authenticator: Authenticator

    def clean_code(self) -> str:
        session = self.session()
        if wait := logins.code_wait(user=self.user, session=session):
            throttled.person_record(user=self.user, what="code")
            raise too_many(wait)
        code: str = super().clean_code()  # type: ignore[misc]
        if not logins.code_take(user=self.user, code=code, session=session):
            raise get_mfa_adapter().validation_error("incorrect_code")
        return code

    def session(self) -> str:
        """Of a session that is logged in, codes are counted apart: nobody else uses them up."""
        return str(context.request.session.session_key)


class CodeForm(_CountedCode, AuthenticateForm):
    """The second step of the log-in."""

    def session(self) -> str:
        return ""


class CodeAgainForm(_CountedCode, ReauthenticateForm):
    """Who is logged in proves who they are once more."""


class AppForm(_CountedCode, ActivateTOTPForm):
    """An authenticator app is set up; the code that does it does not log in, too."""


class PasskeyLoginForm(LoginWebAuthnForm):
    """The log-in by a passkey alone."""

    def clean_credential(self) -> Any:
        address = client_address(context.request)
        if wait := logins.address_wait(address=address):
            throttled.address_record(address=address)
            raise too_many(wait)
        return super().clean_credential()


class PasskeyForm(AddWebAuthnForm):
    """A new passkey; it always checks who holds it, so that it lets in by itself."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].label = _("Name")
        self.fields["name"].max_length = 100
        self.fields["name"].help_text = _("Where it is kept, like laptop or key ring.")
        self.fields["passwordless"].widget = forms.HiddenInput()
        self.fields["passwordless"].initial = True
