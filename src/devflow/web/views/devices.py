"""Notifications on one's own devices: switched on in a browser, tested, removed."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from django.utils.translation import gettext as _

from devflow.apps.notifications import devices, push
from devflow.apps.notifications.models import PushDevice
from devflow.core.errors import ConflictError, InvalidError
from devflow.web.access import AccountRequest, TeamRequest, account_page, team_page
from devflow.web.replies import act_and_go

_GIVEN = ("endpoint", "p256dh", "auth")
_BACK = "account"


@team_page("POST")
def device_add(request: TeamRequest) -> HttpResponse:
    """This browser is told of the current team from now on."""

    def add() -> None:
        given = {name: request.POST.get(name, "") for name in _GIVEN}
        session_key, agent = str(request.session.session_key), request.headers.get("User-Agent", "")
        device, _is_new = devices.device_add(actor=request.actor, session_key=session_key, agent=agent, **given)
        _remember(request, device)

    done = _("This device is told when a deployment of %(team)s fails or waits for you.")
    return act_and_go(request, add, done=done % {"team": request.actor.team}, to=_BACK)


@account_page("POST")
def device_renew(request: AccountRequest) -> HttpResponse:
    """The browser says, once a day, under which address it is told: 204; 404 where nobody here has it told anything."""
    known = request.session.get(devices.SESSION_DEVICES, [])
    session_key, agent = str(request.session.session_key), request.headers.get("User-Agent", "")
    given = {name: request.POST.get(name, "") for name in _GIVEN}
    try:
        found = devices.device_renew(user=request.user, session_key=session_key, known=known, agent=agent, **given)
    except (ConflictError, InvalidError):
        found = []
    for device in found:
        _remember(request, device)
    return HttpResponse(status=204 if found else 404)


@account_page("POST")
def device_test(request: AccountRequest, device_id: UUID) -> HttpResponse:
    return act_and_go(
        request,
        lambda: push.push_test(user=request.user, device_id=device_id),
        done=_("A test is on its way to the device."),
        to=_BACK,
    )


@account_page("POST")
def device_remove(request: AccountRequest, device_id: UUID) -> HttpResponse:
    return act_and_go(
        request,
        lambda: devices.device_remove(user=request.user, device_id=device_id),
        done=_("That device is told nothing any more."),
        to=_BACK,
    )


def _remember(request: TeamRequest | AccountRequest, device: PushDevice) -> None:
    known = request.session.get(devices.SESSION_DEVICES, [])
    request.session[devices.SESSION_DEVICES] = list(dict.fromkeys([*known, str(device.pk)]))[-devices.MOST :]
