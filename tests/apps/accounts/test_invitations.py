"""Invitations: who may invite whom as what, by link and by mail, once and for some days."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core.mail import EmailMessage
from django.db import connection
from django.test import override_settings
from django.utils import timezone
from django.utils.translation import override
from django_scopes import scope, scopes_disabled

from devflow.apps.accounts import invitations
from devflow.apps.accounts.invitations import (
    invitation_accept,
    invitation_create,
    invitation_find,
    invitation_join,
    invitation_revoke,
)
from devflow.apps.accounts.jobs import mail_invitation
from devflow.apps.accounts.models import Invitation, Role, User
from devflow.apps.accounts.selectors import actor_get
from devflow.apps.audit.models import Event
from devflow.core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError, TooManyError
from tests.support.shop import Shop, at_once, open_shop

PASSWORD = "a long enough phrase"


def raw_of(link: str) -> str:
    return link.rstrip("/").rpartition("/")[2]


def invite(shop: Shop, by: str = Role.OWNER, **given: Any) -> tuple[Invitation, str]:
    """An invitation, and the secret of its link."""
    invitation, link = invitation_create(actor=shop.actor(by), **{"role": Role.VIEWER, **given})
    return invitation, raw_of(link)


def test_a_link_lets_somebody_new_in_once(shop: Shop) -> None:
    _, raw = invite(shop, role=Role.DEVELOPER)
    user = invitation_join(invitation=invitation_find(raw=raw), email="Eve@Example.test", name="Eve", password=PASSWORD)
    assert (user.email, user.name, user.check_password(PASSWORD)) == ("eve@example.test", "Eve", True)
    assert actor_get(user=user, team=shop.team).role == Role.DEVELOPER
    with pytest.raises(NotFoundError):
        invitation_find(raw=raw)


def test_only_a_digest_of_the_link_is_kept(shop: Shop) -> None:
    invitation, raw = invite(shop)
    kept = [str(getattr(invitation, field.name)) for field in Invitation._meta.concrete_fields]
    assert len(raw) > 40
    assert not [value for value in kept if raw in value]


def test_who_has_an_account_joins_with_it(shop: Shop) -> None:
    _, raw = invite(shop, role=Role.ADMIN)
    invitation_accept(invitation=invitation_find(raw=raw), user=shop.people["stranger"])
    assert actor_get(user=shop.people["stranger"], team=shop.team).role == Role.ADMIN


@pytest.mark.parametrize(
    ("by", "role", "is_allowed"),
    [
        (Role.OWNER, Role.OWNER, True),
        (Role.ADMIN, Role.ADMIN, True),
        (Role.ADMIN, Role.OWNER, False),
        (Role.DEVELOPER, Role.VIEWER, False),
        (Role.VIEWER, Role.VIEWER, False),
    ],
)
def test_who_may_invite_whom(shop: Shop, by: str, role: str, is_allowed: bool) -> None:
    if is_allowed:
        assert invite(shop, by, role=role)[0].role == role
        return
    with pytest.raises(ForbiddenError):
        invite(shop, by, role=role)


def test_an_admin_does_not_take_back_what_an_owner_offers_an_owner(shop: Shop) -> None:
    invitation, raw = invite(shop, role=Role.OWNER)
    with pytest.raises(ForbiddenError):
        invitations.invitation_revoke(actor=shop.actor(Role.ADMIN), invitation_id=str(invitation.pk))
    assert invitation_find(raw=raw) == invitation


def test_an_invitation_is_taken_back(shop: Shop) -> None:
    invitation, raw = invite(shop)
    found = invitation_find(raw=raw)
    with pytest.raises(NotFoundError):
        invitations.invitation_revoke(actor=shop.actor("stranger"), invitation_id=str(invitation.pk))
    invitations.invitation_revoke(actor=shop.actor(Role.ADMIN), invitation_id=str(invitation.pk))
    with pytest.raises(NotFoundError):
        invitation_find(raw=raw)
    with pytest.raises(NotFoundError):  # it was open on somebody's page
        invitation_accept(invitation=found, user=shop.people["stranger"])
    assert invitations.invitation_list(actor=shop.actor()) == []


def test_an_invitation_runs_out(shop: Shop) -> None:
    invitation, raw = invite(shop, days=1)
    assert timedelta(hours=23) < invitation.expires_at - timezone.now() <= timedelta(days=1)
    with scope(team=shop.team):
        Invitation.objects.update(expires_at=timezone.now())
    with pytest.raises(NotFoundError, match="not valid"):
        invitation_find(raw=raw)
    assert invitations.invitation_list(actor=shop.actor()) == [invitation]


@pytest.mark.parametrize("given", [{"role": "king"}, {"email": "no address"}, {"days": 365}])
def test_bad_invitations(shop: Shop, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidError) as refused:
        invite(shop, **given)
    assert list(refused.value.errors) == list(given)


@pytest.mark.parametrize("raw", ["", "x", "\x00", "x" * 10_000])
def test_no_link(shop: Shop, raw: str) -> None:
    invite(shop)
    with pytest.raises(NotFoundError):
        invitation_find(raw=raw, invitation_id="00000000-0000-0000-0000-000000000000")


def test_with_an_address_only_its_owner_joins(shop: Shop) -> None:
    _, raw = invite(shop, email="Eve@example.test")
    with pytest.raises(ForbiddenError, match=r"is for eve@example\.test"):
        invitation_accept(invitation=invitation_find(raw=raw), user=shop.people["stranger"])
    user = invitation_join(
        invitation=invitation_find(raw=raw), email="mallory@example.test", name="", password=PASSWORD
    )
    assert user.email == "eve@example.test"


def test_a_member_is_not_invited_and_does_not_join_twice(shop: Shop) -> None:
    with pytest.raises(ConflictError, match="in the team already"):
        invite(shop, email=shop.people[Role.VIEWER].email)
    _, raw = invite(shop, role=Role.OWNER)
    with pytest.raises(ConflictError, match="already, as viewer"):
        invitation_accept(invitation=invitation_find(raw=raw), user=shop.people[Role.VIEWER])
    assert actor_get(user=shop.people[Role.VIEWER]).role == Role.VIEWER


def test_who_is_invited_again_has_one_invitation(shop: Shop) -> None:
    _, older = invite(shop, email="eve@example.test")
    newer, _ = invite(shop, email="eve@example.test", role=Role.ADMIN)
    assert invitations.invitation_list(actor=shop.actor()) == [newer]
    with pytest.raises(NotFoundError):
        invitation_find(raw=older)


def test_a_refused_password_leaves_the_invitation(shop: Shop) -> None:
    invitation, raw = invite(shop)
    with pytest.raises(InvalidError):
        invitation_join(invitation=invitation, email="eve@example.test", name="", password="short")
    assert invitation_find(raw=raw) == invitation
    assert not User.objects.filter(email="eve@example.test").exists()


@pytest.mark.django_db(transaction=True)
def test_of_many_who_join_at_once_one_does() -> None:
    shop = open_shop()
    invitation, _ = invite(shop)
    made = at_once(
        4,
        lambda number: invitation_join(
            invitation=invitation, email=f"person{number}@example.test", name="", password=PASSWORD
        ),
    )
    assert sorted(type(result).__name__ for result in made) == [*["NotFoundError"] * 3, "User"]
    assert User.objects.filter(email__startswith="person").count() == 1


def test_a_team_does_not_invite_without_end(shop: Shop) -> None:
    for _ in range(60):
        invite(shop)
    with pytest.raises(TooManyError):
        invite(shop)
    invitation_create(actor=shop.actor("stranger"), role=Role.VIEWER)


# --- by mail ----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@override_settings(HAS_MAIL=True)
def test_by_mail_the_link_comes_to_the_address_and_to_nobody_else(mailoutbox: list[EmailMessage]) -> None:
    shop = open_shop()
    invitation, link = invitation_create(actor=shop.actor(), role=Role.VIEWER, email="eve@example.test")
    assert link == ""
    with connection.cursor() as cursor:
        cursor.execute("SELECT args::text FROM procrastinate_jobs WHERE task_name = 'accounts.mail_invitation'")
        assert cursor.fetchall() == [(f'{{"invitation_id": "{invitation.pk}"}}',)]
    asyncio.run(mail_invitation(invitation_id=str(invitation.pk)))
    assert [mail.to for mail in mailoutbox] == [["eve@example.test"]]
    found = re.search(r"\S+/join/(\S+)/", str(mailoutbox[0].body))
    assert found
    user = invitation_join(invitation=invitation_find(raw=found[1]), email="", name="Eve", password=PASSWORD)
    assert EmailAddress.objects.get(user=user).verified
    asyncio.run(mail_invitation(invitation_id=str(invitation.pk)))
    assert len(mailoutbox) == 1


def test_what_the_audit_log_keeps_is_in_no_language(shop: Shop) -> None:
    invitation, _ = invitation_create(actor=shop.actor(), role=Role.VIEWER)
    with override("de"):
        invitation_revoke(actor=shop.actor(), invitation_id=str(invitation.pk))
    with scopes_disabled():
        assert Event.objects.get(action="invitation.revoked").before == {"role": "viewer"}


@pytest.mark.django_db(transaction=True)
@override_settings(HAS_MAIL=True)
def test_the_mail_is_in_the_language_of_who_invites(mailoutbox: list[EmailMessage]) -> None:
    shop = open_shop()
    User.objects.filter(email="owner@example.test").update(language="de", name="Ada 100%")
    invitation, _ = invitation_create(actor=shop.actor(), role=Role.VIEWER, email="eve@example.test")
    asyncio.run(mail_invitation(invitation_id=str(invitation.pk)))
    assert mailoutbox[0].subject == "Ada 100% lädt Sie ein zu Shopkeepers"
    assert "\n\nHier annehmen, bis " in str(mailoutbox[0].body)
    assert "/join/" in str(mailoutbox[0].body)


@pytest.mark.parametrize("has_mail", [True, False])
def test_who_types_an_address_in_has_still_to_prove_it_where_that_can_be_done(shop: Shop, has_mail: bool) -> None:
    _, raw = invite(shop)
    with override_settings(HAS_MAIL=has_mail):
        user = invitation_join(
            invitation=invitation_find(raw=raw), email="eve@example.test", name="", password=PASSWORD
        )
    assert EmailAddress.objects.get(user=user).verified is not has_mail


@pytest.mark.parametrize("name", ["Eve\r\nBcc: all@example.test", "\u202eevil", "Eve\u200f"])
def test_a_name_forges_no_lines_and_turns_no_text_around(shop: Shop, name: str) -> None:
    _, raw = invite(shop)
    with pytest.raises(InvalidError) as refused:
        invitation_join(invitation=invitation_find(raw=raw), email="eve@example.test", name=name, password=PASSWORD)
    assert list(refused.value.errors) == ["name"]


def test_an_invitation_is_of_one_team(shop: Shop) -> None:
    invite(shop)
    assert invitations.invitation_list(actor=shop.actor("stranger")) == []
    with scopes_disabled():
        assert Invitation.objects.count() == 1
