"""What guards the log-in: counting, hashes, links for a new password; and second factors that a team asks for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from allauth.mfa.models import Authenticator
from django.conf import LazySettings
from django.conf import settings as panel
from django.contrib.auth.hashers import PBKDF2PasswordHasher, get_hasher
from django.core.mail import EmailMessage
from django.db import connection
from django.test import override_settings
from django.utils import timezone
from django_scopes import scope

from devflow.apps.accounts import logins, members, second_factor, selectors, services
from devflow.apps.accounts.jobs import mail_confirmation, mail_reset
from devflow.apps.accounts.models import Role, Team, User
from devflow.apps.accounts.selectors import actor_of_session, actors_of_user, token_find
from devflow.core.errors import ConflictError, ForbiddenError, NotFoundError, SecondFactorError
from devflow.settings import base
from tests.support.receivers import Mailbox, mail_server
from tests.support.second_factor import app_of
from tests.support.shop import Shop, open_shop

PASSWORD = "a long enough phrase"
HERE = "192.0.2.7"


def test_five_wrong_passwords_close_the_account_for_a_while(db: None) -> None:
    waits = [logins.attempt_wait(email=" Eve@example.test") for _ in range(6)]
    assert waits[:5] == [0] * 5
    assert 290 < waits[5] <= 300
    assert logins.attempt_wait(email="eve@EXAMPLE.test")
    assert not logins.attempt_wait(email="bob@example.test")


def test_the_right_password_forgives_the_wrong_ones(db: None) -> None:
    for _ in range(4):
        logins.attempt_wait(email="eve@example.test")
    logins.attempts_forget(email="eve@example.test")
    assert [logins.attempt_wait(email="eve@example.test") for _ in range(5)] == [0] * 5


def test_an_address_tries_no_more_than_sixty_accounts_a_minute(db: None) -> None:
    waits = [logins.address_wait(address=HERE) for _ in range(61)]
    assert waits[:60] == [0] * 60
    assert 50 < waits[60] <= 60
    assert not logins.address_wait(address="198.51.100.1")


def test_what_is_counted_apart(shop: Shop) -> None:
    """A known device from all others; one session from another, and from the log-in."""
    user = shop.people[Role.OWNER]
    for _ in range(6):
        logins.attempt_wait(email=user.email)
        logins.confirm_wait(user=user, session="a")
        logins.code_wait(user=user)
    assert logins.attempt_wait(email=user.email)
    assert not logins.attempt_wait(email=user.email, device="Firefox on Linux 192.0.2.0/24")
    assert logins.confirm_wait(user=user, session="a")
    assert not logins.confirm_wait(user=user, session="b")
    assert logins.code_wait(user=user)
    assert not logins.code_wait(user=user, session="a")


def test_a_code_is_taken_once(shop: Shop) -> None:
    user = shop.people[Role.OWNER]
    assert logins.code_take(user=user, code="123456")
    assert not logins.code_take(user=user, code="123456")
    assert logins.code_take(user=shop.people[Role.ADMIN], code="123456")


# --- hashes -----------------------------------------------------------------------------------------------------------


def test_passwords_are_hashed_with_argon2id() -> None:
    with override_settings(PASSWORD_HASHERS=base.PASSWORD_HASHERS):
        hasher = get_hasher()
        assert hasher.algorithm == "argon2"
        parameters = hasher.params()  # type: ignore[attr-defined]
    # RFC 9106 asks for 64 MiB and three passes where memory is scarce; more memory stands for a pass less.
    assert parameters.type.name == "ID"
    assert parameters.memory_cost * parameters.time_cost >= 64 * 1024 * 3
    assert (parameters.salt_len, parameters.hash_len) >= (16, 32)


@pytest.mark.usefixtures("shop")
def test_an_older_hash_is_upgraded_by_the_next_log_in() -> None:
    user = User.objects.get(email="owner@example.test")
    user.password = PBKDF2PasswordHasher().encode(PASSWORD, "salt-of-some-length", iterations=1000)
    user.save(update_fields=["password"])
    with override_settings(PASSWORD_HASHERS=base.PASSWORD_HASHERS):
        assert not user.check_password("wrong")
        assert User.objects.get(pk=user.pk).password.startswith("pbkdf2")
        assert user.check_password(PASSWORD)
        kept = User.objects.get(pk=user.pk).password
        assert kept.startswith("argon2$argon2id$")
        assert User.objects.get(pk=user.pk).check_password(PASSWORD)


# --- a lost password --------------------------------------------------------------------------------------------------


def jobs(task: str = "accounts.mail_reset") -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT args->>'email' FROM procrastinate_jobs WHERE task_name = %s", [task])
        return [row[0] for row in cursor.fetchall()]


@override_settings(HAS_MAIL=True)
def test_who_asks_for_a_link_learns_nothing(shop: Shop) -> None:
    for email in ("owner@example.test", "nobody@example.test"):
        assert logins.reset_request(email=email, address=HERE)
    assert jobs() == ["owner@example.test", "nobody@example.test"]
    assert logins.reset_mail(email="nobody@example.test") is None


@override_settings(HAS_MAIL=True)
def test_links_are_not_asked_for_without_end(shop: Shop) -> None:
    for email in ("owner@example.test", "nobody@example.test"):
        assert [logins.reset_request(email=email, address=HERE) for _ in range(6)] == [True] * 5 + [False]
    assert len(jobs()) == 10


def test_without_mail_no_link_is_made(shop: Shop) -> None:
    assert not panel.HAS_MAIL
    logins.reset_request(email="owner@example.test", address=HERE)
    assert jobs() == []


@pytest.mark.django_db(transaction=True)
@override_settings(HAS_MAIL=True)
def test_the_mail_goes_to_people_who_can_log_in(mailoutbox: list[EmailMessage]) -> None:
    shop = open_shop()
    User.objects.filter(pk=shop.people[Role.VIEWER].pk).update(is_active=False)
    for email in ("owner@example.test", "viewer@example.test", "nobody@example.test"):
        asyncio.run(mail_reset(email=email))
    assert [mail.to for mail in mailoutbox] == [["owner@example.test"]]
    found = re.search(r"https?://\S+", str(mailoutbox[0].body).partition("within an hour")[2])
    assert found
    assert urlsplit(found[0]).path.startswith("/accounts/password/reset/key/")


def test_mails_are_in_the_language_that_people_chose(shop: Shop) -> None:
    user = shop.people[Role.ADMIN]
    logins.address_unproven(user=user)
    told = {}
    for language in ("", "de"):
        User.objects.filter(pk=user.pk).update(language=language)
        mails = logins.reset_mail(email=user.email), logins.confirmation_mail(email=user.email)
        told[language] = [(mail[1], mail[2].splitlines()[0]) for mail in mails if mail]
    assert told[""][0][0].startswith("New password for DevFlow Pro on ")
    assert told[""][1][1] == f"Is {user.email} your address? Then open this link:"
    assert told["de"][0][0].startswith("Neues Passwort für DevFlow Pro auf ")
    assert told["de"][1] == (
        "Bestätigen Sie Ihre E-Mail-Adresse für DevFlow Pro",
        f"Ist {user.email} Ihre Adresse? Dann öffnen Sie diesen Link:",
    )


def test_who_was_made_by_an_administrator_has_proven_the_address(shop: Shop) -> None:
    user = shop.people[Role.OWNER]
    logins.address_known(user=user)
    logins.address_known(user=user)
    assert EmailAddress.objects.get(user=user).verified
    other = shop.people[Role.ADMIN]
    logins.address_unproven(user=other)
    logins.address_known(user=other)
    assert not EmailAddress.objects.get(user=other).verified


def test_who_was_let_in_before_there_was_mail_is_not_asked_later(shop: Shop) -> None:
    user = shop.people[Role.ADMIN]
    logins.address_unproven(user=user)
    user.last_login = timezone.now()
    logins.address_known(user=user)
    assert EmailAddress.objects.get(user=user).verified


# --- an address is proven ---------------------------------------------------------------------------------------------


@pytest.fixture
def mail(settings: LazySettings) -> Iterator[Mailbox]:
    """A mail server, and a panel that is set up for it."""
    settings.HAS_MAIL = True
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST = "127.0.0.1"
    with mail_server() as box:
        settings.EMAIL_PORT = box.port
        yield box


@pytest.mark.django_db(transaction=True)
def test_the_mail_that_proves_an_address_is_sent_by_a_worker(mail: Mailbox) -> None:
    user = open_shop().people[Role.ADMIN]
    logins.address_unproven(user=user)
    asyncio.run(mail_confirmation(email=user.email))
    assert mail.recipients == [[user.email]]
    found = re.search(r"/accounts/confirm-email/(\S+)/", mail.mails[0].get_content())
    assert found
    confirmation = EmailConfirmationHMAC.from_key(found[1])
    assert confirmation.email_address.user == user
    logins.address_proven(user=user)
    asyncio.run(mail_confirmation(email=user.email))
    asyncio.run(mail_confirmation(email="nobody@example.test"))
    assert len(mail.mails) == 1


@pytest.mark.django_db(transaction=True)
def test_it_fails_where_the_mail_server_does_not_answer_and_is_tried_again(
    mail: Mailbox, settings: LazySettings
) -> None:
    user = open_shop().people[Role.ADMIN]
    logins.address_unproven(user=user)
    settings.EMAIL_PORT = 1
    with pytest.raises(OSError, match="refused"):
        asyncio.run(mail_confirmation(email=user.email))
    settings.EMAIL_PORT = mail.port
    asyncio.run(mail_confirmation(email=user.email))
    assert len(mail.mails) == 1


def test_it_is_not_asked_for_without_end(shop: Shop) -> None:
    user = shop.people[Role.ADMIN]
    for _ in range(7):
        logins.confirmation_request(user=user)
    assert jobs("accounts.mail_confirmation") == [user.email] * 5


# --- second factors ---------------------------------------------------------------------------------------------------


def require(team: Team) -> None:
    Team.objects.filter(pk=team.pk).update(requires_second_factor=True)


def test_a_team_that_wants_a_second_factor_lets_nobody_in_without(shop: Shop) -> None:
    user = shop.people[Role.DEVELOPER]
    _, raw = services.token_create(actor=shop.actor(Role.DEVELOPER), name="ci", scopes=["read"])
    require(shop.team)
    with pytest.raises(SecondFactorError, match="wants a second factor"):
        actor_of_session(user=user, session={}, address=HERE)
    with pytest.raises(SecondFactorError):
        token_find(raw, address=HERE)
    assert actors_of_user(user=user, address=HERE) == []
    app_of(user)
    assert actor_of_session(user=user, session={}, address=HERE).role == Role.DEVELOPER
    assert token_find(raw, address=HERE)
    assert len(actors_of_user(user=user, address=HERE)) == 1


def test_tokens_of_the_team_itself_go_on(shop: Shop) -> None:
    _, raw = services.token_create(actor=shop.actor(), name="ci", scopes=["read"], of_team=True)
    require(shop.team)
    assert token_find(raw, address=HERE)


def test_only_an_owner_asks_for_it_who_has_one(shop: Shop) -> None:
    with pytest.raises(ForbiddenError):
        members.team_policy_set(actor=shop.actor(Role.ADMIN), requires_second_factor=True)
    with pytest.raises(ForbiddenError):
        members.team_policy_set(actor=shop.actor(scopes=("admin",)), requires_second_factor=True)
    with pytest.raises(ConflictError, match="of your own first"):
        members.team_policy_set(actor=shop.actor(), requires_second_factor=True)
    app_of(shop.people[Role.OWNER])
    members.team_policy_set(actor=shop.actor(), requires_second_factor=True)
    assert Team.objects.get(pk=shop.team.pk).requires_second_factor
    members.team_policy_set(actor=shop.actor(), requires_second_factor=False)
    assert not Team.objects.get(pk=shop.team.pk).requires_second_factor


def test_recovery_codes_alone_are_no_second_factor(shop: Shop) -> None:
    user = shop.people[Role.OWNER]
    Authenticator.objects.create(user=user, type=Authenticator.Type.RECOVERY_CODES, data={})
    assert not second_factor.has_second_factor(user)


def test_the_secret_of_an_app_is_sealed(shop: Shop) -> None:
    app = app_of(shop.people[Role.OWNER])
    kept = Authenticator.objects.get(user=shop.people[Role.OWNER])
    assert app.secret not in str(kept.data)
    assert kept.wrap().validate_code(app.code())


def test_a_lost_second_factor_is_taken_away(shop: Shop) -> None:
    user = shop.people[Role.OWNER]
    app_of(user)
    second_factor.second_factors_remove(user=user)
    assert not second_factor.has_second_factor(user)
    with pytest.raises(NotFoundError, match="has no second factor"):
        second_factor.second_factors_remove(user=user)


def test_the_list_of_members_knows_who_has_one(shop: Shop) -> None:
    app_of(shop.people[Role.ADMIN])
    with scope(team=shop.team):
        users = [member.user for member in selectors.member_list(actor=shop.actor())]
    assert second_factor.with_second_factor(users) == {shop.people[Role.ADMIN].pk}
