"""Variables of an environment, and (under the project's address) the base variables of all its environments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters

from devflow.apps.accounts import rights
from devflow.apps.deployments.variables import comparison_request, environments_outdated, variables_undeployed
from devflow.apps.projects import variables
from devflow.apps.projects.models import Environment, Project
from devflow.apps.projects.selectors import environment_get, project_get
from devflow.apps.told import told
from devflow.core.errors import ConflictError
from devflow.web.access import TeamRequest, recently_authenticated, team_page
from devflow.web.forms.variables import ImportForm, RequireForm, VariableForm
from devflow.web.presenters.environments import environment_head
from devflow.web.replies import Undo, act_and_go, form_page
from devflow.web.waiting import is_waiting, redirect_and_wait, since

SHOWN_CHANGES = 100
_PAGES = ("set", "import", "export", "unset", "reveal", "history", "restore")


@dataclass(frozen=True, slots=True)
class _Place:
    """An environment, or a project for its base variables."""

    project: Project
    environment: Environment | None

    @property
    def chosen(self) -> dict[str, Any]:
        """As the services take it."""
        return {"environment": self.environment} if self.environment else {"project": self.project}

    @property
    def args(self) -> tuple[str, ...]:
        return (self.project.slug, self.environment.name) if self.environment else (self.project.slug,)

    @property
    def list_page(self) -> str:
        return "environment-variables" if self.environment else "base-variables"

    def addresses(self) -> dict[str, str]:
        prefix = "variables" if self.environment else "base-variables"
        return {
            "list": reverse(self.list_page, args=self.args),
            **{page: reverse(f"{prefix}-{page}", args=self.args) for page in _PAGES},
        }


@team_page("GET")
def variable_list(request: TeamRequest, slug: str, name: str = "") -> HttpResponse:
    return _page(request, _place(request, slug, name))


@sensitive_post_parameters("value")
@team_page("POST", right=rights.MANAGE)
@recently_authenticated
def variable_set(request: TeamRequest, slug: str, name: str = "") -> HttpResponse:
    place = _place(request, slug, name)
    form = VariableForm(request.POST)
    if form.is_valid() and form.save(request.actor, place.chosen):
        messages.success(
            request, _("%(key)s is set; it takes effect with the next deployment.") % {"key": form.cleaned_data["key"]}
        )
        return redirect(place.list_page, *place.args)
    return _page(request, place, form=form)


@sensitive_post_parameters("text", "draft")
@team_page("POST", right=rights.MANAGE)
@recently_authenticated
def variables_import(request: TeamRequest, slug: str, name: str = "") -> HttpResponse:
    """Sets what the lines say; with `preview` it is only shown what that would change, to be agreed to (`draft`)."""
    place = _place(request, slug, name)
    form = ImportForm(request.POST, actor=request.actor, place="/".join(place.args))
    is_preview = "preview" in request.POST
    if is_preview and form.is_valid() and (changes := form.preview(request.actor, place.chosen)) is not None:
        told = {"changes": changes, "draft": form.draft_of(changes), "is_whole": form.is_whole}
        context = {**_head(request, place), **told}
        response = render(request, "variables/preview.html", context)
        response["Cache-Control"] = "no-store"
        return response
    keys = form.save(request.actor, place.chosen) if not is_preview and form.is_valid() else None
    if keys is None:
        return _page(request, place, import_form=form)
    messages.success(
        request,
        _("%(count)s set: %(keys)s.") % {"count": len(keys), "keys": ", ".join(keys)}
        if keys
        else _("There was no variable in these lines."),
    )
    return redirect(place.list_page, *place.args)


@team_page("POST", right=rights.SEE_SECRETS)
@recently_authenticated
def variables_export(request: TeamRequest, slug: str, name: str = "") -> HttpResponse:
    """The variables in clear, as a file."""
    place = _place(request, slug, name)
    try:
        text = variables.variables_export(actor=request.actor, **place.chosen)
    except ConflictError as error:
        messages.error(request, told(str(error)))
        return redirect(place.list_page, *place.args)
    headers = {
        "Content-Disposition": f'attachment; filename="{"-".join(place.args)}.env"',
        "Cache-Control": "no-store",
    }
    return HttpResponse(text, content_type="text/plain; charset=utf-8", headers=headers)


@team_page("POST", right=rights.MANAGE)
@recently_authenticated
def variable_unset(request: TeamRequest, slug: str, name: str = "") -> HttpResponse:
    place = _place(request, slug, name)
    key = request.POST.get("key", "")
    return act_and_go(
        request,
        lambda: variables.variable_unset(actor=request.actor, key=key, **place.chosen),
        done=_("%(key)s is removed; the next deployment writes .env without it.") % {"key": key},
        to=place.list_page,
        args=place.args,
        undo=lambda: _restore_last(request, place, key),
    )


def _restore_last(request: TeamRequest, place: _Place, key: str) -> Undo:
    """How the last change of this variable is taken back: by the history, so that no value goes through the page."""
    (change,) = variables.variable_history(actor=request.actor, key=key, limit=1, **place.chosen)
    return Undo(place.addresses()["restore"], {"change": str(change.pk)})


@team_page("POST", right=rights.SEE_SECRETS)
@recently_authenticated
def variable_reveal(request: TeamRequest, slug: str, name: str = "") -> HttpResponse:
    """The page with one value in clear; of plain text only."""
    place = _place(request, slug, name)
    key = request.POST.get("key", "")
    try:
        value = variables.variable_reveal(actor=request.actor, key=key, **place.chosen)
    except ConflictError as error:
        messages.error(request, told(str(error)))
        return redirect(place.list_page, *place.args)
    response = _page(request, place, revealed_key=key, revealed_value=value)
    response["Cache-Control"] = "no-store"
    return response


@team_page("GET")
def variables_history(request: TeamRequest, slug: str, name: str = "") -> HttpResponse:
    place = _place(request, slug, name)
    key = request.GET.get("key", "")
    changes = variables.variable_history(actor=request.actor, key=key, limit=SHOWN_CHANGES, **place.chosen)
    return render(request, "variables/history.html", {**_head(request, place), "changes": changes, "key": key})


@team_page("POST", right=rights.MANAGE)
@recently_authenticated
def variable_restore(request: TeamRequest, slug: str, name: str = "") -> HttpResponse:
    place = _place(request, slug, name)
    change_id = request.POST.get("change", "")
    change = variables.variable_restore(actor=request.actor, change_id=change_id, **place.chosen)
    moment = f"{date_format(change.changed_at, 'SHORT_DATETIME_FORMAT')} UTC"
    messages.success(
        request,
        _("%(key)s has the value of %(moment)s again; it takes effect with the next deployment.")
        % {"key": change.key, "moment": moment},
    )
    return redirect(place.list_page, *place.args)


@team_page("POST", right=rights.MANAGE)
def variables_require(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    """Whether a deployment fails while a required variable is missing."""
    environment = environment_get(actor=request.actor, slug=slug, name=name)
    form = RequireForm(request.POST)
    if form.is_valid() and form.save(request.actor, environment):
        messages.success(request, _("Saved; it holds for the next deployment."))
    return redirect("environment-variables", slug, name)


@team_page("GET")
def variables_compare(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    """With another environment, and with what is on the servers."""
    environment = environment_get(actor=request.actor, slug=slug, name=name)
    project = project_get(actor=request.actor, slug=slug)
    others = [other.name for other in project.environments.all() if other.pk != environment.pk]
    chosen = request.GET.get("other", "")
    context = {
        **_head(request, _Place(environment.project, environment)),
        **_servers(request, environment),
        "others": others,
        "other": chosen,
        "differences": _differences(request, environment, project, chosen),
    }
    return render(request, "variables/compare.html", context)


@team_page("GET")
def variables_compare_state(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    """The part of the page that is asked for again while the servers are being read."""
    environment = environment_get(actor=request.actor, slug=slug, name=name)
    context = {"project": environment.project, "environment": environment, **_servers(request, environment)}
    return render(request, "variables/compare_state.html", context)


@team_page("POST", right=rights.DEPLOY)
def variables_compare_start(request: TeamRequest, slug: str, name: str) -> HttpResponse:
    """Has a worker read the servers' `.env`."""
    environment = environment_get(actor=request.actor, slug=slug, name=name)
    comparison_request(actor=request.actor, environment=environment)
    return redirect_and_wait("variables-compare", slug, name)


def _place(request: TeamRequest, slug: str, name: str) -> _Place:
    if name:
        environment = environment_get(actor=request.actor, slug=slug, name=name)
        return _Place(environment.project, environment)
    return _Place(project_get(actor=request.actor, slug=slug), None)


def _page(request: TeamRequest, place: _Place, **given: Any) -> HttpResponse:
    """The table of variables with both forms; `given` are forms that were not accepted, and values to show."""
    form = given.get("form") or VariableForm(initial={"key": request.GET.get("key", "")[:255]})
    import_form = given.get("import_form") or ImportForm(actor=request.actor)
    is_whole = "whole" in request.POST
    context = {
        **_head(request, place),
        **given,
        "rows": variables.variable_list(actor=request.actor, **place.chosen),
        "form": form,
        "import_form": ImportForm(actor=request.actor) if is_whole else import_form,
        "whole_form": import_form if is_whole else None,
        "is_text": is_whole or request.GET.get("view") == "env",
    }
    context["text"] = _masked(context["rows"])
    if place.environment is None:
        outdated = environments_outdated(actor=request.actor, project=place.project)
        return form_page(request, "variables/base.html", {**context, "outdated": outdated}, form, import_form)
    initial = {"requires_variables": place.environment.requires_variables}
    context |= {
        "missing": variables.missing_list(actor=request.actor, environment=place.environment),
        "require_form": RequireForm(initial=initial),
    }
    return form_page(request, "variables/page.html", context, form, import_form)


def _masked(rows: Iterable[variables.VariableRow]) -> str:
    """What is set here as the lines of a `.env`, without the values."""
    return "".join(f"{row.key}={variables.MASK}\n" for row in rows if row.origin != "base")


def _head(request: TeamRequest, place: _Place) -> dict[str, Any]:
    shared = {"project": place.project, "addresses": place.addresses()}
    if place.environment is None:
        return shared
    undeployed = variables_undeployed(actor=request.actor, environment=place.environment)
    return {**environment_head(request.actor, place.environment), **shared, "undeployed": undeployed}


def _differences(
    request: TeamRequest, here: Environment, project: Project, other: str
) -> list[variables.VariableDifference] | None:
    """None where no environment is chosen, or one that there is not."""
    there = next((one for one in project.environments.all() if one.name == other), None)
    return variables.variable_diff(actor=request.actor, here=here, there=there) if there else None


def _servers(request: TeamRequest, environment: Environment) -> dict[str, Any]:
    """What the last comparison with the servers found."""
    compared = environment.compared
    compared_at = datetime.fromisoformat(compared["at"]) if "at" in compared else None
    servers = [
        {
            "name": name,
            "error": found.get("error", ""),
            "is_by_hand": found.get("by_hand", False),
            "rows": [(key, state) for state in ("changed", "only here", "only there") for key in found.get(state, [])],
        }
        for name, found in compared.get("servers", {}).items()
    ]
    return {
        "since": since(request),
        "is_reading": is_waiting(request, compared_at),
        "compared_at": compared_at,
        "compared_servers": servers,
    }
