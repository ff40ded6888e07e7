"""Grants and protected environments by the API, and what tokens may by them."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from devflow.apps.accounts.models import Role
from devflow.apps.accounts.selectors import actor_get
from devflow.core.errors import ForbiddenError
from tests.api.conftest import Caller, World, caller, member
from tests.api.routes import ENVIRONMENT
from tests.api.test_routes import assert_problem
from tests.web.world import log_in

ACCESS = "projects/shop/access"


@pytest.fixture
def vera(world: World) -> Caller:
    """A viewer, in person."""
    client = Client(raise_request_exception=False)
    log_in(client, member(world, "vera@example.test", Role.VIEWER).user)
    return Caller(http=client)


def grant(admin: Caller, *actions: str, environment: str = "production") -> Any:
    return admin.post(ACCESS, {"email": "vera@example.test", "actions": list(actions), "environment": environment})


def test_a_grant_is_made_told_and_taken_back(admin: Caller, vera: Caller) -> None:
    assert_problem(vera.post(f"{ENVIRONMENT}/deployments", {}), 403)
    made = grant(admin, "deploy")
    assert made.status_code == 201
    (told,) = made.json()
    assert (told["email"], told["action"], told["environment"]) == ("vera@example.test", "deploy", "production")
    assert vera.post(f"{ENVIRONMENT}/deployments", {}).status_code == 202
    assert_problem(vera.post("projects/shop/environments/staging/deployments", {}), 403)

    people = {person["email"]: person for person in vera.get(ACCESS).json()["people"]}
    places = {place["environment"]: place["rights"] for place in people["vera@example.test"]["places"]}
    assert places["production"] == [{"action": "read", "why": "role"}, {"action": "deploy", "why": told["id"]}]
    assert places["staging"] == places[None] == [{"action": "read", "why": "role"}]

    assert_problem(vera.delete(f"{ACCESS}/{told['id']}"), 403)
    assert admin.delete(f"{ACCESS}/{told['id']}").status_code == 204
    assert_problem(vera.post(f"{ENVIRONMENT}/deployments", {}), 403)
    assert_problem(admin.delete(f"{ACCESS}/{told['id']}"), 404)


def test_a_protected_environment(admin: Caller, developer: Caller) -> None:
    assert admin.ask("PUT", f"{ENVIRONMENT}/protection", {"on": True}).json()["is_protected"] is True
    assert "protected" in assert_problem(developer.post(f"{ENVIRONMENT}/deployments", {}), 403)["detail"]
    assert (
        "protected"
        in assert_problem(developer.post("projects/shop/deploy", {"environment": "production"}), 403)["detail"]
    )
    assert admin.get(ACCESS).json()["protected"] == ["production"]
    assert developer.get(f"{ENVIRONMENT}").json()["is_protected"] is True
    assert_problem(developer.ask("PUT", f"{ENVIRONMENT}/protection", {"on": False}), 403)
    admin.ask("PUT", f"{ENVIRONMENT}/protection", {"on": False})
    assert developer.post(f"{ENVIRONMENT}/deployments", {}).status_code == 202


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"email": "nobody@example.test"}, "email"),
        ({"actions": []}, "actions"),
        ({"actions": ["read"]}, "actions"),
        ({"environment": "nowhere"}, "environment"),
    ],
)
def test_what_cannot_be_granted(admin: Caller, vera: Caller, wrong: dict[str, Any], field: str) -> None:
    body = {"email": "vera@example.test", "actions": ["deploy"], "environment": "production", **wrong}
    problem = assert_problem(admin.post(ACCESS, body), 422)
    assert [error["field"] for error in problem["errors"]] == [field]


def test_values_are_told_to_those_who_may_see_secrets(admin: Caller, vera: Caller) -> None:
    grant(admin, "manage")
    assert vera.post(f"{ENVIRONMENT}/variables", {"values": {"A": "b"}}).status_code == 201
    assert_problem(vera.get(f"{ENVIRONMENT}/dotenv"), 403)
    grant(admin, "see_secrets")
    assert "hunter2-hunter2" in vera.get(f"{ENVIRONMENT}/dotenv").content.decode()
    assert_problem(vera.get("projects/shop/dotenv"), 403)


def test_a_token_of_who_was_granted_to_deploy(admin: Caller, world: World) -> None:
    vera = member(world, "vera@example.test", Role.VIEWER)
    with pytest.raises(ForbiddenError):
        caller(vera, "deploy")
    grant(admin, "deploy")
    token = caller(actor_get(user=vera.user), "deploy")
    assert token.post(f"{ENVIRONMENT}/deployments", {}).status_code == 202
    assert_problem(token.post("projects/shop/environments/staging/deployments", {}), 403)
