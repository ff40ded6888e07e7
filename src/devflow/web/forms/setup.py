"""The form of the set-up page."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from devflow.apps.accounts.models import User
from devflow.apps.accounts.services import setup_complete
from devflow.web.forms.base import PanelForm


class SetupForm(PanelForm):
    name = forms.CharField(
        label=_("Your name"), max_length=200, required=False, widget=forms.TextInput(attrs={"autocomplete": "name"})
    )
    email = forms.CharField(
        label=_("E-mail"), max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "username"})
    )
    password = forms.CharField(
        label=_("Password"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=_("At least 10 characters; a sentence is good."),
    )
    team_name = forms.CharField(
        label=_("Team"),
        max_length=200,
        initial=_("My team"),
        help_text=_("Owns servers and projects; devflow admin create-user, on the panel's machine, adds people to it."),
    )

    def save(self, token: str) -> User | None:
        return self.submit(setup_complete, token=token, **self.cleaned_data)
