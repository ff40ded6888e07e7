"""Ways into a team: a link that works once and for some days, handed over by whoever invites, or mailed."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django_scopes import scope, scopes_disabled

from devflow.apps.accounts import events, logins
from devflow.apps.accounts.limits import hit
from devflow.apps.accounts.members import require_role, roles_given
from devflow.apps.accounts.models import Invitation, Membership, Team, User
from devflow.apps.accounts.rights import MANAGE_PEOPLE, Actor
from devflow.apps.accounts.services import user_create
from devflow.apps.accounts.tokens import digest
from devflow.apps.queue import MANUAL, enqueue
from devflow.core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError, TooManyError

DAYS: Final = (1, 7, 30)
KEPT = timedelta(days=30)
"""So long an invitation that has run out is still shown."""
_IN_AN_HOUR: Final = 60
_GONE = "This invitation is not valid (any more). Ask whoever sent it for a new one."


def invitation_create(*, actor: Actor, role: str, email: str = "", days: int = 7) -> tuple[Invitation, str]:
    """An invitation, and its link, which cannot be shown again; '' where the link is mailed.

    With an e-mail address only its owner can accept, and an older invitation of theirs ends. Raises InvalidError,
    ForbiddenError, ConflictError, TooManyError.
    """
    require_role(actor, role)
    email = _checked_email(email)
    if days not in DAYS:
        message = f"Choose one of: {', '.join(map(str, DAYS))} days."
        raise InvalidError(message, {"days": message})
    count = hit(bucket="invitations", key=str(actor.team.pk), limit=_IN_AN_HOUR, window_seconds=3600)
    if not count.allowed:
        raise TooManyError(count.retry_after_seconds, "The team has sent many invitations. Go on in an hour.")
    raw = secrets.token_urlsafe(32)
    is_mailed = bool(email) and settings.HAS_MAIL
    with transaction.atomic(), scope(team=actor.team):
        if email and Membership.objects.filter(user__email=email).exists():
            raise ConflictError(f"{email} is in the team already.")
        _forget_old()
        if email:
            _open().filter(email=email).update(revoked_at=timezone.now())
        invitation = Invitation.objects.create(
            team=actor.team,
            email=email,
            role=role,
            digest=digest(raw),
            inviter=actor.user,
            expires_at=timezone.now() + timedelta(days=days),
        )
        if is_mailed:
            enqueue("accounts.mail_invitation", priority=MANUAL, invitation_id=str(invitation.pk))
        events.record(
            team=actor.team,
            actor=actor,
            action="invitation.created",
            target=email or "whoever has the link",
            target_id=str(invitation.pk),
            after={"role": role, "days": days},
        )
    return invitation, "" if is_mailed else link(raw)


def invitation_list(*, actor: Actor) -> list[Invitation]:
    """The team's invitations that nobody has accepted, the newest first; those that have run out too, for a while."""
    actor.require(MANAGE_PEOPLE)
    with scope(team=actor.team):
        recent = _open().filter(expires_at__gt=timezone.now() - KEPT)
        return list(recent.select_related("inviter").order_by("-created_at"))


def invitation_revoke(*, actor: Actor, invitation_id: str) -> None:
    """The link stops working. Raises NotFoundError, ForbiddenError."""
    actor.require(MANAGE_PEOPLE)
    with transaction.atomic(), scope(team=actor.team):
        invitation = _open().select_for_update().filter(pk=invitation_id).first()
        if invitation is None:
            raise NotFoundError("There is no such invitation.")
        if invitation.role not in roles_given(actor):
            raise ForbiddenError(f"You may not take back the invitation of an {invitation.role}: ask an owner.")
        invitation.revoked_at = timezone.now()
        invitation.save(update_fields=["revoked_at"])
        events.record(
            team=actor.team,
            actor=actor,
            action="invitation.revoked",
            target=invitation.email or "whoever has the link",
            target_id=invitation_id,
            before={"role": invitation.role},
        )


def invitation_find(*, raw: str = "", invitation_id: str = "") -> Invitation:
    """The invitation of a link, or one that was found by it before, with its team. Raises NotFoundError."""
    wanted = {"digest": digest(raw)} if raw else {"pk": invitation_id}
    with scopes_disabled():
        found = _alive().filter(**wanted).select_related("team", "inviter").first()
    if found is None:
        raise NotFoundError(_GONE)
    return found


def invitation_accept(*, invitation: Invitation, user: User) -> Membership:
    """The user joins the team. Raises NotFoundError, ForbiddenError for another address, ConflictError for a member."""
    with transaction.atomic(), scope(team=invitation.team):
        held = _alive().select_for_update().filter(pk=invitation.pk).first()
        if held is None:
            raise NotFoundError(_GONE)
        if held.email and held.email != user.email:
            raise ForbiddenError(
                f"This invitation is for {held.email}, and you are logged in as {user.email}. "
                "Log out, and open the link again."
            )
        Team.objects.select_for_update().get(pk=held.team_id)
        member, is_new = Membership.objects.get_or_create(user=user, defaults={"team": held.team, "role": held.role})
        if not is_new:
            raise ConflictError(f"You are in {invitation.team} already, as {member.role}.")
        held.accepted_at, held.accepted_by = timezone.now(), user
        held.save(update_fields=["accepted_at", "accepted_by"])
        events.record(
            team=held.team,
            user=user,
            action="invitation.accepted",
            target=user.email,
            target_id=str(held.pk),
            after={"role": held.role},
        )
    return member


def invitation_join(*, invitation: Invitation, email: str, name: str, password: str) -> User:
    """A new user, who joins the team. Raises InvalidError, ConflictError, NotFoundError, TooManyError.

    The invitation's own address is taken where it has one. One that was typed here has to be proven before the log-in,
    where mail is set up: nobody can be asked to elsewhere, nor later, when there is mail.
    """
    count = hit(bucket="join", key=str(invitation.pk), limit=logins.ADDRESS_TRIES, window_seconds=3600)
    if not count.allowed:
        raise TooManyError(count.retry_after_seconds)
    with transaction.atomic():
        user = user_create(email=invitation.email or email, password=password, name=name)
        if invitation.email or not settings.HAS_MAIL:
            logins.address_known(user=user)
        else:
            logins.address_unproven(user=user)
        invitation_accept(invitation=invitation, user=user)
    return user


def invitation_mail(*, invitation_id: str) -> tuple[str, str, str] | None:
    """Recipient, subject and text of the mail with a link, which is made now: no other place has ever held it.

    None where the invitation has ended.
    """
    raw = secrets.token_urlsafe(32)
    with scopes_disabled(), transaction.atomic():
        invitation = (
            _alive().select_for_update(of=("self",)).filter(pk=invitation_id).select_related("team", "inviter").first()
        )
        if invitation is None:
            return None
        invitation.digest = digest(raw)
        invitation.save(update_fields=["digest"])
    with logins.written_for(invitation.inviter):
        inviter = str(invitation.inviter or _("Somebody"))
        subject = _("%(inviter)s invites you to %(team)s") % {"inviter": inviter, "team": invitation.team}
        text = [
            _("%(inviter)s invites you to the team %(team)s on %(panel)s, as %(role)s.")
            % {"inviter": inviter, "team": invitation.team, "panel": settings.PUBLIC_URL, "role": _(invitation.role)},
            _("Accept here, until %(when)s UTC:") % {"when": f"{invitation.expires_at:%Y-%m-%d %H:%M}"},
            link(raw),
            _("You do not know what this is about? Then there is nothing to do."),
        ]
        return invitation.email, subject, logins.paragraphs(text)


def link(raw: str) -> str:
    return f"{settings.PUBLIC_URL}/join/{raw}/"


def _open() -> QuerySet[Invitation]:
    return Invitation.objects.filter(accepted_at=None, revoked_at=None)


def _alive() -> QuerySet[Invitation]:
    return _open().filter(expires_at__gt=timezone.now())


def _forget_old() -> None:
    Invitation.objects.filter(expires_at__lt=timezone.now() - KEPT).delete()


def _checked_email(email: str) -> str:
    email = email.strip().lower()
    if email:
        try:
            validate_email(email)
        except ValidationError:
            message = "Enter an e-mail address, like ada@example.com, or none for a link that anybody may use."
            raise InvalidError("This is not an e-mail address.", {"email": message}) from None
    return email
