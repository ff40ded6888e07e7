"""Forms of a team's people: inviting them, joining, a new team."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from devflow.apps.accounts import invitations
from devflow.apps.accounts.members import roles_given, team_add
from devflow.apps.accounts.models import Invitation, Role, Team, User
from devflow.apps.accounts.rights import Actor
from devflow.apps.accounts.services import name_set
from devflow.web.forms.base import PanelForm
from devflow.web.looks import word

_DAYS = [("1", _("a day")), ("7", _("7 days")), ("30", _("30 days"))]


class InviteForm(PanelForm):
    conflict_field = "email"
    email = forms.CharField(
        label=_("E-mail"),
        max_length=254,
        required=False,
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
        help_text=_("Only its owner can accept then. Empty: whoever has the link."),
    )
    role = forms.ChoiceField(label=_("Role"), initial=Role.DEVELOPER)
    days = forms.ChoiceField(label=_("Valid for"), choices=_DAYS, initial="7")

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(role, word("role", role)) for role in roles_given(actor)]
        self.fields["role"].choices = choices  # type: ignore[attr-defined]

    def save(self, actor: Actor) -> tuple[Invitation, str] | None:
        """The invitation and its link, which is known only now."""
        given = self.cleaned_data | {"days": int(self.cleaned_data["days"])}
        return self.submit(invitations.invitation_create, actor=actor, **given)


class JoinForm(PanelForm):
    conflict_field = "email"
    name = forms.CharField(
        label=_("Your name"), max_length=200, required=False, widget=forms.TextInput(attrs={"autocomplete": "name"})
    )
    email = forms.CharField(
        label=_("E-mail"), max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "username"})
    )
    password = forms.CharField(
        label=_("Password"),
        strip=False,
        max_length=4096,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=_("At least 10 characters; a sentence is good."),
    )

    def __init__(self, *args: Any, invitation: Invitation, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if invitation.email:
            self.fields["email"].initial = invitation.email
            self.fields["email"].widget.attrs["readonly"] = True  # what comes back is not looked at

    def save(self, invitation: Invitation) -> User | None:
        return self.submit(invitations.invitation_join, invitation=invitation, **self.cleaned_data)


class TeamForm(PanelForm):
    name = forms.CharField(label=_("Name"), max_length=200, help_text=_("Like the company, or the client."))

    def save(self, actor: Actor) -> Team | None:
        return self.submit(team_add, actor=actor, name=self.cleaned_data["name"])


class NameForm(PanelForm):
    """How a person is called; with an empty one, by the e-mail address."""

    name = forms.CharField(
        label=_("Your name"), max_length=200, required=False, widget=forms.TextInput(attrs={"autocomplete": "name"})
    )

    def save(self, user: User) -> User | None:
        return self.submit(name_set, user=user, name=self.cleaned_data["name"])
