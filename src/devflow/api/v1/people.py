"""Who one is; the team: its members, and who is invited."""

from datetime import datetime
from typing import Self
from uuid import UUID

from ninja import Router
from pydantic import BaseModel, Field

import devflow
from devflow.api.auth import ApiRequest, require_recent
from devflow.api.paging import Page, PageQuery, cut
from devflow.api.schemas import Input, TeamOut, WhoAmI
from devflow.apps.accounts import invitations, members, selectors
from devflow.apps.accounts.models import Invitation, Membership

router = Router(tags=["people"])


class TeamIn(Input):
    name: str = Field(examples=["Acme"])


class TeamPatch(Input):
    requires_second_factor: bool = Field(
        description="All people of the team need a second factor; who has none is refused, with their tokens."
    )


class MemberOut(BaseModel):
    id: UUID
    email: str
    name: str
    role: str
    joined_at: datetime

    @classmethod
    def of(cls, member: Membership) -> Self:
        user = member.user
        return cls(id=member.pk, email=user.email, name=user.name, role=member.role, joined_at=member.created_at)


class MemberPatch(Input):
    role: str = Field(description="owner, admin, developer or viewer; none above one's own.", examples=["developer"])


class InvitationIn(Input):
    role: str = Field(description="owner, admin, developer or viewer; none above one's own.", examples=["developer"])
    email: str = Field("", description="Only its owner can accept then. Empty: whoever has the link.")
    days: int = Field(7, description="How long it is valid: 1, 7 or 30 days.")


class InvitationOut(BaseModel):
    """`email` is null where whoever has the link may accept."""

    id: UUID
    email: str | None
    role: str
    invited_by: str | None
    created_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, invitation: Invitation, /, **more: str | None) -> Self:
        return cls(
            id=invitation.pk,
            email=invitation.email or None,
            role=invitation.role,
            invited_by=invitation.inviter.handle if invitation.inviter else None,
            created_at=invitation.created_at,
            expires_at=invitation.expires_at,
            **more,
        )


class InvitationCreated(InvitationOut):
    link: str | None = Field(description="The link, which cannot be shown again; null where it was mailed.")


@router.get("whoami", response=WhoAmI)
def whoami(request: ApiRequest) -> WhoAmI:
    """Whom the request speaks for, in which team, with which rights."""
    actor = request.auth
    return WhoAmI(
        email=actor.user.handle,
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


@router.post("teams", response={201: TeamOut})
def team_add(request: ApiRequest, payload: TeamIn) -> TeamOut:
    """A new team, which the user owns. For the panel's administrators."""
    require_recent(request)
    return TeamOut.of(members.team_add(actor=request.auth, name=payload.name), request.auth.team)


@router.patch("team", response=TeamOut)
def team_update(request: ApiRequest, payload: TeamPatch) -> TeamOut:
    """What the team asks of its people. For owners in person."""
    require_recent(request)
    team = members.team_policy_set(actor=request.auth, requires_second_factor=payload.requires_second_factor)
    return TeamOut.of(team, request.auth.team)


@router.get("members", response=Page[MemberOut])
def member_list(request: ApiRequest, paging: PageQuery) -> Page[MemberOut]:
    """The members of the team, the first ones first."""
    rows, following = cut(selectors.member_list(actor=request.auth), paging, key=lambda member: str(member.pk))
    return Page[MemberOut](items=[MemberOut.of(member) for member in rows], next=following)


@router.patch("members/{member_id}", response=MemberOut)
def member_update(request: ApiRequest, member_id: UUID, payload: MemberPatch) -> MemberOut:
    """Gives a member another role. 409 for the last owner."""
    require_recent(request)
    member = members.member_role_set(actor=request.auth, membership_id=str(member_id), role=payload.role)
    return MemberOut.of(member)


@router.delete("members/{member_id}", response={204: None})
def member_remove(request: ApiRequest, member_id: UUID) -> None:
    """Takes a member out of the team; their tokens in it stop working. 409 for the last owner."""
    require_recent(request)
    members.member_remove(actor=request.auth, membership_id=str(member_id))


@router.get("invitations", response=Page[InvitationOut])
def invitation_list(request: ApiRequest, paging: PageQuery) -> Page[InvitationOut]:
    """The invitations that nobody has accepted, the newest first. Needs the right to manage people."""
    found = invitations.invitation_list(actor=request.auth)
    rows, following = cut(found, paging, key=lambda each: str(each.pk), is_descending=True)
    return Page[InvitationOut](items=[InvitationOut.of(each) for each in rows], next=following)


@router.post("invitations", response={201: InvitationCreated})
def invitation_create(request: ApiRequest, payload: InvitationIn) -> InvitationCreated:
    """Invites somebody, by a link that works once; it is mailed where the panel has a mail server and an address is
    given."""
    require_recent(request)
    made, link = invitations.invitation_create(
        actor=request.auth, role=payload.role, email=payload.email, days=payload.days
    )
    return InvitationCreated.of(made, link=link or None)


@router.delete("invitations/{invitation_id}", response={204: None})
def invitation_revoke(request: ApiRequest, invitation_id: UUID) -> None:
    """The link stops working at once."""
    require_recent(request)
    invitations.invitation_revoke(actor=request.auth, invitation_id=str(invitation_id))
