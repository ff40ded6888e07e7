"""Who may do what in a project: grants beside the roles, and protected environments."""

from datetime import datetime
from typing import Self
from uuid import UUID

from ninja import Router
from pydantic import BaseModel, Field

from devflow.api.auth import ApiRequest, require_recent
from devflow.api.schemas import EnvironmentOut, Input
from devflow.apps.projects import grants
from devflow.apps.projects.grants import Access, Right
from devflow.apps.projects.models import Environment, Grant, Project
from devflow.apps.projects.selectors import environment_get, project_get
from devflow.core.errors import InvalidError, NotFoundError

router = Router(tags=["access"])


class GrantIn(Input):
    email: str = Field(description="Of a member of the team.", examples=["vera@example.com"])
    actions: list[str] = Field(
        description="Any of deploy, approve, see_secrets, shell, manage.", examples=[["deploy"]], max_length=20
    )
    environment: str = Field("", description="Its name; empty for the whole project.", examples=["staging"])


class ProtectionIn(Input):
    on: bool


class GrantOut(BaseModel):
    """`environment` is null for the whole project."""

    id: UUID
    email: str
    action: str
    environment: str | None
    granted_by: str | None
    granted_at: datetime

    @classmethod
    def of(cls, grant: Grant) -> Self:
        return cls(
            id=grant.pk,
            email=grant.membership.user.email,
            action=grant.action,
            environment=grant.environment.name if grant.environment else None,
            granted_by=grant.granted_by.handle if grant.granted_by else None,
            granted_at=grant.granted_at,
        )


class RightOut(BaseModel):
    """`why` is `role`, or the id of the grant that gives it."""

    action: str
    why: str

    @classmethod
    def of(cls, right: Right) -> Self:
        return cls(action=right.action, why=str(right.grant.pk) if right.grant else "role")


class PlaceOut(BaseModel):
    """What a member may do in an environment; in the project as a whole where `environment` is null."""

    environment: str | None
    rights: list[RightOut]


class PersonOut(BaseModel):
    email: str
    name: str
    role: str
    places: list[PlaceOut]

    @classmethod
    def of(cls, access: Access) -> Self:
        member = access.membership
        places = [
            PlaceOut(environment=where.name if where else None, rights=[RightOut.of(right) for right in rights])
            for where, rights in access.places
        ]
        return cls(email=member.user.email, name=member.user.name, role=member.role, places=places)


class AccessOut(BaseModel):
    """`protected` are the names of environments where the rights of developers do not count, only grants."""

    protected: list[str]
    people: list[PersonOut]
    grants: list[GrantOut]

    @classmethod
    def of(cls, request: ApiRequest, project: Project) -> Self:
        people = grants.access_list(actor=request.auth, project=project)
        return cls(
            protected=[each.name for each in project.environments.all() if each.is_protected],
            people=[PersonOut.of(access) for access in people],
            grants=[GrantOut.of(grant) for grant in grants.grant_list(actor=request.auth, project=project)],
        )


@router.get("projects/{slug}/access", response=AccessOut)
def access_show(request: ApiRequest, slug: str) -> AccessOut:
    """What every member of the team may do in the project, and why."""
    return AccessOut.of(request, project_get(actor=request.auth, slug=slug))


@router.post("projects/{slug}/access", response={201: list[GrantOut]})
def grant_add(request: ApiRequest, slug: str, payload: GrantIn) -> list[GrantOut]:
    """Grants a member these actions, beside what their role allows. What was granted before stays as it is."""
    require_recent(request)
    project = project_get(actor=request.auth, slug=slug)
    environment = _environment(request, slug, payload.environment)
    made = grants.grants_add(
        actor=request.auth, project=project, email=payload.email, actions=payload.actions, environment=environment
    )
    ids = {grant.pk for grant in made}
    every = grants.grant_list(actor=request.auth, project=project)
    return [GrantOut.of(grant) for grant in every if grant.pk in ids]


@router.delete("projects/{slug}/access/{grant_id}", response={204: None})
def grant_remove(request: ApiRequest, slug: str, grant_id: str) -> None:
    """Takes a grant back, at once."""
    require_recent(request)
    project = project_get(actor=request.auth, slug=slug)
    grants.grant_remove(actor=request.auth, project=project, grant_id=grant_id)


@router.put("projects/{slug}/environments/{name}/protection", response=EnvironmentOut)
def environment_protect(request: ApiRequest, slug: str, name: str, payload: ProtectionIn) -> EnvironmentOut:
    """Protects the environment, or not any more: in a protected one the rights of developers do not count."""
    require_recent(request)
    environment = environment_get(actor=request.auth, slug=slug, name=name)
    grants.environment_protect(actor=request.auth, environment=environment, on=payload.on)
    return EnvironmentOut.of(environment)


def _environment(request: ApiRequest, slug: str, name: str) -> Environment | None:
    if not name:
        return None
    try:
        return environment_get(actor=request.auth, slug=slug, name=name)
    except NotFoundError as error:
        raise InvalidError(str(error), {"environment": str(error)}) from None
