"""Access to the git provider by the API."""

from __future__ import annotations

from django_scopes import scope

from devflow.apps.sources.models import Report
from tests.api.conftest import Caller, World
from tests.support.provider import TOKEN, provider

SOURCE = "projects/shop/source"


def test_it_is_set_up_tested_and_never_shows_the_token(admin: Caller, world: World) -> None:
    empty = admin.get(SOURCE).json()
    assert (empty["provider"], empty["has_access_token"], empty["repository"]) == (None, False, None)
    assert admin.post(f"{SOURCE}/test").status_code == 409
    admin.ask("PUT", "projects/shop/webhook", {"provider": "gitea"})
    with provider("gitea") as stand_in:
        body = {"api_url": stand_in.url, "access_token": TOKEN, "repository": "acme/shop"}
        changed = admin.patch(SOURCE, body)
        assert TOKEN not in changed.content.decode()
        shown = changed.json()
        assert (shown["provider"], shown["repository"], shown["has_access_token"]) == ("gitea", "acme/shop", True)
        assert shown["api_url"] == f"{stand_in.url}/api/v1"
        assert admin.post(f"{SOURCE}/test").json() == {"ok": True, "repository": "acme/shop", "error": None}
        stand_in.ill = [(404, {}, TOKEN)]
        tested = admin.post(f"{SOURCE}/test").json()
        assert tested["ok"] is False
        assert "there is no such repository" in tested["error"]
        assert stand_in.complaints == []


def test_wrong_settings_name_their_field(admin: Caller) -> None:
    for field, value in (("api_url", "x"), ("repository", "x"), ("tag_format", "x"), ("access_token", "a b")):
        answer = admin.patch(SOURCE, {field: value})
        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_reports_of_a_deployment(admin: Caller, viewer: Caller, world: World) -> None:
    admin.ask("PUT", "projects/shop/webhook", {"provider": "github"})
    admin.patch(SOURCE, {"access_token": TOKEN, "repository": "acme/shop"})
    made = admin.post("projects/shop/environments/production/deployments", {"commit": "a" * 40}).json()
    (told,) = viewer.get(f"deployments/{made['id']}/reports").json()
    assert (told["state"], told["status"], told["context"]) == ("waiting", "pending", "devflow/shop/production")
    with scope(team=world.owner.team):
        Report.objects.update(status="failed", error="answered 401")
    (told,) = viewer.get(f"deployments/{made['id']}/reports").json()
    assert (told["status"], told["error"]) == ("failed", "answered 401")
