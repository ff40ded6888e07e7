"""Variables of an environment. Values go in, and come out by the export only."""

from django.http import HttpResponse
from ninja import Router

from devflow.api.auth import ApiRequest
from devflow.api.paging import Page, PageQuery, cut
from devflow.api.schemas import DifferenceOut, VariableKeys, VariableOut, VariablesIn, VariablesText
from devflow.apps.projects import selectors, services
from devflow.apps.projects.selectors import environment_get
from devflow.core import dotenv

router = Router(tags=["variables"])


@router.get("{slug}/environments/{name}/variables", response=Page[VariableOut])
def variable_list(request: ApiRequest, slug: str, name: str, paging: PageQuery) -> Page[VariableOut]:
    """The variables by key, their values masked."""
    environment = environment_get(actor=request.auth, slug=slug, name=name)
    variables = selectors.variable_list(actor=request.auth, environment=environment)
    rows, following = cut(variables, paging, key=lambda variable: variable.key)
    return Page[VariableOut](items=[VariableOut.of(variable) for variable in rows], next=following)


@router.post("{slug}/environments/{name}/variables", response={201: VariableKeys})
def variables_set(request: ApiRequest, slug: str, name: str, payload: VariablesIn) -> VariableKeys:
    """Adds or changes variables, all or none; they take effect with the next deployment."""
    environment = environment_get(actor=request.auth, slug=slug, name=name)
    services.variables_set(actor=request.auth, environment=environment, values=payload.values)
    return VariableKeys(keys=list(payload.values))


@router.post("{slug}/environments/{name}/dotenv", response={201: VariableKeys})
def variables_import(request: ApiRequest, slug: str, name: str, payload: VariablesText) -> VariableKeys:
    """Adds or changes the variables of a `.env` text, all or none."""
    environment = environment_get(actor=request.auth, slug=slug, name=name)
    return VariableKeys(keys=services.variables_import(actor=request.auth, environment=environment, text=payload.text))


@router.get(
    "{slug}/environments/{name}/dotenv",
    response={200: None},
    openapi_extra={"responses": {200: {"content": {"text/plain": {}}}}},
)
def variables_export(request: ApiRequest, slug: str, name: str) -> HttpResponse:
    """The variables in clear, as the text of a `.env` file. For those who may change them."""
    environment = environment_get(actor=request.auth, slug=slug, name=name)
    values = selectors.variable_values(actor=request.auth, environment=environment)
    text = dotenv.render(values)
    return HttpResponse(text, content_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-store"})


@router.get("{slug}/environments/{name}/differences", response=Page[DifferenceOut])
def variables_diff(request: ApiRequest, slug: str, name: str, other: str, paging: PageQuery) -> Page[DifferenceOut]:
    """In which variables this environment and `other`, one of the same project, differ."""
    here, there = (environment_get(actor=request.auth, slug=slug, name=each) for each in (name, other))
    differences = selectors.variable_diff(actor=request.auth, here=here, there=there)
    rows, following = cut(differences, paging, key=lambda difference: difference.key)
    return Page[DifferenceOut](items=[DifferenceOut.of(difference) for difference in rows], next=following)


@router.delete("{slug}/environments/{name}/variables/{key}", response={204: None})
def variable_unset(request: ApiRequest, slug: str, name: str, key: str) -> None:
    environment = environment_get(actor=request.auth, slug=slug, name=name)
    services.variable_unset(actor=request.auth, environment=environment, key=key)
