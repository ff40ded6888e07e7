"""API tokens."""

from uuid import UUID

from ninja import Router

from devflow.api.auth import ApiRequest
from devflow.api.paging import Page, PageQuery, cut
from devflow.api.schemas import TokenCreated, TokenIn, TokenOut
from devflow.apps.accounts import selectors, services

router = Router(tags=["tokens"])


@router.get("", response=Page[TokenOut])
def token_list(request: ApiRequest, paging: PageQuery) -> Page[TokenOut]:
    """The newest first: all of the team's for owners and admins, one's own for others."""
    tokens = selectors.token_list(actor=request.auth)
    rows, following = cut(tokens, paging, key=lambda token: str(token.pk), is_descending=True)
    return Page[TokenOut](items=[TokenOut.of(token) for token in rows], next=following)


@router.post("", response={201: TokenCreated})
def token_create(request: ApiRequest, payload: TokenIn) -> TokenCreated:
    """A new token of the user in this team."""
    token, raw = services.token_create(
        actor=request.auth, name=payload.name, scopes=payload.scopes, expires_at=payload.expires_at
    )
    return TokenCreated.of(token, token=raw)


@router.delete("{token_id}", response={204: None})
def token_revoke(request: ApiRequest, token_id: UUID) -> None:
    """The token stops working at once."""
    services.token_revoke(actor=request.auth, token_id=str(token_id))
