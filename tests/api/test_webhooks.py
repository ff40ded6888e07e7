"""A project's webhook by the API."""

from __future__ import annotations

import pytest

from devflow.apps.deployments.pushes import deliveries_take
from devflow.apps.projects.services import project_source
from devflow.apps.sources.services import Request
from tests.api.conftest import Caller, World
from tests.api.test_routes import assert_problem
from tests.support.payloads import commit_id, github_push, sent

PATH = "projects/shop/webhook"
COMMIT = commit_id(0xC0FFEE)


def put(caller: Caller, provider: object) -> dict[str, object]:
    answer = caller.ask("PUT", PATH, {"provider": provider})
    assert answer.status_code == 200, answer.content
    return dict(answer.json())


def deliver(world: World, secret: str, payload: object) -> None:
    source = project_source(actor=world.owner, project=world.environment.project)
    body, headers = sent("github", payload, secret)
    deliveries_take(provider="github", token=source.hook_token, requests=[Request(headers, body)])


def test_the_secret_is_told_by_the_answer_that_made_it(admin: Caller) -> None:
    nothing = {"provider": None, "url": None, "secret": None, "note": None, "steps": [], "refused": []}
    assert admin.get(PATH).json() == nothing
    made = put(admin, "github")
    assert made["secret"]
    assert "/webhooks/github/" in str(made["url"])
    shown = admin.get(PATH).json()
    assert shown == made | {"secret": None, "steps": shown["steps"]}
    assert "secret above" in " ".join(made["steps"])  # type: ignore[call-overload]
    assert "secret above" not in " ".join(shown["steps"])
    assert put(admin, "gitlab")["secret"] is None
    rotated = admin.post(f"{PATH}/rotate").json()
    assert rotated["secret"] not in (None, made["secret"])
    assert "Give it to the webhook at GitLab now" in rotated["note"]


def test_refused_deliveries_are_told_and_pushes_described(admin: Caller, world: World) -> None:
    secret = str(put(admin, "github")["secret"])
    deliver(world, "wrong", github_push(COMMIT))
    (refused,) = admin.get(PATH).json()["refused"]
    assert refused["event"] == "push"
    assert admin.get("projects/shop/deliveries").json()["items"] == []
    admin.patch("projects/shop/environments/staging", {"auto_deploy": True})
    for commit in (COMMIT, commit_id(2)):
        deliver(world, secret, github_push(commit, message="Fix the checkout"))
    newest, older = admin.get("projects/shop/deliveries").json()["items"]
    assert (older["ref"], older["commit"], older["message"]) == ("main", COMMIT, "Fix the checkout")
    assert list(older["outcomes"].values()) == ["superseded"]
    assert list(newest["outcomes"].values()) == ["queued"]


@pytest.mark.parametrize("provider", ["cvs", "GitHub", "x" * 1000, "\x00"])
def test_what_is_no_provider_is_refused(admin: Caller, provider: str) -> None:
    problem = assert_problem(admin.ask("PUT", PATH, {"provider": provider}), 422)
    assert [error["field"] for error in problem["errors"]] == ["provider"]


def test_there_is_no_secret_of_no_provider(admin: Caller) -> None:
    assert_problem(admin.post(f"{PATH}/rotate"), 409)


def test_deliveries_are_listed_page_by_page_and_shown(admin: Caller, reader: Caller, world: World) -> None:
    secret = str(put(admin, "github")["secret"])
    for number in range(3):
        deliver(world, secret, github_push(commit_id(number + 1)))
    first = reader.get("projects/shop/deliveries?limit=2").json()
    rest = reader.get(f"projects/shop/deliveries?limit=2&cursor={first['next']}").json()
    assert [len(first["items"]), len(rest["items"]), rest["next"]] == [2, 1, None]
    newest = first["items"][0]
    assert (newest["event"], newest["status"], list(newest["answer"])) == ("push", 200, ["ignored"])
    shown = reader.get(f"projects/shop/deliveries/{newest['id']}").json()
    assert commit_id(3) in shown["payload"]
    assert shown["headers"]["x-hub-signature-256"] == "***"
    assert secret not in str(shown)
    assert_problem(reader.post(f"projects/shop/deliveries/{newest['id']}/redeliver"), 403)


def test_redelivering_deploys_by_the_settings_of_now(admin: Caller, developer: Caller, world: World) -> None:
    deliver(world, str(put(admin, "github")["secret"]), github_push(COMMIT))
    (delivery,) = admin.get("projects/shop/deliveries").json()["items"]
    admin.patch("projects/shop/environments/staging", {"auto_deploy": True})
    again = developer.post(f"projects/shop/deliveries/{delivery['id']}/redeliver")
    assert again.status_code == 201
    assert (again.json()["status"], again.json()["redelivery_of"]) == (202, delivery["id"])
    deployment = admin.get(f"deployments/{again.json()['answer']['deployment']}").json()
    assert (deployment["environment"], deployment["commit"], deployment["trigger"]) == ("staging", COMMIT, "webhook")
    assert deployment["requested_by"] is None


def test_what_pushes_deploy_is_a_setting_of_the_environment(admin: Caller) -> None:
    path = "projects/shop/environments/production"
    changed = admin.patch(path, {"watch_paths": ["/apps/shop/**", ""], "tag_pattern": " v* "}).json()
    assert (changed["watch_paths"], changed["tag_pattern"]) == (["apps/shop/**"], "v*")
    for refused in ({"watch_paths": ["\n\x00"]}, {"tag_pattern": "x" * 300}, {"watch_paths": None}):
        problem = assert_problem(admin.patch(path, refused), 422)
        assert problem["errors"][0]["field"].split(".")[0] in refused
