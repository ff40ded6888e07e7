"""Variables of an environment, and those of a project for all of its environments. Values go in, and come out by the
export only."""

from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from django.http import HttpResponse
from ninja import Query, Router
from pydantic import BaseModel, Field

from devflow.api.auth import ApiRequest, require_recent
from devflow.api.paging import Page, PageQuery, Paging, cursor, cut
from devflow.api.schemas import Input
from devflow.apps.deployments.variables import comparison_request
from devflow.apps.projects import variables
from devflow.apps.projects.models import Environment, Project, VariableChange
from devflow.apps.projects.selectors import environment_get, project_get
from devflow.apps.projects.variables import VariableDifference, VariableRow
from devflow.core.shell import MASK

Kind = Literal["text", "secret", "multiline", "file"]

router = Router(tags=["variables"])


class VariablesIn(Input):
    values: dict[str, str] = Field(examples=[{"APP_ENV": "production"}])
    kind: Kind | None = Field(
        None, description="Null: as it is; of a new one `secret`, or `multiline` where the value has several lines."
    )


class VariablesText(Input):
    text: str = Field(description="The text of a `.env` file.", examples=["APP_ENV=production\n"])
    kind: Kind | None = Field(None, description="See the setting of variables.")


class VariableKeys(BaseModel):
    """The variables that were set."""

    keys: list[str]


class VariableOut(BaseModel):
    """Values are never shown here; see the export."""

    key: str
    kind: str
    value: str = Field(description="Always masked.", examples=[MASK])
    origin: Literal["base", "own", "overrides"] = Field(
        description="`base`: the project's; `own`: the environment's; `overrides`: its own instead of a base one."
    )
    overridden_in: list[str] = Field(description="Of a base variable: environments that have their own instead.")
    updated_at: datetime

    @classmethod
    def of(cls, row: VariableRow) -> Self:
        return cls(
            key=row.key,
            kind=row.variable.kind,
            value=MASK,
            origin=row.origin,
            overridden_in=list(row.overridden_in),
            updated_at=row.variable.updated_at,
        )


class DifferenceOut(BaseModel):
    """A variable in which two environments differ: their values, or that only the first or the other has it."""

    key: str
    state: Literal["changed", "only here", "only there"]

    @classmethod
    def of(cls, difference: VariableDifference) -> Self:
        return cls(key=difference.key, state=difference.state)


class ChangeOut(BaseModel):
    """Who set or removed a variable, and when. What to is not told; it can be restored."""

    id: UUID
    key: str
    kind: str
    action: Literal["set", "removed"]
    by: str | None
    at: datetime

    @classmethod
    def of(cls, change: VariableChange) -> Self:
        return cls(
            id=change.pk,
            key=change.key,
            kind=change.kind,
            action="removed" if change.is_removal else "set",
            by=change.changed_by.handle if change.changed_by else None,
            at=change.changed_at,
        )


class ChangeQuery(Paging):
    key: str = Field("", max_length=255, description="Only those of this variable.")


class ComparedServer(BaseModel):
    """Names of variables in which a server's `.env` differs from what a deployment would write."""

    name: str
    changed: list[str] = []
    only_here: list[str] = Field([], description="Set in the panel, and not in the server's file.")
    only_there: list[str] = Field([], description="In the server's file only.")
    is_by_hand: bool = Field(False, description="The file was not written by the panel.")
    error: str | None = None


class ComparisonOut(BaseModel):
    """`at` is null before the first comparison, and older than the request while a worker is at it."""

    at: datetime | None
    servers: list[ComparedServer]
    missing: list[str] = Field(description="Required by the commit's `.env.example`, and not set in the panel.")


# --- an environment's -------------------------------------------------------------------------------------------------


@router.get("{slug}/environments/{name}/variables", response=Page[VariableOut])
def variable_list(request: ApiRequest, slug: str, name: str, paging: PageQuery) -> Page[VariableOut]:
    """The variables in force by key, with where each is from, their values masked."""
    return _page(request, paging, environment=_environment(request, slug, name))


@router.post("{slug}/environments/{name}/variables", response={201: VariableKeys})
def variables_set(request: ApiRequest, slug: str, name: str, payload: VariablesIn) -> VariableKeys:
    """Adds or changes variables, all or none; they take effect with the next deployment."""
    require_recent(request)
    return _set(request, payload, environment=_environment(request, slug, name))


@router.post("{slug}/environments/{name}/dotenv", response={201: VariableKeys})
def variables_import(request: ApiRequest, slug: str, name: str, payload: VariablesText) -> VariableKeys:
    """Adds or changes the variables of a `.env` text, all or none."""
    require_recent(request)
    return _import(request, payload, environment=_environment(request, slug, name))


@router.get(
    "{slug}/environments/{name}/dotenv",
    response={200: None},
    openapi_extra={"responses": {200: {"content": {"text/plain": {}}}}},
)
def variables_export(request: ApiRequest, slug: str, name: str, own: bool = False) -> HttpResponse:
    """The variables in force in clear, as the text of a `.env` file; `own`: without the project's base variables. For
    those who may change them."""
    require_recent(request)
    return _export(request, environment=_environment(request, slug, name), is_own=own)


@router.get("{slug}/environments/{name}/differences", response=Page[DifferenceOut])
def variables_diff(request: ApiRequest, slug: str, name: str, other: str, paging: PageQuery) -> Page[DifferenceOut]:
    """In which variables this environment and `other`, one of the same project, differ."""
    here, there = (_environment(request, slug, each) for each in (name, other))
    differences = variables.variable_diff(actor=request.auth, here=here, there=there)
    rows, following = cut(differences, paging, key=lambda difference: difference.key)
    return Page[DifferenceOut](items=[DifferenceOut.of(difference) for difference in rows], next=following)


@router.post("{slug}/environments/{name}/comparison", response={202: ComparisonOut})
def comparison_start(request: ApiRequest, slug: str, name: str) -> ComparisonOut:
    """Has a worker compare the variables with the `.env` on the environment's servers."""
    environment = _environment(request, slug, name)
    comparison_request(actor=request.auth, environment=environment)
    return _comparison(request, environment)


@router.get("{slug}/environments/{name}/comparison", response=ComparisonOut)
def comparison(request: ApiRequest, slug: str, name: str) -> ComparisonOut:
    """The last comparison with the servers. Names only; no value is stored or told."""
    return _comparison(request, _environment(request, slug, name))


@router.get("{slug}/environments/{name}/variable-changes", response=Page[ChangeOut])
def variable_changes(request: ApiRequest, slug: str, name: str, query: Query[ChangeQuery]) -> Page[ChangeOut]:
    """Who changed which of the environment's own variables, the newest first."""
    return _changes(request, query, environment=_environment(request, slug, name))


@router.post("{slug}/environments/{name}/variable-changes/{change}/restore", response={201: VariableKeys})
def variable_restore(request: ApiRequest, slug: str, name: str, change: str) -> VariableKeys:
    """Gives the variable the value again that this change gave it, or took away."""
    require_recent(request)
    return _restore(request, change, environment=_environment(request, slug, name))


@router.delete("{slug}/environments/{name}/variables/{key}", response={204: None})
def variable_unset(request: ApiRequest, slug: str, name: str, key: str) -> None:
    """Removes the environment's own variable; a base variable of the same name is in force again."""
    require_recent(request)
    variables.variable_unset(actor=request.auth, environment=_environment(request, slug, name), key=key)


# --- a project's, for all of its environments -------------------------------------------------------------------------


@router.get("{slug}/variables", response=Page[VariableOut])
def base_list(request: ApiRequest, slug: str, paging: PageQuery) -> Page[VariableOut]:
    """The base variables by key, their values masked."""
    return _page(request, paging, project=_project(request, slug))


@router.post("{slug}/variables", response={201: VariableKeys})
def base_set(request: ApiRequest, slug: str, payload: VariablesIn) -> VariableKeys:
    """Adds or changes base variables, all or none; they take effect with the next deployment of each environment."""
    require_recent(request)
    return _set(request, payload, project=_project(request, slug))


@router.post("{slug}/dotenv", response={201: VariableKeys})
def base_import(request: ApiRequest, slug: str, payload: VariablesText) -> VariableKeys:
    """Adds or changes the base variables of a `.env` text, all or none."""
    require_recent(request)
    return _import(request, payload, project=_project(request, slug))


@router.get("{slug}/dotenv", response={200: None}, openapi_extra={"responses": {200: {"content": {"text/plain": {}}}}})
def base_export(request: ApiRequest, slug: str) -> HttpResponse:
    """The base variables in clear, as the text of a `.env` file. For those who may change them."""
    require_recent(request)
    return _export(request, project=_project(request, slug))


@router.get("{slug}/variable-changes", response=Page[ChangeOut])
def base_changes(request: ApiRequest, slug: str, query: Query[ChangeQuery]) -> Page[ChangeOut]:
    """Who changed which base variable, the newest first."""
    return _changes(request, query, project=_project(request, slug))


@router.post("{slug}/variable-changes/{change}/restore", response={201: VariableKeys})
def base_restore(request: ApiRequest, slug: str, change: str) -> VariableKeys:
    """Gives the base variable the value again that this change gave it, or took away."""
    require_recent(request)
    return _restore(request, change, project=_project(request, slug))


@router.delete("{slug}/variables/{key}", response={204: None})
def base_unset(request: ApiRequest, slug: str, key: str) -> None:
    """Removes a base variable."""
    require_recent(request)
    variables.variable_unset(actor=request.auth, project=_project(request, slug), key=key)


# --- both -------------------------------------------------------------------------------------------------------------


def _environment(request: ApiRequest, slug: str, name: str) -> Environment:
    return environment_get(actor=request.auth, slug=slug, name=name)


def _project(request: ApiRequest, slug: str) -> Project:
    return project_get(actor=request.auth, slug=slug)


def _page(request: ApiRequest, paging: Paging, **place: Any) -> Page[VariableOut]:
    found = variables.variable_list(actor=request.auth, **place)
    rows, following = cut(found, paging, key=lambda row: row.key)
    return Page[VariableOut](items=[VariableOut.of(row) for row in rows], next=following)


def _set(request: ApiRequest, payload: VariablesIn, **place: Any) -> VariableKeys:
    variables.variables_set(actor=request.auth, values=payload.values, kind=payload.kind, **place)
    return VariableKeys(keys=list(payload.values))


def _import(request: ApiRequest, payload: VariablesText, **place: Any) -> VariableKeys:
    keys = variables.variables_import(actor=request.auth, text=payload.text, kind=payload.kind, **place)
    return VariableKeys(keys=keys)


def _export(request: ApiRequest, **place: Any) -> HttpResponse:
    text = variables.variables_export(actor=request.auth, **place)
    return HttpResponse(text, content_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-store"})


def _changes(request: ApiRequest, query: ChangeQuery, **place: Any) -> Page[ChangeOut]:
    found = variables.variable_history(
        actor=request.auth, key=query.key, before=query.after, limit=query.limit + 1, **place
    )
    shown = found[: query.limit]
    following = cursor(str(shown[-1].pk)) if len(found) > len(shown) else None
    return Page[ChangeOut](items=[ChangeOut.of(change) for change in shown], next=following)


def _restore(request: ApiRequest, change: str, **place: Any) -> VariableKeys:
    restored = variables.variable_restore(actor=request.auth, change_id=change, **place)
    return VariableKeys(keys=[restored.key])


def _comparison(request: ApiRequest, environment: Environment) -> ComparisonOut:
    compared = environment.compared
    servers = [
        ComparedServer(
            name=name,
            changed=found.get("changed", []),
            only_here=found.get("only here", []),
            only_there=found.get("only there", []),
            is_by_hand=found.get("by_hand", False),
            error=found.get("error"),
        )
        for name, found in compared.get("servers", {}).items()
    ]
    missing = variables.missing_list(actor=request.auth, environment=environment)
    return ComparisonOut(at=compared.get("at"), servers=servers, missing=missing)
