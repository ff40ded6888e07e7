"""Hold, resume, promote or abort a canary, from the page of its deployment."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from devflow.apps.accounts import rights
from devflow.apps.deployments import selectors, services
from devflow.web.access import TeamRequest, team_page
from devflow.web.replies import act_and_go

_DONE = {
    "hold": gettext_noop("The canary is told to hold."),
    "resume": gettext_noop("The canary is told to resume."),
    "promote": gettext_noop("The canary is told to promote."),
    "abort": gettext_noop("The canary is told to abort."),
}


@team_page("POST", right=rights.DEPLOY)
def deployment_canary(request: TeamRequest, deployment_id: UUID) -> HttpResponse:
    deployment = selectors.deployment_get(actor=request.actor, deployment_id=str(deployment_id))
    action = request.POST.get("action", "")
    return act_and_go(
        request,
        lambda: services.deployment_steer(actor=request.actor, deployment=deployment, action=action),
        done=_(_DONE[action]) if action in _DONE else "",
        to="deployment",
        args=(deployment.pk,),
    )
