"""Options of the recipe by the API."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Caller
from tests.api.routes import ENVIRONMENT


def test_options_are_settings_of_the_environment(admin: Caller) -> None:
    admin.patch("projects/shop", {"recipe": "php"})
    assert admin.get(ENVIRONMENT).json()["recipe_options"] == {}
    changed = admin.patch(ENVIRONMENT, {"recipe_options": {"php_version": "8.3"}}).json()
    assert changed["recipe_options"] == {"php_version": "8.3"}
    assert admin.patch(ENVIRONMENT, {"keep": 7}).json()["recipe_options"] == {"php_version": "8.3"}
    assert admin.patch(ENVIRONMENT, {"recipe_options": {}}).json()["recipe_options"] == {}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"php_version": "8.3; reboot"}, "recipe_options.php_version"),
        ({"nothing": "1"}, "recipe_options.nothing"),
        ({"php_version": 8}, "recipe_options.php_version"),
        (["php_version"], "recipe_options"),
        (None, "recipe_options"),
    ],
)
def test_wrong_ones_are_refused_by_their_field(admin: Caller, wrong: Any, field: str) -> None:
    answer = admin.patch(ENVIRONMENT, {"recipe_options": wrong})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
