"""API tokens: list, make (the text is shown once), revoke."""

from __future__ import annotations

from django.http import HttpResponse

from devflow.apps.accounts import selectors, services
from devflow.web.access import TeamRequest, team_page
from devflow.web.forms.tokens import TokenForm
from devflow.web.replies import act_and_go, form_page


@team_page("GET", "POST")
def token_list(request: TeamRequest) -> HttpResponse:
    """Every member makes tokens of their own, which never give more than their role."""
    form = TokenForm(request.POST or None, actor=request.actor)
    made = form.save(request.actor) if form.is_valid() else None
    token, raw = made or (None, "")
    context = {
        "form": TokenForm(actor=request.actor) if made else form,
        "tokens": selectors.token_list(actor=request.actor),
        "token": token,
        "raw": raw,
    }
    response = form_page(request, "tokens/page.html", context, form)
    response["Cache-Control"] = "no-store"
    return response


@team_page("POST")
def token_revoke(request: TeamRequest, token_id: str) -> HttpResponse:
    return act_and_go(
        request,
        lambda: services.token_revoke(actor=request.actor, token_id=str(token_id)),
        done="The token is revoked.",
        to="tokens",
    )
