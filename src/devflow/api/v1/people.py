"""Who one is, and the team: its members."""

from ninja import Router

import devflow
from devflow.api.auth import ApiRequest
from devflow.api.paging import Page, PageQuery, cut
from devflow.api.schemas import MemberOut, TeamOut, WhoAmI
from devflow.apps.accounts import selectors

router = Router(tags=["people"])


@router.get("whoami", response=WhoAmI)
def whoami(request: ApiRequest) -> WhoAmI:
    """Whom the request speaks for, in which team, with which rights."""
    actor = request.auth
    return WhoAmI(
        email=actor.user.email,
        name=actor.user.name,
        team=TeamOut.of(actor.team, actor.team),
        role=actor.role,
        scopes=None if actor.scopes is None else list(actor.scopes),
        version=devflow.__version__,
    )


@router.get("teams", response=Page[TeamOut])
def team_list(request: ApiRequest, paging: PageQuery) -> Page[TeamOut]:
    """The teams that can be reached: a token's own one; all of one's teams in a session."""
    actor = request.auth
    teams = selectors.team_list(user=actor.user) if actor.scopes is None else [actor.team]
    rows, following = cut(teams, paging, key=lambda team: team.slug)
    return Page[TeamOut](items=[TeamOut.of(team, actor.team) for team in rows], next=following)


@router.get("members", response=Page[MemberOut])
def member_list(request: ApiRequest, paging: PageQuery) -> Page[MemberOut]:
    """The members of the team, the first ones first."""
    rows, following = cut(selectors.member_list(actor=request.auth), paging, key=lambda member: str(member.pk))
    return Page[MemberOut](items=[MemberOut.of(member) for member in rows], next=following)
