"""API tokens."""

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from ninja import Router
from pydantic import BaseModel, Field

from devflow.api.auth import ApiRequest, require_recent
from devflow.api.paging import Page, PageQuery, cut
from devflow.api.schemas import Input, Moment
from devflow.apps.accounts import selectors, services
from devflow.apps.accounts.models import ApiToken
from devflow.apps.projects.tokens import project_ids, project_slugs

router = Router(tags=["tokens"])


class TokenIn(Input):
    name: str = Field(description="What the token is for.", examples=["deploy from CI"])
    scopes: list[str] = Field(description="Any of read, deploy, admin; never more than the maker has.")
    projects: list[str] | None = Field(None, description="Slugs of the only projects it is for. Null: all.")
    of_team: bool = Field(False, description="Belongs to the team and stays when its maker leaves.")
    expires_at: Moment | None = Field(None, description="Null: does not expire.")


class TokenOut(BaseModel):
    """`prefix` is the beginning of its text, to recognise it by. `user` is null for a token of the team."""

    id: UUID
    name: str
    user: str | None
    made_by: str | None
    prefix: str
    scopes: list[str]
    projects: list[str] | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    last_used_address: str | None

    @classmethod
    def of(cls, token: ApiToken, projects: list[str] | None, /, **more: Any) -> Self:
        return cls(
            id=token.pk,
            name=token.name,
            user=None if token.user.is_machine else token.user.email,
            made_by=token.made_by.handle if token.made_by else None,
            prefix=token.prefix,
            scopes=token.scopes,
            projects=projects,
            created_at=token.created_at,
            expires_at=token.expires_at,
            last_used_at=token.last_used_at,
            last_used_address=token.last_used_address,
            **more,
        )


class TokenCreated(TokenOut):
    token: str = Field(description="The token itself, which cannot be shown again.")


@router.get("", response=Page[TokenOut])
def token_list(request: ApiRequest, paging: PageQuery) -> Page[TokenOut]:
    """The newest first: all of the team's for owners and admins, one's own for others."""
    tokens = selectors.token_list(actor=request.auth)
    rows, following = cut(tokens, paging, key=lambda token: str(token.pk), is_descending=True)
    projects = project_slugs(actor=request.auth, tokens=rows)
    return Page[TokenOut](items=[TokenOut.of(token, projects[token.pk]) for token in rows], next=following)


@router.post("", response={201: TokenCreated})
def token_create(request: ApiRequest, payload: TokenIn) -> TokenCreated:
    """A new token of the user in this team, or one of the team itself."""
    require_recent(request)
    actor, slugs = request.auth, payload.projects
    token, raw = services.token_create(
        actor=actor,
        name=payload.name,
        scopes=payload.scopes,
        expires_at=payload.expires_at,
        projects=None if slugs is None else project_ids(actor=actor, slugs=slugs),
        of_team=payload.of_team,
    )
    return TokenCreated.of(token, project_slugs(actor=actor, tokens=[token])[token.pk], token=raw)


@router.delete("{token_id}", response={204: None})
def token_revoke(request: ApiRequest, token_id: UUID) -> None:
    """The token stops working at once."""
    require_recent(request)
    services.token_revoke(actor=request.auth, token_id=str(token_id))
