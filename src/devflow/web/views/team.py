"""The team: its people, who is invited, what is asked of them; switching to another team, adding one."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _

from devflow.apps.accounts import invitations, members
from devflow.apps.accounts.models import Role
from devflow.apps.accounts.rights import MANAGE_PEOPLE, OWN
from devflow.apps.accounts.second_factor import with_second_factor
from devflow.apps.accounts.selectors import SESSION_TEAM, actor_get, member_get, member_list
from devflow.core.errors import NotFoundError
from devflow.web.access import AccountRequest, TeamRequest, account_page, recently_authenticated, team_page
from devflow.web.forms.people import InviteForm, TeamForm
from devflow.web.replies import Undo, act_and_go, form_page


@team_page("GET")
def team(request: TeamRequest) -> HttpResponse:
    return _page(request, InviteForm(actor=request.actor))


@team_page("POST", right=MANAGE_PEOPLE)
@recently_authenticated
def team_invite(request: TeamRequest) -> HttpResponse:
    """An invitation; its link is shown this once, where it is not mailed."""
    form = InviteForm(request.POST, actor=request.actor)
    made = form.save(request.actor) if form.is_valid() else None
    invitation, link = made or (None, "")
    shown = InviteForm(actor=request.actor) if made else form
    response = _page(request, shown, invitation=invitation, link=link)
    response["Cache-Control"] = "no-store"
    return response


@team_page("POST", right=MANAGE_PEOPLE)
@recently_authenticated
def invitation_revoke(request: TeamRequest, invitation_id: UUID) -> HttpResponse:
    return act_and_go(
        request,
        lambda: invitations.invitation_revoke(actor=request.actor, invitation_id=str(invitation_id)),
        done=_("The invitation is taken back: its link does not work any more."),
        to="team",
    )


@team_page("POST", right=MANAGE_PEOPLE)
@recently_authenticated
def member_role(request: TeamRequest, member_id: UUID) -> HttpResponse:
    """Who has lowered their own cannot take it back."""
    role, member = request.POST.get("role", ""), member_get(actor=request.actor, membership_id=str(member_id))
    undo = Undo(reverse("member-role", args=[member_id]), {"role": member.role})
    return act_and_go(
        request,
        lambda: members.member_role_set(actor=request.actor, membership_id=str(member_id), role=role),
        done=_("%(name)s is %(role)s now.") % {"name": member.user, "role": dict(Role.choices).get(role, role)},
        to="team",
        undo=None if member.user == request.user or member.role == role else lambda: undo,
    )


@team_page("POST", right=MANAGE_PEOPLE)
@recently_authenticated
def member_remove(request: TeamRequest, member_id: UUID) -> HttpResponse:
    return act_and_go(
        request,
        lambda: members.member_remove(actor=request.actor, membership_id=str(member_id)),
        done=_("The member is removed, and their tokens with them."),
        to="team",
    )


@team_page("POST")
def team_leave(request: TeamRequest) -> HttpResponse:
    return act_and_go(
        request,
        lambda: members.member_leave(actor=request.actor),
        done=_("You have left %(team)s.") % {"team": request.actor.team.name},
        to="dashboard",
    )


@team_page("POST", right=OWN)
@recently_authenticated
def team_policy(request: TeamRequest) -> HttpResponse:
    """Whether the team's people need a second factor."""
    is_wanted = request.POST.get("requires_second_factor") == "on"
    undo = Undo(reverse("team-policy"), {"requires_second_factor": "off" if is_wanted else "on"})
    return act_and_go(
        request,
        lambda: members.team_policy_set(actor=request.actor, requires_second_factor=is_wanted),
        done=_("All people of the team need a second factor now.")
        if is_wanted
        else _("The password alone is enough now."),
        to="team",
        undo=lambda: undo,
    )


@account_page("POST")
def team_switch(request: AccountRequest) -> HttpResponse:
    """Another of the user's teams becomes the current one; 404 for a team that is not theirs."""
    wanted = request.POST.get("team", "")
    request.session[SESSION_TEAM] = str(actor_get(user=request.user, team_id=_team_id(wanted)).team.pk)
    return redirect("dashboard")


@team_page("GET", "POST")
def team_add(request: TeamRequest) -> HttpResponse:
    """A new team, for the panel's administrators."""
    form = TeamForm(request.POST or None)
    if form.is_valid() and (made := form.save(request.actor)):
        request.session[SESSION_TEAM] = str(made.pk)
        return redirect("team")
    return form_page(request, "team/add.html", {"form": form}, form)


def _page(request: TeamRequest, form: InviteForm, **more: object) -> HttpResponse:
    actor = request.actor
    found = member_list(actor=actor)
    given = members.roles_given(actor)
    safe = with_second_factor([member.user for member in found]) if actor.can(MANAGE_PEOPLE) else set()
    context = {
        "members": found,
        "safe": safe,
        "bare": sum(member.user.pk not in safe for member in found),
        "roles": given,
        "role_names": [(role, Role(role).label) for role in given],
        "invitations": invitations.invitation_list(actor=actor) if actor.can(MANAGE_PEOPLE) else [],
        "is_owner": actor.can(OWN),
        "form": form,
        **more,
    }
    return form_page(request, "team/page.html", context, form)


def _team_id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise NotFoundError(_("There is no such team among yours.")) from None
