"""API tokens: list, make (the text is shown once), revoke."""

from __future__ import annotations

from django.http import HttpResponse
from django.utils.translation import gettext as _

from devflow.apps.accounts import selectors, services
from devflow.apps.projects.tokens import project_slugs
from devflow.web.access import TeamRequest, recently_authenticated, team_page
from devflow.web.forms.tokens import TokenForm
from devflow.web.replies import act_and_go, form_page


@team_page("GET", "POST")
@recently_authenticated
def token_list(request: TeamRequest) -> HttpResponse:
    """Every member makes tokens of their own, which never give more than their role; who manages people, the team's."""
    form = TokenForm(request.POST or None, actor=request.actor)
    made = form.save(request.actor) if form.is_valid() else None
    token, raw = made or (None, "")
    tokens = selectors.token_list(actor=request.actor)
    projects = project_slugs(actor=request.actor, tokens=tokens)
    context = {
        "form": TokenForm(actor=request.actor) if made else form,
        "tokens": [(token, projects[token.pk]) for token in tokens],
        "token": token,
        "raw": raw,
    }
    response = form_page(request, "tokens/page.html", context, form)
    response["Cache-Control"] = "no-store"
    return response


@team_page("POST")
@recently_authenticated
def token_revoke(request: TeamRequest, token_id: str) -> HttpResponse:
    return act_and_go(
        request,
        lambda: services.token_revoke(actor=request.actor, token_id=str(token_id)),
        done=_("The token is revoked."),
        to="tokens",
    )
