"""Deployments that reuse nothing, and what a plan says of reuse."""

from __future__ import annotations

import pytest

from tests.api.conftest import Caller
from tests.api.routes import ENVIRONMENT


@pytest.mark.parametrize(
    ("path", "body"), [(f"{ENVIRONMENT}/deployments", {}), ("projects/shop/deploy", {"environment": "production"})]
)
def test_a_clean_deployment_is_asked_for(developer: Caller, path: str, body: dict[str, object]) -> None:
    assert developer.post(path, body).json()["is_clean"] is False
    made = developer.post(path, {**body, "clean": True}).json()
    assert made["is_clean"] is True
    assert developer.get(f"deployments/{made['id']}").json()["is_clean"] is True


@pytest.mark.parametrize("wrong", ["perhaps", None, 7])
def test_it_is_yes_or_no(developer: Caller, wrong: object) -> None:
    answer = developer.post(f"{ENVIRONMENT}/deployments", {"clean": wrong})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["clean"]


def test_a_plan_says_what_is_reused_and_while_what_is_unchanged(admin: Caller, viewer: Caller) -> None:
    admin.patch("projects/shop", {"recipe": "laravel"})
    plan = viewer.get(f"{ENVIRONMENT}/plan").json()
    told = {step["name"]: step["reused_while"] for step in plan["steps"]}
    assert told["composer install"] == "composer.lock, composer.json, PHP and Composer"
    assert told["artisan migrate"] is None
    assert plan["is_clean"] is False
