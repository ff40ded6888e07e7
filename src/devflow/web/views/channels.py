"""Channels: list, add, look at, change, send a test, try again, remove."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters

from devflow.apps.accounts import rights
from devflow.apps.notifications import selectors, services
from devflow.apps.notifications.channels import CHANNELS
from devflow.apps.notifications.events import EVENTS, TEST_EVENT
from devflow.apps.notifications.messages import Message
from devflow.apps.notifications.models import Channel, Notification
from devflow.apps.projects.selectors import project_get
from devflow.core.errors import NotFoundError
from devflow.web.access import TeamRequest, recently_authenticated, team_page
from devflow.web.forms.channels import ChannelForm, channel_kinds
from devflow.web.replies import Undo, act_and_go, form_page
from devflow.web.waiting import is_waiting, redirect_and_wait, since

SHOWN_DELIVERIES = 50


@team_page("GET")
def channel_list(request: TeamRequest) -> HttpResponse:
    """`?project=` shows those that are told of this project."""
    slug = request.GET.get("project", "")
    project = project_get(actor=request.actor, slug=slug) if slug else None
    channels = selectors.channel_list(actor=request.actor, project_id=project.pk if project else None)
    rows = [{"channel": channel, "kind": CHANNELS[channel.kind].title, "state": _look(channel)} for channel in channels]
    return render(request, "channels/list.html", {"rows": rows, "kinds": channel_kinds(), "project": project})


@sensitive_post_parameters()
@team_page("GET", "POST", right=rights.MANAGE)
@recently_authenticated
def channel_add(request: TeamRequest, kind: str) -> HttpResponse:
    if kind not in CHANNELS:
        raise NotFoundError(_("There is no kind of channel %(kind)s.") % {"kind": repr(kind)})
    form = ChannelForm(
        request.POST or None, actor=request.actor, kind=CHANNELS[kind], project=request.GET.get("project", "")
    )
    if form.is_valid() and (saved := form.save()):
        channel, made = saved
        if not made:
            return redirect("channel", channel.pk)
        response = render(request, "channels/made.html", {"channel": channel, "made": made})
        response["Cache-Control"] = "no-store"
        return response
    return form_page(request, "channels/form.html", {"form": form, "kind": CHANNELS[kind]}, form)


@sensitive_post_parameters()
@team_page("GET", "POST", right=rights.MANAGE)
@recently_authenticated
def channel_edit(request: TeamRequest, channel_id: str) -> HttpResponse:
    channel = selectors.channel_get(actor=request.actor, channel_id=str(channel_id))
    kind = CHANNELS[channel.kind]
    form = ChannelForm(request.POST or None, actor=request.actor, kind=kind, channel=channel)
    if form.is_valid() and form.save():
        return redirect("channel", channel.pk)
    return form_page(request, "channels/form.html", {"form": form, "kind": kind, "channel": channel}, form)


@team_page("GET")
def channel_detail(request: TeamRequest, channel_id: str) -> HttpResponse:
    channel = selectors.channel_get(actor=request.actor, channel_id=str(channel_id))
    return render(request, "channels/detail.html", _state(request, channel))


@team_page("GET")
def channel_state(request: TeamRequest, channel_id: str) -> HttpResponse:
    """The part of the page that is asked for again while something is being sent."""
    channel = selectors.channel_get(actor=request.actor, channel_id=str(channel_id))
    return render(request, "channels/state.html", _state(request, channel))


@team_page("POST", right=rights.MANAGE)
def channel_test(request: TeamRequest, channel_id: str) -> HttpResponse:
    channel = selectors.channel_get(actor=request.actor, channel_id=str(channel_id))
    services.channel_test(actor=request.actor, channel=channel)
    return redirect_and_wait("channel", str(channel.pk))


@team_page("POST", right=rights.MANAGE)
def channel_switch(request: TeamRequest, channel_id: str) -> HttpResponse:
    channel = selectors.channel_get(actor=request.actor, channel_id=str(channel_id))
    is_enabled = request.POST.get("on") == "yes"
    undo = Undo(reverse("channel-switch", args=[channel.pk]), {"on": "no" if is_enabled else "yes"})
    return act_and_go(
        request,
        lambda: services.channel_update(actor=request.actor, channel=channel, is_enabled=is_enabled),
        done=_("%(name)s is switched on.") % {"name": channel.name}
        if is_enabled
        else _("%(name)s is switched off: nobody is told through it.") % {"name": channel.name},
        to="channel",
        args=(channel.pk,),
        undo=lambda: undo,
    )


@team_page("POST", right=rights.MANAGE)
def channel_remove(request: TeamRequest, channel_id: str) -> HttpResponse:
    channel = selectors.channel_get(actor=request.actor, channel_id=str(channel_id))
    return act_and_go(
        request,
        lambda: services.channel_remove(actor=request.actor, channel=channel),
        done=_("The channel %(name)s is removed.") % {"name": channel.name},
        to="channels",
    )


@team_page("POST", right=rights.MANAGE)
def delivery_retry(request: TeamRequest, channel_id: str, delivery_id: str) -> HttpResponse:
    channel = selectors.channel_get(actor=request.actor, channel_id=str(channel_id))
    row = selectors.notification_get(actor=request.actor, channel=channel, notification_id=str(delivery_id))
    return act_and_go(
        request,
        lambda: services.notification_retry(actor=request.actor, notification=row),
        done=_("It is being tried again."),
        to="channel",
        args=(channel.pk,),
    )


def _state(request: TeamRequest, channel: Channel) -> dict[str, Any]:
    rows = selectors.notification_list(
        actor=request.actor, channel=channel, before=request.GET.get("before", ""), limit=SHOWN_DELIVERIES + 1
    )
    shown = rows[:SHOWN_DELIVERIES]
    test = next((row for row in shown if row.event == TEST_EVENT), None)
    is_sending = is_waiting(request, test.finished_at if test else None)
    return {
        "channel": channel,
        "kind": CHANNELS[channel.kind],
        "state": _look(channel),
        "language": dict(settings.LANGUAGES).get(channel.language, channel.language),
        "events": [each.title for name, each in EVENTS.items() if name in channel.events],
        "deliveries": [{"row": row, "title": _title(row)} for row in shown],
        "next": shown[-1].pk if len(rows) > len(shown) else None,
        "since": since(request),
        "is_sending": is_sending,
        "test": test if since(request) and test and test.finished_at and not is_sending else None,
    }


def _title(row: Notification) -> str:
    return Message.from_json({"title": "", **row.message}).title_in_language()


def _look(channel: Channel) -> str:
    if not channel.is_enabled:
        return "off"
    if channel.problem:
        return "refused"
    return "failing" if channel.failing_since else "on"
