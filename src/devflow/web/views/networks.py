"""From where a team may be reached."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from devflow.apps.accounts.addresses import client_address
from devflow.apps.accounts.rights import MANAGE_PEOPLE
from devflow.web.access import TeamRequest, recently_authenticated, team_page
from devflow.web.forms.networks import NetworksForm
from devflow.web.replies import form_page


@team_page("GET", "POST", right=MANAGE_PEOPLE)
@recently_authenticated
def team_networks(request: TeamRequest) -> HttpResponse:
    """Who would lock themselves out is asked to confirm."""
    address = client_address(request)
    initial = {"networks": "\n".join(request.actor.team.allowed_networks)}
    form = NetworksForm(request.POST or None, initial=initial)
    if form.is_valid() and (team := form.save(request.actor, address)):
        places = len(team.allowed_networks)
        messages.success(request, _("Saved.") if places else _("Saved: the team may be reached from everywhere."))
        return redirect("team-networks")
    return form_page(request, "networks/page.html", {"form": form, "address": address}, form)
