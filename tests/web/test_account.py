"""Logging in and out, the password, the team switch, the theme."""

from __future__ import annotations

import re

import pytest
from django.core.mail import EmailMessage
from django.test import Client, override_settings
from django_scopes import scope

from devflow.apps.accounts.models import Membership, Role, User
from devflow.apps.accounts.services import password_set, team_create
from tests.web.world import PASSWORD, World


def test_logs_in_and_goes_on_to_the_page_that_was_asked_for(world: World) -> None:
    client = Client()
    answer = client.post("/accounts/login/?next=/servers/", {"login": "owner@example.test", "password": PASSWORD})
    assert (answer.status_code, answer["Location"]) == (302, "/servers/")
    assert client.get("/").status_code == 200


@pytest.mark.parametrize(
    ("login", "password"),
    [
        ("owner@example.test", "wrong"),
        ("nobody@example.test", PASSWORD),
        ("' OR 1=1 --", "x"),
        ("owner@example.test", ""),
    ],
)
def test_refuses_a_wrong_login_without_saying_what_is_wrong(world: World, login: str, password: str) -> None:
    client = Client()
    answer = client.post("/accounts/login/", {"login": login, "password": password})
    assert answer.status_code == 200
    assert "note-error" in answer.content.decode()
    assert client.get("/").status_code == 302


def test_does_not_send_people_to_other_sites(world: World) -> None:
    address = "/accounts/login/?next=https://evil.example.com/"
    answer = Client().post(address, {"login": "owner@example.test", "password": PASSWORD})
    assert answer["Location"] == "/"


def _log_in(email: str, password: str) -> int:
    return Client().post("/accounts/login/", {"login": email, "password": password}).status_code


@pytest.mark.usefixtures("world")
def test_wrong_passwords_lock_one_account_and_not_all_behind_the_address() -> None:
    for number in range(15):
        assert _log_in(f"nobody-{number}@example.test", "wrong") == 200
    for _ in range(5):
        assert _log_in("viewer@example.test", "wrong") == 200
    assert _log_in("viewer@example.test", PASSWORD) == 200
    assert _log_in("owner@example.test", PASSWORD) == 302


def test_a_new_password_ends_the_sessions(world: World, viewer: Client) -> None:
    assert viewer.get("/").status_code == 200
    password_set(user=world.people[Role.VIEWER], password="another long phrase")
    assert viewer.get("/").status_code == 302


@pytest.mark.django_db
@override_settings(HAS_MAIL=False)
def test_without_mail_nobody_is_promised_any() -> None:
    client = Client()
    pages = [client.get("/accounts/login/"), client.get("/accounts/password/reset/")]
    pages.append(client.post("/accounts/password/reset/", {"email": "owner@example.test"}, follow=True))
    for page in pages:
        text = page.content.decode()
        assert "devflow admin reset-password" in text
        assert not [promise for promise in ("Forgot your", "Send the link", "on its way") if promise in text]


@override_settings(HAS_MAIL=True)
def test_a_forgotten_password_is_set_anew_by_mail(world: World, mailoutbox: list[EmailMessage]) -> None:
    client = Client()
    assert "Forgot your password?" in client.get("/accounts/login/").content.decode()
    assert "Send the link" in client.get("/accounts/password/reset/").content.decode()
    answer = client.post("/accounts/password/reset/", {"email": "owner@example.test"}, follow=True)
    assert "on its way" in answer.content.decode()
    assert mailoutbox == []  # who asks does not wait for the mail server; see tests/apps/accounts/test_logins.py


def test_logs_out(owner: Client) -> None:
    assert "Log out?" in owner.get("/accounts/logout/").content.decode()
    assert owner.post("/accounts/logout/").status_code == 302
    assert owner.get("/").status_code == 302


def test_changes_the_password(owner: Client) -> None:
    new = "another long phrase"
    typed = {"oldpassword": PASSWORD, "password1": new, "password2": new}
    assert owner.get("/accounts/password/change/").status_code == 200
    assert "note-error" in owner.post("/accounts/password/change/", typed | {"oldpassword": "x"}).content.decode()
    assert owner.post("/accounts/password/change/", typed).status_code == 302
    again = Client().post("/accounts/login/", {"login": "owner@example.test", "password": new})
    assert again.status_code == 302


def test_a_failed_log_in_keeps_the_address_and_leaves_the_cursor_in_the_password(world: World) -> None:
    field = re.compile(r"<input[^>]*autofocus[^>]*>")
    first = Client().get("/accounts/login/").content.decode()
    assert 'name="login"' in field.findall(first)[0]
    again = Client().post("/accounts/login/", {"login": "owner@example.test", "password": "wrong"}).content.decode()
    assert 'name="password"' in field.findall(again)[0]
    assert 'value="owner@example.test"' in again
    assert "wrong" not in re.sub(r"<[^>]*alert.*?</div></div>", "", again, flags=re.DOTALL)


@pytest.mark.parametrize("page", ["/accounts/password/change/", "/accounts/reauthenticate/"])
def test_password_managers_are_told_whose_password_it_is(owner: Client, page: str) -> None:
    shown = owner.get(page).content.decode()
    assert '<input type="text" value="owner@example.test" autocomplete="username" readonly hidden>' in shown
    assert 'autocomplete="current-password"' in shown
    assert "placeholder" not in shown.split("<form")[-1]


def test_a_name_that_is_none_is_refused_at_its_field(world: World, viewer: Client) -> None:
    answer = viewer.post("/account/name/", {"name": "Ada\u202eevil"})
    assert answer.status_code == 422
    page = answer.content.decode()
    assert 'id="id_name_error"' in page
    assert User.objects.get(pk=world.people[Role.VIEWER].pk).name == world.people[Role.VIEWER].name
    viewer.post("/account/name/", {"name": ""})
    assert str(User.objects.get(pk=world.people[Role.VIEWER].pk)) == "viewer@example.test"


def test_who_has_no_password_is_told_so(world: World, viewer: Client) -> None:
    assert "Change password" in viewer.get("/account/").content.decode()
    person = User.objects.get(pk=world.people[Role.VIEWER].pk)
    person.set_unusable_password()
    person.save()
    viewer.force_login(person)
    page = viewer.get("/account/").content.decode()
    assert "Change password" not in page
    assert "You have none." in page
    for asked in (viewer.get, viewer.post):
        answer = asked("/accounts/password/change/", {"password1": PASSWORD, "password2": PASSWORD})
        assert (answer.status_code, answer["Location"]) == (302, "/account/")
    assert not User.objects.get(pk=person.pk).has_usable_password()
    assert viewer.get("/accounts/reauthenticate/").status_code < 500


def test_nobody_signs_up_by_themselves(world: World) -> None:
    typed = {"email": "eve@example.test", "password1": PASSWORD, "password2": PASSWORD}
    for answer in (Client().get("/accounts/signup/"), Client().post("/accounts/signup/", typed)):
        assert "no open sign-up" in answer.content.decode()


def test_members_are_listed_with_their_roles(viewer: Client) -> None:
    page = viewer.get("/team/").content.decode()
    for role in Role.values:
        assert f"{role}@example.test" in page


def test_switches_to_another_of_ones_teams(world: World, owner: Client) -> None:
    other = team_create(name="Side projects", owner=world.people[Role.OWNER])
    assert "Side projects" in owner.get("/").content.decode()
    assert owner.post("/team/switch/", {"team": str(other.pk)})["Location"] == "/"
    assert "Start with a server" in owner.get("/").content.decode()
    assert owner.get("/servers/web-1/").status_code == 404
    owner.post("/team/switch/", {"team": str(world.team.pk)})
    assert owner.get("/servers/web-1/").status_code == 200


@pytest.mark.parametrize("team", ["", "x", "; rm -rf ~", "00000000-0000-0000-0000-000000000000"])
def test_does_not_switch_to_a_team_that_is_not_ones_own(owner: Client, team: str) -> None:
    assert owner.post("/team/switch/", {"team": team}).status_code == 404


def test_who_is_in_no_team_is_told_so(world: World) -> None:
    with scope(team=world.team):
        Membership.objects.filter(user=world.people[Role.VIEWER]).delete()
    answer = world.client(Role.VIEWER).get("/")
    assert answer.status_code == 403
    assert "You are in no team" in answer.content.decode()


@pytest.mark.parametrize("theme", ["light", "dark", "system"])
def test_the_theme_is_remembered(owner: Client, theme: str) -> None:
    answer = owner.post("/theme/", {"theme": theme}, headers={"referer": "http://testserver/servers/"})
    assert answer["Location"] == "http://testserver/servers/"
    page = owner.get("/").content.decode()
    assert (f'<html lang="en" data-theme="{theme}">' in page) is (theme != "system")


@pytest.mark.parametrize("back", ["https://evil.example.com/", "//evil.example.com", "javascript:alert(1)", ""])
def test_the_theme_leads_back_only_to_our_pages(client: Client, back: str) -> None:
    answer = client.post("/theme/", {"theme": "dark"}, headers={"referer": back})
    assert answer["Location"] == "/"


def test_nonsense_is_no_theme(client: Client) -> None:
    client.cookies["theme"] = '"><script>'
    assert "<script>" not in client.get("/accounts/login/").content.decode().split("<body")[0].split("<html")[1][:60]
    assert "theme" not in client.post("/theme/", {"theme": "pink"}).cookies
