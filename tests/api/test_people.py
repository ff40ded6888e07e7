"""Members, invitations and what the team asks of its people, over the API."""

from __future__ import annotations

import time

import pytest
from django.test import Client

from devflow.apps.accounts.invitations import invitation_find, invitation_join
from devflow.apps.accounts.models import Role, User
from devflow.apps.accounts.selectors import actor_get
from tests.api.conftest import Caller, World, member
from tests.api.test_routes import assert_problem
from tests.support.second_factor import app_of

PASSWORD = "a long enough phrase"


def id_of(caller: Caller, email: str) -> str:
    return next(each["id"] for each in caller.get("members").json()["items"] if each["email"] == email)


def session_of(user: User, *, minutes_ago: float) -> Caller:
    """A browser that has proved so long ago who it is."""
    caller = Caller(http=Client(raise_request_exception=False))
    caller.http.force_login(user, "allauth.account.auth_backends.AuthenticationBackend")
    session = caller.http.session
    session["account_authentication_methods"] = [{"method": "password", "at": time.time() - minutes_ago * 60}]
    session["account_authentication_methods_user"] = str(user.pk)
    session.save()
    return caller


def test_a_role_is_changed_and_a_member_removed(world: World, admin: Caller) -> None:
    dev = member(world, "dev@example.test", Role.DEVELOPER)
    path = f"members/{id_of(admin, 'dev@example.test')}"
    assert admin.patch(path, {"role": "admin"}).json()["role"] == "admin"
    assert actor_get(user=dev.user).role == Role.ADMIN
    assert_problem(admin.patch(path, {"role": "king"}), 422)
    assert_problem(admin.patch(path, {"role": "owner"}), 403)  # a token makes no owners
    assert admin.delete(path).status_code == 204
    assert_problem(admin.delete(path), 404)


def test_the_last_owner_cannot_be_removed(world: World) -> None:
    owner = session_of(world.owner.user, minutes_ago=0)
    path = f"members/{id_of(owner, world.owner.user.email)}"
    assert "needs an owner" in assert_problem(owner.delete(path), 409)["detail"]
    assert "needs an owner" in assert_problem(owner.patch(path, {"role": "admin"}), 409)["detail"]


def test_an_invitation_is_made_listed_and_taken_back(world: World, admin: Caller) -> None:
    made = admin.post("invitations", {"role": "developer", "days": 1})
    document = made.json()
    assert (made.status_code, document["email"], document["role"]) == (201, None, "developer")
    raw = document["link"].rstrip("/").rpartition("/")[2]
    listed = admin.get("invitations").json()["items"]
    assert [each["id"] for each in listed] == [document["id"]]
    assert raw not in str(listed)
    user = invitation_join(invitation=invitation_find(raw=raw), email="eve@example.test", name="", password=PASSWORD)
    assert actor_get(user=user).role == Role.DEVELOPER
    assert_problem(admin.delete(f"invitations/{document['id']}"), 404)
    other = admin.post("invitations", {"role": "viewer", "email": "bob@example.test"}).json()
    assert admin.delete(f"invitations/{other['id']}").status_code == 204
    assert admin.get("invitations").json()["items"] == []


@pytest.mark.parametrize("body", [{"role": "king"}, {"role": "viewer", "email": "x"}, {"role": "viewer", "days": 0}])
def test_bad_invitations(admin: Caller, body: dict[str, object]) -> None:
    assert_problem(admin.post("invitations", body), 422)


def test_who_manages_nobody_invites_nobody(developer: Caller) -> None:
    assert_problem(developer.post("invitations", {"role": "viewer"}), 403)
    assert_problem(developer.get("invitations"), 403)


def test_the_team_asks_for_a_second_factor(world: World, admin: Caller, viewer: Caller) -> None:
    owner = session_of(world.owner.user, minutes_ago=0)
    assert_problem(owner.patch("team", {"requires_second_factor": True}), 409)
    app_of(world.owner.user)
    assert owner.patch("team", {"requires_second_factor": True}).json()["requires_second_factor"]
    assert "second factor" in assert_problem(viewer.get("whoami"), 403)["detail"]
    assert admin.get("whoami").status_code == 200
    assert_problem(admin.patch("team", {"requires_second_factor": False}), 403)  # owners in person


def test_a_session_that_is_old_shows_and_changes_no_keys(world: World) -> None:
    owner = session_of(world.owner.user, minutes_ago=16)
    assert owner.get("members").status_code == 200
    path = f"members/{id_of(owner, world.owner.user.email)}"
    for answer in (
        owner.post("invitations", {"role": "viewer"}),
        owner.patch(path, {"role": "admin"}),
        owner.patch("team", {"requires_second_factor": False}),
        owner.post("tokens", {"name": "x", "scopes": ["read"]}),
        owner.get("projects/shop/environments/production/dotenv"),
        owner.post("projects/shop/webhook/rotate"),
        owner.delete(path),
        owner.delete("invitations/0190aaaa-0000-7000-8000-000000000000"),
        owner.delete("tokens/0190aaaa-0000-7000-8000-000000000000"),
        owner.delete("projects/shop/access/0190aaaa-0000-7000-8000-000000000000"),
        owner.ask("PUT", "projects/shop/environments/production/protection", {"on": False}),
        owner.post("servers", {"name": "web-9", "host": "203.0.113.9"}),
        owner.delete("servers/web1/host-key"),
        owner.get("audit/export"),
    ):
        assert "confirm" in assert_problem(answer, 403)["detail"]


def test_teams_are_added_by_administrators_of_the_panel(world: World, admin: Caller, reader: Caller) -> None:
    assert_problem(admin.post("teams", {"name": "Clients"}), 403)
    User.objects.filter(pk=world.owner.user.pk).update(is_superuser=True)
    assert_problem(reader.post("teams", {"name": "Clients"}), 403)
    made = admin.post("teams", {"name": "Clients"})
    assert (made.status_code, made.json()["slug"]) == (201, "clients")
