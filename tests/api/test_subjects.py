"""What single operations give, beyond what holds for all of them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from django_scopes import scope

from devflow.api.v1 import environments
from devflow.apps.accounts.rights import Actor
from devflow.apps.deployments import events
from devflow.apps.deployments.events import NewEvent
from devflow.apps.projects import services as projects
from devflow.apps.projects.models import Environment
from tests.api.conftest import Caller, World
from tests.api.test_routes import assert_problem, release

PRODUCTION = "projects/shop/environments/production"


def test_whoami_tells_user_team_and_rights(admin: Caller, viewer: Caller) -> None:
    assert admin.get("whoami").json() | {"team": {}} == {
        "email": "ada@example.test",
        "name": "",
        "team": {},
        "role": "owner",
        "scopes": ["admin"],
        "version": "0.1.0",
    }
    assert viewer.get("whoami").json()["role"] == "viewer"
    assert [member["role"] for member in admin.get("members").json()["items"]] == ["owner", "viewer"]


def test_a_new_token_works_and_a_revoked_one_does_not(admin: Caller) -> None:
    made = admin.post("tokens", {"name": "ci", "scopes": ["deploy"]}).json()
    caller = Caller(made["token"])
    assert caller.get("whoami").json()["scopes"] == ["deploy"]
    assert made["token"] not in admin.get("tokens").content.decode()
    assert admin.delete(f"tokens/{made['id']}").status_code == 204
    assert_problem(caller.get("whoami"), 401)
    assert_problem(admin.delete(f"tokens/{made['id']}"), 404)


def test_a_token_that_expired_is_refused(admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    soon = timezone.now() + timedelta(hours=1)
    caller = Caller(
        admin.post("tokens", {"name": "ci", "scopes": ["read"], "expires_at": soon.isoformat()}).json()["token"]
    )
    assert caller.get("whoami").status_code == 200
    monkeypatch.setattr(timezone, "now", lambda: soon + timedelta(seconds=1))
    assert_problem(caller.get("whoami"), 401)


@pytest.mark.parametrize("expires_at", ["2000-01-01T00:00:00Z", "2100-01-01T00:00:00", "soon"])
def test_an_expiry_is_checked(admin: Caller, expires_at: str) -> None:
    document = assert_problem(admin.post("tokens", {"name": "ci", "scopes": ["read"], "expires_at": expires_at}), 422)
    assert document["errors"][0]["field"] == "expires_at"


def test_a_server_shows_the_panels_public_key_and_no_private_one(admin: Caller) -> None:
    server = admin.post("servers", {"name": "web2", "host": "web2.example.test"}).json()
    assert server["public_key"].startswith("ssh-ed25519 ")
    assert server["status"] == "unknown"
    assert "private" not in str(server).lower()


def test_a_server_in_maintenance_takes_no_deployments(admin: Caller) -> None:
    assert admin.post("servers/web1/maintenance", {"on": True}).json()["status"] == "maintenance"
    assert "web1" in assert_problem(admin.post(f"{PRODUCTION}/deployments", {}), 409)["detail"]
    assert admin.post("servers/web1/maintenance", {"on": False}).json()["status"] == "unknown"


def test_a_project_over_ssh_shows_its_deploy_key(admin: Caller) -> None:
    project = admin.post("projects", {"slug": "blog", "repository": "git@git.example.test:acme/blog.git"}).json()
    assert project["deploy_key_public"].startswith("ssh-ed25519 ")
    assert "PRIVATE" not in str(project)


def test_an_environment_keeps_every_setting(admin: Caller) -> None:
    settings = {
        "root": "/srv/sites/preview",
        "strategy": "atomic",
        "keep": 3,
        "auto_deploy": True,
        "health_url": "/up",
        "health_status": 204,
        "health_text": "ok",
        "health_timeout_seconds": 4,
        "health_retries": 2,
        "shared_files": ["config/local.php"],
        "shared_folders": ["uploads"],
        "task_commands": {"npm ci": ""},
        "phase_commands": {"reload": ["sudo systemctl reload shop"]},
    }
    body = {"name": "preview", "branch": "next", "servers": ["web1"], **settings}
    made = admin.post("projects/shop/environments", body)
    assert made.status_code == 201, made.content
    assert made.json().items() >= body.items()
    changed = {key: admin.get(PRODUCTION).json()[key] for key in settings if key != "root"}
    patched = admin.patch("projects/shop/environments/preview", changed).json()
    assert patched.items() >= changed.items()


def test_both_ways_to_deploy_are_the_same(admin: Caller) -> None:
    first = admin.post("projects/shop/deploy", {"environment": "production", "commit": None}).json()
    second = admin.post(f"{PRODUCTION}/deployments", {}).json()
    assert first["status"] == second["status"] == "queued"
    assert first["trigger"] == "api"
    assert first["requested_by"] == "ada@example.test"
    assert admin.get(f"deployments/{first['id']}").json()["status"] == "superseded"


def test_a_deployment_has_all_that_the_interface_names(admin: Caller, world: World) -> None:
    document = admin.get(f"deployments/{world.deployment.pk}").json()
    assert document.keys() >= {
        *("id", "project", "environment", "status", "commit", "branch", "author", "trigger", "requested_by"),
        *("created_at", "started_at", "finished_at", "duration_seconds", "strategy", "servers", "steps", "error"),
    }


def test_deployments_are_found_by_status(admin: Caller) -> None:
    admin.post(f"{PRODUCTION}/deployments", {})
    assert [found["status"] for found in admin.get("deployments?status=queued").json()["items"]] == ["queued"]
    assert [found["status"] for found in admin.get("deployments?status=superseded&project=shop").json()["items"]] == [
        "superseded"
    ]


def test_a_waiting_deployment_is_cancelled_at_once_and_only_once(admin: Caller, world: World) -> None:
    assert admin.post(f"deployments/{world.deployment.pk}/cancel").json()["status"] == "cancelled"
    assert_problem(admin.post(f"deployments/{world.deployment.pk}/cancel"), 409)


def test_a_log_is_read_from_any_byte_on(admin: Caller, world: World) -> None:
    lines = [
        NewEvent("deployment.log", {"server": "web1", "step": None}, f"zeile {number} ü\n", 1) for number in range(3)
    ]
    with transaction.atomic():
        events.append(team_id=world.owner.team.pk, deployment_id=world.deployment.pk, events=lines)
    whole = "".join(event.text for event in lines).encode()
    for offset in (0, 5, 10, 15, len(whole), len(whole) + 5):
        answer = admin.get(f"deployments/{world.deployment.pk}/log?offset={offset}")
        assert b"".join(answer.streaming_content) == whole[offset:]


def test_going_back_to_the_current_release_means_the_one_before(admin: Caller, world: World) -> None:
    older, newer = (release(world, is_current=is_current) for is_current in (False, True))
    back = admin.post(f"deployments/{newer.pk}/rollback").json()
    assert (back["trigger"], back["release"]) == ("rollback", older.release)
    assert admin.post(f"deployments/{older.pk}/rollback").json()["release"] == older.release
    assert admin.post(f"{PRODUCTION}/rollback", {"to": str(older.pk)}).json()["release"] == older.release
    assert_problem(admin.post(f"{PRODUCTION}/rollback", {"to": str(newer.pk)}), 409)
    assert_problem(admin.post("projects/shop/environments/staging/rollback", {"to": str(older.pk)}), 404)
    assert_problem(admin.post(f"deployments/{world.deployment.pk}/rollback"), 409)


def test_a_plan_shows_keys_of_variables_and_no_values(admin: Caller) -> None:
    plan = admin.get(f"{PRODUCTION}/plan?commit={'a' * 40}")
    assert plan.json()["commit"] == "a" * 40
    assert plan.json()["variables"] == ["APP_KEY"]
    assert "hunter2" not in plan.content.decode()
    assert_problem(admin.get(f"{PRODUCTION}/plan?commit=HEAD~1"), 422)


@pytest.fixture
def undetected(world: World, admin: Caller) -> str:
    """The plan of an environment whose framework nobody has looked at yet."""
    project = projects.project_add(actor=world.owner, slug="blog", repository="/srv/git/blog.git")
    projects.environment_add(actor=world.owner, project=project, name="live", branch="main", servers=["web1"])
    return "projects/blog/environments/live/plan"


def worker_says(monkeypatch: pytest.MonkeyPatch, **detected: str) -> None:
    """A worker looks into the repository as soon as it is asked to."""

    def inspect(*, actor: Actor, environment: Environment) -> None:
        with scope(team=actor.team):
            Environment.objects.filter(pk=environment.pk).update(detected=detected)

    monkeypatch.setattr(environments, "inspection_request", inspect)


def test_a_plan_waits_for_the_framework_to_be_detected(
    admin: Caller, undetected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker_says(monkeypatch, recipe="node", commit="a" * 40, error="")
    assert admin.get(undetected).json()["recipe"] == "node"


def test_a_plan_tells_why_the_repository_could_not_be_looked_at(
    admin: Caller, undetected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker_says(monkeypatch, recipe="", commit="", error="There is no repository /srv/git/blog.git on web1.")
    assert "no repository" in assert_problem(admin.get(undetected), 409)["detail"]


def test_a_plan_does_not_wait_for_ever(admin: Caller, undetected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "INSPECTION_SECONDS", 0.3)
    assert "worker" in assert_problem(admin.get(undetected), 409)["detail"]


def test_promotes_what_serves(admin: Caller, world: World) -> None:
    newer = release(world, is_current=True)
    to = "projects/shop/environments/staging/promote"
    made = admin.post(to, {"source": "production"})
    assert made.status_code == 202
    assert (made.json()["trigger"], made.json()["environment"]) == ("promotion", "staging")
    assert made.json()["commit"] == newer.commit
    assert_problem(admin.post(f"{PRODUCTION}/promote", {"source": "staging"}), 409)
    assert_problem(admin.post(to, {"source": "staging"}), 422)
    assert_problem(admin.post(to, {"source": "nowhere"}), 404)
    assert_problem(admin.post(to, {}), 422)
