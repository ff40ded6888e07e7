"""A project's webhook: its set-up, what came, taking it once more."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from devflow.apps.accounts import rights
from devflow.apps.deployments.pushes import delivery_redeliver
from devflow.apps.deployments.selectors import deployment_statuses
from devflow.apps.projects.models import Project
from devflow.apps.projects.selectors import project_get
from devflow.apps.projects.services import project_source
from devflow.apps.sources import selectors, services
from devflow.apps.sources.models import Delivery
from devflow.apps.sources.providers import PROVIDERS
from devflow.apps.told import told
from devflow.core.errors import ConflictError
from devflow.web.access import TeamRequest, recently_authenticated, team_page
from devflow.web.forms.webhooks import WebhookForm
from devflow.web.presenters.webhooks import pretty
from devflow.web.replies import form_page

PAGE_LENGTH = 50


@team_page("GET")
def webhook(request: TeamRequest, slug: str) -> HttpResponse:
    project = project_get(actor=request.actor, slug=slug)
    return _page(request, project, WebhookForm(project=project))


@team_page("POST", right=rights.MANAGE)
@recently_authenticated
def webhook_set(request: TeamRequest, slug: str) -> HttpResponse:
    """The secret is shown by the answer to this, and never again."""
    project = project_get(actor=request.actor, slug=slug)
    form = WebhookForm(request.POST, project=project)
    secret = form.save(request.actor) if form.is_valid() else None
    if secret is None:
        return _page(request, project, form)
    if secret:
        note = _("Give it to %(title)s now.") % {"title": told(PROVIDERS[form.cleaned_data["provider"]].title)}
        return _page(request, project, WebhookForm(project=project), secret=secret, note=note)
    messages.success(request, _("Saved."))
    return redirect("webhook", slug)


@team_page("POST", right=rights.MANAGE)
@recently_authenticated
def webhook_rotate(request: TeamRequest, slug: str) -> HttpResponse:
    project = project_get(actor=request.actor, slug=slug)
    source = project_source(actor=request.actor, project=project)
    try:
        rotated = services.webhook_rotate(actor=request.actor, source=source)
    except ConflictError as error:
        messages.error(request, told(str(error)))
        return redirect("webhook", slug)
    note = rotated.note(PROVIDERS[source.provider].title)
    project = project_get(actor=request.actor, slug=slug)
    return _page(request, project, WebhookForm(project=project), secret=rotated.secret, note=note)


@team_page("GET")
def delivery_detail(request: TeamRequest, slug: str, delivery_id: str) -> HttpResponse:
    project = project_get(actor=request.actor, slug=slug)
    delivery = selectors.delivery_get(actor=request.actor, source=project.source, delivery_id=str(delivery_id))
    payload, is_cut = pretty(selectors.payload(delivery))
    context = {
        "project": project,
        "delivery": delivery,
        "statuses": _statuses(request, [delivery]),
        "headers": sorted(delivery.headers.items()),
        "payload": payload,
        "is_cut": is_cut,
        "kept": services.KEPT,
    }
    return render(request, "webhooks/delivery.html", context)


@team_page("POST", right=rights.DEPLOY)
def delivery_again(request: TeamRequest, slug: str, delivery_id: str) -> HttpResponse:
    project = project_get(actor=request.actor, slug=slug)
    delivery = selectors.delivery_get(actor=request.actor, source=project.source, delivery_id=str(delivery_id))
    try:
        again = delivery_redeliver(actor=request.actor, delivery=delivery)
    except ConflictError as error:
        messages.error(request, told(str(error)))
        return redirect("delivery", slug, delivery_id)
    return redirect("delivery", slug, again.pk)


def _statuses(request: TeamRequest, deliveries: list[Delivery]) -> dict[str, str]:
    """Of the deployments that they asked for."""
    made = [deployment for delivery in deliveries for deployment in delivery.answer.get("deployments", ())]
    return deployment_statuses(actor=request.actor, deployment_ids=made)


def _page(
    request: TeamRequest, project: Project, form: WebhookForm, *, secret: str = "", note: str = ""
) -> HttpResponse:
    source = project.source if project.source and project.source.provider else None
    found = selectors.delivery_list(
        actor=request.actor, source=project.source, before=request.GET.get("before", ""), limit=PAGE_LENGTH + 1
    )
    shown = found[:PAGE_LENGTH]
    context: dict[str, Any] = {
        "project": project,
        "form": form,
        "secret": secret,
        "url": selectors.webhook_url(source) if source else "",
        "provider": PROVIDERS[source.provider] if source else None,
        "note": note,
        "steps": services.webhook_steps(source, is_secret_shown=bool(secret)) if source else [],
        "refused": [{**each, "at": datetime.fromisoformat(each["at"])} for each in source.refused] if source else [],
        "deliveries": shown,
        "statuses": _statuses(request, shown),
        "next": shown[-1].pk if len(found) > len(shown) else None,
        "environments": project.environments.all(),
        "kept": services.KEPT,
    }
    response = form_page(request, "webhooks/page.html", context, form)
    if secret:
        response["Cache-Control"] = "no-store"
    return response
