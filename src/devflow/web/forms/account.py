"""Forms of the account: allauth's, with what the panel counts and asks beside."""

from __future__ import annotations

from typing import Any, ClassVar

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
            self.fields[name].widget.attrs.pop("autofocus", None)
        self.fields["login"].widget.attrs["autocomplete"] = "username"
        typed = self.data.get("login") if self.is_bound else ""
        self.fields["password" if typed else "login"].widget.attrs["autofocus"] = True


class ResetForm(forms.Form):
    """Asks for a link by mail. It looks nobody up: what it answers is the same for every address."""

    email = forms.EmailField(
        label=_("E-mail"), max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "username"})
    )

    def save(self, request: HttpRequest, **_others: Any) -> str:
        email: str = self.cleaned_data["email"]
        logins.reset_request(email=email, address=client_address(request))
        return email


class _NewPassword:
    """A new password, typed twice, in the panel's words; nothing grey stands in empty fields."""

    labels: ClassVar = {"password1": _("New password"), "password2": _("New password, once more")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fields: dict[str, forms.Field] = self.fields  # type: ignore[attr-defined]
        for name, label in self.labels.items():
            fields[name].label = label
            fields[name].widget.attrs.pop("placeholder", None)
        if "password1" in self.labels:
            fields["password1"].help_text = _("At least 10 characters; a sentence is good.")
        fields[next(iter(self.labels))].widget.attrs["autofocus"] = True


class ChangeForm(_NewPassword, account.ChangePasswordForm):
    """Another password, of who knows the one of now."""

    labels: ClassVar = {"oldpassword": _("Password of now"), **_NewPassword.labels}


class PasswordAgainForm(_NewPassword, account.ReauthenticateForm):
    """Who is logged in proves by the password who they are."""

    labels: ClassVar = {"password": _("Password")}


class ResetKeyForm(_NewPassword, account.ResetPasswordKeyForm):
    """The new password of who has the link: they read the mail, or have it of the panel's administrator."""

    def save(self) -> None:
        super().save()
        logins.address_proven(user=self.user)


class _CountedCode:
    """A code of a second factor: counted, and taken only once."""

    user: Any
    authenticator: Authenticator

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        attrs = self.fields["code"].widget.attrs  # type: ignore[attr-defined]
        attrs.pop("placeholder", None)
        attrs.update(inputmode="numeric", autocomplete="one-time-code", autofocus=True, spellcheck="false")

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
