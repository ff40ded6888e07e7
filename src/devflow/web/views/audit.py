"""The audit log: filtered, an event, exported, verified; and the requests of the API."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from devflow.apps.accounts import rights
from devflow.apps.audit import selectors
from devflow.apps.audit.selectors import FORMATS
from devflow.apps.told import told
from devflow.core.errors import NotFoundError
from devflow.web.access import TeamRequest, recently_authenticated, team_page
from devflow.web.forms.audit import FilterForm
from devflow.web.replies import form_page

SHOWN = 50
_TYPES = {"jsonl": "application/jsonl", "csv": "text/csv"}


@team_page("GET", right=rights.AUDIT)
def audit_log(request: TeamRequest) -> HttpResponse:
    """The filters stand in the address, so that what was found can be sent to somebody."""
    form = _form(request)
    found = selectors.event_list(
        actor=request.actor, filters=form.filters(), before=request.GET.get("before", ""), limit=SHOWN + 1
    )
    shown = found[:SHOWN]
    context = {
        "form": form,
        "events": shown,
        "query": _query(request),
        "chosen": form.chosen(),
        "is_filtered": bool(_query(request)),
        "before": request.GET.get("before", ""),
        "next": shown[-1].pk if len(found) > len(shown) else None,
    }
    return form_page(request, "audit/page.html", context, form)


@team_page("GET", right=rights.AUDIT)
def audit_event(request: TeamRequest, event_id: str) -> HttpResponse:
    event = selectors.event_get(actor=request.actor, event_id=str(event_id))
    names = sorted({*(event.before or {}), *(event.after or {})})
    changes = [(name, (event.before or {}).get(name), (event.after or {}).get(name)) for name in names]
    return render(request, "audit/event.html", {"event": event, "changes": changes})


@team_page("GET", right=rights.AUDIT)
@recently_authenticated
def audit_export(request: TeamRequest) -> HttpResponseBase:
    form_of_file = request.GET.get("format", "jsonl")
    if form_of_file not in FORMATS:
        raise NotFoundError(_("There is no such format."))
    form = _form(request)
    if not form.is_valid():
        return redirect(f"/audit/?{_query(request)}")
    lines = selectors.event_export(actor=request.actor, filters=form.filters(), form=form_of_file)
    headers = {
        "Content-Disposition": f'attachment; filename="audit-{request.actor.team.slug}.{form_of_file}"',
        "Cache-Control": "no-store",
    }
    return StreamingHttpResponse(lines, content_type=f"{_TYPES[form_of_file]}; charset=utf-8", headers=headers)


@team_page("POST", right=rights.AUDIT)
def audit_verify(request: TeamRequest) -> HttpResponse:
    verdict = selectors.chain_verify(actor=request.actor, is_panel=request.POST.get("panel") == "on")
    if verdict.problems:
        messages.error(request, " ".join([_("The chain is not whole."), *map(told, verdict.problems[:3])]))
    else:
        said = ngettext(
            "The chain is whole: %(count)s event.", "The chain is whole: %(count)s events.", verdict.events
        ) % {"count": verdict.events}
        if verdict.erased:
            said += " " + ngettext(
                "%(count)s detail of people in it was erased.",
                "%(count)s details of people in it were erased.",
                verdict.erased,
            ) % {"count": verdict.erased}
        messages.success(request, said)
    return redirect("audit")


@team_page("GET", right=rights.AUDIT)
def audit_requests(request: TeamRequest) -> HttpResponse:
    """Which requests the API answered."""
    status, route = request.GET.get("status", ""), request.GET.get("route", "")
    found = selectors.request_list(
        actor=request.actor, before=request.GET.get("before", ""), status=status, route=route, limit=SHOWN + 1
    )
    shown = found[:SHOWN]
    context = {
        "requests": shown,
        "status_wanted": status,
        "route_wanted": route,
        "query": _query(request),
        "next": shown[-1].pk if len(found) > len(shown) else None,
    }
    return render(request, "audit/requests.html", context)


def _form(request: TeamRequest) -> FilterForm:
    form = FilterForm(
        request.GET,
        actor=request.actor,
        actions=selectors.action_list(actor=request.actor),
        may_see_panel=selectors.may_see_panel(request.actor),
    )
    form.is_valid()
    return form


def _query(request: TeamRequest) -> str:
    """The filters as they are in the address, without where in the list one is."""
    kept: dict[str, Any] = {name: value for name, value in request.GET.items() if value and name != "before"}
    kept.pop("format", None)
    return urlencode(kept)
