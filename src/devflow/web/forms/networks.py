"""The form that says from where a team may be reached."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from devflow.apps.accounts.models import Team
from devflow.apps.accounts.rights import Actor
from devflow.apps.accounts.services import team_networks_set
from devflow.web.forms.base import PanelForm, code_area, lines


class NetworksForm(PanelForm):
    networks = forms.CharField(
        label=_("Addresses and networks"),
        required=False,
        max_length=10_000,
        widget=code_area(6),
        help_text=_("One on each line, like 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32. With none, all are let in."),
    )
    is_confirmed = forms.BooleanField(label=_("Save it although my own address is not among them"), required=False)

    def save(self, actor: Actor, address: str) -> Team | None:
        given = self.cleaned_data
        return self.submit(
            team_networks_set,
            actor=actor,
            networks=lines(given["networks"]),
            address=address,
            is_confirmed=given["is_confirmed"],
        )
