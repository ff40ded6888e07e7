"""The pages Account, Team and Join: second factors, sessions, invitations, who may do what to whom."""

from __future__ import annotations

import re
import statistics
import time
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.conf import LazySettings
from django.test import Client, override_settings
from django_scopes import scope, scopes_disabled

from devflow.apps.accounts.invitations import invitation_create
from devflow.apps.accounts.logins import address_unproven, confirmation_mail, reset_link, reset_mail
from devflow.apps.accounts.models import Invitation, Membership, Role, Team, User
from devflow.apps.accounts.selectors import actor_get
from devflow.apps.accounts.services import team_create
from devflow.apps.audit.jobs import look
from devflow.apps.audit.models import Event as AuditEvent
from devflow.settings import base
from tests.support.second_factor import App, app_of
from tests.web.world import PASSWORD, World, log_in

OWNER = "owner@example.test"
NEW = "another long phrase"


def events() -> Any:
    with scopes_disabled():
        return AuditEvent.objects.all()


def log_in_by_form(email: str = OWNER, password: str = PASSWORD, client: Client | None = None) -> Any:
    return (client or Client()).post("/accounts/login/", {"login": email, "password": password})


def text(answer: Any) -> str:
    return str(answer.content.decode())


# --- second factors ---------------------------------------------------------------------------------------------------


def test_an_authenticator_app_is_set_up_and_asked_for(world: World, owner: Client) -> None:
    page = text(owner.get("/accounts/2fa/totp/activate/"))
    assert 'src="data:image/svg+xml;base64,' in page
    found = re.search(r'id="totp-key">([A-Z2-7]+)<', page)
    assert found
    app = App(found[1])
    assert "Incorrect code" in text(owner.post("/accounts/2fa/totp/activate/", {"code": "000000"}))
    codes = text(owner.post("/accounts/2fa/totp/activate/", {"code": app.code()}, follow=True))
    recovery = re.findall(r"\b\d{8}\b", codes)
    assert len(recovery) == 10
    assert "Authenticator app" in text(owner.get("/account/"))
    assert not re.findall(r"\b\d{8}\b", text(owner.get("/accounts/2fa/recovery-codes/")))  # shown once

    client = Client()
    assert log_in_by_form(client=client)["Location"] == "/accounts/2fa/authenticate/"
    assert client.get("/").status_code == 302
    assert "note-error" in text(client.post("/accounts/2fa/authenticate/", {"code": "000000"}))
    used = app.code(1)
    assert client.post("/accounts/2fa/authenticate/", {"code": used}).status_code == 302
    assert client.get("/").status_code == 200

    other = Client()
    log_in_by_form(client=other)
    again = other.post("/accounts/2fa/authenticate/", {"code": used})
    assert "Incorrect code" in text(again)  # somebody has read it along
    assert other.post("/accounts/2fa/authenticate/", {"code": recovery[0]}).status_code == 302
    assert other.get("/").status_code == 200


def test_the_code_that_sets_an_app_up_does_not_log_in(world: World, owner: Client) -> None:
    found = re.search(r'id="totp-key">([A-Z2-7]+)<', text(owner.get("/accounts/2fa/totp/activate/")))
    assert found
    code = App(found[1]).code()
    owner.post("/accounts/2fa/totp/activate/", {"code": code})
    client = Client()
    log_in_by_form(client=client)
    assert "Incorrect code" in text(client.post("/accounts/2fa/authenticate/", {"code": code}))
    assert client.get("/").status_code == 302


def test_codes_are_not_guessed(world: World) -> None:
    app = app_of(world.people[Role.OWNER])
    client = Client()
    log_in_by_form(client=client)
    for _ in range(5):
        assert "Incorrect code" in text(client.post("/accounts/2fa/authenticate/", {"code": "000000"}))
    assert "Too many" in text(client.post("/accounts/2fa/authenticate/", {"code": app.code()}))
    assert client.get("/").status_code == 302


def test_an_app_is_removed(world: World, owner: Client) -> None:
    app_of(world.people[Role.OWNER])
    assert "alone lets you in" in text(owner.get("/accounts/2fa/totp/deactivate/"))
    assert owner.post("/accounts/2fa/totp/deactivate/").status_code == 302
    assert not Authenticator.objects.exists()


@pytest.mark.parametrize(
    "path",
    [
        "/accounts/2fa/totp/activate/",
        "/accounts/2fa/passkeys/add/",
        "/accounts/2fa/recovery-codes/generate/",
        "/accounts/password/change/",
        "/accounts/reauthenticate/",
        "/account/",
        "/team/",
        "/add/team/",
    ],
)
def test_pages_have_neither_scripts_nor_styles_of_their_own(world: World, owner: Client, path: str) -> None:
    page = owner.get(path)
    assert page.status_code == 200
    assert not re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", text(page))


# --- is it you --------------------------------------------------------------------------------------------------------

SECRETS = [
    ("GET", "/tokens/"),
    ("POST", "/projects/shop/environments/production/variables/reveal/"),
    ("POST", "/projects/shop/environments/production/variables/export/"),
    ("POST", "/projects/shop/webhook/rotate/"),
    ("GET", "/projects/shop/access/"),
    ("GET", "/accounts/2fa/totp/activate/"),
    ("GET", "/accounts/2fa/passkeys/add/"),
    ("GET", "/accounts/2fa/recovery-codes/generate/"),
    ("POST", "/team/invite/"),
    ("POST", "/team/policy/"),
    ("POST", "/account/sessions/end/"),
    ("GET", "/add/server/"),
    ("POST", "/servers/web-1/forget-host-key/"),
    ("POST", "/projects/shop/environments/production/protect/"),
    ("POST", "/projects/shop/grants/remove/"),
    ("POST", "/tokens/0190aaaa-0000-7000-8000-000000000000/revoke/"),
    ("POST", "/team/invitations/0190aaaa-0000-7000-8000-000000000000/revoke/"),
    ("POST", "/team/members/0190aaaa-0000-7000-8000-000000000000/remove/"),
    ("GET", "/audit/export/"),
    ("POST", "/account/export/"),
    ("POST", "/data/delete-account/"),
]


@pytest.mark.parametrize(("method", "path"), SECRETS, ids=[path for _, path in SECRETS])
def test_who_logged_in_long_ago_is_asked_again(world: World, method: str, path: str) -> None:
    client = Client()
    log_in(client, world.people[Role.OWNER], minutes_ago=16)
    answer = client.generic(method, path)
    assert answer.status_code == 302
    assert answer["Location"].startswith("/accounts/reauthenticate/?next=")
    assert client.get("/").status_code == 200  # all else goes on


def test_after_the_password_it_goes_on(world: World) -> None:
    client = Client()
    log_in(client, world.people[Role.OWNER], minutes_ago=16)
    asked = client.get("/tokens/")["Location"]
    assert "Is it you?" in text(client.get(asked))
    assert "note-error" in text(client.post(asked, {"password": "wrong", "next": "/tokens/"}))
    assert client.get("/tokens/").status_code == 302
    assert client.post(asked, {"password": PASSWORD, "next": "/tokens/"})["Location"] == "/tokens/"
    assert client.get("/tokens/").status_code == 200


def test_a_code_confirms_too(world: World) -> None:
    app = app_of(world.people[Role.OWNER])
    client = Client()
    log_in(client, world.people[Role.OWNER], minutes_ago=16)
    assert "Use a code" in text(client.get(client.get("/tokens/")["Location"]))
    answer = client.post("/accounts/2fa/reauthenticate/", {"code": app.code(), "next": "/tokens/"})
    assert answer["Location"] == "/tokens/"
    assert client.get("/tokens/").status_code == 200


def test_passwords_are_not_guessed_there_either(world: World) -> None:
    client = Client()
    log_in(client, world.people[Role.OWNER], minutes_ago=16)
    for _ in range(5):
        client.post("/accounts/reauthenticate/", {"password": "wrong"})
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    assert client.get("/tokens/").status_code == 302


def test_who_guesses_elsewhere_keeps_nobody_from_confirming(world: World) -> None:
    client = Client()
    log_in(client, world.people[Role.OWNER], minutes_ago=16)
    for _ in range(6):
        log_in_by_form(password="wrong", client=Client(REMOTE_ADDR="198.51.100.9"))
    asked = client.get("/tokens/")["Location"]
    assert client.post(asked, {"password": PASSWORD, "next": "/tokens/"})["Location"] == "/tokens/"


def test_who_confirms_too_often_is_told_how_long_to_wait(world: World) -> None:
    client = Client()
    log_in(client, world.people[Role.OWNER], minutes_ago=16)
    for _ in range(5):
        client.post("/accounts/reauthenticate/", {"password": "wrong"})
    assert "Try again in 5 minutes" in text(client.post("/accounts/reauthenticate/", {"password": PASSWORD}))
    event = events().get(action="login.throttled", team=world.team)
    assert (event.who, event.after) == (OWNER, {"times": 1, "what": "password"})


def test_what_was_sent_is_not_done_and_not_kept(world: World) -> None:
    client = Client()
    log_in(client, world.people[Role.OWNER], minutes_ago=16)
    page = "/projects/shop/environments/production/variables/"
    sent = {"key": "APP_KEY", "value": "typed-in-secret"}
    answer = client.post(f"{page}set/", sent, headers={"referer": f"http://testserver{page}"})
    assert answer["Location"].endswith("?next=%2Fprojects%2Fshop%2Fenvironments%2Fproduction%2Fvariables%2F")
    assert "typed-in-secret" not in str(dict(client.session.items()))
    assert "do it again" in text(client.get(answer["Location"]))


def test_a_part_of_a_page_sends_the_whole_page_to_confirm(world: World) -> None:
    client = Client()
    log_in(client, world.people[Role.OWNER], minutes_ago=16)
    path = "/projects/shop/environments/production/variables/reveal/"
    headers = {"HX-Request": "true", "HX-Current-URL": "http://testserver/projects/shop/"}
    answer = client.post(path, {"key": "APP_KEY"}, headers=headers)
    assert (answer.status_code, answer.content) == (401, b"")
    # a path alone: the page that asks leads to nothing else afterwards
    assert answer["HX-Redirect"] == "/accounts/reauthenticate/?next=%2Fprojects%2Fshop%2F"
    for elsewhere in ("https://evil.test/", "http://testserver.evil/", "http://[", "//evil.test/x", "javascript:1"):
        evil = client.post(path, headers={"HX-Request": "true", "HX-Current-URL": elsewhere})
        assert evil["HX-Redirect"] == "/accounts/reauthenticate/?next=%2F", elsewhere


# --- sessions ---------------------------------------------------------------------------------------------------------

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def test_browsers_are_listed_and_logged_out(world: World) -> None:
    here, there = Client(), Client(headers={"user-agent": FIREFOX}, REMOTE_ADDR="203.0.113.9")
    log_in_by_form(client=here)
    log_in_by_form(client=there)
    page = text(here.get("/account/"))
    assert "Firefox on Linux" in page
    assert "203.0.113.9" in page
    found = re.findall(r"/account/sessions/(\d+)/end/", page)
    assert len(found) == 1
    assert there.get("/").status_code == 200
    stranger = world.client("outsider")
    assert stranger.post(f"/account/sessions/{found[0]}/end/").status_code == 404
    assert here.post(f"/account/sessions/{found[0]}/end/").status_code == 302
    assert there.get("/").status_code == 302
    assert here.get("/").status_code == 200


def test_all_other_browsers_are_logged_out(world: World) -> None:
    clients = [Client() for _ in range(3)]
    for client in clients:
        log_in_by_form(client=client)
    clients[0].post("/account/sessions/end/")
    assert [client.get("/").status_code for client in clients] == [200, 302, 302]


def test_a_new_password_logs_the_others_out(world: World) -> None:
    here, there = Client(), Client()
    log_in_by_form(client=here)
    log_in_by_form(client=there)
    here.post("/accounts/password/change/", {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW})
    assert here.get("/").status_code == 200
    assert there.get("/").status_code == 302


# --- guessed passwords ------------------------------------------------------------------------------------------------


def test_a_known_browser_logs_in_while_somebody_guesses_elsewhere(world: World) -> None:
    mine = {"headers": {"user-agent": FIREFOX}, "REMOTE_ADDR": "203.0.113.9"}
    assert log_in_by_form(client=Client(**mine)).status_code == 302
    for _ in range(6):
        guess = log_in_by_form(password="wrong", client=Client(REMOTE_ADDR="198.51.100.9"))
    assert "Try again in 5 minutes" in text(guess)
    assert log_in_by_form(client=Client(headers={"user-agent": FIREFOX})).status_code == 200  # from another network
    assert log_in_by_form(client=Client(**mine)).status_code == 302
    for _ in range(5):
        log_in_by_form(password="wrong", client=Client(**mine))
    assert log_in_by_form(client=Client(**mine)).status_code == 200  # it guesses no more than others


def test_refused_attempts_are_in_the_log_without_flooding_it(world: World) -> None:
    for _ in range(5 + 12):
        log_in_by_form(password="wrong", client=Client(REMOTE_ADDR="198.51.100.9"))
    log_in_by_form("nobody@example.test")
    found = events().filter(action="login.throttled", team=None).order_by("id")
    told = [(event.target, event.address, event.after, event.outcome) for event in found]
    assert told == [(OWNER, "198.51.100.9", {"times": times}, "refused") for times in (1, 10)]
    for event in found:
        look(str(event.pk))
        look(str(event.pk))
    in_team = events().filter(action="login.throttled", team=world.team).order_by("id")
    assert [(event.user_id, event.after["times"]) for event in in_team] == [
        (world.people[Role.OWNER].pk, n) for n in (1, 10)
    ]


def test_many_accounts_tried_from_an_address_are_one_event(world: World) -> None:
    for number in range(64):
        guess = log_in_by_form(f"somebody-{number}@example.test", "wrong")
    assert "Try again in a minute" in text(guess)
    event = events().get(action="login.throttled")
    assert (event.target, event.after) == ("any account", {"times": 1})


# --- a lost password --------------------------------------------------------------------------------------------------


def test_a_link_sets_a_new_password_once(world: World) -> None:
    link = reset_link(user=world.people[Role.OWNER]).removeprefix(base.PUBLIC_URL)
    client = Client()
    form = client.get(link, follow=True)
    address = form.redirect_chain[-1][0]
    assert link.rsplit("-", 1)[1].strip("/") not in address
    assert "New password" in text(form)
    assert "note-error" in text(client.post(address, {"password1": "short", "password2": "short"}))
    done = client.post(address, {"password1": NEW, "password2": NEW}, follow=True)
    assert "The password is set" in text(done)
    assert log_in_by_form(password=PASSWORD).status_code == 200
    assert log_in_by_form(password=NEW).status_code == 302
    assert "not valid any more" in text(Client().get(link, follow=True))


def test_a_new_password_by_link_does_not_replace_the_second_factor(world: World) -> None:
    app_of(world.people[Role.OWNER])
    link = reset_link(user=world.people[Role.OWNER]).removeprefix(base.PUBLIC_URL)
    client = Client()
    address = client.get(link, follow=True).redirect_chain[-1][0]
    client.post(address, {"password1": NEW, "password2": NEW})
    assert client.get("/").status_code == 302
    assert log_in_by_form(password=NEW)["Location"] == "/accounts/2fa/authenticate/"


@override_settings(HAS_MAIL=True)
def test_asking_for_a_link_is_answered_alike(world: World) -> None:
    answers = []
    for email in (OWNER, "nobody@example.test"):
        answer = Client().post("/accounts/password/reset/", {"email": email}, follow=True)
        answers.append(re.sub(r'value="[^"]{40,}"|nonce="[^"]*"|data-now="[^"]*"', "", text(answer)))
    assert answers[0] == answers[1]
    assert reset_mail(email=OWNER)


@override_settings(HAS_MAIL=True, ACCOUNT_EMAIL_VERIFICATION="mandatory")
def test_a_new_password_by_link_proves_the_address(world: World) -> None:
    address_unproven(user=world.people[Role.OWNER])
    assert log_in_by_form()["Location"] == "/accounts/confirm-email/"
    client = Client()
    link = reset_link(user=world.people[Role.OWNER]).removeprefix(base.PUBLIC_URL)
    assert log_in_by_form()["Location"] == "/accounts/confirm-email/"  # to have asked for it proves nothing
    address = client.get(link, follow=True).redirect_chain[-1][0]
    client.post(address, {"password1": NEW, "password2": NEW})
    assert log_in_by_form(password=NEW)["Location"] == "/"


# --- known and unknown ------------------------------------------------------------------------------------------------


def test_a_known_and_an_unknown_account_are_told_the_same(world: World) -> None:
    pages = []
    for email in (OWNER, "nobody@example.test"):
        answers = [text(log_in_by_form(email, "wrong")).replace(email, "") for _ in range(7)]
        pages.append([re.sub(r'value="[^"]{40,}"|data-now="[^"]*"', "", answer) for answer in answers])
    assert pages[0] == pages[1]
    assert "Too many" in pages[0][6]


@pytest.mark.parametrize("path", ["login", "reset"])
@override_settings(PASSWORD_HASHERS=base.PASSWORD_HASHERS, HAS_MAIL=True)
def test_a_known_and_an_unknown_account_take_the_same_time(world: World, path: str) -> None:
    """The medians of turns that alternate. Without the hash for nobody the ratio is about 10, and 0.1."""
    for user in User.objects.all():
        user.set_password(PASSWORD)
        user.save()
    people = [f"{role}@example.test" for role in Role.values]
    taken: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(12):
        for is_known in (True, False):
            email = people[turn % 4] if is_known else f"nobody{turn % 4}@example.test"
            began = time.perf_counter()
            if path == "login":
                log_in_by_form(email, "wrong")
            else:
                Client().post("/accounts/password/reset/", {"email": email})
            taken[is_known].append(time.perf_counter() - began)
    ratio = statistics.median(taken[True]) / statistics.median(taken[False])
    assert 0.6 < ratio < 1.67, taken


# --- joining ----------------------------------------------------------------------------------------------------------


def link_for(world: World, **given: Any) -> str:
    _, link = invitation_create(actor=world.actor(), **{"role": Role.DEVELOPER, **given})
    return link.removeprefix(base.PUBLIC_URL)


def test_somebody_new_joins(world: World) -> None:
    link = link_for(world)
    client = Client()
    first = client.get(link)
    assert first["Location"] == "/join/"  # no page passes the secret on
    page = text(client.get("/join/"))
    assert "Join Acme" in page
    assert "as developer" in page
    typed = {"name": "Eve", "email": "eve@example.test", "password": "short"}
    refused = client.post("/join/", typed)
    assert refused.status_code == 422
    assert 'value="Eve"' in text(refused)
    assert client.post("/join/", typed | {"password": NEW})["Location"] == "/"
    assert "Acme" in text(client.get("/"))
    assert client.get("/tokens/").status_code == 200  # has only just given the password
    assert Client().get(link).status_code == 404


def test_who_joins_while_the_mail_server_does_not_answer_proves_the_address_later(
    world: World, settings: LazySettings
) -> None:
    link = link_for(world)
    settings.HAS_MAIL, settings.ACCOUNT_EMAIL_VERIFICATION = True, "mandatory"
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1  # nobody listens there
    client = Client()
    client.get(link)
    typed = {"name": "Eve", "email": "eve@example.test", "password": NEW}
    assert client.post("/join/", typed)["Location"] == "/accounts/confirm-email/"
    assert "on its way" in text(client.get("/accounts/confirm-email/"))
    assert log_in_by_form("eve@example.test", NEW)["Location"] == "/accounts/confirm-email/"
    found = confirmation_mail(email="eve@example.test")
    assert found
    proof = re.search(r"/accounts/confirm-email/\S+/", found[2])
    assert proof
    assert Client().post(proof[0]).status_code == 302
    assert log_in_by_form("eve@example.test", NEW)["Location"] == "/"


def test_who_joined_before_there_was_mail_logs_in_afterwards(world: World, settings: LazySettings) -> None:
    client = Client()
    client.get(link_for(world))
    client.post("/join/", {"name": "Eve", "email": "eve@example.test", "password": NEW})
    EmailAddress.objects.filter(email="eve@example.test").update(verified=False)  # as it was written once
    settings.HAS_MAIL, settings.ACCOUNT_EMAIL_VERIFICATION = True, "mandatory"
    assert log_in_by_form("eve@example.test", NEW)["Location"] == "/"


def test_who_has_an_account_logs_in_to_join(world: World) -> None:
    outsider = world.people["outsider"]
    client = Client()
    client.get(link_for(world))
    assert "/accounts/login/?next=/join/" in text(client.get("/join/"))
    client.post("/accounts/login/?next=/join/", {"login": outsider.email, "password": PASSWORD})
    assert "You are logged in as outsider@example.test" in text(client.get("/join/"))
    assert client.post("/join/").status_code == 302
    assert actor_get(user=outsider, team=world.team).role == Role.DEVELOPER
    assert client.get("/servers/web-1/").status_code == 200  # the team is the current one


def test_an_invitation_for_somebody_else_is_refused(world: World) -> None:
    client = world.client("outsider")
    client.get(link_for(world, email="eve@example.test"))
    answer = client.post("/join/")
    assert answer.status_code == 403
    assert "is for eve@example.test" in text(answer)


def test_the_address_of_an_invitation_is_not_changed(world: World) -> None:
    client = Client()
    client.get(link_for(world, email="eve@example.test"))
    client.post("/join/", {"name": "", "email": "mallory@example.test", "password": NEW})
    assert User.objects.filter(email="eve@example.test").exists()
    assert not User.objects.filter(email="mallory@example.test").exists()


def test_without_an_invitation_nobody_joins(world: World) -> None:
    for answer in (Client().get("/join/"), Client().post("/join/", {}), Client().get("/join/nonsense/")):
        assert answer.status_code == 404
        assert "does not work" in text(answer)


@override_settings(HAS_MAIL=True, ACCOUNT_EMAIL_VERIFICATION="mandatory")
def test_where_there_is_mail_a_typed_address_is_proven_first(world: World) -> None:
    client = Client()
    client.get(link_for(world))
    answer = client.post("/join/", {"name": "Eve", "email": "eve@example.test", "password": NEW}, follow=True)
    assert "Confirm your e-mail address" in text(answer)
    assert client.get("/").status_code == 302
    mail = confirmation_mail(email="eve@example.test")
    assert mail
    found = re.search(r"(/accounts/confirm-email/\S+)", mail[2])
    assert found
    assert "Is <strong>eve@example.test</strong> yours?" in text(client.get(found[1]))
    client.post(found[1])
    assert log_in_by_form("eve@example.test", NEW)["Location"] == "/"
    assert log_in_by_form()["Location"] == "/"  # made by an administrator, who knew the address


@pytest.mark.parametrize("path", ["signup/", "signup/passkey/", "email/", "password/set/", "login/code/", "3rdparty/"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_there_is_no_way_in_by_oneself(world: World, path: str, method: str) -> None:
    typed = {"email": "eve@example.test", "password1": NEW, "password2": NEW, "username": "eve"}
    client = Client()
    answer = client.post(f"/accounts/{path}", typed) if method == "POST" else client.get(f"/accounts/{path}")
    assert answer.status_code == 404 or "no open sign-up" in text(answer)
    assert not User.objects.filter(email="eve@example.test").exists()
    assert client.get("/").status_code == 302


# --- the team ---------------------------------------------------------------------------------------------------------


def test_an_owner_invites_and_takes_it_back(world: World, owner: Client) -> None:
    made = owner.post("/team/invite/", {"email": "", "role": "admin", "days": "1"})
    assert re.search(r'id="invitation-link">\S+/join/\S+/<', text(made))
    assert made["Cache-Control"] == "no-store"
    assert "/join/" not in text(owner.get("/team/"))
    with scope(team=world.team):
        invitation = Invitation.objects.get()
    owner.post(f"/team/invitations/{invitation.pk}/revoke/")
    assert "Whoever has the link" not in text(owner.get("/team/"))


def test_a_refused_invitation_keeps_what_was_typed(world: World, owner: Client) -> None:
    answer = owner.post("/team/invite/", {"email": "no address", "role": "admin", "days": "30"})
    assert answer.status_code == 422
    assert 'value="no address"' in text(answer)
    assert '<option value="admin" selected>' in text(answer)


def test_an_admin_is_not_offered_what_they_may_not(world: World) -> None:
    page = text(world.client(Role.ADMIN).get("/team/"))
    assert 'value="owner"' not in page
    assert "What is asked of everybody" not in page
    assert world.client(Role.ADMIN).post("/team/policy/").status_code == 403
    viewer = text(world.client(Role.VIEWER).get("/team/"))
    assert "Invite somebody" not in viewer
    assert "Leave" in viewer


def test_roles_and_members_change(world: World, owner: Client) -> None:
    with scope(team=world.team):
        viewer = Membership.objects.get(user=world.people[Role.VIEWER])
    owner.post(f"/team/members/{viewer.pk}/role/", {"role": "admin"})
    assert actor_get(user=world.people[Role.VIEWER], team=world.team).role == Role.ADMIN
    owner.post(f"/team/members/{viewer.pk}/remove/")
    assert "You are in no team" in text(world.client(Role.VIEWER).get("/"))
    assert "needs an owner" in text(owner.post("/team/leave/", follow=True))


def test_a_second_factor_is_asked_of_the_team(world: World, owner: Client) -> None:
    assert "of your own first" in text(owner.post("/team/policy/", {"requires_second_factor": "on"}, follow=True))
    app_of(world.people[Role.OWNER])
    owner.post("/team/policy/", {"requires_second_factor": "on"})
    viewer = world.client(Role.VIEWER)
    for path in ("/", "/projects/shop/", "/team/"):
        assert viewer.get(path)["Location"] == "/account/second-factor/"
    assert viewer.get("/board/", headers={"HX-Request": "true"})["HX-Redirect"] == "/account/second-factor/"
    assert "Acme wants a second factor" in text(viewer.get("/account/second-factor/"))
    assert viewer.get("/account/").status_code == 200
    answer = viewer.get("/api/v1/whoami")
    assert answer.status_code == 403
    app_of(world.people[Role.VIEWER])
    assert viewer.get("/").status_code == 200
    assert viewer.get("/account/second-factor/")["Location"] == "/"
    assert owner.get("/").status_code == 200


def test_another_team_is_reached_without(world: World) -> None:
    other = team_create(name="Other", owner=world.people[Role.VIEWER])
    Team.objects.filter(pk=world.team.pk).update(requires_second_factor=True)
    viewer = world.client(Role.VIEWER)
    assert viewer.get("/")["Location"] == "/account/second-factor/"
    assert str(other.pk) in text(viewer.get("/account/second-factor/"))
    viewer.post("/team/switch/", {"team": str(other.pk)})
    assert viewer.get("/").status_code == 200


def test_teams_are_added_by_administrators(world: World, owner: Client) -> None:
    assert owner.post("/add/team/", {"name": "Clients"}).status_code == 403
    User.objects.filter(email=OWNER).update(is_superuser=True)
    assert owner.post("/add/team/", {"name": ""}).status_code == 422
    assert owner.post("/add/team/", {"name": "Clients"})["Location"] == "/team/"
    assert "People of Clients" in text(owner.get("/team/"))
