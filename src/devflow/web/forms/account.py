"""Forms of the account: allauth's, with what the panel counts and asks beside."""

from __future__ import annotations

from typing import Any

from allauth.account import forms as account
from allauth.account.adapter import get_adapter
from allauth.core import context
from allauth.mfa.adapter import get_adapter as get_mfa_adapter
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.forms import AddWebAuthnForm, LoginWebAuthnForm
from django import forms
from django.http import HttpRequest

from devflow.apps.accounts import logins
from devflow.apps.accounts.addresses import client_address


class LoginForm(account.LoginForm):
    """The log-in, in the panel's words."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["remember"].label = "Stay logged in on this browser"
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


class _CountedCode:
    """A code of a second factor: counted, and taken only once."""

    user: Any
    authenticator: Authenticator

    def clean_code(self) -> str:
        if not logins.code_attempt_allowed(user=self.user):
            raise get_adapter().validation_error("too_many_login_attempts")
        code: str = super().clean_code()  # type: ignore[misc]
        if not logins.code_take(user=self.user, code=code):
            raise get_mfa_adapter().validation_error("incorrect_code")
        return code


class CodeForm(_CountedCode, AuthenticateForm):
    """The second step of the log-in."""


class CodeAgainForm(_CountedCode, ReauthenticateForm):
    """Who is logged in proves who they are once more."""


class PasskeyLoginForm(LoginWebAuthnForm):
    """The log-in by a passkey alone."""

    def clean_credential(self) -> Any:
        if not logins.passkey_attempt_allowed(address=client_address(context.request)):
            raise get_adapter().validation_error("too_many_login_attempts")
        return super().clean_credential()


class PasskeyForm(AddWebAuthnForm):
    """A new passkey; it always checks who holds it, so that it lets in by itself."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].label = "Name"
        self.fields["name"].max_length = 100
        self.fields["name"].help_text = "Where it is kept, like laptop or key ring."
        self.fields["passwordless"].widget = forms.HiddenInput()
        self.fields["passwordless"].initial = True
