"""The page of data and deletion."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone
from django_scopes import scope, scopes_disabled

from devflow.apps.accounts.models import Role, Team, User
from devflow.apps.audit.models import Event as AuditEvent
from devflow.apps.privacy.jobs import export
from devflow.apps.privacy.models import Archive
from devflow.apps.projects.models import Project
from devflow.apps.projects.services import project_add
from tests.web.world import World


@pytest.fixture(autouse=True)
def _folder(settings: LazySettings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path


def test_an_archive_is_asked_for_and_fetched(world: World, owner: Client) -> None:
    assert "No archives" in owner.get("/data/").content.decode()
    owner.post("/data/export/", {"kind": "team"})
    for page in ("/data/", "/data/state/"):
        shown = owner.get(page).content.decode()
        assert "Being made" in shown
        assert 'hx-trigger="every 2s"' in shown
    with scopes_disabled():  # a worker that is away is not waited for for ever
        Archive.objects.update(created_at=timezone.now() - timedelta(minutes=11))
    assert "hx-trigger" not in owner.get("/data/state/").content.decode()
    with scopes_disabled():
        archive = Archive.objects.get(kind="team")
    export(str(archive.pk))
    address = f"/data/archives/{archive.pk}/"
    assert address in owner.get("/data/").content.decode()
    assert is_zip(owner.get(address))
    assert world.client(Role.ADMIN).get(address).status_code == 404
    assert owner.get(f"/account/archives/{archive.pk}/").status_code == 404


def is_zip(answer: Any) -> bool:
    return answer.status_code == 200 and b"".join(answer.streaming_content)[:2] == b"PK"


def test_ones_own_is_exported_and_deleted_by_who_is_in_no_team(world: World, viewer: Client) -> None:
    with scope(team=world.team):
        world.member.delete()
    assert 'href="/account/"' in viewer.get("/").content.decode()
    assert 'href="/data/"' in viewer.get("/account/").content.decode()
    page = viewer.get("/data/").content.decode()
    assert "Delete your account" in page
    assert 'id="projects"' in world.client(Role.OWNER).get("/data/").content.decode()
    assert 'id="projects"' not in page
    assert viewer.post("/account/export/").status_code == 302
    with scopes_disabled():
        archive = Archive.objects.get(user=world.people[Role.VIEWER])
        assert AuditEvent.objects.filter(action="data.exported", team=None, user_id=archive.user_id).exists()
    export(str(archive.pk))
    address = f"/account/archives/{archive.pk}/"
    assert address in viewer.get("/data/").content.decode()
    assert is_zip(viewer.get(address))
    assert world.client(Role.OWNER).get(address).status_code == 404
    assert viewer.post("/data/delete-account/", {"confirm": "viewer@example.test"}).status_code == 302
    assert not User.objects.filter(email="viewer@example.test").exists()


@pytest.mark.parametrize("rule", [{"allowed_networks": ["192.0.2.0/24"]}, {"requires_second_factor": True}])
def test_also_by_who_is_not_let_in(world: World, viewer: Client, rule: dict[str, Any]) -> None:
    Team.objects.filter(pk=world.team.pk).update(**rule)
    assert viewer.get("/").status_code in (302, 403)
    assert "Delete your account" in viewer.get("/data/").content.decode()
    assert viewer.post("/account/export/").status_code == 302
    assert viewer.post("/data/export/", {"kind": "team"}).status_code in (302, 403)
    with scopes_disabled():
        assert [archive.kind for archive in Archive.objects.all()] == ["user"]


def test_only_what_one_may_is_offered(world: World, viewer: Client) -> None:
    page = viewer.get("/data/").content.decode()
    assert "Delete your account" in page
    assert "Delete team" not in page
    assert 'id="projects"' not in page
    assert viewer.post("/data/export/", {"kind": "team"}).status_code == 403
    assert viewer.post("/data/delete-team/", {"confirm": "acme"}).status_code == 403


def test_the_name_is_typed_before_anything_is_deleted(world: World, owner: Client, viewer: Client) -> None:
    for client, address in ((owner, "/data/delete-team/"), (viewer, "/data/delete-account/")):
        answer = client.post(address, {"confirm": "something else"})
        assert answer.status_code == 422
        assert "nothing was deleted" in answer.content.decode()
    assert owner.post("/projects/shop/delete/", {"confirm": "other"}).status_code == 422


def test_an_account_is_deleted_and_logged_out(world: World, viewer: Client) -> None:
    answer = viewer.post("/data/delete-account/", {"confirm": "viewer@example.test"})
    assert answer.status_code == 302
    assert not User.objects.filter(email="viewer@example.test").exists()
    assert viewer.get("/")["Location"].startswith("/accounts/login/")


def test_the_last_owner_is_told_what_to_do(world: World, owner: Client) -> None:
    answer = owner.post("/data/delete-account/", {"confirm": "owner@example.test"})
    assert answer.status_code == 422
    assert "Make somebody else an owner there" in answer.content.decode()


def test_a_project_is_deleted_with_its_folders_named(world: World, owner: Client) -> None:
    page = owner.get("/projects/shop/delete/").content.decode()
    assert "/srv/shop-production" in page
    owner.post(f"/deployments/{world.deployment.pk}/cancel/")
    owner.post("/projects/shop/delete/", {"confirm": "shop", "with_files": "on"})
    with scopes_disabled():
        assert not Project.objects.filter(slug="shop", team=world.team).exists()


def test_a_team_is_deleted(world: World, owner: Client) -> None:
    assert owner.post("/data/delete-team/", {"confirm": "acme"}).status_code == 422, "a deployment waits"
    owner.post(f"/deployments/{world.deployment.pk}/cancel/")
    assert owner.post("/data/delete-team/", {"confirm": "acme"}).status_code == 302
    assert not Team.objects.filter(pk=world.team.pk).exists()


def test_of_many_projects_some_are_shown_at_a_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devflow.web.views.privacy.PROJECTS_SHOWN", 2)
    for slug in ("aa", "bb", "cc"):
        project_add(actor=world.actor(), slug=slug, repository="/srv/git/x.git", recipe="static")
    owner = world.client(Role.OWNER)
    first = owner.get("/data/").content.decode()
    assert "/projects/bb/delete/" in first
    assert "/projects/cc/delete/" not in first
    assert "/data/?after=bb" in first
    rest = owner.get("/data/?after=bb").content.decode()
    assert "/projects/aa/delete/" not in rest
    assert "/projects/cc/delete/" in rest
    assert "?after=shop" not in rest
