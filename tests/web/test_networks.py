"""The page that says from where a team may be reached, and what who comes from elsewhere is shown."""

from __future__ import annotations

import pytest
from django.test import Client

from devflow.apps.accounts.models import Role, Team
from devflow.apps.accounts.selectors import actor_get
from devflow.apps.accounts.services import team_create, team_networks_set
from tests.web.nasty import NASTY
from tests.web.world import World

URL = "/team/networks/"
HERE = "127.0.0.1"


def allowed(world: World) -> list[str]:
    return Team.objects.get(pk=world.team.pk).allowed_networks


def test_networks_are_set_and_shown(owner: Client, world: World) -> None:
    assert HERE in owner.get(URL).content.decode()
    answer = owner.post(URL, {"networks": "127.0.0.0/8\n\n 192.0.2.7 \n"}, follow=True)
    assert allowed(world) == ["127.0.0.0/8", "192.0.2.7/32"]
    assert "192.0.2.7/32" in answer.content.decode()
    assert "2 networks only" in owner.get("/team/").content.decode()
    owner.post(URL, {"networks": ""})
    assert allowed(world) == []


def test_who_would_lock_themselves_out_is_asked_first(owner: Client, world: World) -> None:
    assert 'name="is_confirmed"' not in owner.get(URL).content.decode()
    answer = owner.post(URL, {"networks": "192.0.2.0/24"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert 'id="id_is_confirmed_error"' in page
    assert "192.0.2.0/24" in page, "nothing typed is lost"
    assert allowed(world) == []
    owner.post(URL, {"networks": "192.0.2.0/24", "is_confirmed": "on"})
    assert allowed(world) == ["192.0.2.0/24"]


@pytest.mark.parametrize("kind", ["command", "markup", "unicode"])
def test_what_is_no_network_is_refused_at_its_field(owner: Client, world: World, kind: str) -> None:
    answer = owner.post(URL, {"networks": NASTY[kind]})
    assert answer.status_code == 422
    assert 'id="id_networks_error"' in answer.content.decode()
    assert "<script>alert" not in answer.content.decode()
    assert allowed(world) == []


def test_who_comes_from_elsewhere_is_told_why_and_can_go_to_another_team(owner: Client, world: World) -> None:
    user = world.people[Role.OWNER]
    other = team_create(name="Open to all", owner=user)
    team_networks_set(actor=world.actor(), networks=["192.0.2.0/24"], address=HERE, is_confirmed=True)
    for path in ("/", "/projects/", "/tokens/", "/team/"):
        refused = owner.get(path)
        assert refused.status_code == 403, path
        assert "certain networks only: not from 127.0.0.1" in refused.content.decode()
        assert "shop" not in refused.content.decode().lower()
    assert owner.post("/team/switch/", {"team": str(other.pk)}).status_code == 302
    assert owner.get("/").status_code == 200
    assert actor_get(user=user, team=other).team == other


def test_a_session_from_elsewhere_has_no_api_either(owner: Client, world: World) -> None:
    team_networks_set(actor=world.actor(), networks=["192.0.2.0/24"], address=HERE, is_confirmed=True)
    assert owner.get("/api/v1/projects").status_code == 403
    assert owner.get("/api/v1/projects", REMOTE_ADDR="192.0.2.9").status_code == 200
