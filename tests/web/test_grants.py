"""The Access page of a project: who may do what, grants, protected environments; and what pages show by them."""

from __future__ import annotations

import pytest
from django.test import Client
from django_scopes import scope

from devflow.apps.accounts.models import Membership, Role
from devflow.apps.projects.grants import environment_protect, grant_list, grants_add
from tests.web.world import World

ACCESS = "/projects/shop/grants/"
HERE = "/projects/shop/environments/production/"


def grant(world: World, role: str, *actions: str, everywhere: bool = False) -> None:
    where = None if everywhere else world.environment
    email = world.people[role].email
    grants_add(actor=world.actor(), project=world.project, email=email, actions=actions, environment=where)


def shown(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_grant_is_made_shown_and_taken_back(owner: Client, world: World) -> None:
    assert "No grants" in shown(owner, ACCESS)
    typed = {"email": "viewer@example.test", "actions": ["deploy", "see_secrets"], "environment": "production"}
    answer = owner.post(f"{ACCESS}add/", typed, follow=True)
    assert "Granted to viewer@example.test" in answer.content.decode()
    assert "granted: deploy, see secrets" in answer.content.decode()
    made = grant_list(actor=world.actor(), project=world.project)
    assert [(each.action, each.environment) for each in made] == [
        ("deploy", world.environment),
        ("see_secrets", world.environment),
    ]
    page = owner.post(f"{ACCESS}remove/", {"grant": made[0].pk}, follow=True).content.decode()
    assert "The grant is taken back." in page
    assert "granted: see secrets" in page
    assert owner.post(f"{ACCESS}remove/", {"grant": made[0].pk}).status_code == 404


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ({"email": "viewer@example.test"}, "This field is required."),
        ({"email": "outsider@example.test", "actions": ["deploy"]}, "not one of the available choices"),
        ({"email": "viewer@example.test", "actions": ["own"]}, "not one of the available choices"),
        ({"email": "viewer@example.test", "actions": ["deploy"], "environment": "x"}, "not one of the available"),
    ],
)
def test_what_cannot_be_granted_is_said_and_what_was_typed_stays(
    owner: Client, world: World, typed: dict[str, str], problem: str
) -> None:
    answer = owner.post(f"{ACCESS}add/", typed)
    assert answer.status_code == 422
    assert problem in answer.content.decode()
    assert grant_list(actor=world.actor(), project=world.project) == []


def test_members_look_and_do_not_grant(viewer: Client, world: World) -> None:
    grant(world, Role.DEVELOPER, "manage", everywhere=True)
    page = shown(viewer, ACCESS)
    assert "granted: manage" in page
    assert "Grant rights" not in page
    assert "Take back" not in page
    manager = world.client(Role.DEVELOPER)
    assert manager.post(f"{ACCESS}add/", {"email": "developer@example.test", "actions": ["shell"]}).status_code == 403
    assert manager.post(f"{HERE}protect/", {"on": "yes"}).status_code == 403


def test_an_environment_is_protected_and_not_any_more(owner: Client, world: World) -> None:
    developer = world.client(Role.DEVELOPER)
    assert "deploy/" in shown(developer, HERE)
    assert "is protected" in owner.post(f"{HERE}protect/", {"on": "yes"}, follow=True).content.decode()
    assert "production:</span> look" in shown(owner, ACCESS)
    assert f'action="{HERE}deploy/"' not in shown(developer, HERE)
    assert f'action="{HERE}deploy/"' not in shown(developer, "/projects/shop/")
    assert f'action="{HERE}deploy/"' not in shown(developer, "/")
    refused = developer.post(f"{HERE}deploy/")
    assert refused.status_code == 403
    assert "protected" in refused.content.decode()
    owner.post(f"{HERE}protect/", {"on": "no"})
    assert developer.post(f"{HERE}deploy/").status_code == 302


def test_a_viewer_with_a_grant_deploys_from_the_page(viewer: Client, world: World) -> None:
    assert f'action="{HERE}deploy/"' not in shown(viewer, HERE)
    assert viewer.post(f"{HERE}deploy/").status_code == 403
    environment_protect(actor=world.actor(), environment=world.environment, on=True)
    grant(world, Role.VIEWER, "deploy")
    assert f'action="{HERE}deploy/"' in shown(viewer, HERE)
    assert viewer.post(f"{HERE}deploy/").status_code == 302
    assert viewer.post("/servers/web-1/check/").status_code == 403


def test_who_manages_an_environment_sees_its_forms_and_no_secrets(world: World) -> None:
    developer = world.client(Role.DEVELOPER)
    assert developer.get(f"{HERE}settings/").status_code == 403
    grant(world, Role.DEVELOPER, "manage")
    assert developer.get(f"{HERE}settings/").status_code == 200
    assert developer.post(f"{HERE}variables/set/", {"key": "A", "value": "b", "kind": "text"}).status_code == 302
    page = shown(developer, f"{HERE}variables/")
    assert f'action="{HERE}variables/set/"' in page
    assert f'action="{HERE}variables/reveal/"' not in page
    assert developer.post(f"{HERE}variables/reveal/", {"key": "A"}).status_code == 403
    assert developer.post(f"{HERE}variables/export/").status_code == 403
    assert developer.get("/projects/shop/settings/").status_code == 403
    grant(world, Role.DEVELOPER, "see_secrets")
    assert f'action="{HERE}variables/reveal/"' in shown(developer, f"{HERE}variables/")
    assert developer.post(f"{HERE}variables/reveal/", {"key": "A"}).status_code == 200


def test_where_all_are_owners_the_page_says_what_to_do(owner: Client, world: World) -> None:
    with scope(team=world.team):
        Membership.objects.exclude(user=world.people[Role.OWNER]).delete()
    page = shown(owner, ACCESS)
    assert "Add developers or viewers to the team first." in page
    assert "Grant rights" not in page
