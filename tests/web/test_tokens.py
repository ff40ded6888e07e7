"""The page of API tokens."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from devflow.apps.accounts.models import Role
from devflow.apps.accounts.selectors import token_find, token_list
from devflow.apps.accounts.services import token_create
from tests.web.nasty import NASTY
from tests.web.world import World

TYPED = {"name": "ci", "days": "30", "scopes": ["read", "deploy"]}


def test_a_token_is_made_and_shown_once(owner: Client, world: World) -> None:
    answer = owner.post("/tokens/", TYPED)
    found = re.search(r"dfp_[\w-]{20,}", answer.content.decode())
    assert found
    assert answer["Cache-Control"] == "no-store"
    actor = token_find(found[0], address="192.0.2.7")
    assert actor is not None
    assert (actor.user, actor.team, actor.scopes) == (world.people[Role.OWNER], world.team, ("deploy", "read"))
    page = owner.get("/tokens/").content.decode()
    assert found[0] not in page
    assert found[0][:10] in page


def test_a_token_expires_when_it_was_said(owner: Client, world: World) -> None:
    owner.post("/tokens/", TYPED)
    owner.post("/tokens/", TYPED | {"name": "forever", "days": ""})
    expiry = {token.name: token.expires_at for token in token_list(actor=world.actor())}
    assert abs(expiry["ci"] - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)
    assert expiry["forever"] is None


@pytest.mark.parametrize(
    ("field", "value"), [("name", ""), ("name", "x" * 300), ("scopes", []), ("scopes", ["root"]), ("days", "7; rm")]
)
def test_a_wrong_value_is_refused_at_its_field(owner: Client, world: World, field: str, value: object) -> None:
    answer = owner.post("/tokens/", TYPED | {field: value})
    assert answer.status_code == 422
    assert f'id="id_{field}_error"' in answer.content.decode()
    assert len(token_list(actor=world.actor())) == 1


@pytest.mark.parametrize("kind", ["command", "substitution", "quotes", "markup", "unicode"])
def test_a_name_is_only_text(owner: Client, kind: str) -> None:
    page = owner.post("/tokens/", TYPED | {"name": NASTY[kind]}).content.decode()
    assert "<script>alert" not in page
    assert kind != "unicode" or NASTY[kind] in page


def test_nobody_makes_a_token_that_may_more_than_they_may(viewer: Client, world: World) -> None:
    page = viewer.get("/tokens/").content.decode()
    assert 'value="read"' in page
    assert 'value="deploy"' not in page
    assert viewer.post("/tokens/", TYPED).status_code == 422
    assert viewer.post("/tokens/", TYPED | {"scopes": ["read"]}).status_code == 200


def test_a_token_is_revoked(owner: Client, world: World) -> None:
    _, raw = token_create(actor=world.actor(), name="lost", scopes=["read"])
    token = next(token for token in token_list(actor=world.actor()) if token.name == "lost")
    assert "revoked" in owner.post(f"/tokens/{token.pk}/revoke/", follow=True).content.decode()
    assert token_find(raw, address="192.0.2.7") is None
    assert owner.post(f"/tokens/{token.pk}/revoke/").status_code == 404


def test_a_developer_revokes_their_own_token_only(world: World) -> None:
    developer = world.client(Role.DEVELOPER)
    own, _ = token_create(actor=world.actor(Role.DEVELOPER), name="own", scopes=["read"])
    assert developer.post(f"/tokens/{own.pk}/revoke/").status_code == 302
    assert developer.post(f"/tokens/{world.token.pk}/revoke/").status_code == 403


def test_a_token_of_the_team_is_made_by_who_manages_people(owner: Client, world: World) -> None:
    answer = owner.post("/tokens/", TYPED | {"name": "deploys", "of_team": "on"})
    assert answer.status_code == 200
    page = owner.get("/tokens/").content.decode()
    assert "the team" in page
    assert "made by Owner" in page
    developer = world.client(Role.DEVELOPER)
    assert 'name="of_team"' not in developer.get("/tokens/").content.decode()
    developer.post("/tokens/", TYPED | {"of_team": "on"})
    (own,) = token_list(actor=world.actor(Role.DEVELOPER))
    assert own.user == world.people[Role.DEVELOPER]


def test_a_token_is_made_for_one_project(owner: Client, world: World) -> None:
    owner.post("/tokens/", TYPED | {"projects": ["shop"]})
    token = next(token for token in token_list(actor=world.actor()) if token.name == "ci")
    assert token.projects == [world.project.pk]
    assert ">shop<" in owner.get("/tokens/").content.decode()
    answer = owner.post("/tokens/", TYPED | {"projects": ["another-teams"]})
    assert answer.status_code == 422
    assert 'id="id_projects_error"' in answer.content.decode()


def test_when_and_from_where_a_token_was_used_is_shown(owner: Client, world: World) -> None:
    _, raw = token_create(actor=world.actor(), name="laptop", scopes=["read"])
    assert Client().get("/api/v1/whoami", headers={"Authorization": f"Bearer {raw}"}, REMOTE_ADDR="192.0.2.77")
    assert "192.0.2.77" in owner.get("/tokens/").content.decode()
